/** Runs work in the background and waits for it at shutdown. */
export class Background {
  readonly #running = new Set<Promise<void>>()

  /** Starts the work after the current response is on its way. Errors are ignored: the work handles its own. */
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

  /** The number of running tasks. */
  get size(): number {
    return this.#running.size
  }

  /** Resolves when all started work has finished, or after the given number of seconds. */
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
