import { ConfigurationError } from '../core/errors.js'
import { assertKnownOptions, type OptionNames } from '../core/known-options.js'
import { memoize } from '../core/memoize.js'
import type { IdColumn, RelatedRow, RelationName, RowMember } from '../record/row-names.js'
import type { RuleLike } from '../schema/column.js'
import type { ActionName } from './actions.js'
import type { Actor } from './context.js'
import type { DomainName, RoleName } from './registered-types.js'
import type { FactorRule, RecentRule } from './session-rules.js'

declare const rowOf: unique symbol

/** A rule that decides who may act on a row of type `R`. */
// biome-ignore lint/suspicious/noExplicitAny: a rule for rows of any type
export interface Rule<R extends object = any> extends RuleLike {
  readonly [rowOf]?: (row: R) => void
}

/** A rule that has a form in SQL and can thus restrict lists: every rule except check(). */
// biome-ignore lint/suspicious/noExplicitAny: a rule for rows of any type
export interface SqlRule<R extends object = any> extends Rule<R> {
  readonly sql: true
}

/**
 * The rules of a model for each action. An action without a rule is denied; read and delete fall back to update.
 *
 * With the model as `R`, the names in where(), owner() and related() must be those of its columns and relations.
 *
 * @example
 * class Note extends HasUserMixin(BasePermsModel).withColumns({ isShared: column.boolean() }) {
 *   static override policy: Policy<Note> = { read: anyOf(where({ isShared: true }), owner()), create: authenticated() }
 * }
 */
// biome-ignore lint/suspicious/noExplicitAny: without a row type, a policy for rows of any type
export interface Policy<R extends object = any> {
  readonly read?: SqlRule<R>
  /**
   * One rule, or `{ own, others }` to let callers create rows for other users: `own` for rows that belong to the caller or to nobody,
   * `others` for rows that belong to another user. With one rule, only admins set another owner.
   */
  readonly create?: Rule<R> | { readonly own: Rule<R>; readonly others: Rule<R> }
  /** One rule that must hold before and after, or `{ from, to }` if an update may move a row out of the rule that allowed it. */
  readonly update?: Rule<R> | { readonly from: Rule<R>; readonly to: Rule<R> }
  readonly delete?: Rule<R>
  /** Actions of the application, such as `publish: role('editor')`. A row must be readable for them. They fall back to nothing. */
  readonly [action: string]:
    | Rule<R>
    | { readonly from: Rule<R>; readonly to: Rule<R> }
    | { readonly own: Rule<R>; readonly others: Rule<R> }
    | undefined
}

export type Scalar = string | number | boolean | bigint | Date

/** The comparisons of `where()` with one column. */
export interface Comparison<V = Scalar> {
  readonly eq?: V | null
  readonly ne?: V | null
  readonly gt?: V
  readonly gte?: V
  readonly lt?: V
  readonly lte?: V
  readonly in?: readonly V[]
  readonly notIn?: readonly V[]
  /** Case-sensitive: % matches any text, _ one character, \ escapes the next character. */
  readonly like?: string
  /** true: the column is NULL; false: it is not NULL. */
  readonly null?: boolean
}

// Not distributed over the values of an enum, so that a list may hold several of them.
type Comparable<V> = [V] extends [Scalar] ? V | readonly V[] | Comparison<V> : never

/** Conditions by column: a value, a list of values, null, or a comparison. Properties with other values cannot be compared. */
export type WhereConditions<R extends object> = {
  readonly [K in keyof R as K extends RowMember ? never : NonNullable<R[K]> extends Scalar ? K : never]?: Comparable<
    NonNullable<R[K]>
  > | null
}

