import { ServiceUnavailableError } from '../../core/errors.js'

/** Seconds: a full queue is worked off in about this time. */
const RETRY_AFTER = 5

/** Runs so many things at once, lets so many wait in their order, and refuses the rest. */
export class WorkQueue {
  readonly #waiting: (() => void)[] = []
  readonly #underWay = new Set<Promise<unknown>>()
  readonly #atOnce: number
  readonly #maxQueue: number
  #running = 0
  #isClosed = false

  constructor(atOnce: number, maxQueue: number) {
    this.#atOnce = atOnce
    this.#maxQueue = maxQueue
  }

  /** @throws ServiceUnavailableError if too many wait already, or the queue is closed */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#isClosed) throw new ServiceUnavailableError('The password hasher is closed: the application is shutting down.')
    if (this.#underWay.size >= this.#atOnce + this.#maxQueue) {
      const message = 'Too many passwords are being checked at this moment: try again shortly.'
      throw new ServiceUnavailableError(message, { retryAfter: RETRY_AFTER })
    }
    const result = this.#inTurn(work)
    this.#underWay.add(result)
    try {
      return await result
    } finally {
      this.#underWay.delete(result)
    }
  }

  /** Waits for what is under way; what comes after is refused. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.allSettled(this.#underWay)
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running < this.#atOnce) this.#running += 1
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
    try {
      return await work()
    } finally {
      // The place goes to the next in line, or becomes free.
      const next = this.#waiting.shift()
      if (next) next()
      else this.#running -= 1
    }
  }
}
