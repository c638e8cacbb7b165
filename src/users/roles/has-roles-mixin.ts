import { Model, type RelationMappings, type TransactionOrKnex } from 'objection'
import { RolesNotLoadedError } from '../../core/errors.js'
import { onRollback } from '../../database/transaction.js'
import { asSystem } from '../../policy/context.js'
import { isGrantIn } from '../../policy/domain-ref.js'
import { assertRegisteredUser, registeredModel } from '../../policy/registered-models.js'
import type { DomainId, RoleName } from '../../policy/registered-types.js'
import { holdsUsers, rolesSatisfying } from '../../policy/user-tables.js'
import { assertHome } from '../../query/home.js'
import type { AbstractConstructor, ActiveRecord } from '../../record/record-types.js'
import { markIntermediate, type RecordClass } from '../../schema/definition/declarations.js'
import { definitionOf } from '../../schema/definition/definition.js'
import { AccountMixin } from '../account/account-mixin.js'
import type { Token } from '../token.js'
import type { UserRole } from '../user-role.js'
import type { UserSetting } from '../user-setting.js'
import { Role } from './roles.js'

/**
 * A domain as an object, as `{ id }`, by its id or by its name; `'*'` for a global role. A string is a name, unless ids of domains
 * are UUIDs and it is a UUID.
 */
export type DomainRef = string | DomainId | DomainRow | { readonly id: DomainId }

/** A row of the domain model, with an id of any type. */
export interface DomainRow {
  readonly id: string | number
  readonly name: string
  readonly active: boolean
}

/** The members that HasRolesMixin adds to each row. */
export interface WithRoles {
  roles?: UserRole[]
  tokens?: Token[]
  settings?: UserSetting[]
  /**
   * Returns whether the user holds the role: globally; with `domain`, in that domain or globally; with `'any'`, anywhere. Without a
   * role it checks for any role. It is synchronous and reads loaded roles.
   *
   * @throws RolesNotLoadedError
   * @example user.hasRole('editor', { domain: 'press' })
   */
  hasRole(role?: RoleName, options?: { domain?: DomainRef | undefined }): boolean
  /** Grants a role, globally or in one domain. Granting a role twice has no effect. */
  grantRole(role: RoleName, options?: { domain?: DomainRef | undefined }, trx?: TransactionOrKnex): Promise<UserRole>
  /** Revokes the global role, or with `domain` the role in that domain. @returns whether the user held the role */
  revokeRole(role: RoleName, options?: { domain?: DomainRef | undefined }, trx?: TransactionOrKnex): Promise<boolean>
  /** Loads all roles of the user, whatever the caller may read. */
  loadRoles(trx?: TransactionOrKnex): Promise<this>
  /** Returns whether the user holds a role in the domain or is a global admin. */
  hasDomainAccess(domain: DomainRef): boolean
  /** Whether the user is a global admin or superadmin. */
  readonly isAdmin: boolean
  readonly isSuperadmin: boolean
  /** The ids of the active domains in which the user holds a role. */
  readonly domainIds: DomainId[]
  /** The number of loaded tokens; 0 when none are loaded. */
  readonly numTokens: number
}

/** Returns whether a grant has effect: global grants do, others when their domain is active. */
export function isEffectiveGrant(grant: UserRole): boolean {
  if (grant.domainId === null || grant.domainId === undefined) return true
  if (grant.domain === undefined) {
    throw new RolesNotLoadedError(
      'The domains of these roles are not loaded: call `await user.loadRoles()`, or fetch with withGraphFetched("roles.domain").',
    )
  }
  return grant.domain?.active === true
}

function isIn(grant: UserRole, domain: DomainRef): boolean {
  return domain === 'any' || isGrantIn({ domainId: grant.domainId, domainName: grant.domain?.name }, domain)
}

interface BaseStatics {
  afterGet(rows: readonly Model[], trx?: TransactionOrKnex): Promise<void>
}

/**
 * Gives a user model roles, tokens and settings, and the rules for accounts: their addresses have one form, a changed password
 * or identifier ends sessions, and only a higher rank changes the account of another user.
 *
 * @param Base a class with ActiveRecordMixin
 * @example class Account extends HasRolesMixin(PasswordMixin(BasePermsModel)).withColumns({ login: column.string() }) {}
 */
