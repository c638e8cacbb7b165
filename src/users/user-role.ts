import { Model, type RelationMappings, type TransactionOrKnex } from 'objection'
import { UniqueViolationError, ValidationError } from '../core/errors.js'
import { message } from '../core/messages/message.js'
import { setClassName } from '../core/names.js'
import { inTransaction, isTransaction, onRollback, transaction } from '../database/transaction.js'
import { BasePermsModelWithoutId, type LibraryRow } from '../enforce/base-perms-model.js'
import { HasUserMixin } from '../mixins/has-user.js'
import { compile } from '../policy/compiler/compile.js'
import { all, any, type Condition, sql } from '../policy/compiler/condition.js'
import { globalRole } from '../policy/compiler/role-conditions.js'
import { columnSql, type Scope } from '../policy/compiler/scope.js'
import { asSystem } from '../policy/context.js'
import { namedDomain } from '../policy/domain-ref.js'
import { declareWriteLimits } from '../policy/policy.js'
import { registeredModel } from '../policy/registered-models.js'
import type { DomainId, UserId } from '../policy/registered-types.js'
import { anyOf, belowOwnRank, grantable, member, owner, type Policy } from '../policy/rules.js'
import type { AbstractConstructor, Constructor } from '../record/record-types.js'
import { type Runtime, runtimeSlot } from '../runtime.js'
import { column } from '../schema/column.js'
import { declareColumns } from '../schema/definition/declarations.js'
import { idSpecOf } from '../schema/ids.js'
import { CheckedWritesMixin, forbidImpersonation } from './caller/caller-restrictions.js'
import type { Domain } from './domain.js'
import { emitAfterCommit } from './events.js'
import { ReplaceableMixin, redirectToRegistered } from './replaceable.js'
import type { DomainRef, WithRoles } from './roles/has-roles-mixin.js'
import { checkRole, Role } from './roles/roles.js'
import type { User } from './user.js'

const isDomainRequired = runtimeSlot(() => false)

/** Applies `initPerms({ domains: 'required' })`: a grant must name a domain or '*'. */
export function requireDomains(runtime: Runtime, value: boolean): void {
  isDomainRequired.set(runtime, value)
}

/** Throws when a grant must name a domain and does not. @throws ValidationError */
function requireDomain(domainId: string | null | undefined): void {
  if (!isDomainRequired.get() || domainId !== undefined) return
  throw new ValidationError(message('role.domainNeeded'), [{ field: 'domain', message: message('field.required') }])
}

// A user joins a domain only by consent: the rows that they create belong to it.
const grantByRank = belowOwnRank({ joins: false })

/** The values of a new grant. */
interface Grant {
  readonly domain?: DomainRef | null
  readonly user?: Model & WithRoles
  readonly userId?: UserId
  readonly domainId?: DomainId | null
}

/**
 * UserRole without its id, which withColumns() may declare with another type.
 *
 * @example class Grant extends UserRole.withColumns({ id: column.integer() }) {} // a UserRoleWithoutId with a number as id
 */