// The internal forms of the rules, for compile().
export interface ConstantRule extends SqlRule {
  readonly kind: 'constant'
  readonly value: boolean
}
export interface AuthenticatedRule extends SqlRule {
  readonly kind: 'authenticated'
}
export interface OwnerRule extends SqlRule {
  readonly kind: 'owner'
  readonly field: string | undefined
}
export interface SelfRule extends SqlRule {
  readonly kind: 'self'
}
export interface RoleRule extends SqlRule {
  readonly kind: 'role'
  readonly roles: readonly string[]
  readonly domain: DomainName | undefined
}
export interface AbilityRule extends SqlRule {
  readonly kind: 'ability'
  readonly ability: string
}
export interface WhereRule extends SqlRule {
  readonly kind: 'where'
  readonly conditions: Readonly<Record<string, unknown>>
}
export interface RelatedRule extends SqlRule {
  readonly kind: 'related'
  readonly relation: string
  readonly rule: SqlRule
  /** The most steps along a relation to the same model. Undefined: one step, without recursion. */
  readonly depth: number | undefined
}
export interface ManyRule extends Rule {
  readonly kind: 'anyOf' | 'allOf'
  readonly rules: readonly Rule[]
}
export interface NotRule extends Rule {
  readonly kind: 'not'
  readonly rule: Rule
}
export interface CheckRule extends Rule {
  readonly kind: 'check'
  readonly test: (row: object, actor: Actor | null) => boolean | Promise<boolean>
}
/** Rules of the library's own models and mixins. */
export interface RankRule extends SqlRule {
  readonly kind: 'rank'
  /** Whether the grant may be the user's first one in the domain. */
  readonly joins: boolean
}
export interface MemberRule extends SqlRule {
  readonly kind: 'member'
  /** The column that holds the domain's id. */
  readonly field: string
  /** The roles that count there; undefined: any role. */
  readonly roles: readonly string[] | undefined
}
/** Allows holders of a declared role to read and make the grants of the roles that it may grant. */
export interface GrantorRule extends SqlRule {
  readonly kind: 'grantor'
}
export interface DelegateRule extends SqlRule {
  readonly kind: 'delegate'
}
export interface AllowedRule extends SqlRule {
  readonly kind: 'allowed'
  readonly action: ActionName
}
export interface BeforeRule extends SqlRule {
  readonly kind: 'before'
  readonly rule: SqlRule
}
export interface ColleagueRule extends SqlRule {
  readonly kind: 'colleague'
  /** The roles that the caller needs in the common domain; undefined: any role. */
  readonly roles: readonly string[] | undefined
}
/** Allows callers with whom the row is shared. */
export interface SharedRule extends SqlRule {
  readonly kind: 'shared'
  /** The relation that the caller needs, or one that includes it. */
  readonly relation: string
}
export type AnyRule =
  | ConstantRule
  | AuthenticatedRule
  | OwnerRule
  | SelfRule
  | RoleRule
  | AbilityRule
  | WhereRule
  | RelatedRule
  | AllowedRule
  | BeforeRule
  | ManyRule
  | NotRule
  | CheckRule
  | RankRule
  | MemberRule
  | ColleagueRule
  | DelegateRule
  | GrantorRule
  | SharedRule
  | RecentRule
  | FactorRule

const freeze = <T extends object>(rule: T): T => Object.freeze(rule)

/**
 * Allows every caller, signed in or not.
 *
 * @example const policy: Policy = { read: everyone() }
 */
export const everyone = (): SqlRule => freeze<ConstantRule>({ kind: 'constant', sql: true, value: true })

/**
 * Allows no caller, except admins if `adminBypass` is set.
 *
 * @example const policy: Policy = { delete: nobody() }
 */
export const nobody = (): SqlRule => freeze<ConstantRule>({ kind: 'constant', sql: true, value: false })

/**
 * Allows any signed-in user.
 *
 * @example const policy: Policy = { create: authenticated() }
 */
export const authenticated = (): SqlRule => freeze<AuthenticatedRule>({ kind: 'authenticated', sql: true })

/**
 * Allows the owner of the row. A row without an owner has none.
 *
 * @param field the column with the owner's id. Default: the model's `userField`, which is 'userId'.
 * @example const policy: Policy = { update: owner() }
 */
// biome-ignore lint/suspicious/noExplicitAny: without a row type, any column
export const owner = <R extends object = any>(field?: NoInfer<IdColumn<R>>): SqlRule<R> =>
  freeze<OwnerRule>({ kind: 'owner', sql: true, field })

/**
 * Allows the user that the row represents. For user models only.
 *
 * @example const policy: Policy = { update: self() }
 */
export const self = (): SqlRule => freeze<SelfRule>({ kind: 'self', sql: true })

