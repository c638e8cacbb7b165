import type { Model } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { memoize } from '../core/memoize.js'
import type { RuleLike } from '../schema/column.js'
import type { Actor } from './context.js'

declare const rowOf: unique symbol

/** A rule: who may do something with a row of type `R`. */
// biome-ignore lint/suspicious/noExplicitAny: a rule for rows of any type
export interface Rule<R extends object = any> extends RuleLike {
  readonly [rowOf]?: (row: R) => void
}

/** A rule that has a form in SQL, so that lists can obey it; every rule but check(). */
// biome-ignore lint/suspicious/noExplicitAny: a rule for rows of any type
export interface SqlRule<R extends object = any> extends Rule<R> {
  readonly sql: true
}

/** Who may do what with the rows of a model. What is missing is denied; read and delete fall back to update. */
export interface Policy {
  readonly read?: SqlRule
  readonly create?: Rule
  /** One rule that holds before and after, or one for each where the change may move a row out of its reach. */
  readonly update?: Rule | { readonly from: Rule; readonly to: Rule }
  readonly delete?: Rule
}

export type Scalar = string | number | boolean | bigint | Date

/** What `where` can ask of one column. */
export interface Comparison<V = Scalar> {
  readonly eq?: V | null
  readonly ne?: V | null
  readonly gt?: V
  readonly gte?: V
  readonly lt?: V
  readonly lte?: V
  readonly in?: readonly V[]
  readonly notIn?: readonly V[]
  /** % is any run of characters, _ is one, \ takes the next one literally; case matters. */
  readonly like?: string
  /** true: is NULL; false: is not. */
  readonly null?: boolean
}

type Comparable<V> = V extends Scalar ? V | readonly V[] | Comparison<V> : V extends null ? null : never
type Methods = keyof Model
/** Conditions by column: a value, a list of values, null, or a comparison. */
export type WhereConditions<R extends object> = {
  readonly [K in keyof R as K extends Methods ? never : R[K] extends (...args: never[]) => unknown ? never : K]?: Comparable<
    NonNullable<R[K]>
  > | null
}

// The rules, as the compiler sees them.
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
  readonly domain: string | undefined
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
  /** Whether the grant may be the first that its user holds in the domain. */
  readonly joins: boolean
}
export interface MemberRule extends SqlRule {
  readonly kind: 'member'
  /** The column that holds the domain's id. */
  readonly field: string
  /** Only holders of these roles there; undefined: of any. */
  readonly roles: readonly string[] | undefined
}
export interface DelegateRule extends SqlRule {
  readonly kind: 'delegate'
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
  | ManyRule
  | NotRule
  | CheckRule
  | RankRule
  | MemberRule
  | DelegateRule

const freeze = <T extends object>(rule: T): T => Object.freeze(rule)

/** Anybody, signed in or not. */
export const everyone = (): SqlRule => freeze<ConstantRule>({ kind: 'constant', sql: true, value: true })

/** Nobody, but for admins whom `adminBypass` lets past. */
export const nobody = (): SqlRule => freeze<ConstantRule>({ kind: 'constant', sql: true, value: false })

/** Whoever is signed in. */
export const authenticated = (): SqlRule => freeze<AuthenticatedRule>({ kind: 'authenticated', sql: true })

/**
 * The user whom the row belongs to; a row without an owner is nobody's.
 *
 * @param field the column with the owner's id; the model's `userField` ('userId') when not said
 */
export const owner = (field?: string): SqlRule => freeze<OwnerRule>({ kind: 'owner', sql: true, field })

/** The user whom the row is; for user models. */
export const self = (): SqlRule => freeze<SelfRule>({ kind: 'self', sql: true })

/**
 * Whoever holds one of these roles globally; with `domain` (name or id, or 'any') also there. On a model with
 * HasDomainMixin, also in the row's own domain.
 *
 * @example role(Role.ADMIN)
 * @example role(['editor', 'author'], { domain: 'press' })
 */
export function role(roles: string | readonly string[], options: { domain?: string | undefined } = {}): SqlRule {
  const list = typeof roles === 'string' ? [roles] : [...roles]
  if (list.length === 0 || list.some((name) => typeof name !== 'string' || name === '')) {
    throw new ConfigurationError('role(): name a role, for example role(Role.ADMIN).')
  }
  return freeze<RoleRule>({ kind: 'role', sql: true, roles: freeze(list), domain: options.domain })
}

/** A caller whose API key names this ability; callers without an API key have every ability. */
export const ability = (name: string): SqlRule => freeze<AbilityRule>({ kind: 'ability', sql: true, ability: name })

/**
 * Rows with these values. A comparison with NULL is false, and not() of it true.
 *
 * @throws ConfigurationError for undefined, which would say nothing
 * @example where<Critter>({ isAdoptable: true, species: ['cat', 'dog'], age: { lt: 10 } })
 */
// biome-ignore lint/suspicious/noExplicitAny: without a row type, any columns
export function where<R extends object = any>(conditions: WhereConditions<R>): SqlRule<R> {
  for (const [name, value] of Object.entries(conditions)) {
    const parts = isComparison(value) ? Object.values(value) : [value]
    if (parts.some((part) => part === undefined || (Array.isArray(part) && part.includes(undefined)))) {
      throw new ConfigurationError(`where({ ${name}: undefined }): say null for NULL, or leave ${name} out.`)
    }
  }
  return freeze<WhereRule>({ kind: 'where', sql: true, conditions: freeze({ ...conditions }) }) as SqlRule<R>
}

/** A comparison object, as opposed to a value or a list of values. */
export function isComparison(value: unknown): value is Comparison {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Date)
}