export function HasRolesMixin<T extends AbstractConstructor<Model & ActiveRecord>>(Base: T): T & AbstractConstructor<WithRoles>
export function HasRolesMixin(Base: AbstractConstructor<Model & ActiveRecord> & BaseStatics): AbstractConstructor<Model & ActiveRecord> {
  abstract class HasRoles extends AccountMixin(Base) {
    declare roles?: UserRole[]
    declare tokens?: Token[]
    declare settings?: UserSetting[]

    static relationMappings(this: RecordClass): RelationMappings {
      if (!holdsUsers(this)) return {}
      const own = `${this.getTableName()}.id`
      const many = (kind: 'userRole' | 'token' | 'userSetting', to: string) => ({
        relation: Model.HasManyRelation,
        modelClass: registeredModel(kind),
        join: { from: own, to },
      })
      return {
        roles: many('userRole', 'user_role.userId'),
        tokens: many('token', 'token.userId'),
        settings: many('userSetting', 'user_setting.userId'),
      }
    }

    static override async afterGet(rows: readonly Model[], trx?: TransactionOrKnex): Promise<void> {
      await super.afterGet(rows, trx)
      await loadRolesOf(rows as readonly HasRoles[], trx)
    }

    // A new user holds no roles: no query is needed.
    override async $afterInsert(context: never): Promise<void> {
      await super.$afterInsert(context)
      this.roles ??= []
    }

    hasRole(role?: RoleName, options: { domain?: DomainRef | undefined } = {}): boolean {
      const { roles } = this
      if (!Array.isArray(roles)) throw new RolesNotLoadedError()
      const wanted = role === undefined ? null : rolesSatisfying([role])
      return roles.some((grant) => {
        if (wanted !== null && !wanted.includes(grant.role)) return false
        const isGlobal = grant.domainId === null || grant.domainId === undefined
        if (isGlobal) return true
        if (options.domain === undefined && wanted !== null) return false
        return isEffectiveGrant(grant) && (options.domain === undefined || isIn(grant, options.domain))
      })
    }

    async grantRole(role: RoleName, options: { domain?: DomainRef | undefined } = {}, trx?: TransactionOrKnex): Promise<UserRole> {
      assertRegisteredUser(this)
      const values = { user: this, role, ...(options.domain === undefined ? {} : { domain: options.domain }) }
      return (registeredModel('userRole') as typeof UserRole).create(values, trx)
    }

    async revokeRole(role: RoleName, options: { domain?: DomainRef | undefined } = {}, trx?: TransactionOrKnex): Promise<boolean> {
      assertHome(this, trx)
      assertRegisteredUser(this)
      const UserRoleClass = registeredModel('userRole') as typeof UserRole
      const domainId = await UserRoleClass.domainIdOf(options.domain ?? null, trx)
      const grant = await UserRoleClass.query(trx).findOne({ userId: this.$id(), role, domainId })
      if (!grant) return false
      await grant.delete(trx)
      const { roles } = this
      if (!Array.isArray(roles)) return true
      this.roles = roles.filter((one) => one.id !== grant.id)
      onRollback(trx, () => Object.assign(this, { roles }))
      return true
    }

    async loadRoles(trx?: TransactionOrKnex): Promise<this> {
      await loadRolesOf([this], trx)
      return this
    }

    hasDomainAccess(domain: DomainRef): boolean {
      return (
        this.hasRole(Role.ADMIN) ||
        (this.roles ?? []).some((grant) => grant.domainId != null && isIn(grant, domain) && isEffectiveGrant(grant))
      )
    }

    get isAdmin(): boolean {
      return this.hasRole(Role.ADMIN)
    }

    get isSuperadmin(): boolean {
      return this.hasRole(Role.SUPERADMIN)
    }

    get domainIds(): string[] {
      if (!Array.isArray(this.roles)) throw new RolesNotLoadedError()
      return [...new Set(this.roles.flatMap((grant) => (grant.domainId != null && isEffectiveGrant(grant) ? [grant.domainId] : [])))]
    }

    get numTokens(): number {
      return this.tokens?.length ?? 0
    }
  }
  for (const name of ['isAdmin', 'isSuperadmin', 'domainIds', 'numTokens']) letColumnsHide(HasRoles.prototype, name)
  markIntermediate(HasRoles)
  return HasRoles
}

// An existing table may have a column with the name of a getter, such as is_admin. Its value then hides the getter in each row. The
// library itself asks hasRole(), never these getters.
function letColumnsHide(prototype: object, name: string): void {
  const { get } = Object.getOwnPropertyDescriptor(prototype, name) as { get: (this: Model) => unknown }
  Object.defineProperty(prototype, name, {
    configurable: true,
    get(this: Model) {
      return definitionOf(this.constructor).specs[name] ? undefined : get.call(this)
    },
    set(this: Model, value: unknown) {
      const { isStrict, specs } = definitionOf(this.constructor)
      if (isStrict && !specs[name])
        throw new TypeError(`${this.constructor.name}.${name} is computed from the roles: grant or revoke a role.`)
      Object.defineProperty(this, name, { value, writable: true, enumerable: true, configurable: true })
    },
  })
}

// All roles, whatever the caller may read: permission checks depend on them.
async function loadRolesOf(rows: readonly (Model & { roles?: UserRole[] })[], trx?: TransactionOrKnex): Promise<void> {
  if (rows.length === 0) return
  for (const row of rows) assertHome(row, trx)
  // Another user model may have the same ids: its users hold no roles.
  if (!rows.every((row) => holdsUsers(row.constructor))) {
    for (const row of rows) row.roles = []
    return
  }
  const ids = rows.map((row) => row.$id() as string)
  const grants = (await asSystem(() =>
    registeredModel('userRole').query(trx).whereIn('userId', ids).withGraphJoined('domain'),
  )) as UserRole[]
  for (const row of rows) {
    row.roles = grants.filter((grant) => grant.userId === row.$id())
    for (const grant of row.roles) grant.domain ??= null
  }
}
