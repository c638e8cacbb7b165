import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { availableDrivers } from '../helpers/databases.js'
import { type Workplace, workplace } from './generated-app.js'
import { emptyFolder, root } from './set-up.js'

const page = readFileSync(join(root, 'docs/getting-started.md'), 'utf8')
const blocks = [...page.matchAll(/^```(sh|diff|text)\n([\s\S]*?)^```$/gm)].map(([, language = '', text = '']) => ({ language, text }))
/** The page differs by the database in its first commands only. init.check.ts runs PostgreSQL. With FULL=1: both. */
const databases = process.env['FULL'] === '1' ? (['sqlite', 'pg'] as const) : (['sqlite'] as const)
const isForServers = (text: string) => text.includes('createdb')

describe('docs/getting-started.md, followed from an empty folder with the packed package', function () {
  this.timeout(400_000)

  after(() => {
    if (databases.length === 1) console.log('  Left out of docs/getting-started.md (FULL=1 runs it): PostgreSQL')
  })

  for (const database of databases) {
    const driver = database === 'pg' ? 'pg' : 'sqlite3'
    if (!availableDrivers.includes(driver)) continue
    it(`leads to a secured API with a migration, an admin and a passing test on ${database}`, async () => {
      const place = await workplace(emptyFolder(), driver)
      let stop: (() => Promise<void>) | undefined
      try {
        const outputs: string[] = []
        for (const { language, text } of blocks) {
          if (language === 'diff') applyDiff(place, text)
          else if (language === 'text') writeBlock(place, text)
          else if (text.includes('curl')) outputs.push(await place.shell(text.trimEnd().replaceAll('\n', '\necho\n')))
          else if (database === 'pg' || !isForServers(text)) {
            for (const line of text.trimEnd().split('\n')) {
              if (line.startsWith('createdb')) continue
              if (line === 'npm start') stop = await place.serve(line)
              else outputs.push(await place.shell(line.replace('--database sqlite', `--database ${database}`)))
            }
          }
        }
        expectOutputs(outputs.join('\n'))
      } finally {
        await stop?.()
        await place.close()
      }
    })
  }
})

function expectOutputs(text: string): void {
  expect(text.match(/^[#ℹ] pass 5$/gm)).to.have.length(2)
  expect(text.match(/^Created the superadmin admin@example\.com\.$/gm)).to.have.length(1)
  expect(text)
    .to.match(/"title":"Hello"/)
    .and.to.match(/"total":1/)
    .and.to.match(/"status":401/)
  expect(text).to.match(/migrations\/\d{14}_note_is_done\.ts/)
}

/** Adds the lines with a plus to src/models.ts, after the line before them. */
function applyDiff({ folder }: Workplace, diff: string): void {
  const path = join(folder, 'src/models.ts')
  const [before = '', ...added] = diff.trimEnd().split('\n')
  const text = readFileSync(path, 'utf8')
  expect(text).to.contain(`${before.slice(1)}\n`)
  const lines = added.map((line) => line.replace(/^\+/, ''))
  writeFileSync(path, text.replace(`${before.slice(1)}\n`, [before.slice(1), ...lines, ''].join('\n')))
}

/** Writes a block into the file that its first line names. */
function writeBlock({ folder }: Workplace, text: string): void {
  const [, path] = /^\/\/ (\S+)\n/.exec(text) ?? []
  if (path !== undefined) writeFileSync(join(folder, path), text)
}
