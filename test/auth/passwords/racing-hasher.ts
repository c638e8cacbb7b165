import type { PasswordHasher } from '../../../src/index.js'
import { testHasher } from '../../../src/testing/hasher.js'

const OLD = 'old$'

/** A hash that the hasher below makes anew at the next sign-in. */
export const outdated = async (password: string): Promise<string> => OLD + (await testHasher().hash(password))

/**
 * Works as bcrypt with many clients does, without its cost: each hash takes another few milliseconds, so that requests overtake
 * one another, and a race can be run often.
 *
 * @param most milliseconds
 */
export function racingHasher(most: number): PasswordHasher {
  const cheap = testHasher()
  const take = () => new Promise((resolve) => setTimeout(resolve, Math.random() * most))
  return {
    async hash(password) {
      await take()
      return await cheap.hash(password)
    },
    async verify(password, stored) {
      await take()
      return await cheap.verify(password, stored?.startsWith(OLD) ? stored.slice(OLD.length) : stored)
    },
    needsRehash: (stored) => stored.startsWith(OLD),
  }
}
