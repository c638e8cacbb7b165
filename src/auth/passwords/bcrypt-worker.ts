import { hashSync } from 'bcryptjs'

/** Hashes to compute in sequence: pairs of an input and a salt such as `$2b$12$…`. */
export type BcryptWork = readonly (readonly [input: string, salt: string])[]

/** Runs in a worker thread, where blocking is allowed. Imports nothing else of the library, so that threads start fast. */
export default function bcryptWorker(work: BcryptWork): string[] {
  return work.map(([input, salt]) => hashSync(input, salt))
}
