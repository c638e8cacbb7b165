import type { Knex } from 'knex'
import type { Model, QueryBuilder, TransactionOrKnex } from 'objection'
import { ConfigurationError, ForbiddenError, NotFoundError } from '../core/errors.js'
import { message } from '../core/messages/message.js'
import { isOneOf } from '../enforce/evaluate.js'
import type { ActionName } from '../policy/actions.js'
import { all, type Condition, holds, type Sql, sql } from '../policy/compiler/condition.js'
import { type Scope, scopeOf } from '../policy/compiler/scope.js'
import { type Actor, authorityFor } from '../policy/context.js'
import { effective } from '../policy/effective.js'
import { policyOf, ruleOf } from '../policy/policy.js'
import { registeredModel } from '../policy/registered-models.js'
import { usesCheck } from '../policy/rules.js'
import { userTables } from '../policy/user-tables.js'
import { assertHome } from '../query/home.js'
import { filterReadable } from '../query/query-builder.js'
import { dialectOfClass } from '../record/codec.js'
import { tableOf } from '../schema/class-statics.js'
import type { Dialect } from '../schema/storage.js'
import type { RegisteredUser, RegisteredUserClass } from '../users/caller/actor.js'
import type { User } from '../users/user.js'
import { mayAsk, readableGrants, readableShares } from './may-ask.js'
import { classOfRow } from './row-target.js'

type UserModel = RegisteredUser extends Model ? RegisteredUser : User

const ROW = 'perms_row'

/**
 * Returns a query for the users who can do an action with a row: those for whom `row.can(action, user)` is true, by the roles in the
 * database. It is one statement, which takes `where()`, `orderBy()`, `page()` and `resultSize()`.
 *
 * A user has a session that suffices for recent() and factor(), and no API key. Disabled and deleted users are never among them.
 *
 * Inside asSystem() and in scripts, all users are asked. A caller gets an answer among the users that the caller may read, if the
 * caller may read the row with all that its rules read, and administers it or may update it. Grants that the caller may not read do
 * not count.
 *
 * @param action 'read', 'update', 'delete', or a key of the policy such as 'publish'
 * @param row a saved row, by its id: the values in the database decide
 * @throws ConfigurationError for a rule with check() or before(), which have no form in SQL, and for an unknown action
 * @throws NotFoundError when the query runs, if the caller may not read the row; ForbiddenError, if the caller may not ask
 * @example const editors = await asSystem(() => whoCan('update', critter).orderBy('email').page(0, 20))
 */
export function whoCan(action: ActionName, row: Model, trx?: TransactionOrKnex): QueryBuilder<UserModel, UserModel[]> {
  const cls = classOfRow(row, action, 'whoCan()')
  assertHome(row, trx)
  if (usesCheck(ruleOf(policyOf(cls), action)))
    throw new ConfigurationError(
      `whoCan('${action}'): the rule of ${cls.name} uses check(), which has no form in SQL. Ask for each user: await row.can('${action}', user).`,
    )
  const Users = registeredModel('user') as RegisteredUserClass
  const query = Users.query(trx) as unknown as QueryBuilder<UserModel, UserModel[]>
  const target: Target = { action, cls, id: row.$id() }
  query.onBuild((built) => {
    filterReadable(built, whoCanCondition(target, built.tableRefFor(Users as never), authorityFor(Users)))
  })
  return query.runAfter(async (found: unknown) => {
    if (Array.isArray(found) && found.length === 0) await assertMayAsk(target, authorityFor(Users), trx ?? cls.knex())
    return found
  })
}

/** The action and the row of a question. */
interface Target {
  readonly action: ActionName
  readonly cls: typeof Model
  readonly id: unknown
}

const never: Sql = sql('1 = 0')

function whoCanCondition({ action, cls, id }: Target, ref: string, authority: Actor | null | 'free'): Sql {
  const dialect = dialectOfClass(cls)
  const writes = action !== 'read'
  const visibleGrants = authority === 'free' ? undefined : readableGrants(authority)
  const visibleShares =
    authority === 'free' ? undefined : readableShares(authority, scopeOf(cls, authority, { dialect, ref: ROW, ids: [id] }))
  const scope: Scope = { ...scopeOf(cls, null, { dialect, ref: ROW, ids: [id], writes }), user: { ref, visibleGrants, visibleShares } }
  const asked = authority === 'free' || mayAsk(action, scopeOf(cls, authority, { dialect, ref: ROW }))
  const condition = all(isOneOf(cls, ROW, [id]), asked, effective(action, scope, { withDeleted: false }))
  if (typeof condition === 'boolean') return never
  const row = sql(`exists (select 1 from ?? as ?? where ${condition.sql})`, tableOf(cls), ROW, ...condition.bindings)
  return all(isActive(ref, dialect), row) as Sql
}

function isActive(ref: string, dialect: Dialect): Condition {
  const { hasIsEnabled, hasDeletedAt, column } = userTables().user
  return all(
    hasIsEnabled ? sql('?? = ?', `${ref}.${column('isEnabled')}`, dialect === 'sqlite' ? 1 : true) : true,
    hasDeletedAt ? sql('?? is null', `${ref}.${column('deletedAt')}`) : true,
  )
}

// A refused question finds no users. Only then is it necessary to look why.
async function assertMayAsk({ action, cls, id }: Target, authority: Actor | null | 'free', knex: TransactionOrKnex): Promise<void> {
  if (authority === 'free') return
  const scope = scopeOf(cls, authority, { dialect: dialectOfClass(cls), ref: ROW })
  const isTrue = async (condition: Condition) => {
    const found = all(isOneOf(cls, ROW, [id]), condition)
    if (typeof found === 'boolean') return found
    return await holds(knex as Knex, sql(`exists (select 1 from ?? as ?? where ${found.sql})`, tableOf(cls), ROW, ...found.bindings))
  }
  if (!(await isTrue(effective('read', scope, { withDeleted: false }))))
    throw new NotFoundError(message('row.noneWithId', { model: cls.name }))
  if (!(await isTrue(mayAsk(action, scope)))) throw new ForbiddenError(message('row.whoCan', { action, model: cls.name }))
}