/**
 * Allows users who hold one of these roles globally. With `domain` (name, id or 'any'), a role in that domain counts too. On a model
 * with HasDomainMixin, a role in the row's own domain counts too.
 *
 * @example role(Role.ADMIN)
 * @example role(['editor', 'author'], { domain: 'press' })
 */
export function role(roles: RoleName | readonly RoleName[], options: { domain?: DomainName | undefined } = {}): SqlRule {
  const list = typeof roles === 'string' ? [roles] : [...roles]
  if (list.length === 0 || list.some((name) => typeof name !== 'string' || name === '')) {
    throw new ConfigurationError('role() needs the name of a role, for example role(Role.ADMIN).')
  }
  return freeze<RoleRule>({ kind: 'role', sql: true, roles: freeze(list), domain: options.domain })
}

/**
 * Allows callers whose API key has this ability, and callers without an API key.
 *
 * @example const policy: Policy = { read: ability('reports:read') }
 */
export const ability = (name: string): SqlRule => freeze<AbilityRule>({ kind: 'ability', sql: true, ability: name })

/**
 * Allows rows with these values. A comparison with NULL is false, and its negation by not() is true.
 *
 * @throws ConfigurationError for undefined values
 * @example where<Critter>({ isAdoptable: true, species: ['cat', 'dog'], age: { lt: 10 } })
 */
// biome-ignore lint/suspicious/noExplicitAny: without a row type, any columns
export function where<R extends object = any>(conditions: NoInfer<WhereConditions<R>>): SqlRule<R> {
  for (const [name, value] of Object.entries(conditions)) {
    const parts = isComparison(value) ? Object.values(value) : [value]
    if (parts.some((part) => part === undefined || (Array.isArray(part) && part.includes(undefined)))) {
      throw new ConfigurationError(`where({ ${name}: undefined }): use null for NULL, or leave ${name} out.`)
    }
  }
  return freeze<WhereRule>({ kind: 'where', sql: true, conditions: freeze({ ...conditions }) })
}

/** Returns whether a value is a comparison object, and not a value or a list of values. */
export function isComparison(value: unknown): value is Comparison {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}

// One rule type for each relation: related<Post>('project', ...) names the row's type only, and leaves N to all relations of Post.
type RelatedRowRule<R, N> = N extends string ? SqlRule<NoInfer<RelatedRow<R, N>>> : never

/** How `related()` follows a relation. */
export interface RelatedOptions {
  /**
   * Whether related rows of related rows count too: the parent, its parent, and so on. The relation must lead to the same model.
   *
   * @defaultValue false
   */
  readonly recursive?: boolean | undefined
  /** The most steps of `recursive`, from 1 to 1000. @defaultValue 32 */
  readonly depth?: number | undefined
}

/**
 * Allows rows with at least one related row that satisfies the rule. Global scopes of the related model apply, such as soft
 * deletion. Its policy applies with allowed().
 *
 * With `recursive`, it is related() applied repeatedly: the parent satisfies the rule, or the parent's parent, and so on. The row itself
 * does not count. Global scopes apply at each step, so rows below a deleted one do not see beyond it.
 *
 * @throws ConfigurationError for a depth that is not a whole number from 1 to 1000, and one without `recursive`
 * @example related('project', where({ isPublic: true }))
 * @example related('ticket', allowed('read'))
 * @example const policy: Policy = { read: anyOf(owner(), related('parent', owner(), { recursive: true })) }
 */
// biome-ignore lint/suspicious/noExplicitAny: without a row type, any relation
export const related = <R extends object = any, N extends RelationName<R> = RelationName<R>>(
  relation: N,
  rule: RelatedRowRule<R, N>,
  options: RelatedOptions = {},
): SqlRule<R> => freeze<RelatedRule>({ kind: 'related', sql: true, relation, rule, depth: depthOf(relation, options) })

/** The most steps along a relation, and their default. */
const MAX_DEPTH = 1000
const DEFAULT_DEPTH = 32

const relatedOptionNames: OptionNames<RelatedOptions> = { recursive: true, depth: true }

