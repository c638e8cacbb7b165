import type { Model, TransactionOrKnex } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import type { OptionNames } from '../core/known-options.js'
import type { UserLike } from '../enforce/perms-mixin.js'
import type { DomainId, DomainName, LibraryId, RoleName, UserId } from '../policy/registered-types.js'
import { type Rule, walk } from '../policy/rules.js'
import { assertShareRelation, markShareable, shareRelationsOf } from '../policy/share-relations.js'
import type { AbstractConstructor } from '../record/record-types.js'
import { markIntermediate } from '../schema/definition/declarations.js'
import { idProperties, onDefinition } from '../schema/definition/definition.js'

/**
 * With whom a row is shared: a user, the holders of a role, or the members of a domain.
 *
 * @example const subjects: ShareSubject[] = [user, { userId: user.id }, { role: 'editor' }, { role: 'editor', domain: 'press' }, { domain: 'press' }]
 */
export type ShareSubject =
  | UserLike
  | UserId
  | { readonly userId: UserId }
  | { readonly role: RoleName; readonly domain?: DomainName | null | undefined }
  | { readonly domain: DomainName }

/** Options of `row.share()`. */
export interface ShareOptions {
  /** When the share ends. Default: it does not, unless the caller's own share does. */
  readonly expiresAt?: Date | null | undefined
}

/** The names of the options of `row.share()`. */
export const shareOptionNames: OptionNames<ShareOptions> = { expiresAt: true }

/** A share of a row. */
export interface SharedRow {
  readonly id: LibraryId
  /** The relation, such as 'viewer'. */
  readonly relation: string
  readonly userId: UserId | null
  readonly role: string | null
  readonly domainId: DomainId | null
  readonly expiresAt: Date | null
  /** The user who shared the row; null for code without a caller. */
  readonly sharedById: UserId | null
  readonly createdAt: Date
}

/** The instance members that ShareableMixin adds. */
export interface Shareable {
  /**
   * Shares this row. A subject has one relation to a row: sharing it again replaces the relation and the expiry.
   *
   * Needs the rule `share` of the policy, which is owner() by default. Callers give only relations that they have: by a share of their
   * own, as the owner, or because they may update the row without any share. Their own share limits the expiry.
   *
   * @param subject a user, an id of a user, a role or a domain. Ids and domains must be readable for the caller
   * @param relation one of `static shareRelations`
   * @throws ValidationError for a relation that the model does not have, and an expiry in the past
   * @throws MissingReferenceError for a subject that does not exist or that the caller may not read
   * @throws ForbiddenError, NotFoundError
   * @example await memo.share(user, 'editor', { expiresAt: new Date(Date.now() + 86_400_000) })
   */
  share(subject: ShareSubject, relation: string, options?: ShareOptions, trx?: TransactionOrKnex): Promise<SharedRow>
  /**
   * Ends the share with a subject. Needs the same rights as the share itself; users may always end a share with themselves.
   *
   * @returns whether there was one
   * @throws ForbiddenError, NotFoundError
   * @example await memo.unshare(user)
   */
  unshare(subject: ShareSubject, trx?: TransactionOrKnex): Promise<boolean>
  /**
   * Returns the shares of this row that have not expired, the oldest first. Needs the rule `share`.
   *
   * @throws ForbiddenError, NotFoundError
   * @example const editors = (await memo.shares()).filter(({ relation }) => relation === 'editor')
   */
  shares(trx?: TransactionOrKnex): Promise<SharedRow[]>
}

/** The static members that ShareableMixin adds. */
export interface ShareableStatics {
  /** The relations in which rows are shared, in ascending order: each includes those before it. @defaultValue `['viewer', 'editor']` */
  shareRelations: readonly string[]
}

