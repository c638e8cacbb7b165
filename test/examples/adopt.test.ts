import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import Knex, { type Knex as KnexInstance } from 'knex'
import { type Ended, runNode } from '../run-node.js'

const root = fileURLToPath(new URL('../../', import.meta.url))
const adopt = join(root, 'examples/adopt')
const day = 86_400_000
const tables = [
  ...['users', 'customers', 'folders', 'projects', 'tasks', 'comments', 'tags', 'task_tags'],
  ...['attachments', 'audit_entries', 'knex_migrations'],
]

interface Filled {
  readonly forgotten: number
  readonly shown: object
}

describe('The adopted application', function () {
  this.timeout(180_000)
  const opened: string[] = []
  after(() => {
    for (const folder of opened) rmSync(folder, { recursive: true, force: true })
  })

  /** Copies the application to a folder of its own, with the packages that it depends on. */
  function copyOf(which: 'before' | 'after'): string {
    const folder = mkdtempSync(join(tmpdir(), `tracker-${which}-`))
    opened.push(folder)
    cpSync(join(adopt, which), folder, { recursive: true })
    cpSync(join(root, 'test/examples/adopt'), join(folder, 'scenario'), { recursive: true })
    mkdirSync(join(folder, 'node_modules'))
    const { dependencies, devDependencies } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    // The scenario signs old tokens.
    for (const name of new Set([...Object.keys({ ...dependencies, ...devDependencies }), 'jsonwebtoken'])) {
      const target = name === 'objection-perms' ? root : join(root, 'node_modules', name === 'express' ? 'express-4' : name)
      symlinkSync(target, join(folder, 'node_modules', name))
    }
    return folder
  }

  const env = { OLD_TOKENS_UNTIL: new Date(Date.now() + 60 * day).toISOString() }
  const run = (which: 'before' | 'after', args: string[], more: NodeJS.ProcessEnv = {}): Promise<Ended> =>
    runNode(args, { cwd: copyOf(which), timeout: 120_000, env: { ...env, ...more } })

  for (const which of ['before', 'after'] as const) {
    it(`passes its old tests ${which} the adoption`, async () => {
      const { output, failure } = await run(which, ['node_modules/mocha/bin/mocha.js', '--exit', '--timeout', '20000', 'test/*.test.js'])
      expect(failure, output.slice(-4000)).to.equal(undefined)
      expect(output).to.match(/^ {2}8 passing/m)
    })
  }

  it('keeps its tests, and changes fewer than 150 lines', () => {
    let text = ''
    try {
      text = execFileSync('git', ['diff', '--no-index', '--numstat', 'before', 'after'], { cwd: adopt, encoding: 'utf8' })
    } catch (error) {
      // git exits with 1 when there are differences.
      text = (error as { stdout: string }).stdout
    }
    const changes = text.trim().split('\n')
    const count = changes.flatMap((line) => line.split('\t').slice(0, 2).map(Number)).reduce((sum, one) => sum + one, 0)
    expect(count).to.be.within(50, 149)
    expect(changes.filter((line) => line.includes('test/'))).to.deep.equal([])
    const migrations = (which: string) => readdirSync(join(adopt, which, 'migrations'))
    expect(migrations('after')).to.include.members(migrations('before'))
  })

  it('is shown on its page with the lines of both versions', () => {
    const page = readFileSync(join(root, 'docs/adopting.md'), 'utf8')
    const hunks = [...page.matchAll(/^```diff\n# (.*)\n([\s\S]*?)^```$/gm)].map(([, file = '', hunk = '']) => ({
      file,
      lines: hunk.split('\n').slice(0, -1),
    }))
    expect(hunks).to.have.length.above(8)
    for (const { file, lines } of hunks) {
      for (const [which, sign] of [
        ['before', '-'],
        ['after', '+'],
      ] as const) {
        const part = lines.filter((line) => line.startsWith(sign)).map((line) => line.slice(1))
        if (part.length === 0) continue
        const shown = lines.filter((line) => [sign, ' '].includes(line[0] ?? ' ')).map((line) => line.slice(1))
        expect(readFileSync(join(adopt, which, file), 'utf8'), `${file} ${which}`).to.contain(shown.join('\n'))
      }
    }
  })

  it('serves its old database without losing a row, and accepts old tokens until they are ended [promise 80]', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'tracker-'))
    opened.push(folder)
    const file = { DATABASE_FILE: join(folder, 'tracker.db') }
    const first = await run('before', ['scenario/fill.cjs'], file)
    expect(first.failure, first.output.slice(-4000)).to.equal(undefined)
    const filled: Filled = JSON.parse(first.output)
    // GET /attachments/:id forgets to compare the user.
    expect(filled.forgotten).to.equal(200)
    const before = await rowsIn(file.DATABASE_FILE)
    const second = await run('after', ['scenario/serve.cjs'], { ...file, FILLED: first.output })
    expect(second.failure, second.output.slice(-4000)).to.equal(undefined)
    expect(JSON.parse(second.output)).to.deep.equal({
      oldTokens: [200, 200, 200],
      shown: filled.shown,
      oldPassword: [200, true, false],
      wrongPassword: 401,
      forgotten: [200, 404, 401],
      ownTrail: 0,
      wholeTrail: 3,
      signOut: 204,
      afterSignOutAndDisabling: [200, 401, 401, 200],
      lasting: [200, 401],
      afterTheEnd: [401],
    })
    const after = await rowsIn(file.DATABASE_FILE)
    for (const table of tables) {
      const kept = (after[table] as object[]).slice(0, before[table]?.length)
      // The scenario makes a user an admin, and sign-in replaces a cheaper hash.
      const changed = table === 'users' ? ['is_admin', 'password'] : []
      const comparable = (rows: object[] | undefined) =>
        rows?.map((row, i) =>
          Object.fromEntries(
            Object.keys(before[table]?.[i] ?? {})
              .filter((name) => !changed.includes(name))
              .map((name) => [name, (row as Record<string, unknown>)[name]]),
          ),
        )
      expect(comparable(kept), table).to.deep.equal(comparable(before[table]))
    }
  })

  async function rowsIn(filename: string): Promise<Record<string, object[]>> {
    const knex: KnexInstance = Knex({ client: 'sqlite3', connection: { filename }, useNullAsDefault: true })
    const rows: Record<string, object[]> = {}
    for (const table of tables) rows[table] = await knex(table).orderBy(1)
    await knex.destroy()
    return rows
  }
})
