import type { Knex } from 'knex'
import type { Model } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { type ActionPermission, permissionsOf } from '../enforce/permissions.js'
import { actorOf, type UserLike } from '../enforce/perms-mixin.js'
import type { Actor } from '../policy/context.js'
import { words } from '../policy/words.js'
import { modelClass } from '../schema/model-class.js'
import { policiesOf } from './leaves.js'

/** Whether a user can do an action with the rows of a model. */
export interface Permission {
  readonly model: string
  /** 'read', 'create', 'update', 'delete', or a key of the policy such as 'publish'. */
  readonly action: string
  /** 'all': with every row; 'none': with no row; 'some': it depends on the row. */
  readonly rows: 'all' | 'none' | 'some'
  /** The condition in SQL for 'some'. check() has none and counts as true in it. */
  readonly sql: string | undefined
  /** The rule in words. */
  readonly words: string
}

/**
 * Returns what a user can do with the rows of models: for each action all, none, or those that satisfy a condition. It evaluates the
 * policies with the loaded roles of the user and reads no rows.
 *
 * It is for developers and operators: it checks no caller, and shows the rules to whoever reads its result.
 *
 * @param user a user with loaded roles, or the actor that perms.authenticate() returned; null for an anonymous caller
 * @throws RolesNotLoadedError, ConfigurationError before initPerms
 * @example console.table(whatCan(user, [Critter, User]))
 */
export function whatCan(
  user: UserLike | Actor | null,
  models: readonly (abstract new (...args: never[]) => Model)[],
): readonly Permission[] {
  const actor = actorOf(user)
  return [...policiesOf(models).keys()].flatMap((cls) => {
    const knex = cls.knex()
    if (!knex) throw new ConfigurationError('whatCan() needs a database. Call initPerms({ knex, ... }) first.')
    return permissionsOf(cls, actor).map((one) => shownPermission(modelClass(cls).name, one, knex))
  })
}

function shownPermission(model: string, { action, rows, condition, rule }: ActionPermission, knex: Knex): Permission {
  return { model, action, rows, sql: rows === 'some' ? inSql(condition, knex) : undefined, words: words(rule) }
}

const inSql = (condition: ActionPermission['condition'], knex: Knex): string =>
  typeof condition === 'boolean' ? String(condition) : knex.raw(condition.sql, condition.bindings as Knex.RawBinding[]).toString()