/**
 * Rows that have at least one related row for which the rule holds, by any relation of the model. The related model's
 * guards hold, its own policy does not come in.
 *
 * @example related('project', where({ isPublic: true }))
 */
export const related = (relation: string, rule: SqlRule): SqlRule => freeze<RelatedRule>({ kind: 'related', sql: true, relation, rule })

/** At least one of these; of none, nobody. */
export function anyOf(...rules: SqlRule[]): SqlRule
export function anyOf(...rules: Rule[]): Rule
export function anyOf(...rules: Rule[]): Rule {
  return many('anyOf', rules)
}

/** All of these; of none, everyone. */
export function allOf(...rules: SqlRule[]): SqlRule
export function allOf(...rules: Rule[]): Rule
export function allOf(...rules: Rule[]): Rule {
  return many('allOf', rules)
}

function many(kind: 'anyOf' | 'allOf', rules: readonly Rule[]): Rule {
  if (rules.some((rule) => typeof rule !== 'object' || rule === null)) throw new ConfigurationError(`${kind}(): every part must be a rule.`)
  return freeze<ManyRule & { sql: true }>({ kind, rules: freeze([...rules]), sql: true })
}

/** Whoever the rule does not hold for. */
export function not(rule: SqlRule): SqlRule
export function not(rule: Rule): Rule
export function not(rule: Rule): Rule {
  return freeze<NotRule & { sql: true }>({ kind: 'not', rule, sql: true })
}

/**
 * Code decides, row by row. It has no form in SQL, so it stays out of `read`; writes in bulk load the rows first.
 *
 * @example update: anyOf(owner(), check<Post>((post, actor) => post.editors.includes(actor?.id ?? '')))
 */
// biome-ignore lint/suspicious/noExplicitAny: without a row type, any row
export function check<R extends object = any>(test: (row: R, actor: Actor | null) => boolean | Promise<boolean>): Rule<R> {
  return freeze<CheckRule>({ kind: 'check', test: test as CheckRule['test'] })
}

/**
 * Strictly below one's own rank, within one's own domains: the rule of role grants.
 *
 * @param options `joins: false`: admins of a domain grant roles only to its members, and to users who accept an invitation
 */
export const belowOwnRank = (options: { joins?: boolean } = {}): SqlRule =>
  freeze<RankRule>({ kind: 'rank', sql: true, joins: options.joins ?? true })

/** Whoever holds a role in the row's domain: any, or one of these. */
export const member = (field = 'domainId', roles?: readonly string[]): SqlRule =>
  freeze<MemberRule>({ kind: 'member', sql: true, field, roles })

/** Whoever may update the user whom the row belongs to. */
export const delegate = (): SqlRule => freeze<DelegateRule>({ kind: 'delegate', sql: true })

/** All rules inside a rule, itself among them. */
export function* walk(rule: Rule): Generator<AnyRule> {
  const one = rule as AnyRule
  yield one
  if (one.kind === 'anyOf' || one.kind === 'allOf') for (const part of one.rules) yield* walk(part)
  if (one.kind === 'not') yield* walk(one.rule)
}

const mentioned = new WeakMap<object, ReadonlySet<AnyRule['kind']>>()

/** Whether a rule of this kind stands anywhere in a rule. */
export function mentions(rule: Rule, kind: AnyRule['kind']): boolean {
  if (typeof rule !== 'object' || rule === null) return false
  return memoize(mentioned, rule, () => new Set([...walk(rule)].map((part) => part.kind))).has(kind)
}

/** Whether code has a say in this rule. */
export function usesCheck(rule: Rule): boolean {
  return mentions(rule, 'check')
}
