import type { Model, TransactionOrKnex } from 'objection'
import { ConfigurationError, ForbiddenError } from '../core/errors.js'
import { scopeOf } from '../policy/compile.js'
import { all, type Condition, holds, sql } from '../policy/condition.js'
import { type Actor, authorityFor, bypassModel, runAsActor } from '../policy/context.js'
import { effective } from '../policy/effective.js'
import { hasReadableRules, unreadableFields } from '../policy/fields.js'
import { type Action, policyOf } from '../policy/policy.js'
import { type Policy, usesCheck } from '../policy/rules.js'
import { guardOf, protectTable } from '../query/protected-tables.js'
import { isGuardedBuilder } from '../query/query-builder.js'
import { type AbstractConstructor, type ActiveRecord, type Constructor, dialectOfClass } from '../record/active-record.js'
import { isIntermediate, lineage, markIntermediate, onDefinition, ownStatic } from '../schema/definition.js'
import { policyEnforcer } from './enforcer.js'
import { allows } from './evaluate.js'
import { mayInsert } from './inserts.js'
import { guardJoinTable } from './join-row.js'

/** A user, as the engine takes one: anything with an id and loaded roles. */
export interface UserLike {
  readonly id: string
}

/** What PermsMixin gives to each row. */
export interface Permissions {
  /** Whether the current user, or the one given, may read this row. */
  canRead(user?: UserLike | null): Promise<boolean>
  /** Whether they may update it. */
  canWrite(user?: UserLike | null): Promise<boolean>
  canDelete(user?: UserLike | null): Promise<boolean>
}

/** What PermsMixin gives to each class. */
export interface PermissionsStatics {
  /** Who may do what. Merges over the base's policy key by key; what is missing is denied. */
  policy: Policy
  /** Whether global admins are past the rules (default true); `'read'`: past the read rule only. */
  adminBypass: boolean | 'read'
  /** Guards of mixins that this class does without, such as `'domain'`. */
  unguarded: readonly string[]
  /** Whether the current user, or the one given, may create a row with these values. */
  canCreate<M extends Model>(this: Constructor<M>, values: Partial<M>, user?: UserLike | null): Promise<boolean>
  /** Lifts the rules of this model while fn runs. */
  bypassPerms<T>(fn: () => T): Promise<Awaited<T>>
}

// Set once, when the package is loaded: see users/defaults.
const conversion: { toActor: ((user: UserLike) => Actor) | null } = { toActor: null }

/** Sets how a user given by the application becomes an actor. */
export function registerToActor(convert: (user: UserLike) => Actor): void {
  conversion.toActor = convert
}

/** @throws RolesNotLoadedError, ConfigurationError before initPerms */
export function actorOf(user: UserLike | null): Actor | null {
  if (user === null) return null
  const { toActor } = conversion
  if (!toActor) throw new ConfigurationError('Import objection-perms from its root: the models are not loaded.')
  const { isEnabled, deletedAt } = user as { isEnabled?: boolean; deletedAt?: Date | null }
  // Whoever is disabled or deleted is nobody to every rule, however they came in.
  return isEnabled !== true || (deletedAt !== undefined && deletedAt !== null) ? null : toActor(user)
}

const overrides = ['canRead', 'canWrite', 'canDelete', 'canUpdate', 'canCreate']

onDefinition((cls) => {
  if (!(guardOf in cls)) return
  for (const c of lineage(cls)) {
    if (isIntermediate(c)) continue
    if (guardOf in c && ownStatic(c, 'unprotected') === true) {
      const { name } = c as unknown as { name: string }
      throw new ConfigurationError(
        `${name} has a policy and 'static unprotected = true'. Remove the latter, and use ${name}.bypassPerms(fn) where no rule may apply.`,
      )
    }
    const own = [...Object.getOwnPropertyNames(c), ...Object.getOwnPropertyNames((c as { prototype?: object }).prototype ?? {})]
    const bad = own.find((name) => overrides.includes(name))
    if (bad) {
      throw new ConfigurationError(
        `${(c as { name: string }).name} overrides ${bad}(): code there could not filter lists. Say it once in "static policy = { ... }", with check((row, actor) => ...) where no rule fits.`,
      )
    }
  }
  const Protected = cls as unknown as typeof Model
  protectTable(Protected, policyEnforcer)
  policyOf(Protected)
})

