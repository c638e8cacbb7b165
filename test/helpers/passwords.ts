import type { PermsOptions } from '../../src/index.js'
import { testHasher } from '../../src/testing/hasher.js'
import type { TestDatabase } from './databases.js'

/** bcrypt with the least work it may do. */
export const bcrypt = { passwords: { cost: 10 } } as const

/** Hashes passwords with next to no work, where the hash is not the subject of the test. With FULL=1: by bcrypt on one driver. */
export const cheapPasswords = ({ name }: TestDatabase): Pick<PermsOptions, 'passwords' | 'passwordHasher'> =>
  name === 'sqlite3' && process.env['FULL'] === '1' ? bcrypt : { passwordHasher: testHasher() }