/** Does the work of ShareableMixin. src/users has the table of shares. */
export interface Sharing {
  share(row: Model, subject: ShareSubject, relation: string, options: ShareOptions, trx: TransactionOrKnex | undefined): Promise<SharedRow>
  unshare(row: Model, subject: ShareSubject, trx: TransactionOrKnex | undefined): Promise<boolean>
  shares(row: Model, trx: TransactionOrKnex | undefined): Promise<SharedRow[]>
  /** Notes that the library gave a new row its id, so that no earlier row had it. */
  noteNewId(row: Model): void
}

// Set when the package is loaded: see users/shares.
const service: { sharing: Sharing | null } = { sharing: null }

/** Registers the functions that read and write shares. */
export function registerSharing(sharing: Sharing): void {
  service.sharing = sharing
}

function sharing(): Sharing {
  if (service.sharing) return service.sharing
  throw new ConfigurationError("The models are not loaded. Import from 'objection-perms', the root of the package.")
}

const namePattern = /^[a-z][A-Za-z0-9]{0,63}$/

// The rules of a policy are checked with the policy.
onDefinition((cls, { specs }) => {
  for (const [name, { readable, writable }] of Object.entries(specs)) {
    for (const rule of [readable, writable]) {
      for (const part of rule ? walk(rule as Rule) : [])
        if (part.kind === 'shared') assertShareRelation(`${cls.name}.${name}`, cls, part.relation)
    }
  }
})

onDefinition((cls) => {
  if (!('shareRelations' in cls)) return
  const given: unknown = cls.shareRelations
  const at = `${cls.name}.shareRelations`
  if (!Array.isArray(given) || given.length === 0)
    throw new ConfigurationError(`${at} must be a list of relations in ascending order, such as ['viewer', 'editor'].`)
  const bad = given.find((name) => typeof name !== 'string' || !namePattern.test(name))
  if (bad !== undefined)
    throw new ConfigurationError(`${at}: '${String(bad)}' is not the name of a relation. Use letters and digits, such as 'viewer'.`)
  const twice = given.find((name, i) => given.indexOf(name) !== i)
  if (twice !== undefined) throw new ConfigurationError(`${at} names '${String(twice)}' twice. Each relation includes those before it.`)
  if (idProperties(cls).length !== 1)
    throw new ConfigurationError(`${cls.name} has an id of several columns, so its rows cannot be shared. Give it an id of one column.`)
})

/**
 * Lets single rows be shared: with users, roles and domains, in relations such as 'viewer' and 'editor'. The rule shared() allows the
 * subjects of a share, and the action `share` decides who shares a row: the owner, unless the policy has a rule for it.
 *
 * Needs PermsMixin or BasePermsModel, and the table `row_share` of the packaged migrations.
 *
 * @example
 * class Memo extends ShareableMixin(UserOwnershipMixin(BasePermsModel)).withColumns({ title: column.string() }) {
 *   static override policy: Policy<Memo> = { read: anyOf(owner(), shared('viewer')), update: anyOf(owner(), shared('editor')) }
 * }
 */
export function ShareableMixin<T extends AbstractConstructor<Model>>(Base: T): T & AbstractConstructor<Shareable> & ShareableStatics
export function ShareableMixin(Base: AbstractConstructor<Model>): AbstractConstructor<Model & Shareable> & ShareableStatics {
  abstract class WithShares extends Base {
    static shareRelations: readonly string[] = shareRelationsOf(Base)

    override async $beforeInsert(context: never): Promise<void> {
      const isGiven = ((this.$id() as unknown) ?? undefined) !== undefined
      await super.$beforeInsert(context)
      if (!isGiven) sharing().noteNewId(this)
    }

    share(subject: ShareSubject, relation: string, options: ShareOptions = {}, trx?: TransactionOrKnex): Promise<SharedRow> {
      return sharing().share(this, subject, relation, options, trx)
    }

    unshare(subject: ShareSubject, trx?: TransactionOrKnex): Promise<boolean> {
      return sharing().unshare(this, subject, trx)
    }

    shares(trx?: TransactionOrKnex): Promise<SharedRow[]> {
      return sharing().shares(this, trx)
    }
  }
  markShareable(WithShares)
  markIntermediate(WithShares)
  return WithShares
}
