import { loadOptionalPackage } from '../../core/optional-package.js'
import type { BcryptWork } from './bcrypt-thread.js'
import { WorkQueue } from './work-queue.js'

interface Bcrypt {
  hash(data: string, salt: string): Promise<string>
}

/** An alternative to BcryptPool: the package bcrypt hashes in the threads of libuv, twice as fast as JavaScript. */
export class NativeBcrypt {
  readonly #bcrypt: Bcrypt
  readonly #queue: WorkQueue

  /** @throws ConfigurationError when the package is not installed */
  constructor(threads: number, maxQueue: number) {
    this.#bcrypt = loadOptionalPackage<Bcrypt>('bcrypt', 'bcryptHasher({ native: true })')
    this.#queue = new WorkQueue(threads, maxQueue)
  }

  /** Returns the hashes of the work, in the same order. @throws ServiceUnavailableError when the queue is full or closed */
  async run(work: BcryptWork): Promise<string[]> {
    return await this.#queue.run(async () => {
      const hashes: string[] = []
      // The package does not know $2y$, an alias of $2b$. The comparison ignores the version.
      for (const [input, setting] of work) hashes.push(await this.#bcrypt.hash(input, setting.replace(/^\$2[ay]\$/, '$2b$')))
      return hashes
    })
  }

  close(): Promise<void> {
    return this.#queue.close()
  }
}
