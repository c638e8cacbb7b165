import { createRequire } from 'node:module'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ServiceUnavailableError } from '../../core/errors.js'
import type { BcryptWork } from './bcrypt-worker.js'

/** The part of Piscina that is used here. Its own declarations do not compile under exactOptionalPropertyTypes. */
interface ThreadPool {
  run(work: BcryptWork): Promise<string[]>
  destroy(): Promise<void>
  on(event: 'error', listener: () => void): void
}

const { Piscina } = createRequire(import.meta.url)('piscina') as { Piscina: new (options: object) => ThreadPool }

/** Milliseconds without work after which all threads but one end. */
const IDLE_TIMEOUT = 30_000

/** Seconds: about the time in which a full queue is processed. */
const RETRY_AFTER = 5

/** Hashes in worker threads. They start at first use, are replaced after a crash, and end with close(). */
export class BcryptPool {
  private pool: ThreadPool | undefined
  private closed = false
  private readonly underWay = new Set<Promise<string[]>>()

  constructor(
    private readonly threads: number,
    private readonly maxQueue: number,
  ) {}

  /**
   * Returns the hashes of the work, in the same order.
   *
   * @throws ServiceUnavailableError when the queue is full, the pool is closed, or the thread died
   */
  async run(work: BcryptWork): Promise<string[]> {
    if (this.closed) throw new ServiceUnavailableError('The password hasher is closed: the application is shutting down.')
    if (this.underWay.size >= this.threads + this.maxQueue) {
      const message = 'Too many passwords are being checked right now: try again shortly.'
      throw new ServiceUnavailableError(message, { retryAfter: RETRY_AFTER })
    }
    this.pool ??= this.start()
    const pool = this.pool
    const result = pool.run(work)
    this.underWay.add(result)
    try {
      return await result
    } catch (cause) {
      // Hashing itself does not fail: the thread died. Replace the pool, because one whose threads cannot start would never answer.
      this.drop(pool)
      throw new ServiceUnavailableError(undefined, { cause })
    } finally {
      this.underWay.delete(result)
    }
  }

  /** Refuses new work and ends the threads after running work has finished. */
  async close(): Promise<void> {
    this.closed = true
    await Promise.allSettled(this.underWay)
    await this.pool?.destroy()
    this.pool = undefined
  }

  private start(): ThreadPool {
    // Running from source (.ts), a thread needs the loader of this process. Compiled, it needs no options, and must not run again
    // the modules that the application preloads (--import, --require).
    const extension = extname(fileURLToPath(import.meta.url))
    const pool = new Piscina({
      filename: fileURLToPath(new URL(`./bcrypt-worker${extension}`, import.meta.url)),
      minThreads: 1,
      maxThreads: this.threads,
      idleTimeout: IDLE_TIMEOUT,
      stricterFIFO: true,
      recordTiming: false,
      ...(extension === '.ts' ? {} : { execArgv: [] }),
    })
    // A thread died while idle or at its start.
    pool.on('error', () => this.drop(pool))
    return pool
  }

  private drop(pool: ThreadPool): void {
    if (this.pool === pool) this.pool = undefined
    // Rejects the work that still waits in the pool.
    void pool.destroy()
  }
}
