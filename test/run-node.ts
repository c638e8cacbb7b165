import { execFile } from 'node:child_process'

/** How a Node program ended. */
export interface Ended {
  /** The text that it printed on stdout and stderr. */
  readonly output: string
  /** The text that it printed on stdout, without warnings of Node. */
  readonly stdout: string
  /** How it failed; undefined when it ended well. */
  readonly failure?: string
}

/**
 * Runs Node to its end with stdin closed, and without the coverage and the options of this run.
 *
 * @param options.timeout milliseconds, after which it is killed
 */
export function runNode(args: readonly string[], options: { cwd: string; timeout: number; env?: NodeJS.ProcessEnv }): Promise<Ended> {
  const { cwd, timeout } = options
  const { NODE_V8_COVERAGE: _coverage, NODE_OPTIONS: _options, ...inherited } = process.env
  const env = { ...inherited, NO_COLOR: '1', ...options.env }
  return new Promise((done) => {
    const child = execFile(
      process.execPath,
      args,
      { cwd, env, timeout, killSignal: 'SIGKILL', maxBuffer: 1 << 26 },
      (error, stdout, stderr) => {
        const output = `${stdout}${stderr}`
        if (!error) return done({ output, stdout })
        done({
          output,
          stdout,
          failure: error.killed ? `did not end within ${timeout / 1000} s` : `ended with ${error.signal ?? error.code}`,
        })
      },
    )
    child.stdin?.end()
  })
}
