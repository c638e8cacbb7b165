import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { createDatabase, type OwnDatabase } from '../helpers/databases.js'
import { type Block, blocksOf, difference, isAlike, Shell } from './transcript.js'
import { hasCurl, startZoo, type ZooProcess } from './zoo-process.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
const written = 'http://127.0.0.1:3000'
const blocks = blocksOf(readFileSync(`${root}docs/walkthrough.md`, 'utf8'))
const [start, ...steps] = blocks as [Block, ...Block[]]

const databases = [
  'sqlite3' as const,
  ...(process.env['POSTGRES_URL'] ? ['pg' as const] : []),
  ...(process.env['MARIADB_URL'] ? ['mysql2' as const] : []),
]

describe('docs/walkthrough.md', () => {
  it('contains only commands, responses and mails, and shows the output of each command that prints', () => {
    expect(new Set(blocks.map(({ language }) => language))).to.deep.equal(new Set(['sh', 'json', 'text']))
    expect(steps.filter(isMail).map(({ text }) => /token=(\w+)/.exec(text)?.[1])).to.deep.equal(['mt_', 'mt_', 'in_', 'in_'])
    // The output follows each command that prints something.
    const prints = ({ language, text }: Block) => language === 'sh' && /^(?:curl|echo) /m.test(text)
    steps.forEach((step, i) => {
      if (prints(step)) expect(steps[i + 1]?.language, `the block at line ${step.line}`).to.be.oneOf(['json', 'text'])
    })
  })

  it('is compared exactly, except for ids, times and omitted text', () => {
    const id = '01a214af-f5e6-70f5-9e91-8e00b9819241'
    const written = { id, at: '2026-11-25T21:50:05.798Z', link: 'https://x/#t=...', count: 1, rows: [{ role: 'user', domain: null }] }
    const other = { ...written, id: id.replaceAll('a', 'b'), at: '2030-01-01T00:00:00.000Z', link: 'https://x/#t=abc' }
    expect(difference(written, other)).to.equal(undefined)
    const wrong = [
      { ...other, id: 'x' },
      { ...other, link: 'https://y/#t=abc' },
      { ...other, count: 2 },
      { ...other, more: 1 },
      { ...other, rows: [] },
      { ...other, rows: [{ role: 'admin', domain: null }] },
      { ...other, rows: [{ role: 'user', domain: id }] },
    ]
    for (const one of wrong) expect(difference(written, one), JSON.stringify(one)).to.be.a('string')
  })

  for (const database of databases) {
    it(`shows what really happens on ${database}`, async function () {
      this.timeout(120_000)
      if (!hasCurl && process.env['REQUIRE_DATABASES'] !== '1') {
        console.log('      left out: there is no curl')
        this.skip()
      }
      const said = Object.fromEntries([...start.text.matchAll(/(\w+)='([^']*)'/g)].map(([, name, value]) => [name, value])) as Record<
        string,
        string
      >
      expect(start.text).to.match(/ npm start$/)
      let own: OwnDatabase | undefined
      let zoo: ZooProcess | undefined
      const shell = new Shell(root)
      try {
        own = await createDatabase(database)
        zoo = await startZoo({ ...said, DATABASE_URL: own.url, PASSWORD_COST: '10' })
        await follow(zoo, shell)
      } finally {
        await shell.close()
        await zoo?.stop()
        await own?.destroy()
      }
    })
  }
})

const isMail = ({ language, text }: Block) => language === 'text' && text.startsWith('  | To: ')

async function follow(zoo: ZooProcess, shell: Shell): Promise<void> {
  const here = (text: string) => text.replaceAll(written, zoo.url)
  let commands = ''
  let output = ''
  let token: string | undefined
  for (const step of steps) {
    const where = `docs/walkthrough.md:${step.line}`
    if (step.language === 'sh') {
      // The token that the reader copies from the mail.
      commands = here(step.text).replace(/'\w+_\.\.\.'/g, `'${token}'`)
      output = await shell.run(commands)
    } else if (isMail(step)) {
      const [, to = '', subject = ''] = /To: (.*)\n {2}\| Subject: (.*)\n/.exec(step.text) ?? []
      const link = await zoo.link(to, subject)
      token = /#token=(.+)$/.exec(link)?.[1]
      const printed = zoo.output()
      const mail = printed.slice(printed.lastIndexOf(`  | To: ${to}\n  | Subject: ${subject}\n`)).split('\n\n')[0] as string
      expect(isAlike(trimmed(here(step.text)), trimmed(mail)), `${where}\n${mail}`).to.equal(true)
    } else {
      const isLog = /\/api\/audit\//.test(commands)
      let found = compare(step, output, isLog)
      // The log is written after the answers.
      for (let i = 0; found !== undefined && isLog && i < 50; i++) {
        await new Promise((resolve) => setTimeout(resolve, 100))
        output = await shell.run(commands)
        found = compare(step, output, isLog)
      }
      expect(found, `${where}\n${output}\n`).to.equal(undefined)
    }
  }
}

const trimmed = (text: string) => text.replaceAll(/ +$/gm, '').trim()

/** @param isLog events of one moment come in either order */
function compare({ language, text }: Block, output: string, isLog: boolean): string | undefined {
  if (language === 'json') {
    if (!/^[{[]/.test(output)) return 'is no JSON'
    return difference(JSON.parse(text), JSON.parse(output))
  }
  const lines = (some: string) => trimmed(some).split('\n')
  return isLog ? difference(lines(text).sort(), lines(output).sort()) : difference(lines(text), lines(output))
}
