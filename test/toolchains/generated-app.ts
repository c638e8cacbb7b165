import { execFile, spawn } from 'node:child_process'
import { cpSync, existsSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { join } from 'node:path'
import { createDatabase, type DatabaseName, type OwnDatabase } from '../helpers/databases.js'
import { until } from '../helpers/until.js'
import { root, tarball } from './set-up.js'

/** A folder in which the commands of a reader run, with databases of its own. */
export interface Workplace {
  readonly folder: string
  readonly databases: readonly OwnDatabase[]
  /** Runs a line of shell. @throws Error with its output when it fails */
  shell(line: string): Promise<string>
  /** Runs the line that starts the server, and waits until it listens. @returns a function that stops it */
  serve(line: string): Promise<() => Promise<void>>
  close(): Promise<void>
}

/** Settings of npm: packages come from the cache if possible, and no driver is compiled. */
const npmSettings = {
  npm_config_prefer_offline: 'true',
  npm_config_ignore_scripts: 'true',
  npm_config_audit: 'false',
  npm_config_fund: 'false',
  npm_config_update_notifier: 'false',
}

/**
 * Creates a place for the commands of a page or of `init`. In each line, the names that a reader replaces are replaced: the package by the
 * tarball, the addresses of databases by those of empty ones, the password by the one that create-superuser printed, and the port.
 */
export async function workplace(folder: string, database: DatabaseName): Promise<Workplace> {
  const databases = database === 'sqlite3' ? [] : [await createDatabase(database), await createDatabase(database)]
  const [own, forTests] = databases.map(({ url }) => url)
  const port = await freePort()
  let cwd = folder
  let password = 'PASSWORD'
  const replaced = (line: string) =>
    line
      .replace(/^npm install objection-perms$/, `npm install ${tarball()}`)
      .replace(/\w+:\/\/USER:PASSWORD@[\w.:]+\/(\w+)/, (_, name: string) => String(/test/i.test(name) ? forTests : own))
      .replace('PASSWORD"', `${password}"`)
      .replaceAll(':3000', `:${port}`)
  const { NODE_V8_COVERAGE: _coverage, NODE_OPTIONS: _options, JWT_SECRET: _secret, DATABASE_URL: _url, ...inherited } = process.env
  const env = { ...inherited, ...npmSettings, PORT: String(port), NO_COLOR: '1' }

  async function shell(line: string): Promise<string> {
    const directory = /^(?:mkdir (\S+) && )?cd (\S+)$/.exec(line)
    const output = await run(replaced(line), cwd, env)
    if (directory) cwd = join(cwd, String(directory[2]))
    if (/^npm install/.test(line)) copyBuiltDriver(cwd)
    password = /^The password is (\S+)$/m.exec(output)?.[1] ?? password
    return output
  }

  return {
    get folder() {
      return cwd
    },
    databases,
    shell,
    serve: (line) => serve(replaced(line), cwd, env),
    async close() {
      for (const one of databases) await one.destroy()
    },
  }
}

function run(line: string, cwd: string, env: NodeJS.ProcessEnv): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      'bash',
      ['-o', 'pipefail', '-c', line],
      { cwd, env, timeout: 240_000, maxBuffer: 1 << 26 },
      (error, stdout, stderr) =>
        error ? reject(new Error(`${line}\nended with ${error.code ?? error.signal}:\n${stdout}${stderr}`)) : resolve(stdout),
    )
    child.stdin?.end()
  })
}

async function serve(line: string, cwd: string, env: NodeJS.ProcessEnv): Promise<() => Promise<void>> {
  // A process group of its own, because npm does not pass signals on to the server.
  const child = spawn('bash', ['-c', line], { cwd, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
  // The server holds its output open until it has ended.
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()))
  const signal = (name: NodeJS.Signals) => process.kill(-Number(child.pid), name)
  try {
    await until(`${line} listens`, () => {
      if (child.exitCode !== null) throw new Error(`${line}\nended with ${child.exitCode}:\n${output}`)
      return output.includes('Listening on ')
    })
  } catch (error) {
    if (child.exitCode === null) signal('SIGKILL')
    throw error
  }
  return async () => {
    signal('SIGTERM')
    const force = setTimeout(() => signal('SIGKILL'), 10_000)
    await ended
    clearTimeout(force)
  }
}

/** The driver of SQLite is copied, because building it takes a minute. */
function copyBuiltDriver(folder: string): void {
  const target = join(folder, 'node_modules/sqlite3')
  if (existsSync(target)) cpSync(join(root, 'node_modules/sqlite3/build'), join(target, 'build'), { recursive: true })
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}
