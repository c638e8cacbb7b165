import { type ChildProcess, execFile, fork } from 'node:child_process'
import { once } from 'node:events'
import { realpathSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

/** How a program ended. */
export interface Ended {
  readonly code: number | string | null
  readonly stdout: string
  readonly stderr: string
}

export interface Program {
  /** The path of the module that runs. */
  readonly file: string
  readonly args: readonly string[]
  readonly cwd: string
  readonly env: NodeJS.ProcessEnv
  readonly stdin: string
  /** The folder of the project, whose modules are loaded anew for each program. */
  readonly folder: string
}

/** Milliseconds after which a program is killed. */
const LIMIT = 60_000

/** Runs a program to its end in a process of its own. */
export function runInOwnProcess({ file, args, cwd, env, stdin }: Program, node: readonly string[] = []): Promise<Ended> {
  return new Promise((done) => {
    const child = execFile(
      process.execPath,
      [...node, file, ...args],
      { cwd, env, timeout: LIMIT, killSignal: 'SIGKILL', maxBuffer: 1 << 26 },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : error.killed ? 'timeout' : (error.code ?? error.signal ?? null)
        done({ code, stdout, stderr })
      },
    )
    // A command that does not read stdin may end before it is written.
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(stdin)
  })
}

let host: ChildProcess | undefined
let last: Promise<unknown> = Promise.resolve()

/** Runs a program to its end in a process that earlier programs have used: see command-host.mjs. One runs at a time. */
export function runInSharedProcess(program: Program): Promise<Ended> {
  const ended = last.then(() => runInHost(program))
  last = ended.catch(() => undefined)
  return ended
}

async function runInHost(program: Program): Promise<Ended> {
  host ??= startHost()
  const child = host
  child.ref()
  child.channel?.ref()
  const over = new AbortController()
  const { signal } = over
  try {
    child.send({ ...program, folder: `${realpathSync(program.folder)}/` })
    const ended = once(child, 'exit', { signal }).then(() => {
      throw new Error('The process that runs the programs ended.')
    })
    const limit = setTimeout(LIMIT, 'timeout' as const, { signal })
    const answer = await Promise.race([once(child, 'message', { signal }), ended, limit])
    if (answer === 'timeout') {
      endHost()
      return { code: answer, stdout: '', stderr: '' }
    }
    const { isClean, ...result } = answer[0] as Ended & { isClean: boolean }
    if (!isClean) endHost()
    return result
  } finally {
    over.abort()
    // This process may end while the host waits for the next program; the host ends then too.
    child.unref()
    child.channel?.unref()
  }
}

function startHost(): ChildProcess {
  const { NODE_V8_COVERAGE: _coverage, NODE_OPTIONS: _options, ...env } = process.env
  return fork(fileURLToPath(new URL('command-host.mjs', import.meta.url)), { env, execArgv: [], stdio: 'ignore', silent: false })
}

function endHost(): void {
  host?.kill('SIGKILL')
  host = undefined
}
