import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { DatabaseName } from '../../helpers/databases.js'

export const root = fileURLToPath(new URL('../../../', import.meta.url))
const main = join(root, 'dist/cli/main.js')

/** The packages that an application finds in its node_modules. */
const packages = ['objection', 'knex', 'sqlite3', 'better-sqlite3', 'pg', 'mysql2', 'express', 'tsx']

/** How a command ended. */
export interface Ran {
  readonly code: number | string | null
  readonly stdout: string
  readonly stderr: string
  /** The last sentence on stderr, without the name of the program and without progress. */
  readonly problem: string
  /** The parsed stdout, for `--json`. */
  readonly json: any
}

export interface RunOptions {
  readonly env?: NodeJS.ProcessEnv
  readonly stdin?: string
  /** The folder below the project in which the command starts. */
  readonly cwd?: string
  /** Options of Node itself. */
  readonly node?: readonly string[]
}

/** An application in a temporary folder, with the built package in its node_modules. */
export interface TestProject {
  readonly folder: string
  write(files: Readonly<Record<string, string>>): void
  read(path: string): string
  /** Runs `objection-perms ARGS` in the folder, to its end. */
  run(args: readonly string[], options?: RunOptions): Promise<Ran>
  remove(): void
}

const installed = (name: string) => join(root, 'node_modules', name)

/**
 * Creates an application.
 *
 * @param without packages that are not installed
 */
export function createProject(files: Readonly<Record<string, string>> = {}, { without = [] as readonly string[] } = {}): TestProject {
  const folder = mkdtempSync(join(tmpdir(), 'objection-perms-cli-'))
  const write = (given: Readonly<Record<string, string>>) => {
    for (const [path, text] of Object.entries(given)) {
      mkdirSync(dirname(join(folder, path)), { recursive: true })
      writeFileSync(join(folder, path), text)
    }
  }
  mkdirSync(join(folder, 'node_modules'))
  for (const name of [...packages, 'objection-perms'].filter((one) => !without.includes(one)))
    symlinkSync(name === 'objection-perms' ? root : installed(name), join(folder, 'node_modules', name))
  write({ 'package.json': '{ "type": "module" }', ...files })
  return {
    folder,
    write,
    read: (path) => readFileSync(join(folder, path), 'utf8'),
    run: (args, options = {}) => runMain(args, { ...options, cwd: join(folder, options.cwd ?? '.') }),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

function runMain(args: readonly string[], { cwd, env = {}, stdin = '', node = [] }: RunOptions & { cwd: string }): Promise<Ran> {
  const { NODE_V8_COVERAGE: _coverage, NODE_OPTIONS: _options, JWT_SECRET: _secret, ...inherited } = process.env
  return new Promise((done) => {
    const child = execFile(
      process.execPath,
      [...node, main, ...args],
      { cwd, env: { ...inherited, NO_COLOR: '1', ...env }, timeout: 60_000, killSignal: 'SIGKILL', maxBuffer: 1 << 26 },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : error.killed ? 'timeout' : (error.code ?? error.signal ?? null)
        done({
          code,
          stdout,
          stderr,
          problem: problemIn(stderr),
          get json() {
            return JSON.parse(stdout)
          },
        })
      },
    )
    // A command that does not read stdin may end before it is written.
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(stdin)
  })
}

function problemIn(stderr: string): string {
  const line =
    stderr
      .trimEnd()
      .split('\n')
      .filter((one) => one !== '' && !one.endsWith(' ...'))
      .at(-1) ?? ''
  return line.replace(/^objection-perms: /, '')
}

/** Returns the text of the module that connects to a database and calls initPerms(). */
export function permsModule({
  database = 'better-sqlite3' as DatabaseName,
  url = 'app.db',
  before = '',
  options = '',
  after = '',
} = {}): string {
  const isFile = database === 'sqlite3' || database === 'better-sqlite3'
  const connection = isFile ? `{ filename: ${JSON.stringify(url)} }` : JSON.stringify(url)
  return `import Knex from 'knex'
import { initPerms, User } from 'objection-perms'
${before}
export const knex = Knex({ client: '${database}', connection: ${connection}${isFile ? ', useNullAsDefault: true' : ''} })
export const perms = initPerms({ knex, jwt: { secret: process.env.JWT_SECRET ?? 'a secret for the tests of the command line' }, ${options} })
${after}
`
}