export class UserRoleWithoutId extends ReplaceableMixin(
  CheckedWritesMixin(HasUserMixin(BasePermsModelWithoutId), () => forbidImpersonation(message('subject.roles'))),
  'userRole',
).withColumns({
  role: column.string({ maxLength: 100, minLength: 1 }).index(),
  domainId: column.uuid().references('domain.id', { onDelete: 'cascade' }).nullable().index(),
  // Unique indexes treat NULLs as different: this column holds '*' for a global role.
  domainKey: column.string({ maxLength: 36 }).hidden().default(''),
}) {
  static {
    setClassName(this, 'UserRole')
  }

  declare user?: User
  declare domain?: Domain | null
  static override adminBypass: boolean | 'read' = 'read'
  static override policy: Policy = {
    read: anyOf(owner(), member('domainId', [Role.ADMIN]), grantable()),
    create: grantByRank,
    update: belowOwnRank(),
    delete: belowOwnRank(),
  }
  static override relationMappings(): RelationMappings {
    return {
      domain: {
        relation: Model.BelongsToOneRelation,
        modelClass: registeredModel('domain'),
        join: { from: 'user_role.domainId', to: 'domain.id' },
      },
    }
  }

  /**
   * Grants a role. If the user holds it already, the existing grant is returned, also for concurrent calls. The roles of the given
   * user are reloaded.
   *
   * @throws ForbiddenError when the role is not below the caller's rank
   * @example await UserRole.create({ user, role: Role.ADMIN })
   * @example await UserRole.create({ user, role: 'editor', domain: 'press' })
   */
  static override create<M extends Model>(
    this: Constructor<M>,
    values: Omit<Partial<M>, 'domain' | 'user'> & Pick<Grant, 'domain' | 'user'>,
    trx?: TransactionOrKnex,
  ): Promise<M>
  static override async create(
    this: typeof UserRoleWithoutId,
    { domain, ...rest }: Grant,
    trx?: TransactionOrKnex,
  ): Promise<UserRoleWithoutId> {
    if (domain === undefined) requireDomain(rest.domainId)
    const domainId = domain === undefined ? (rest.domainId ?? null) : await this.domainIdOf(domain, trx)
    const given: object = { ...rest, domainId }
    const grant = this.build(given)
    let saved: UserRoleWithoutId
    try {
      // Uses a savepoint: PostgreSQL refuses all further statements after a failed one.
      if (isTransaction(trx)) saved = await transaction((savepoint) => grant.save(savepoint), { knex: trx })
      else saved = inTransaction() && !trx ? await transaction(() => grant.save()) : await grant.save(trx)
    } catch (error) {
      if (!(error instanceof UniqueViolationError)) throw error
      const known = await asSystem(() => this.query(trx).findOne({ userId: grant.userId, role: grant.role, domainId: grant.domainId }))
      if (!known) throw error
      saved = known
    }
    // The next step is often hasRole(): reload the roles.
    if (rest.user) {
      const { user } = rest
      const { roles } = user
      await user.loadRoles(trx)
      onRollback(trx, () => Object.assign(user, { roles }))
    }
    return saved
  }

  /**
   * Returns the id of a domain given as an object, an id or a name; null for '*' and null.
   *
   * @throws ValidationError when the domain does not exist
   */
  static async domainIdOf(domain: DomainRef | null, trx?: TransactionOrKnex): Promise<string | null> {
    if (domain === null || domain === '*') return null
    const { id, name } = namedDomain(domain)
    if (id) return id
    const found = (await asSystem(() =>
      registeredModel('domain')
        .query(trx)
        .findOne({ name: name ?? '' }),
    )) as Domain | undefined
    if (!found)
      throw new ValidationError(name === undefined ? message('role.unknownDomainId') : message('role.unknownDomain', { name }), [
        { field: 'domain', message: message('field.notThere') },
      ])
    return found.id
  }

  override async delete(trx?: TransactionOrKnex): Promise<void> {
    await super.delete(trx)
    const { user } = this
    if (!Array.isArray(user?.roles)) return
    const { roles } = user
    user.roles = roles.filter((grant) => grant.$id() !== this.$id())
    onRollback(trx, () => Object.assign(user, { roles }))
  }

  override async $beforeInsert(context: never): Promise<void> {
    requireDomain(this.domainId)
    await super.$beforeInsert(context)
    checkRole(this.role)
    this.domainId ??= null
    this.domainKey = keyOf(this.domainId)
  }

  override async $beforeUpdate(options: never, context: never): Promise<void> {
    await super.$beforeUpdate(options, context)
    if (this.role !== undefined) checkRole(this.role)
    if (this.domainId !== undefined) this.domainKey = keyOf(this.domainId)
  }

  override async $afterInsert(context: never): Promise<void> {
    await super.$afterInsert(context)
    const { userId, role, domainId } = this
    emitAfterCommit('roleGranted', { userId, role, domainId: domainId ?? null }, (context as { transaction?: unknown }).transaction)
  }
}
declareColumns(
  UserRoleWithoutId,
  () => ({
    userId: column.uuid().references('user.id', { onDelete: 'cascade' }).index().writableBy(belowOwnRank()),
    domainKey: column
      .string({ maxLength: Math.max(36, idSpecOf(registeredModel('domain'))?.maxLength ?? 0) })
      .hidden()
      .default(''),
  }),
  { uniques: [['userId', 'role', 'domainKey']] },
)

// These limits apply under every policy. Only global admins move a grant to another user or domain.
declareWriteLimits(
  UserRoleWithoutId,
  {
    on: ['create', 'update', 'delete'],
    reads: ['role', 'domainId', 'userId'],
    takes: message('limit.roles'),
    condition: (scope, action) => compile(action === 'create' ? grantByRank : belowOwnRank(), scope),
  },
  {
    on: ['update'],
    columns: ['userId', 'domainId'],
    takes: message('limit.grantMoves'),
    condition: (scope, _action, set) =>
      any(globalRole(scope, [Role.ADMIN]), all(isUnchanged(scope, 'userId', set), isUnchanged(scope, 'domainId', set))),
  },
)

const keyOf = (domainId: unknown): string => (domainId === null ? '*' : String(domainId))

function isUnchanged(scope: Scope, name: 'userId' | 'domainId', set: Readonly<Record<string, unknown>>): Condition {
  const value = set[name]
  if (value === undefined) return true
  const column = columnSql(scope, name)
  return value === null ? sql(`${column.sql} is null`, ...column.bindings) : sql(`${column.sql} = ?`, ...column.bindings, value)
}
redirectToRegistered(UserRoleWithoutId, 'userRole')

/**
 * A role of a user: global (`domainId` is null) or in one domain.
 *
 * @example const grant = await UserRole.create({ user, role: 'editor', domain: 'press' })
 */
export const UserRole: typeof UserRoleWithoutId & AbstractConstructor<LibraryRow> = UserRoleWithoutId as never
export interface UserRole extends UserRoleWithoutId, LibraryRow {}
