import { ServiceUnavailableError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'

/** Seconds: about the time in which a full queue is processed. */
const RETRY_AFTER = 5

/** Runs a limited number of tasks at once, queues a limited number in order, and refuses further ones. */
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

  /** Runs a task when its turn comes. @throws ServiceUnavailableError when the queue is full or closed */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#isClosed) throw new ServiceUnavailableError(message('service.shuttingDown'))
    if (this.#underWay.size >= this.#atOnce + this.#maxQueue) {
      throw new ServiceUnavailableError(message('attempts.tooManyPasswords'), { retryAfter: RETRY_AFTER })
    }
    const result = this.#inTurn(work)
    this.#underWay.add(result)
    try {
      return await result
    } finally {
      this.#underWay.delete(result)
    }
  }

  /** Refuses new tasks and waits for the running and queued ones. */
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
      // Starts the next task in the queue, or frees the slot.
      const next = this.#waiting.shift()
      if (next) next()
      else this.#running -= 1
    }
  }
}
