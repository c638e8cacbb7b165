import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { DatabaseName } from '../../helpers/databases.js'
import { type Ended, type Program, runInOwnProcess, runInSharedProcess } from '../../helpers/shared-process/programs.js'

export const root = fileURLToPath(new URL('../../../', import.meta.url))
const main = join(root, 'dist/cli/main.js')

/** The packages that an application finds in its node_modules. */
const packages = ['objection', 'knex', 'sqlite3', 'better-sqlite3', 'pg', 'mysql2', 'express', 'tsx']

/** How a command ended. */
export interface Ran extends Ended {
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
  /** Options of Node itself. They need a process of their own. */
  readonly node?: readonly string[]
  /** Starts a process for this program, for tests of the process itself. Default: for programs in TypeScript and CommonJS. */
  readonly ownProcess?: boolean
}

/** An application in a temporary folder, with the built package in its node_modules. */
export interface TestProject {
  readonly folder: string
  write(files: Readonly<Record<string, string>>): void
  read(path: string): string
  /** Runs `objection-perms ARGS` in the folder, to its end. */
  run(args: readonly string[], options?: RunOptions): Promise<Ran>
  /** Runs a module of the application in the folder, to its end, and returns the text that it printed on stdout and stderr. */
  runModule(path: string, args?: readonly string[]): Promise<string>
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
  const given = { 'package.json': '{ "type": "module" }', ...files }
  write(given)
  const canShare = given['package.json'].includes('"module"') && without.length === 0
  let hasTypeScript = false
  const start = (file: string, args: readonly string[], { cwd = '.', env = {}, stdin = '', node = [], ownProcess = false }: RunOptions) => {
    hasTypeScript ||= containsTypeScript(folder)
    const program: Program = { file, args, cwd: join(folder, cwd), env: environment(env), stdin, folder }
    const isShared = canShare && !hasTypeScript && !ownProcess && node.length === 0
    return isShared ? runInSharedProcess(program) : runInOwnProcess(program, node)
  }
  return {
    folder,
    write,
    read: (path) => readFileSync(join(folder, path), 'utf8'),
    async run(args, options = {}) {
      const ended = await start(main, args, options)
      return {
        ...ended,
        problem: problemIn(ended.stderr),
        get json() {
          return JSON.parse(ended.stdout)
        },
      }
    },
    async runModule(path, args = []) {
      const { stdout, stderr } = await start(join(folder, path), args, {})
      return `${stdout}${stderr}`.trim()
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

/** Whether a project has a TypeScript file of its own, which would install tsx for all later programs. */
function containsTypeScript(folder: string): boolean {
  return readdirSync(folder, { withFileTypes: true }).some((entry) =>
    entry.isDirectory() ? entry.name !== 'node_modules' && containsTypeScript(join(folder, entry.name)) : /\.[mc]?ts$/.test(entry.name),
  )
}

function environment(more: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { NODE_V8_COVERAGE: _coverage, NODE_OPTIONS: _options, JWT_SECRET: _secret, ...inherited } = process.env
  return { ...inherited, NO_COLOR: '1', ...more }
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
