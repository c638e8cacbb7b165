import { createRequire } from 'node:module'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ServiceUnavailableError } from '../../core/errors.js'
import type { BcryptWork } from './bcrypt-worker.js'

/** What is used of Piscina. Its own declarations do not compile under exactOptionalPropertyTypes. */
interface ThreadPool {
  run(work: BcryptWork): Promise<string[]>
  destroy(): Promise<void>
  on(event: 'error', listener: () => void): void
}

const { Piscina } = createRequire(import.meta.url)('piscina') as { Piscina: new (options: object) => ThreadPool }

/** After this many milliseconds without work, all threads but one end. */
const IDLE_TIMEOUT = 30_000

/** Seconds: a full queue is worked off in about this time. */
const RETRY_AFTER = 5

/** The threads that hash: started at first use, replaced after a crash, ended by close(). */
export class BcryptPool {
  private pool: ThreadPool | undefined
  private closed = false
  private readonly underWay = new Set<Promise<string[]>>()

  constructor(
    private readonly threads: number,
    private readonly maxQueue: number,
  ) {}

  /**
   * The hashes of the work, in its order.
   *
   * @throws ServiceUnavailableError if too many wait already, the pool is closed, or the thread died
   */
  async run(work: BcryptWork): Promise<string[]> {
    if (this.closed) throw new ServiceUnavailableError('The password hasher is closed: the application is shutting down.')
    if (this.underWay.size >= this.threads + this.maxQueue) {
      const message = 'Too many passwords are being checked at this moment: try again shortly.'
      throw new ServiceUnavailableError(message, { retryAfter: RETRY_AFTER })
    }
    this.pool ??= this.start()
    const pool = this.pool
    const result = pool.run(work)
    this.underWay.add(result)
    try {
      return await result
    } catch (cause) {
      // The work itself does not fail: what did is the thread, and a pool whose threads cannot start would never answer again.
      this.drop(pool)
      throw new ServiceUnavailableError(undefined, { cause })
    } finally {
      this.underWay.delete(result)
    }
  }

  /** Ends the threads once the work under way is done; what comes after is refused. */
  async close(): Promise<void> {
    this.closed = true
    await Promise.allSettled(this.underWay)
    await this.pool?.destroy()
    this.pool = undefined
  }

  private start(): ThreadPool {
    // From the sources (.ts) a thread needs the loader that this one was started with. Compiled it needs no option at all, and
    // does not run again what the application preloads (--import, --require).
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
    // A thread that died while idle, or at its start.
    pool.on('error', () => this.drop(pool))
    return pool
  }

  private drop(pool: ThreadPool): void {
    if (this.pool === pool) this.pool = undefined
    // Rejects what still waits in it.
    void pool.destroy()
  }
}
