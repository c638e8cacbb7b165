import { createHash } from 'node:crypto'
import { ConfigurationError } from '../core/errors.js'
import type { PasswordHasher } from '../users/password-hasher.js'

const PREFIX = 'test-only$'

/**
 * A password hasher that costs next to nothing: bcrypt's work at every sign-in is most of what a test suite waits for.
 *
 * **For tests alone.** Its hashes are one unsalted SHA-256: whoever reads them has the passwords. In production it refuses to be made.
 *
 * @throws ConfigurationError where NODE_ENV is 'production'
 * @example initPerms({ knex, jwt: { secret }, passwordHasher: testHasher() })
 */
export function testHasher(): PasswordHasher {
  if (process.env['NODE_ENV'] === 'production') {
    throw new ConfigurationError(
      'testHasher() protects no password: leave passwordHasher out in production, and bcrypt is used; in tests set NODE_ENV to something else.',
    )
  }
  const hashOf = (password: string) => PREFIX + createHash('sha256').update(password).digest('hex')
  return {
    hash: async (password) => hashOf(password),
    verify: async (password, stored) => stored === hashOf(password),
    needsRehash: () => false,
  }
}
