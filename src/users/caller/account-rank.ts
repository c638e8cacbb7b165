import { ForbiddenError, UnauthorizedError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { all, holds, sql } from '../../policy/compiler/condition.js'
import { scopeOf } from '../../policy/compiler/scope.js'
import { authorityFor, runsForCaller } from '../../policy/context.js'
import { requireActiveCaller } from '../../policy/effective.js'
import { OUTRANKS, outranksUser } from '../../policy/rank.js'
import { registeredModel } from '../../policy/registered-models.js'
import { userTables } from '../../policy/user-tables.js'
import { dialectOfClass } from '../../record/codec.js'
import { tableOf } from '../../schema/class-statics.js'

/**
 * Throws unless the caller may change the sessions, keys or factors of this user. The user's own account, asSystem() and code
 * without a caller pass without a query.
 *
 * @param userId the user whose account is changed
 * @throws ForbiddenError when the caller's rank is not higher, UnauthorizedError for an anonymous caller
 * @example await requireRankOver(user.id)
 */
export async function requireRankOver(userId: string): Promise<void> {
  // Outside every request the application itself decides whose account it changes.
  if (!runsForCaller()) return
  const User = registeredModel('user')
  const authority = authorityFor(User)
  if (authority === 'free' || authority?.id === userId) return
  if (authority === null) throw new UnauthorizedError()
  const scope = scopeOf(User, authority, { dialect: dialectOfClass(User), ref: 'perms_user', live: true, writes: true })
  const condition = all(
    sql('?? = ?', `perms_user.${userTables().user.column('id')}`, userId),
    outranksUser(scope),
    requireActiveCaller(scope),
  )
  const table = tableOf(User)
  const isHigher =
    typeof condition !== 'boolean' &&
    (await holds(User.knex(), {
      sql: `exists (select 1 from ?? as ?? where ${condition.sql})`,
      bindings: [table, 'perms_user', ...condition.bindings],
    }))
  if (!isHigher) throw new ForbiddenError(message('account.notChangeable', { takes: OUTRANKS }))
}
