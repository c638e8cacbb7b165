import type { Model, TransactionOrKnex } from 'objection'
import { asSystem } from '../../policy/context.js'
import { assertHome } from '../../query/home.js'
import { definitionOf } from '../../schema/definition/definition.js'
import { protectedIdentifiers } from './identifiers.js'

/** The stored value of a user without a password: NULL, or text that is no hash where the column does not allow NULL. */
export function noPassword(cls: object): string | null {
  return definitionOf(cls).specs.passwordHash?.isNullable === false ? NO_HASH : null
}

/** Returns whether a stored hash belongs to a password. */
export function hasPassword(stored: string | null): boolean {
  return stored !== null && stored !== NO_HASH
}

// No hasher reads it, so no password matches.
const NO_HASH = '!'

interface StoredCredentials {
  readonly passwordHash?: string | null
}

/** Returns the stored hash and identifiers of a row. */
export async function storedCredentials(row: Model, trx?: TransactionOrKnex): Promise<StoredCredentials | undefined> {
  assertHome(row, trx)
  const cls = row.constructor as typeof Model
  const columns = ['passwordHash', ...protectedIdentifiers(cls)].filter((name) => name in definitionOf(cls).specs)
  return (await asSystem(() => cls.query(trx).findById(row.$id()).select(columns))) as StoredCredentials | undefined
}

/** Returns the stored hash from the database: the row's own value may be stale. */
export async function storedHash(row: Model, trx?: TransactionOrKnex): Promise<string | null> {
  return (await storedCredentials(row, trx))?.passwordHash ?? null
}
