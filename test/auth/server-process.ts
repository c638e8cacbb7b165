import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { UserFeatures } from '../../src/index.js'
import { bundled } from '../helpers/bundled.js'
import { placeOfNextProcess } from '../helpers/cluster-nodes.js'

const root = fileURLToPath(new URL('../../', import.meta.url))

export interface ServerOptions {
  readonly client: string
  readonly url: string
  readonly secret: string
  /** Of bcrypt; not said: the hasher of racing-hasher.ts. */
  readonly cost?: number
  /** Milliseconds that a hash of the latter takes at most. */
  readonly hashing?: number
  /** The features of UserResource, with Keepers as users; true: all of them. */
  readonly features?: boolean | UserFeatures
  readonly pool?: { readonly min: number; readonly max: number }
  /** Milliseconds. */
  readonly acquireConnectionTimeout?: number
}

export interface ServerProcess {
  readonly url: string
  /** Whether it still runs. */
  isAlive(): boolean
  stop(): Promise<void>
}

/** Starts small-server.ts and waits until it listens. @throws Error with what it printed where it ends before */
export async function startServer(options: ServerOptions): Promise<ServerProcess> {
  const program = await bundled('test/auth/small-server.ts')
  const given = JSON.stringify({ ...options, ...placeOfNextProcess(options.client, options.url) })
  const child = spawn(process.execPath, ['--enable-source-maps', program, given], { cwd: root })
  let text = ''
  const url = await new Promise<string>((resolve, reject) => {
    const look = (chunk: Buffer) => {
      text += chunk.toString()
      const found = /listening on (\S+)/.exec(text)
      if (found) resolve(found[1] as string)
    }
    child.stdout.on('data', look)
    child.stderr.on('data', look)
    child.once('exit', (code) => reject(new Error(`The server ended with ${code}:\n${text}`)))
  })
  return {
    url,
    isAlive: () => child.exitCode === null && child.signalCode === null,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return
      const ended = once(child, 'exit')
      // Not by a signal: it would not write what it covered.
      child.stdin.end()
      await ended
    },
  }
}
