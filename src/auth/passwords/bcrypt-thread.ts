import { Worker } from 'node:worker_threads'
import { ConfigurationError, ServiceUnavailableError } from '../../core/errors.js'
import { workerSource } from './bcrypt-worker-source.js'

/** Hashes to compute in sequence: pairs of an input and a salt such as `$2b$12$…`. */
export type BcryptWork = readonly (readonly [input: string, salt: string])[]

interface Pending {
  resolve(hashes: string[]): void
  reject(error: unknown): void
}

/** A worker thread that hashes one piece of work at a time. It keeps the process alive only while it hashes. */
export class BcryptThread {
  readonly #worker = startWorker()
  #pending: Pending | undefined
  #isDead = false

  /** @throws ConfigurationError when the process may not start threads */
  constructor() {
    this.#worker.unref()
    this.#worker.on('message', (hashes: string[]) => this.#takePending()?.resolve(hashes))
    this.#worker.on('error', (cause) => this.#die(cause))
    this.#worker.on('exit', (code) => this.#die(new Error(`The thread that hashes passwords ended with code ${code}.`)))
  }

  /** Whether the thread has ended. */
  get isDead(): boolean {
    return this.#isDead
  }

  /**
   * Returns the hashes of the work, in the same order.
   *
   * @throws ServiceUnavailableError when the thread dies
   */
  async run(work: BcryptWork): Promise<string[]> {
    return await new Promise((resolve, reject) => {
      this.#pending = { resolve, reject }
      this.#worker.ref()
      this.#worker.postMessage(work)
    })
  }

  /** Ends the thread. */
  async end(): Promise<void> {
    this.#isDead = true
    await this.#worker.terminate()
  }

  #takePending(): Pending | undefined {
    const pending = this.#pending
    this.#pending = undefined
    this.#worker.unref()
    return pending
  }

  #die(cause: unknown): void {
    this.#isDead = true
    this.#takePending()?.reject(new ServiceUnavailableError(undefined, { cause }))
  }
}

function startWorker(): Worker {
  try {
    // Without the options and the environment of the process: the thread must not run the modules that the application preloads.
    return new Worker(workerSource(), { eval: true, execArgv: [], env: {}, name: 'bcrypt' })
  } catch (cause) {
    if ((cause as { code?: unknown }).code !== 'ERR_ACCESS_DENIED') throw new ServiceUnavailableError(undefined, { cause })
    throw new ConfigurationError(
      'bcryptHasher() needs a worker thread, and the permission model of Node forbids them: start Node with --allow-worker.',
      { cause },
    )
  }
}
