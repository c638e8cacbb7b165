import { writeSync } from 'node:fs'
import process from 'node:process'
import { CliError, loadFailure } from './failure.js'
import type { Output } from './output.js'

/** The exit code of a command that failed. */
export const FAILURE = 2

/** The exit code of Node when a top-level await never ends. Node 20 tells the listeners of 'exit' 0 instead. */
const UNSETTLED = 13

/**
 * Reports errors that the application's code throws outside of the command, and an end of the process that the command did not
 * cause. While the application's module is loaded, such an error fails the command; later it is a warning, so that a command that is
 * writing finishes.
 */
export class ProcessWatch {
  readonly #output: Output
  readonly #isJson: boolean
  /** The module that is being loaded. */
  #loading: string | undefined
  #isFinished = false
  readonly #failure: Promise<never>
  #fail: (error: CliError) => void = () => undefined

  constructor(output: Output, isJson: boolean) {
    this.#output = output
    this.#isJson = isJson
    this.#failure = new Promise((_, reject) => {
      this.#fail = reject
    })
    // Without a handler, a failure that arrives after the race would end the process with a stack trace.
    this.#failure.catch(() => undefined)
    process.on('uncaughtException', (error) => this.#onUncaught(error))
    process.on('exit', (code) => this.#onExit(code))
  }

  /** Returns the result of the promise, unless the application's code fails first. */
  race<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#failure])
  }

  /** Runs fn, which loads the application's module. */
  async whileLoading<T>(file: string, fn: () => Promise<T>): Promise<T> {
    this.#loading = file
    try {
      return await fn()
    } finally {
      this.#loading = undefined
    }
  }

  /** The command has ended: the process may end. */
  finish(): void {
    this.#isFinished = true
  }

  #onUncaught(error: unknown): void {
    const known = loadFailure(error)
    if (this.#loading === undefined) this.#output.note(`objection-perms: the application reported an error: ${known}`)
    else this.#fail(new CliError(`${this.#loading} failed while it was loaded: ${known}`, { cause: error }))
  }

  // Node takes the code of the process from process.exitCode, also after process.exit().
  #onExit(code: number): void {
    if (this.#isFinished) return
    process.exitCode = FAILURE
    const message = endMessage(this.#loading, code)
    this.#output.note(`objection-perms: ${message}`)
    // Only synchronous writes work now.
    if (this.#isJson) writeSync(1, `${JSON.stringify({ error: { message } }, null, 2)}\n`)
  }
}

function endMessage(file: string | undefined, code: number): string {
  if (file === undefined) return 'The application ended the process before the command was done.'
  if (code !== 0 && code !== UNSETTLED)
    return `${file} ended the process with exit code ${code} while it was loaded. Its own message, if any, is above.`
  return `${file} ended before it was loaded. It called process.exit(), or its top-level await waits for a promise that nothing settles.`
}
