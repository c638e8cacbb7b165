import type { Knex } from 'knex'
import type { Model } from 'objection'
import { ConflictError } from '../core/errors.js'
import { addWriteCheck } from '../enforce/enforcer.js'
import { userTables } from '../policy/user-tables.js'
import type { Execution, GuardedBuilder, WriteOperation } from '../query/policy-enforcer.js'
import { dialectOfClass } from '../record/codec.js'
import { propertyMeant } from '../schema/definition.js'
import { Role } from './roles.js'

const tableOf = (cls: typeof Model): string => (cls as unknown as { getTableName(): string }).getTableName()

/** What a write sets, by property; raw expressions too, and what a key by the column's name sets. */
function setBy(write: WriteOperation): Record<string, unknown>[] {
  return write.models.map((model) =>
    Object.fromEntries(
      Object.entries({ ...model, ...(model as { $$queryProps?: object }).$$queryProps }).map(([key, value]) => [
        propertyMeant(model.constructor, key) ?? key,
        value,
      ]),
    ),
  )
}

// An insert matters where it meets a row that is there: onConflict().merge().
function concernsUsers(write: WriteOperation): boolean {
  if (write.kind === 'delete') return true
  return setBy(write).some(({ id, isEnabled, deletedAt }) => {
    const takesAway = (isEnabled !== undefined && isEnabled !== true) || (deletedAt !== undefined && deletedAt !== null)
    return takesAway || (write.kind === 'update' && id !== undefined)
  })
}

function concernsRoles(write: WriteOperation): boolean {
  if (write.kind === 'delete') return true
  const names = ['id', 'role', 'userId', 'domainId', 'domainKey']
  return setBy(write).some((values) =>
    write.kind === 'insert' ? values.id !== undefined : names.some((name) => values[name] !== undefined),
  )
}

/**
 * The enabled, living users who are superadmins everywhere, locked until the transaction ends. The grants come first, by
 * their ids: they are the one gate that everybody passes, and a lock by any other index would take more rows, or the same
 * in another order.
 */
async function lockSuperadmins({ cls, db }: GuardedBuilder): Promise<string[]> {
  const { user, userRole } = userTables()
  const dialect = dialectOfClass(cls as never)
  const lock = async (query: Knex.QueryBuilder): Promise<Record<string, string>[]> => {
    // Rows that refer to a user may be made meanwhile. SQLite has one writer anyway.
    if (dialect === 'pg') query.forNoKeyUpdate()
    else if (dialect === 'mysql') query.forUpdate()
    return (await query.orderBy('id')) as Record<string, string>[]
  }
  const grants = () => db(userRole.table).where('role', Role.SUPERADMIN).whereNull('domain_id')
  const holders = async (granted: Knex.QueryBuilder): Promise<string[]> => {
    const ids = (await lock(granted.select('id', 'user_id as holder'))).map(({ holder }) => holder as string)
    if (ids.length === 0) return []
    const users = db(user.table)
      .whereIn('id', [...new Set(ids)])
      .where('is_enabled', dialect === 'sqlite' ? 1 : true)
      .select('id')
    if (user.hasDeletedAt) users.whereNull('deleted_at')
    return (await lock(users)).map(({ id }) => id as string)
  }
  const seen = ((await grants().select('id')) as { id: string }[]).map(({ id }) => id)
  const found = seen.length === 0 ? [] : await holders(grants().whereIn('id', seen))
  // A transaction that began long ago may see grants of that time; a lock sees those of now.
  return found.length > 0 || dialect === 'sqlite' ? found : await holders(grants())
}

const hadSuperadmin = new WeakMap<Execution, boolean>()

/**
 * The last enabled, living, global superadmin stays, whoever asks and by whichever path: without one nobody could make another.
 * Two who leave at once stand in line behind the same lock.
 */
addWriteCheck({
  concerns(cls, write) {
    const table = tableOf(cls)
    const { user, userRole } = userTables()
    return table === user.table ? concernsUsers(write) : table === userRole.table && concernsRoles(write)
  },

  async before(builder) {
    hadSuperadmin.set(builder.execution, (await lockSuperadmins(builder)).length > 0)
  },

  async after(builder) {
    if (!hadSuperadmin.get(builder.execution) || (await lockSuperadmins(builder)).length > 0) return
    throw new ConflictError('This is the last superadmin who can sign in: make another one first.', {
      errors: [{ field: tableOf(builder.cls) === userTables().user.table ? 'id' : 'role', message: 'belongs to the last superadmin' }],
    })
  },
})