function depthOf(relation: string, options: RelatedOptions): number | undefined {
  const at = `related('${relation}')`
  assertKnownOptions(options, relatedOptionNames, at)
  const { recursive = false, depth } = options
  if (typeof recursive !== 'boolean') throw new ConfigurationError(`${at}: recursive is true or false.`)
  if (!recursive && depth !== undefined) throw new ConfigurationError(`${at}: depth needs { recursive: true }.`)
  if (depth !== undefined && !(Number.isInteger(depth) && depth >= 1 && depth <= MAX_DEPTH))
    throw new ConfigurationError(`${at}: depth is a whole number from 1 to ${MAX_DEPTH}.`)
  return recursive ? (depth ?? DEFAULT_DEPTH) : undefined
}

/**
 * Allows related rows with which the caller may do an action, by the related model's own policy: its rules, global scopes, bypass for
 * admins and abilities. Only inside related().
 *
 * @param action Default: 'read'
 * @example const policy: Policy = { read: related('ticket', allowed('read')) }
 */
export const allowed = (action: ActionName = 'read'): SqlRule => freeze<AllowedRule>({ kind: 'allowed', sql: true, action })

/**
 * Allows an update by the row as it was before it. Only in `update.to`. The row is locked from then on.
 *
 * @example
 * // Only the earlier assignee may close a ticket.
 * const policy: Policy = { update: { from: authenticated(), to: anyOf(where({ status: 'open' }), before(owner('assigneeId'))) } }
 */
// biome-ignore lint/suspicious/noExplicitAny: without a row type, a rule for rows of any type
export const before = <R extends object = any>(rule: SqlRule<NoInfer<R>>): SqlRule<R> =>
  freeze<BeforeRule>({ kind: 'before', sql: true, rule })

/**
 * Allows what at least one of the rules allows; nothing if there are none.
 *
 * @example const policy: Policy = { read: anyOf(owner(), role('editor')) }
 */
// biome-ignore lint/suspicious/noExplicitAny: without a row type, rules for rows of any type
export function anyOf<R extends object = any>(...rules: SqlRule<NoInfer<R>>[]): SqlRule<R>
// biome-ignore lint/suspicious/noExplicitAny: without a row type, rules for rows of any type
export function anyOf<R extends object = any>(...rules: Rule<NoInfer<R>>[]): Rule<R>
export function anyOf(...rules: Rule[]): Rule {
  return many('anyOf', rules)
}

/**
 * Allows what all of the rules allow; everything if there are none.
 *
 * @example const policy: Policy = { update: allOf(owner(), where({ state: 'draft' })) }
 */
// biome-ignore lint/suspicious/noExplicitAny: without a row type, rules for rows of any type
export function allOf<R extends object = any>(...rules: SqlRule<NoInfer<R>>[]): SqlRule<R>
// biome-ignore lint/suspicious/noExplicitAny: without a row type, rules for rows of any type
export function allOf<R extends object = any>(...rules: Rule<NoInfer<R>>[]): Rule<R>
export function allOf(...rules: Rule[]): Rule {
  return many('allOf', rules)
}

function many(kind: 'anyOf' | 'allOf', rules: readonly Rule[]): Rule {
  if (rules.some((rule) => typeof rule !== 'object' || rule === null))
    throw new ConfigurationError(`${kind}(): every argument must be a rule.`)
  return freeze<ManyRule & { sql: true }>({ kind, rules: freeze([...rules]), sql: true })
}

/**
 * Allows what the rule does not allow.
 *
 * @example const policy: Policy = { read: not(where({ isHidden: true })) }
 */
// biome-ignore lint/suspicious/noExplicitAny: without a row type, a rule for rows of any type
export function not<R extends object = any>(rule: SqlRule<NoInfer<R>>): SqlRule<R>
// biome-ignore lint/suspicious/noExplicitAny: without a row type, a rule for rows of any type
export function not<R extends object = any>(rule: Rule<NoInfer<R>>): Rule<R>
export function not(rule: Rule): Rule {
  return freeze<NotRule & { sql: true }>({ kind: 'not', rule, sql: true })
}

/**
 * Decides by code for each row. It has no form in SQL, so it is not allowed in `read`; bulk writes load their rows first.
 *
 * @example const policy: Policy = { update: anyOf(owner(), check<Post>((post, actor) => post.editors.includes(actor?.id ?? ''))) }
 */