/**
 * Puts a model class under permissions: `static policy`, enforced on every query of the class.
 *
 * @param Base a class with ActiveRecordMixin
 * @example class AppModel extends PermsMixin(ActiveRecordMixin(Model)) {}
 */
export function PermsMixin<T extends AbstractConstructor<Model & ActiveRecord>>(
  Base: T,
): T & AbstractConstructor<Permissions> & PermissionsStatics {
  const Open = Base as unknown as AbstractConstructor<Model & ActiveRecord> & typeof Model
  abstract class Perms extends Open {
    static policy: Policy = {}
    static adminBypass: boolean | 'read' = true
    static unguarded: readonly string[] = []

    static getRelationUnsafe(name: string): unknown {
      const relation = (Open as unknown as { getRelationUnsafe(name: string): unknown }).getRelationUnsafe.call(this, name)
      if (relation && (relation as { joinTableModelClass?: unknown }).joinTableModelClass) guardJoinTable(relation)
      return relation
    }

    static override query(...args: [TransactionOrKnex?]): never {
      if (!isGuardedBuilder(this.QueryBuilder)) {
        throw new ConfigurationError(
          `${this.name}.QueryBuilder would go around the permissions: let it extend BasePermsModel.QueryBuilder instead of Objection's.`,
        )
      }
      return (Open as unknown as { query(...args: unknown[]): never }).query.call(this, ...args)
    }

    static async canCreate(values: object, user?: UserLike | null): Promise<boolean> {
      const cls = this as unknown as typeof Model
      const authority = user === undefined ? authorityFor(cls) : actorOf(user)
      const row = (this as unknown as { build(values: object): Model }).build(values)
      if (authority === 'free') return true
      return await runAsActor(authority, () => mayInsert({ cls, db: cls.knex(), ref: 't' }, row, authority))
    }

    static bypassPerms<R>(fn: () => R): Promise<Awaited<R>> {
      return bypassModel(this, fn)
    }

    canRead(user?: UserLike | null): Promise<boolean> {
      return can(this, 'read', user)
    }

    canWrite(user?: UserLike | null): Promise<boolean> {
      return can(this, 'update', user)
    }

    canDelete(user?: UserLike | null): Promise<boolean> {
      return can(this, 'delete', user)
    }

    override $formatJson(json: object): never {
      const shown = super.$formatJson(json as never) as unknown as Record<string, unknown>
      const cls = this.constructor as unknown as typeof Model
      if (!hasReadableRules(cls)) return shown as never
      const authority = authorityFor(cls)
      if (authority === 'free') return shown as never
      const scope = scopeOf(cls, authority, {
        dialect: dialectOfClass(cls as never),
        ref: 't',
        row: this as unknown as Record<string, unknown>,
      })
      for (const name of unreadableFields(scope)) delete shown[name]
      return shown as never
    }
  }
  Object.defineProperty(Perms, guardOf, { value: policyEnforcer })
  markIntermediate(Perms)
  return Perms as unknown as T & AbstractConstructor<Permissions> & PermissionsStatics
}

async function can(
  row: Model & ActiveRecord,
  action: Exclude<Action, 'create'>,
  user: UserLike | null | undefined,
  trx?: TransactionOrKnex,
): Promise<boolean> {
  const cls = row.constructor as typeof Model
  const authority = user === undefined ? authorityFor(cls) : actorOf(user)
  if (authority === 'free') return true
  if (row.$id() === undefined || row.$id() === null) return false
  const policy = policyOf(cls)
  const db = (trx ?? cls.knex()) as ReturnType<typeof cls.knex>
  const scope = scopeOf(cls, authority, { dialect: dialectOfClass(cls as never), ref: 'perms_row', writes: action !== 'read' })
  const table = (cls as unknown as { getTableName(): string }).getTableName()
  const mine: Condition = sql('?? = ?', 'perms_row.id', row.$id())
  const condition = all(mine, effective(action, scope, { withDeleted: false }))
  if (typeof condition === 'boolean') return condition
  if (
    !(await holds(db, {
      sql: `exists (select 1 from ?? as ?? where ${condition.sql})`,
      bindings: [table, 'perms_row', ...condition.bindings],
    }))
  )
    return false
  const rule = action === 'delete' ? policy.delete : policy.updateFrom
  if (action === 'read' || !usesCheck(rule)) return true
  try {
    return (await allows({ cls, db }, rule, row as unknown as Record<string, unknown>, scope, action)) !== false
  } catch (error) {
    if (error instanceof ForbiddenError) return false
    throw error
  }
}
