/** Prints the result of a command on stdout, and everything else on stderr. */
import { stderr, stdout } from 'node:process'

/** Milliseconds after which a step reports that it is still running, and after which it reports it again. */
const FIRST_REPORT = 2000
const NEXT_REPORT = 10_000

/** Runs fn, and prints the title on stderr when it takes longer than two seconds. */
export type Progress = <T>(title: string, fn: () => Promise<T>) => Promise<T>

/** The stdout of the command. The application's own output goes to stderr, so that `--json` prints JSON and nothing else. */
export interface Output {
  print(text: string): Promise<void>
  note(line: string): void
  readonly progress: Progress
  /** Leaves out the warning of initPerms({ checkTables: 'warn' }) from now on. */
  leaveOutTableWarning(): void
}

/** Takes stdout for the result of the command. From now on, console.log() of the application prints on stderr. */
export function takeOutput(): Output {
  const write = stdout.write.bind(stdout)
  Object.assign(stdout, {
    // Knex prints the stack trace of an error that it also throws.
    write: (...args: Parameters<typeof stderr.write>) => String(args[0]).includes('Acquire connection error: ') || stderr.write(...args),
  })
  // A reader such as `head` may end early.
  stdout.on('error', () => undefined)
  const note = (line: string) => void stderr.write(`${line}\n`)
  return {
    note,
    leaveOutTableWarning() {
      const { warn } = console
      console.warn = (...args) => {
        if (!String(args[0]).startsWith('objection-perms: The tables of the database differ')) warn(...args)
      }
    },
    print: (text) => new Promise((resolve) => write(text, () => resolve())),
    async progress(title, fn) {
      const started = Date.now()
      const report = (seconds: number) => note(seconds < 3 ? `${title} ...` : `${title} ... ${seconds} s`)
      let again: NodeJS.Timeout | undefined
      const first = setTimeout(() => {
        report(0)
        again = setInterval(() => report(Math.round((Date.now() - started) / 1000)), NEXT_REPORT).unref()
      }, FIRST_REPORT)
      // Only what the command waits for keeps the process alive.
      first.unref()
      try {
        return await fn()
      } finally {
        clearTimeout(first)
        clearInterval(again)
      }
    },
  }
}
