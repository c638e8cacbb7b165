import { BcryptThread, type BcryptWork } from './bcrypt-thread.js'
import { WorkQueue } from './work-queue.js'

/** Milliseconds without work after which all threads but one end. */
const IDLE_TIMEOUT = 30_000

/** Hashes in worker threads. They start at first use, are replaced after a crash, and end with close(). */
export class BcryptPool {
  readonly #queue: WorkQueue
  /** The threads without work. The one used last is at the end. */
  readonly #idle: BcryptThread[] = []
  #idleTimer: NodeJS.Timeout | undefined

  constructor(threads: number, maxQueue: number) {
    this.#queue = new WorkQueue(threads, maxQueue)
  }

  /**
   * Returns the hashes of the work, in the same order.
   *
   * @throws ServiceUnavailableError when the queue is full, the pool is closed, or the thread died
   * @throws ConfigurationError when the process may not start threads
   */
  async run(work: BcryptWork): Promise<string[]> {
    return await this.#queue.run(async () => {
      const thread = this.#takeIdle() ?? new BcryptThread()
      const hashes = await thread.run(work)
      this.#idle.push(thread)
      this.#idleTimer ??= this.#startIdleTimer()
      this.#idleTimer.refresh()
      return hashes
    })
  }

  /** Refuses new work and ends the threads after running work has finished. */
  async close(): Promise<void> {
    await this.#queue.close()
    clearTimeout(this.#idleTimer)
    await this.#endIdle(0)
  }

  #takeIdle(): BcryptThread | undefined {
    let thread = this.#idle.pop()
    while (thread?.isDead) thread = this.#idle.pop()
    return thread
  }

  #startIdleTimer(): NodeJS.Timeout {
    return setTimeout(() => void this.#endIdle(1), IDLE_TIMEOUT).unref()
  }

  /** Ends the idle threads but those used last. */
  async #endIdle(keep: number): Promise<void> {
    await Promise.all(this.#idle.splice(0, Math.max(0, this.#idle.length - keep)).map((thread) => thread.end()))
  }
}
