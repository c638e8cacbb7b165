import type { Knex } from 'knex'
import type { Model, Pojo, TransactionOrKnex } from 'objection'
import { ConfigurationError, ForbiddenError } from '../core/errors.js'
import type { ActionName } from '../policy/actions.js'
import { all, holds } from '../policy/compiler/condition.js'
import { scopeOf } from '../policy/compiler/scope.js'
import { type Actor, authorityFor, bypassModel, runAsActor } from '../policy/context.js'
import { effective } from '../policy/effective.js'
import { hasReadableRules, unreadableFields } from '../policy/fields.js'
import { assertAction, decidingAction, policyOf, ruleOf } from '../policy/policy.js'
import { assertRegisteredUser } from '../policy/registered-models.js'
import { type Policy, usesCheck } from '../policy/rules.js'
import { isActiveUser } from '../policy/user-tables.js'
import { assertHome } from '../query/home.js'
import { enforcerKey, protectTable } from '../query/inspection/protected-tables.js'
import type { ObjectionRelation } from '../query/objection-internals.js'
import { isEnforcingBuilder, noteDerivedCode } from '../query/query-builder.js'
import { ActiveRecordMixin } from '../record/active-record.js'
import { dialectOfClass } from '../record/codec.js'
import type { AbstractConstructor, ActiveRecord, ActiveRecordStatics, Constructor } from '../record/record-types.js'
import { lineage, ownStatic, tableOf } from '../schema/class-statics.js'
import { isIntermediate, markIntermediate } from '../schema/definition/declarations.js'
import { onDefinition } from '../schema/definition/definition.js'
import { classOf, type ModelClass, modelClass, valuesByName } from '../schema/model-class.js'
import { policyEnforcer } from './enforcer.js'
import { allows, hasId, isOneOf } from './evaluate.js'
import { mayInsert } from './inserts.js'
import { protectJoinTable } from './join-row.js'
import { policyObserver } from './policy-observer.js'

/** A user as permission methods accept it: an object with an id and loaded roles. */
export interface UserLike {
  readonly id: string | number
}

/** The instance methods that PermsMixin adds. */
export interface Permissions {
  /** Returns whether a user may read this row. @param user Default: the current user. `null`: an anonymous caller. */
  canRead(user?: UserLike | null): Promise<boolean>
  /** Returns whether a user may update this row. */
  canWrite(user?: UserLike | null): Promise<boolean>
  /** Returns whether a user may delete this row. */
  canDelete(user?: UserLike | null): Promise<boolean>
  /**
   * Returns whether a user may do an action with this row: 'read', 'update', 'delete', 'restore' for a model with SoftDeleteMixin, or
   * a key of the policy such as 'publish'.
   *
   * @throws ConfigurationError for an action that the policy does not have
   * @example if (await row.can('publish')) await row.update({ isPublic: true })
   */
  can(action: ActionName, user?: UserLike | null): Promise<boolean>
}

/** The static members that PermsMixin adds. */
export interface PermissionsStatics {
  /** The rules of each action. They override the base class's policy action by action. Actions without a rule are denied. */
  policy: Policy
  /** Whether global admins bypass the rules; `'read'`: only the read rule. @defaultValue true */
  adminBypass: boolean | 'read'
  /** The names of mixin conditions that this class does not need, such as `'domain'`. */
  unguarded: readonly string[]
  /** Returns whether a user may create a row with these values. @param user Default: the current user. */
  canCreate<M extends Model>(this: Constructor<M>, values: Partial<M>, user?: UserLike | null): Promise<boolean>
  /** Runs fn without the rules of this model. */
  bypassPerms<T>(fn: () => T): Promise<Awaited<T>>
}

// Set when the package is loaded: see users/defaults.
const conversion: { toActor: ((user: UserLike) => Actor) | null } = { toActor: null }

/** Registers the function that converts a user of the application to an actor. */
export function registerToActor(convert: (user: UserLike) => Actor): void {
  conversion.toActor = convert
}

