import type { PermsOptions } from '../../src/index.js'
import { testHasher } from '../../src/testing/hasher.js'
import type { TestDatabase } from './databases.js'

/** bcrypt with the least work it may do. */
export const bcrypt = { passwords: { cost: 10 } } as const

/**
 * How tests hash passwords whose subject is not the hash: by bcrypt on one driver, which is what takes long, and with next to no
 * work on the others, where only the way to the database differs.
 */
export const cheapPasswords = ({ name }: TestDatabase): Pick<PermsOptions, 'passwords' | 'passwordHasher'> =>
  name === 'sqlite3' ? bcrypt : { passwordHasher: testHasher() }
