import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { DatabaseName } from '../helpers/databases.js'
import { until } from '../helpers/until.js'
import { type Ask, askAt, type SentMail, type UserModelName } from './application.js'
import { repository } from './releases.js'

/** A process that serves the application on one release. */
export interface ReleaseProcess {
  readonly ask: Ask
  /** Waits for a mail to an address. @returns the token of its link */
  tokenMailedTo(address: string): Promise<string>
  stop(): Promise<void>
}

/**
 * Starts a process and waits until it listens.
 *
 * @param sources the `src/` of the release
 * @throws Error with the output of a process that ends before
 */
export async function startRelease(
  sources: URL,
  database: { client: DatabaseName; url: string },
  model: UserModelName,
): Promise<ReleaseProcess> {
  const connection = database.client === 'pg' || database.client === 'mysql2' ? database.url : { filename: database.url }
  const options = JSON.stringify({ sources: sources.href, client: database.client, connection, model })
  const child = spawn(process.execPath, ['--import', 'tsx', 'test/compatibility/server.ts', options], { cwd: repository })
  const mails: SentMail[] = []
  const output: string[] = []
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (line.startsWith('mail ')) mails.push(JSON.parse(line.slice('mail '.length)))
      else if (line.startsWith('listening on ')) resolve(line.slice('listening on '.length))
      else output.push(line)
    })
    createInterface({ input: child.stderr }).on('line', (line) => output.push(line))
    child.once('exit', (code) => reject(new Error(`The process ended with ${code}:\n${output.join('\n')}`)))
  })
  return {
    ask: askAt(url),
    async tokenMailedTo(address) {
      const tokenOf = () => /[?#&]token=([^\s&]+)/.exec(mails.findLast(({ to }) => to === address)?.text ?? '')?.[1]
      await until(`a mail to ${address}`, () => tokenOf() !== undefined)
      return decodeURIComponent(tokenOf() as string)
    },
    async stop() {
      if (child.exitCode !== null) return
      const ended = once(child, 'exit')
      // Not by a signal: the process would not write its coverage.
      child.stdin.end()
      await ended
    },
  }
}
