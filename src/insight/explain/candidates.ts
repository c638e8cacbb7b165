/** Finds the changes that could turn a part of a policy from false to true, or from true to false. */
import type { Knex } from 'knex'
import { abilitiesFor } from '../../policy/abilities.js'
import { compile } from '../../policy/compiler/compile.js'
import type { Scope } from '../../policy/compiler/scope.js'
import { isSameId } from '../../policy/compiler/scope.js'
import { namedDomain } from '../../policy/domain-ref.js'
import { policyOf, ruleOf } from '../../policy/policy.js'
import { type AnyRule, type RoleRule, type Rule, type WhereRule, walk } from '../../policy/rules.js'
import { ADMIN, SUPERADMIN, userTables } from '../../policy/user-tables.js'
import { relationOf } from '../../query/objection-internals.js'
import type { Change } from './changes.js'
import type { Subject } from './state.js'
import { isNullable, valuesFor } from './values.js'

/** The facts about the database that a search for changes needs. */
export interface Surroundings {
  /** The active domains that the rules, the row or the caller name. */
  readonly domains: readonly { readonly id: string; readonly name: string }[]
  /** The id of a user other than the caller; null if there is none. */
  readonly otherUser: unknown
}

/** The most active domains that are looked at. */
const MAX_DOMAINS = 200

/** Reads what a search for changes needs. */
export async function surroundings(knex: Knex, scope: Scope): Promise<Surroundings> {
  const { domain, user } = userTables()
  const found: readonly object[] = await knex(domain.table)
    .select({ id: domain.column('id'), name: domain.column('name') })
    .where(domain.column('active'), scope.dialect === 'sqlite' ? 1 : true)
    .orderBy(domain.column('name'))
    .limit(MAX_DOMAINS)
  const rowDomain = scope.policy.domainField && scope.row?.[scope.policy.domainField]
  const domains = found.map((one) => {
    const [id, name] = Object.values(one) as [unknown, unknown]
    return { id: String(id) === String(rowDomain) ? (rowDomain as string) : (id as string), name: String(name) }
  })
  const users = knex(user.table)
    .select({ id: user.column('id') })
    .limit(1)
  const [other]: object[] = scope.actor ? await users.whereNot(user.column('id'), scope.actor.id) : []
  return { domains, otherUser: other ? Object.values(other)[0] : null }
}

/** Returns the single changes that may matter for an action, each once. */
export function candidateChanges({ cls, action }: Subject, scope: Scope, around: Surroundings): Change[] {
  const policy = policyOf(cls)
  const rules = [...policy.globalScopes.map(({ rule }) => rule), policy.read, ruleOf(policy, action)]
  const changes = [
    ...rules.flatMap((rule) => [...walk(rule)].flatMap((part) => changesFor(part, scope, around))),
    ...bypassChanges(scope, around),
    ...revocations(scope),
    ...keyChanges({ cls, action }, scope),
  ]
  return [...new Map(changes.map((change) => [JSON.stringify(change, bigintText), change])).values()]
}

const bigintText = (_key: string, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value)

function bypassChanges(scope: Scope, around: Surroundings): Change[] {
  const { bypass, domainField } = scope.policy
  if (!scope.actor || !(bypass.read || bypass.write)) return []
  const global = [ADMIN, SUPERADMIN].map((role): Change => ({ kind: 'grant', role, domainId: null, domain: null }))
  return [...global, ...(domainField ? grantIn(around, scope, domainField, [ADMIN]) : [])]
}

function revocations({ actor }: Scope): Change[] {
  return (actor?.grants ?? []).map(({ role, domainId, domainName }) => ({
    kind: 'revoke',
    role,
    domainId: domainId as string | null,
    domain: domainName,
  }))
}

function keyChanges({ cls, action }: Subject, { actor }: Scope): Change[] {
  if (!actor?.abilities) return []
  const wanted = [...abilitiesFor('read', cls, policyOf(cls)), ...abilitiesFor(action, cls, policyOf(cls))]
  return wanted.map((ability) => ({ kind: 'ability', ability }))
}

// Grants in the domain that a property of the row names.
function grantIn(around: Surroundings, scope: Scope, property: string, roles: readonly string[]): Change[] {
  const domain = around.domains.find(({ id }) => isSameId(id, scope.row?.[property]))
  return domain ? roles.map((role) => ({ kind: 'grant', role, domainId: domain.id, domain: domain.name })) : []
}

function changesFor(rule: AnyRule, scope: Scope, around: Surroundings): Change[] {
  switch (rule.kind) {
    case 'where':
      return whereChanges(rule, scope)
    case 'owner':
      return ownerChanges(rule.field ?? scope.policy.ownerField, scope, around)
    case 'delegate':
      return ownerChanges(scope.policy.ownerField, scope, around)
    case 'role':
      return scope.actor ? roleChanges(rule, scope, around) : []
    case 'member':
      return scope.actor ? grantIn(around, scope, rule.field, rule.roles ?? ['user']) : []
    case 'recent':
    case 'factor':
      return [{ kind: 'session', confirmed: compile(rule, scope) !== true }]
    case 'ability':
      return scope.actor?.abilities ? [{ kind: 'ability', ability: rule.ability }] : []
    case 'shared':
      return scope.actor ? [rule.relation, null].map((relation): Change => ({ kind: 'share', relation })) : []
    case 'related':
      return unlinked(rule.relation, scope)
    default:
      return []
  }
}

function whereChanges(rule: WhereRule, scope: Scope): Change[] {
  return Object.entries(rule.conditions).flatMap(([column, asked]) => {
    const one = { kind: 'where', sql: true, conditions: { [column]: asked } } as const satisfies WhereRule
    const isTrue = compile(one as Rule, scope) === true
    return valuesFor(scope, column, asked, !isTrue).map((value): Change => ({ kind: 'column', column, value }))
  })
}

function ownerChanges(column: string | undefined, { row, actor, cls, policy }: Scope, { otherUser }: Surroundings): Change[] {
  // The id of a user row is no owner's column.
  if (!column || !actor || (policy.isUserModel && column === 'id')) return []
  if (!isSameId(row?.[column], actor.id)) return [{ kind: 'column', column, value: actor.id, owner: true }]
  const value = otherUser ?? null
  return value === null && !isNullable(cls, column) ? [] : [{ kind: 'column', column, value, owner: false }]
}

function roleChanges({ roles, domain }: RoleRule, scope: Scope, around: Surroundings): Change[] {
  const global = roles.map((role): Change => ({ kind: 'grant', role, domainId: null, domain: null }))
  if (domain === undefined) return [...global, ...(scope.policy.domainField ? grantIn(around, scope, scope.policy.domainField, roles) : [])]
  const { id, name } = domain === 'any' ? { id: undefined, name: undefined } : namedDomain(domain)
  const there = around.domains.find((one) => domain === 'any' || isSameId(one.id, id) || one.name === name)
  const inDomain = there ? roles.map((role): Change => ({ kind: 'grant', role, domainId: there.id, domain: there.name })) : []
  return [...global, ...inDomain]
}

// A row that belongs to another one may belong to none.
function unlinked(name: string, { cls, row }: Scope): Change[] {
  const { ownerProp } = relationOf(cls, name)
  const [column, ...others] = ownerProp.props
  if (!column || others.length > 0 || column === 'id' || !isNullable(cls, column) || (row?.[column] ?? null) === null) return []
  return [{ kind: 'column', column, value: null }]
}