// biome-ignore lint/suspicious/noExplicitAny: without a row type, any row
export function check<R extends object = any>(test: (row: R, actor: Actor | null) => boolean | Promise<boolean>): Rule<R> {
  return freeze<CheckRule>({ kind: 'check', test: test as CheckRule['test'] })
}

/**
 * Allows role grants strictly below the actor's rank, within the actor's domains.
 *
 * @param options `joins: false`: domain admins may grant roles only to members and to users who accept an invitation
 */
export const belowOwnRank = (options: { joins?: boolean } = {}): SqlRule =>
  freeze<RankRule>({ kind: 'rank', sql: true, joins: options.joins ?? true })

/**
 * Allows users who hold a role in the row's domain: any role, or one of `roles`. The role must be held in the domain: a global one does
 * not count.
 *
 * @param field the column with the domain's id. Default: 'domainId', the column of HasDomainMixin
 * @example const policy: Policy = { read: member() }
 * @example const policy: Policy = { update: member('domainId', ['editor']) }
 */
export const member = (field = 'domainId', roles?: readonly string[]): SqlRule =>
  freeze<MemberRule>({ kind: 'member', sql: true, field, roles })

/**
 * Allows users who hold a role in a domain in which the caller holds one too. For user models only.
 *
 * @param roles the roles of which the caller needs one there. Default: any role
 * @example const policy: Policy = { read: anyOf(self(), colleague()) }
 * @example const policy: Policy = { read: anyOf(self(), colleague('admin')) } // those in the domains that the caller administers
 */
export function colleague(roles?: RoleName | readonly RoleName[]): SqlRule {
  const list = typeof roles === 'string' ? [roles] : roles && [...roles]
  if (list && (list.length === 0 || list.some((name) => typeof name !== 'string' || name === '')))
    throw new ConfigurationError("colleague() needs the name of a role, for example colleague('admin'), or none for any role.")
  return freeze<ColleagueRule>({ kind: 'colleague', sql: true, roles: list && freeze(list) })
}

/**
 * Allows role grants that the caller's declared roles include: see `initPerms({ roles })`. False if no roles are declared.
 */
export const grantable = (): SqlRule => freeze<GrantorRule>({ kind: 'grantor', sql: true })

/**
 * Allows callers with whom the row is shared in this relation, or in one that includes it: directly, by a role that they hold, or as a
 * member of a domain. Only for models with ShareableMixin. Expired shares do not count.
 *
 * @param relation one of the model's `static shareRelations`, whose default is `['viewer', 'editor']`: an editor is also a viewer
 * @throws ConfigurationError for a relation without a name
 * @example
 * class Memo extends ShareableMixin(UserOwnershipMixin(BasePermsModel)).withColumns({ title: column.string() }) {
 *   static override policy: Policy<Memo> = { read: anyOf(owner(), shared('viewer')), update: anyOf(owner(), shared('editor')) }
 * }
 */
export function shared(relation: string): SqlRule {
  if (typeof relation !== 'string' || relation === '')
    throw new ConfigurationError("shared() needs the name of a relation, for example shared('viewer').")
  return freeze<SharedRule>({ kind: 'shared', sql: true, relation })
}

/**
 * Allows callers who may update the owner of the row.
 *
 * @example const policy: Policy = { update: delegate() }
 */
export const delegate = (): SqlRule => freeze<DelegateRule>({ kind: 'delegate', sql: true })

/** Yields a rule and all rules inside it. */
export function* walk(rule: Rule): Generator<AnyRule> {
  const one = rule as AnyRule
  yield one
  if (one.kind === 'anyOf' || one.kind === 'allOf') for (const part of one.rules) yield* walk(part)
  if (one.kind === 'not' || one.kind === 'before') yield* walk(one.rule)
}

const mentioned = new WeakMap<object, ReadonlySet<AnyRule['kind']>>()

/** Returns whether a rule contains a rule of this kind. */
export function mentions(rule: Rule, kind: AnyRule['kind']): boolean {
  if (typeof rule !== 'object' || rule === null) return false
  return memoize(mentioned, rule, () => new Set([...walk(rule)].map((part) => part.kind))).has(kind)
}

/** Returns whether a rule contains check(). */
export function usesCheck(rule: Rule): boolean {
  return mentions(rule, 'check')
}
