/** Work that no answer waits for, and that ends before the process does. */
export class Background {
  readonly #running = new Set<Promise<void>>()

  /** Begins the work once the answer is on its way; what it throws is its own affair. */
  run(work: () => Promise<unknown>): void {
    const done: Promise<void> = new Promise((resolve) => setImmediate(resolve))
      .then(work)
      .then(
        () => {},
        () => {},
      )
      .finally(() => this.#running.delete(done))
    this.#running.add(done)
  }

  /** How much is under way. */
  get size(): number {
    return this.#running.size
  }

  /** Resolves when all that was begun has ended, or after so many seconds. */
  async settled(seconds = 5): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const timeUp = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, seconds * 1000)
    })
    const allDone = async () => {
      while (this.#running.size > 0) await Promise.all(this.#running)
    }
    await Promise.race([allDone(), timeUp])
    clearTimeout(timer)
  }
}
