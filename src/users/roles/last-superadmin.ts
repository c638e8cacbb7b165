import type { Knex } from 'knex'
import { ConflictError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { lockOnAllNodes } from '../../database/cluster-lock.js'
import { addWriteCheck } from '../../enforce/enforcer.js'
import { registeredModel } from '../../policy/registered-models.js'
import { userTables } from '../../policy/user-tables.js'
import type { Execution, QueryHandle, WriteOperation } from '../../query/policy-enforcer.js'
import { dialectOfClass } from '../../record/codec.js'
import { tableOf } from '../../schema/class-statics.js'
import { writtenValuesOf } from '../written-values.js'
import { Role } from './roles.js'

// An insert counts only with onConflict().merge(), which changes existing rows.
function affectsSuperadmins(write: WriteOperation): boolean {
  if (write.kind === 'delete') return true
  return writtenValuesOf(write).some(({ id, isEnabled, deletedAt }) => {
    const takesAway = (isEnabled !== undefined && isEnabled !== true) || (deletedAt !== undefined && deletedAt !== null)
    return takesAway || (write.kind === 'update' && id !== undefined)
  })
}

function concernsRoles(write: WriteOperation): boolean {
  if (write.kind === 'delete') return true
  const names = ['id', 'role', 'userId', 'domainId', 'domainKey']
  return writtenValuesOf(write).some((values) =>
    write.kind === 'insert' ? values.id !== undefined : names.some((name) => values[name] !== undefined),
  )
}

/**
 * Returns the ids of the enabled global superadmins and locks them until the transaction ends. It locks the grants first, in the
 * order of their ids: a lock through another index would take more rows or another order, and could deadlock.
 */
async function lockSuperadmins({ cls, db }: Pick<QueryHandle, 'cls' | 'db'>): Promise<string[]> {
  const { user, userRole } = userTables()
  const dialect = dialectOfClass(cls)
  const lock = async (query: Knex.QueryBuilder, id: string): Promise<Record<string, string>[]> => {
    // Allows other transactions to insert rows that refer to a user. SQLite has a single writer anyway.
    if (dialect === 'pg') query.forNoKeyUpdate()
    else if (dialect === 'mysql') query.forUpdate()
    return (await query.orderBy(id)) as Record<string, string>[]
  }
  const [grantId, userId] = [userRole.column('id'), user.column('id')]
  const grants = () => db(userRole.table).where(userRole.column('role'), Role.SUPERADMIN).whereNull(userRole.column('domainId'))
  const holders = async (granted: Knex.QueryBuilder): Promise<string[]> => {
    const ids = (await lock(granted.select(`${userRole.column('userId')} as holder`), grantId)).map(({ holder }) => holder as string)
    if (ids.length === 0) return []
    const users = db(user.table)
      .whereIn(userId, [...new Set(ids)])
      .select(`${userId} as holder`)
    if (user.hasIsEnabled) users.where(user.column('isEnabled'), dialect === 'sqlite' ? 1 : true)
    if (user.hasDeletedAt) users.whereNull(user.column('deletedAt'))
    return (await lock(users, userId)).map(({ holder }) => holder as string)
  }
  const rows: { granted: string }[] = await grants().select(`${grantId} as granted`)
  const seen = rows.map(({ granted }) => granted)
  const found = seen.length === 0 ? [] : await holders(grants().whereIn(grantId, seen))
  // A transaction snapshot may show old grants; a locking read shows the current ones.
  return found.length > 0 || dialect === 'sqlite' ? found : await holders(grants())
}

/**
 * Throws for the last enabled global superadmin. Locks the superadmins only if the user is one of them.
 *
 * @throws ConflictError
 */
export async function assertNotLastSuperadmin(userId: unknown, trx: Knex): Promise<void> {
  const { userRole } = userTables()
  const cls = registeredModel('user')
  const grants = trx(userRole.table)
    .where({ [userRole.column('userId')]: userId as string, [userRole.column('role')]: Role.SUPERADMIN })
    .whereNull(userRole.column('domainId'))
  if ((await grants.select(userRole.column('id')).limit(1)).length === 0) return
  const ids = await lockSuperadmins({ cls, db: trx })
  await lockOnAllNodes(trx, LOCK)
  if (ids.length === 1 && String(ids[0]) === String(userId)) throw lastSuperadmin('id')
}

const lastSuperadmin = (field: 'id' | 'role') =>
  new ConflictError(message('role.lastSuperadmin'), { errors: [{ field, message: message('field.ofLastSuperadmin') }] })

/** The name of the lock of transactions that take superadmins away. */
const LOCK = 'superadmins'

const numberBefore = new WeakMap<Execution, number>()

/**
 * Keeps the last enabled global superadmin, also under asSystem(): without a superadmin, no user could appoint another. Two concurrent
 * removals wait for the same lock.
 */
addWriteCheck({
  concerns(cls, write) {
    const table = tableOf(cls)
    const { user, userRole } = userTables()
    return table === user.table ? affectsSuperadmins(write) : table === userRole.table && concernsRoles(write)
  },

  async before(builder) {
    numberBefore.set(builder.execution, (await lockSuperadmins(builder)).length)
  },

  async after(builder) {
    const before = numberBefore.get(builder.execution) ?? 0
    if (before === 0) return
    const left = (await lockSuperadmins(builder)).length
    if (left < before) await lockOnAllNodes(builder.db, LOCK)
    if (left > 0) return
    throw lastSuperadmin(tableOf(builder.cls) === userTables().user.table ? 'id' : 'role')
  },
})
