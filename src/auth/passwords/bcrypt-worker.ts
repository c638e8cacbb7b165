import { hashSync } from 'bcryptjs'

/** Hashes to compute one after the other: each an input and a salt such as `$2b$12$…`. */
export type BcryptWork = readonly (readonly [input: string, salt: string])[]

/** Runs in a worker thread, where it may block; imports nothing else of the library, so that a thread starts fast. */
export default function bcryptWorker(work: BcryptWork): string[] {
  return work.map(([input, salt]) => hashSync(input, salt))
}