/** Returns the actor for a user, or null for a disabled or deleted one. An actor keeps its session. @throws RolesNotLoadedError, ConfigurationError */
export function actorOf(given: UserLike | Actor | null): Actor | null {
  if (given === null) return null
  const user = userOf(given)
  assertHome(user)
  assertRegisteredUser(user)
  // To every rule, a disabled or deleted user is an anonymous caller.
  return isActiveUser(user) ? enabledActorOf(given) : null
}

const userOf = (given: UserLike | Actor): UserLike => (isActor(given) ? (given.user as UserLike) : given)

/** Returns the actor for a user as it would be if the user were enabled. */
export function enabledActorOf(given: UserLike | Actor): Actor {
  const user = userOf(given)
  assertHome(user)
  assertRegisteredUser(user)
  const { toActor } = conversion
  if (!toActor) throw new ConfigurationError("The models are not loaded. Import from 'objection-perms', the root of the package.")
  return isActor(given) ? given : toActor(user)
}

// perms.authenticate() returns an actor, with the session of its token.
function isActor(given: UserLike | Actor): given is Actor {
  return 'grants' in given && Array.isArray(given.grants) && 'sessionId' in given
}

const overrides = ['canRead', 'canWrite', 'canDelete', 'canUpdate', 'canCreate']

onDefinition((cls) => {
  if (!(enforcerKey in cls)) return
  for (const c of lineage(cls)) {
    if (isIntermediate(c)) continue
    if (enforcerKey in c && ownStatic(c, 'unprotected') === true) {
      const { name } = modelClass(c)
      throw new ConfigurationError(
        `${name} has a policy and 'static unprotected = true'. Remove 'unprotected', and use ${name}.bypassPerms(fn) for code without rules.`,
      )
    }
    const own = [...Object.getOwnPropertyNames(c), ...Object.getOwnPropertyNames(modelClass(c).prototype ?? {})]
    const bad = own.find((name) => overrides.includes(name))
    if (bad) {
      throw new ConfigurationError(
        `${modelClass(c).name} overrides ${bad}(), which does not restrict lists. Write the rule in "static policy = { ... }"; use check((row, actor) => ...) if no other rule fits.`,
      )
    }
  }
  protectTable(cls, policyEnforcer)
  policyOf(cls)
})

/** The static members of the base class that PermsMixin calls. */
interface BaseStatics extends Omit<ModelClass, 'prototype' | 'query'> {
  query(...args: [TransactionOrKnex?]): never
  build(values: object): Model
  getRelationUnsafe(name: string): ObjectionRelation | null
}

/**
 * Creates a model class with permissions: every query of the class enforces its `static policy`.
 *
 * @param Base an Objection model class, such as the base class of an existing application. Without ActiveRecordMixin, it gets that too.
 * @example
 * class Task extends PermsMixin(AppModel) {
 *   static override policy = { read: owner('userId'), create: authenticated(), update: owner('userId') }
 * }
 */
