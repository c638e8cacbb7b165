import type { Knex } from 'knex'
import type { Model } from 'objection'
import { dialectOfClass } from '../model/codec.js'
import { ConflictError } from '../model/errors.js'
import type { Execution, GuardedBuilder, WriteOperation } from '../model/query-builder.js'
import { addWriteCheck } from '../perms/guard.js'
import { userTables } from '../perms/tables.js'
import { Role } from './roles.js'

const tableOf = (cls: typeof Model): string => (cls as unknown as { getTableName(): string }).getTableName()

/** What a write sets, by property; raw expressions too. */
function setBy(write: WriteOperation): Record<string, unknown>[] {
  return write.models.map((model) => ({ ...model, ...(model as { $$queryProps?: object }).$$queryProps }))
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
 * themselves: they are the one gate that everybody passes, in the same order.
 */
async function lockSuperadmins({ cls, db }: GuardedBuilder): Promise<string[]> {
  const { user, userRole } = userTables()
  const dialect = dialectOfClass(cls as never)
  const lock = async (query: Knex.QueryBuilder): Promise<Record<string, string>[]> => {
    // Rows that refer to a user may be made meanwhile. SQLite has one writer anyway.
    if (dialect === 'pg') query.forNoKeyUpdate()
    else if (dialect === 'mysql') query.forUpdate()
    return (await query) as Record<string, string>[]
  }
  const grants = await lock(
    db(userRole.table).where('role', Role.SUPERADMIN).whereNull('domain_id').orderBy('id').select('id', 'user_id as holder'),
  )
  const users = db(user.table)
    .whereIn('id', [...new Set(grants.map(({ holder }) => holder as string))])
    .where('is_enabled', dialect === 'sqlite' ? 1 : true)
    .orderBy('id')
    .select('id')
  if (user.hasDeletedAt) users.whereNull('deleted_at')
  return (await lock(users)).map(({ id }) => id as string)
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
