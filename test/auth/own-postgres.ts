import { execFile, execFileSync } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** A PostgreSQL of one test's own, which it may stop. */
export interface OwnPostgres {
  readonly url: string
  /** As a machine that loses power: connections are cut. */
  stop(): Promise<void>
  start(): Promise<void>
  remove(): Promise<void>
}

/** The folder of initdb and pg_ctl, where Debian has them or the path leads to them. */
function binaries(): string | undefined {
  const base = '/usr/lib/postgresql'
  const versions = existsSync(base) ? readdirSync(base).sort((a, b) => Number(b) - Number(a)) : []
  const found = versions.map((version) => join(base, version, 'bin')).find((folder) => existsSync(join(folder, 'initdb')))
  if (found) return found
  return (process.env['PATH'] ?? '').split(':').find((folder) => folder !== '' && existsSync(join(folder, 'initdb')))
}

/** PostgreSQL refuses to run as root: then it runs as the user that its package made. */
function owner(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
  try {
    const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { stdio: ['ignore', 'pipe', 'ignore'] }).toString())
    return { uid: id('-u'), gid: id('-g') }
  } catch {
    return undefined
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

export const ownPostgres = {
  /** Whether this machine has what it takes. */
  isPossible: (): boolean => process.platform !== 'win32' && binaries() !== undefined && owner() !== undefined,

  /** Makes a cluster in a temporary folder, on a free port of the loopback, and starts it. */
  async start(): Promise<OwnPostgres> {
    const bin = binaries()
    const as = owner()
    if (bin === undefined || as === undefined) throw new Error('There is no PostgreSQL to start here.')
    const folder = mkdtempSync(join(tmpdir(), 'objection-perms-pg-'))
    chownSync(folder, as.uid, as.gid)
    const data = join(folder, 'data')
    const port = await freePort()
    const asOwner = { ...as, cwd: folder }
    const options = `-p ${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off`
    const control = (...args: string[]) => run(join(bin, 'pg_ctl'), ['-D', data, '-w', '-s', ...args], { ...asOwner, timeout: 60_000 })
    const start = async () => {
      await control('-o', options, '-l', join(folder, 'log'), 'start')
    }
    await run(join(bin, 'initdb'), ['-D', data, '-U', 'postgres', '-A', 'trust', '-N', '-E', 'UTF8', '--no-locale'], asOwner)
    await start()
    return {
      url: `postgres://postgres@127.0.0.1:${port}/postgres`,
      start,
      async stop() {
        await control('-m', 'immediate', 'stop')
      },
      async remove() {
        await control('-m', 'immediate', 'stop').catch(() => undefined)
        rmSync(folder, { recursive: true, force: true })
      },
    }
  },
}