export function PermsMixin<T extends AbstractConstructor<Model & ActiveRecord> & ActiveRecordStatics>(
  Base: T,
): T & AbstractConstructor<Permissions> & PermissionsStatics
export function PermsMixin<T extends AbstractConstructor<Model>>(
  Base: T,
): T & AbstractConstructor<ActiveRecord & Permissions> & ActiveRecordStatics & PermissionsStatics
export function PermsMixin(Base: AbstractConstructor<Model>): AbstractConstructor<ActiveRecord & Permissions> & PermissionsStatics {
  const Active = ('columnSpecs' in Base ? Base : ActiveRecordMixin(Base)) as unknown as AbstractConstructor<Model & ActiveRecord> &
    BaseStatics
  abstract class Perms extends Active {
    static policy: Policy = {}
    static adminBypass: boolean | 'read' = true
    static unguarded: readonly string[] = []

    static override getRelationUnsafe(name: string): ObjectionRelation | null {
      const relation = super.getRelationUnsafe(name)
      if (relation?.joinTableModelClass) protectJoinTable(relation)
      return relation
    }

    static override query(...args: [TransactionOrKnex?]): never {
      if (!isEnforcingBuilder(this.QueryBuilder)) {
        throw new ConfigurationError(
          `${this.name}.QueryBuilder does not enforce permissions. Let it extend BasePermsModel.QueryBuilder instead of Objection's QueryBuilder.`,
        )
      }
      return super.query(...args)
    }

    static async canCreate(values: object, user?: UserLike | null): Promise<boolean> {
      const cls = modelClass(this)
      const authority = user === undefined ? authorityFor(cls) : actorOf(user)
      const row = this.build(values)
      if (authority === 'free') return true
      return await runAsActor(authority, () => mayInsert({ cls, db: cls.knex(), ref: 't' }, row, authority))
    }

    static bypassPerms<R>(fn: () => R): Promise<Awaited<R>> {
      return bypassModel(this, fn)
    }

    canRead(user?: UserLike | null): Promise<boolean> {
      return mayAct(this, 'read', user)
    }

    canWrite(user?: UserLike | null): Promise<boolean> {
      return mayAct(this, 'update', user)
    }

    canDelete(user?: UserLike | null): Promise<boolean> {
      return mayAct(this, 'delete', user)
    }

    async can(action: ActionName, user?: UserLike | null): Promise<boolean> {
      return await mayAct(this, action, user)
    }

    override $formatJson(json: Pojo): Pojo {
      const shown: Record<string, unknown> = super.$formatJson(json)
      const cls = classOf(this)
      if (!hasReadableRules(cls)) return shown
      const authority = authorityFor(cls)
      if (authority === 'free') return shown
      const scope = scopeOf(cls, authority, {
        dialect: dialectOfClass(cls),
        ref: 't',
        row: valuesByName(this),
      })
      for (const name of unreadableFields(scope)) delete shown[name]
      return shown
    }
  }
  Object.defineProperty(Perms, enforcerKey, { value: policyEnforcer })
  markIntermediate(Perms)
  noteDerivedCode(Active.query, Perms.query)
  return Perms
}

/** Returns whether a user may do an action with a row. @param user Default: the current user */
export async function mayAct(row: Model, asked: ActionName, user?: UserLike | Actor | null, trx?: TransactionOrKnex): Promise<boolean> {
  assertHome(row, trx)
  const cls = classOf(row)
  assertAction(cls, asked)
  if (asked === 'create')
    throw new ConfigurationError(`${cls.name}: a row that exists cannot be created. Use ${cls.name}.canCreate(values).`)
  const authority = user === undefined ? authorityFor(cls) : actorOf(user)
  if (authority === 'free') return true
  if (!hasId(row)) return false
  const policy = policyOf(cls)
  const action = decidingAction(policy, asked)
  const db = trx ?? cls.knex()
  const ids = [row.$id()]
  if (policyObserver.asked) await policyObserver.asked({ cls, action: asked, actor: authority, db: db as Knex, id: row.$id() })
  const scope = scopeOf(cls, authority, { dialect: dialectOfClass(cls), ref: 'perms_row', ids, writes: action !== 'read' })
  const table = tableOf(cls)
  const mine = isOneOf(cls, 'perms_row', ids)
  const condition = all(mine, effective(action, scope, { withDeleted: asked === 'restore' }))
  if (typeof condition === 'boolean') return condition
  if (
    !(await holds(db, {
      sql: `exists (select 1 from ?? as ?? where ${condition.sql})`,
      bindings: [table, 'perms_row', ...condition.bindings],
    }))
  )
    return false
  const rule = ruleOf(policy, action)
  if (action === 'read' || !usesCheck(rule)) return true
  try {
    return (await allows({ cls, db }, rule, valuesByName(row), scope, action)) !== false
  } catch (error) {
    if (error instanceof ForbiddenError) return false
    throw error
  }
}
