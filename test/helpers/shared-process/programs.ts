import { type ChildProcess, execFile, fork } from 'node:child_process'
import { once } from 'node:events'
import { realpathSync } from 'node:fs'
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
  /** The folder whose modules are loaded anew for each program. */
  readonly folder: string
}

/** A program that runs. */
export interface Running {
  readonly ended: Promise<Ended>
  signal(name: NodeJS.Signals): void
}

/** Milliseconds after which a program is killed. */
const LIMIT = 60_000

/** Runs a program to its end in a process of its own. */
export function runInOwnProcess({ file, args, cwd, env, stdin }: Program, node: readonly string[] = [], timeout = LIMIT): Promise<Ended> {
  return new Promise((done) => {
    const child = execFile(
      process.execPath,
      [...node, file, ...args],
      { cwd, env, timeout, killSignal: 'SIGKILL', maxBuffer: 1 << 26 },
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

/** Runs a program to its end in a process that other programs use too: see host.mjs. */
export function runInSharedProcess(program: Program): Promise<Ended> {
  return startInSharedProcess(program, { timeout: LIMIT }).ended
}

interface StartOptions {
  /** Options of Node itself. Processes with equal options are shared. */
  readonly node?: readonly string[]
  /** Milliseconds after which the program is killed. Default: never. */
  readonly timeout?: number
  readonly onOutput?: (text: string) => void
}

/** Starts a program in a process that other programs have used, and that no program uses now: see host.mjs. */
export function startInSharedProcess(program: Program, options: StartOptions = {}): Running {
  const host = takeHost(options.node ?? [])
  const { child } = host
  return {
    ended: follow(host, program, options),
    signal(signal) {
      if (signal === 'SIGKILL') child.kill(signal)
      else if (child.connected) child.send({ signal })
    },
  }
}

interface Host {
  readonly child: ChildProcess
  readonly node: string
}

const idleHosts: Host[] = []

function takeHost(options: readonly string[]): Host {
  const node = options.join(' ')
  const at = idleHosts.findIndex((one) => one.node === node)
  if (at >= 0) return idleHosts.splice(at, 1)[0] as Host
  const { NODE_V8_COVERAGE: _coverage, NODE_OPTIONS: _options, ...env } = process.env
  const file = fileURLToPath(new URL('host.mjs', import.meta.url))
  return { node, child: fork(file, { env, execArgv: [...options], stdio: 'ignore' }) }
}

type Message = { readonly name: 'stdout' | 'stderr'; readonly text: string } | { readonly code: number; readonly isClean: boolean }

async function follow(host: Host, program: Program, { timeout, onOutput }: StartOptions): Promise<Ended> {
  const { child } = host
  child.ref()
  child.channel?.ref()
  const output = { stdout: '', stderr: '' }
  const over = new AbortController()
  const timer = timeout === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), timeout)
  let code: number | string = 'killed'
  let isClean = false
  const finished = new Promise<void>((done) => {
    const listen = (message: Message) => {
      if ('name' in message) {
        output[message.name] += message.text
        onOutput?.(message.text)
      } else {
        ;({ code, isClean } = message)
        child.off('message', listen)
        done()
      }
    }
    child.on('message', listen)
  })
  try {
    child.send({ program: { ...program, folder: `${realpathSync(program.folder)}/` } })
    const lost = once(child, 'exit', over).catch(() => undefined)
    await Promise.race([finished, lost])
  } finally {
    clearTimeout(timer)
    over.abort()
    // This process may end while the host waits for the next program; the host ends then too.
    child.unref()
    child.channel?.unref()
    if (isClean) idleHosts.push(host)
    else child.kill('SIGKILL')
  }
  return { code, ...output }
}
