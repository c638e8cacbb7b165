import { optionalPackage } from '../../core/optional-package.js'
import type { BcryptWork } from './bcrypt-worker.js'
import { WorkQueue } from './work-queue.js'

interface Bcrypt {
  hash(data: string, salt: string): Promise<string>
}

/** In the place of BcryptPool: the package bcrypt hashes in the threads of libuv, twice as fast as JavaScript. */
export class NativeBcrypt {
  readonly #bcrypt: Bcrypt
  readonly #queue: WorkQueue

  /** @throws ConfigurationError where the package is not installed */
  constructor(threads: number, maxQueue: number) {
    this.#bcrypt = optionalPackage<Bcrypt>('bcrypt', 'bcryptHasher({ native: true })')
    this.#queue = new WorkQueue(threads, maxQueue)
  }

  /** The hashes of the work, in its order. @throws ServiceUnavailableError if too many wait already, or it is closed */
  async run(work: BcryptWork): Promise<string[]> {
    return await this.#queue.run(async () => {
      const hashes: string[] = []
      // It does not know $2y$, which is another name for the same: what it makes is compared without the name.
      for (const [input, setting] of work) hashes.push(await this.#bcrypt.hash(input, setting.replace(/^\$2[ay]\$/, '$2b$')))
      return hashes
    })
  }

  close(): Promise<void> {
    return this.#queue.close()
  }
}
