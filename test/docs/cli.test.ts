import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { optionsOf } from '../../src/cli/arguments.js'
import { commands } from '../../src/cli/commands/index.js'
import { helpOf } from '../../src/cli/help.js'

const page = fileURLToPath(new URL('../../docs/cli.md', import.meta.url))
const mark = '<!-- commands -->\n'

/** The page describes the options that all commands share once, above. */
function withoutShared(help: readonly string[]): string {
  const own = help.filter((line) => !/^ {2}--(?:app|env|json|debug|help)\b/.test(line))
  return own.join('\n').replaceAll(/\n{3,}/g, '\n\n')
}

describe('docs/cli.md', function () {
  this.timeout(60_000)

  it('contains the help of each command', async () => {
    const text = readFileSync(page, 'utf8')
    const sections: string[] = []
    for (const entry of commands)
      sections.push(`\n### ${entry.name}\n\n\`\`\`text\n${withoutShared(helpOf(entry, await entry.load()))}\n\`\`\`\n`)
    const expected = text.slice(0, text.indexOf(mark) + mark.length) + sections.join('')
    // UPDATE_DOCS=1 writes the help into the page.
    if (process.env.UPDATE_DOCS) writeFileSync(page, expected)
    expect(readFileSync(page, 'utf8')).to.equal(expected)
  })

  it('names the options that all commands share', async () => {
    const text = readFileSync(page, 'utf8').split(mark)[0]
    const load = commands.find(({ name }) => name === 'migrate up')?.load
    for (const option of Object.keys(optionsOf((await load?.()) ?? expect.fail())).filter((name) => name !== 'help'))
      expect(text).to.contain(`\`--${option}`)
  })
})
