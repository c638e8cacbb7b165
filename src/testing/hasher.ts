import { createHash } from 'node:crypto'
import { ConfigurationError } from '../core/errors.js'
import type { PasswordHasher } from '../users/account/password-hasher.js'

const PREFIX = 'test-only$'

/**
 * Creates a fast password hasher, since bcrypt takes most of the time of a test suite.
 *
 * **Only for tests.** A hash is one unsalted SHA-256 and does not protect the password.
 *
 * @throws ConfigurationError when NODE_ENV is 'production'
 * @example initPerms({ knex, jwt: { secret }, passwordHasher: testHasher() })
 */
export function testHasher(): PasswordHasher {
  if (process.env['NODE_ENV'] === 'production') {
    throw new ConfigurationError(
      'testHasher() does not protect passwords. In production omit passwordHasher, so that bcrypt is used; in tests set NODE_ENV to another value.',
    )
  }
  const hashOf = (password: string) => PREFIX + createHash('sha256').update(password).digest('hex')
  return {
    hash: async (password) => hashOf(password),
    verify: async (password, stored) => stored === hashOf(password),
    needsRehash: () => false,
    recognises: (stored) => stored.startsWith(PREFIX),
  }
}
