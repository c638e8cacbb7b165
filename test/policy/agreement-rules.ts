import fc from 'fast-check'
import {
  ability,
  allOf,
  anyOf,
  authenticated,
  everyone,
  factor,
  nobody,
  not,
  owner,
  recent,
  related,
  role,
  type SqlRule,
  where,
} from '../../src/index.js'
import type { Actor } from '../../src/policy/context.js'
import { type AgreementWorld, type ColumnName, columnNames, type Kind, kindOf, likes, orders, type Row } from './agreement-world.js'

type Asked = Readonly<Record<string, unknown>> | readonly unknown[] | string | number | bigint | boolean | Date | null
export type Described =
  | { is: 'everyone' | 'nobody' | 'authenticated' }
  | { is: 'ability'; name: string }
  | { is: 'recent'; seconds: number }
  | { is: 'factor'; name: 'passkey' | 'totp' | 'any' }
  | { is: 'owner'; field: string | undefined }
  | { is: 'role'; roles: string[]; domain: string | { readonly id: string } | undefined }
  | { is: 'where'; conditions: Record<string, Asked> }
  | { is: 'related'; relation: string; rule: Described; depth?: number | undefined }
  | { is: 'anyOf' | 'allOf'; rules: Described[] }
  | { is: 'not'; rule: Described }

export function ruleOf(given: Described): SqlRule {
  switch (given.is) {
    case 'everyone':
      return everyone()
    case 'nobody':
      return nobody()
    case 'authenticated':
      return authenticated()
    case 'ability':
      return ability(given.name)
    case 'recent':
      return recent(given.seconds)
    case 'factor':
      return factor(given.name)
    case 'owner':
      return owner(given.field)
    case 'role':
      return role(given.roles, given.domain === undefined ? {} : { domain: given.domain })
    case 'where':
      return where(given.conditions as never)
    case 'related':
      return related(given.relation, ruleOf(given.rule), given.depth === undefined ? {} : { recursive: true, depth: given.depth })
    case 'anyOf':
      return anyOf(...given.rules.map(ruleOf))
    case 'allOf':
      return allOf(...given.rules.map(ruleOf))
    case 'not':
      return not(ruleOf(given.rule))
  }
}

/** Whether a caller's API key names what the rule asks of keys; this model's rows are called by no name that any of them has. */
export function keyReaches(given: Described, actor: Actor | null): boolean {
  if (!actor?.abilities) return true
  const named = (one: Described): string[] => {
    if (one.is === 'ability') return [one.name]
    if (one.is === 'anyOf' || one.is === 'allOf') return one.rules.flatMap(named)
    return one.is === 'not' ? named(one.rule) : []
  }
  return named(given).some((name) => actor.abilities?.includes(name))
}

/** The meaning of a rule, written from the contract alone. */
export function means(given: Described, row: Row, actor: Actor | null, world: AgreementWorld): boolean {
  switch (given.is) {
    case 'everyone':
      return true
    case 'nobody':
      return false
    case 'authenticated':
      return actor !== null
    case 'ability':
      return actor !== null && (!actor.abilities || actor.abilities.includes(given.name))
    case 'recent':
      return isSession(actor) && actor.authTime instanceof Date && isWithin(Date.now() - actor.authTime.getTime(), given.seconds)
    case 'factor':
      return isSession(actor) && (actor.amr ?? []).some((method) => provedBy[given.name].includes(method))
    case 'owner':
      return actor !== null && row[given.field ?? 'ownerId'] === actor.id
    case 'role':
      return (actor?.grants ?? []).some((grant) => {
        const is = given.roles.includes(grant.role) || (grant.role === 'superadmin' && given.roles.includes('admin'))
        if (!is || grant.domainId === null) return is
        if (given.domain === undefined) return row['domainId'] === grant.domainId
        if (typeof given.domain === 'object') return given.domain.id === grant.domainId
        const isUuid = world.ids.name === 'uuid' && given.domain.toLowerCase() === grant.domainId
        return given.domain === 'any' || given.domain === grant.domainName || isUuid
      })
    case 'where':
      return Object.entries(given.conditions).every(([name, asked]) => matches(kindOf(name), row[name], asked))
    case 'related':
      return within(row, given.relation, given.depth ?? 1, world).some((one) => means(given.rule, one, actor, world))
    case 'anyOf':
      return given.rules.some((rule) => means(rule, row, actor, world))
    case 'allOf':
      return given.rules.every((rule) => means(rule, row, actor, world))
    case 'not':
      return !means(given.rule, row, actor, world)
  }
}

const isSession = (actor: Actor | null): actor is Actor => actor !== null && actor.abilities === null && actor.impersonatorId === null
// The clock of another process may be a minute ahead.
const isWithin = (age: number, seconds: number) => age >= -60_000 && age <= seconds * 1000
const provedBy: Readonly<Record<'passkey' | 'totp' | 'any', readonly string[]>> = {
  passkey: ['hwk', 'swk'],
  totp: ['otp'],
  any: ['hwk', 'swk', 'otp', 'recovery'],
}

/** The rows that at most so many steps of a relation reach. */
function within(row: Row, relation: string, steps: number, world: AgreementWorld): Row[] {
  if (steps === 0) return []
  let [reached, last] = [new Set<Row>(), [row]]
  for (let step = 0; step < steps && last.length > 0; step += 1) {
    const next = last.flatMap((one) => relatedTo(one, relation, world))
    last = next.filter((one) => !reached.has(one))
    reached = new Set([...reached, ...next])
  }
  return [...reached]
}

function relatedTo(row: Row, relation: string, { groups, tags, parts, items, links, nears }: AgreementWorld): Row[] {
  if (relation === 'parent') return items.filter((item) => item.id === row['parentId'])
  if (relation === 'children') return items.filter((item) => item['parentId'] === row.id)
  if (relation === 'near') return nears.filter(({ item }) => item.id === row.id).map(({ near }) => near)
  if (relation === 'group') return groups.filter((group) => group.id === row['groupId'])
  if (relation === 'tag') return tags.filter((tag) => tag.id === row['tagId'])
  if (relation === 'parts') return parts.filter((part) => part['itemId'] === row.id)
  return links.filter((link) => link.item.id === row.id).map((link) => link.tag)
}

function matches(kind: Kind, held: unknown, asked: Asked): boolean {
  if (asked === null) return held === null
  if (Array.isArray(asked)) return compares(kind, held, 'in', asked)
  if (typeof asked !== 'object' || asked instanceof Date) return compares(kind, held, 'eq', asked)
  return Object.entries(asked).every(([operator, value]) => compares(kind, held, operator, value))
}

function compares(kind: Kind, held: unknown, operator: string, asked: unknown): boolean {
  if (operator === 'null') return (held === null) === asked
  if (asked === null) return operator === 'eq' ? held === null : held !== null
  if (held === null) return false
  const list = () => (asked as readonly unknown[]).some((one) => compares(kind, held, 'eq', one))
  if (operator === 'in') return list()
  if (operator === 'notIn') return !list()
  if (operator === 'like') return isAlike([...(held as string)], [...(asked as string)])
  const [a, b] = [kind.rank(held as never), kind.rank(asked as never)]
  return { eq: a === b, ne: a !== b, gt: a > b, gte: a >= b, lt: a < b, lte: a <= b }[operator] as boolean
}

function isAlike(text: readonly string[], [first, ...more]: readonly string[]): boolean {
  if (first === undefined) return text.length === 0
  if (first === '%') return isAlike(text, more) || (text.length > 0 && isAlike(text.slice(1), [first, ...more]))
  if (first === '_') return text.length > 0 && isAlike(text.slice(1), more)
  if (first === '\\' && more.length > 0) return text[0] === more[0] && isAlike(text.slice(1), more.slice(1))
  return text[0] === first && isAlike(text.slice(1), more)
}

// -- at random -----------------------------------------------------------------------------------------------------

function askedOf(name: ColumnName): fc.Arbitrary<Asked> {
  const kind = kindOf(name)
  const value = fc.constantFrom(...kind.values, ...(kind.spellings ?? [])) as fc.Arbitrary<string>
  const list = fc.array(value, { maxLength: 3 })
  const operators: fc.Arbitrary<Record<string, unknown>>[] = [
    ...['eq', 'ne'].map((operator) => fc.option(value, { freq: 5 }).map((one) => ({ [operator]: one }))),
    ...(kind.isLong ? [] : orders).map((operator) => value.map((one) => ({ [operator]: one }))),
    ...['in', 'notIn'].map((operator) => list.map((some) => ({ [operator]: some }))),
    fc.boolean().map((isNull) => ({ null: isNull })),
    ...(kind.hasLike ? Array(3).fill(fc.constantFrom(...likes).map((pattern) => ({ like: pattern }))) : []),
  ]
  const one = fc.oneof(...operators)
  return fc.oneof(
    { weight: 6, arbitrary: one },
    { weight: 2, arbitrary: fc.tuple(one, one).map(([a, b]) => ({ ...a, ...b })) },
    { weight: 2, arbitrary: value },
    { weight: 1, arbitrary: list },
    { weight: 1, arbitrary: fc.constantFrom(null, {}) },
  )
}

const wheres: fc.Arbitrary<Described> = fc
  .array(
    fc.constantFrom(...columnNames).chain((name) => askedOf(name).map((asked) => [name, asked] as const)),
    { minLength: 0, maxLength: 2, size: 'max' },
  )
  .map((entries) => ({ is: 'where', conditions: Object.fromEntries(entries) }))

/** In seconds. */
const HOUR = 3600
const roleNames = ['editor', 'author', 'admin', 'superadmin']
/** Policies and callers at random, over the models of a world. */
export function agreementRules({ ids, numbered, userIds, domainIds, domainNames }: AgreementWorld) {
  const roles: fc.Arbitrary<Described> = fc.record({
    is: fc.constant('role' as const),
    roles: fc.uniqueArray(fc.constantFrom(...roleNames), { minLength: 1, maxLength: 2 }),
    domain: fc.constantFrom<string | { id: string } | undefined>(
      undefined,
      undefined,
      'any',
      'nowhere',
      ...domainNames,
      ...domainIds.map((id) => ({ id })),
      // As text, an id other than a UUID is a name.
      ...domainIds.flatMap((id) => [String(id), String(id).toUpperCase()]),
    ),
  })

  const constants: fc.Arbitrary<Described> = fc.oneof(
    fc.constantFrom('everyone', 'nobody', 'authenticated').map((is) => ({ is }) as Described),
    fc.constantFrom('read', 'write').map((name) => ({ is: 'ability', name }) as const),
    fc.constantFrom(HOUR, 10 * HOUR).map((seconds) => ({ is: 'recent', seconds }) as const),
    fc.constantFrom('passkey', 'totp', 'any').map((name) => ({ is: 'factor', name }) as const),
  )

  /** Rules for a model with these columns for owners and these relations, nested this deep. */
  function rules(
    depth: number,
    owners: readonly (string | undefined)[],
    relations: Record<string, fc.Arbitrary<Described>>,
    hierarchies: readonly fc.Arbitrary<Described>[] = [],
  ): fc.Arbitrary<Described> {
    const leaves = [
      { weight: 1, arbitrary: constants },
      { weight: 2, arbitrary: fc.constantFrom(...owners).map((field): Described => ({ is: 'owner', field })) },
      { weight: 2, arbitrary: roles },
      { weight: 6, arbitrary: wheres },
      ...Object.entries(relations).map(([relation, theirs]) => ({
        weight: 1,
        arbitrary: theirs.map((rule): Described => ({ is: 'related', relation, rule })),
      })),
      ...hierarchies.map((arbitrary) => ({ weight: 2, arbitrary })),
    ]
    if (depth === 0) return fc.oneof(...leaves)
    const inner = rules(depth - 1, owners, relations, hierarchies)
    const many = fc.tuple(fc.constantFrom('anyOf' as const, 'allOf' as const), fc.array(inner, { maxLength: 3, size: 'max' }))
    return fc.oneof(
      ...leaves,
      { weight: 7, arbitrary: many.map(([is, given]): Described => ({ is, rules: given })) },
      { weight: 5, arbitrary: inner.map((rule): Described => ({ is: 'not', rule })) },
    )
  }

  const ofTags = rules(1, [undefined], {})
  const hierarchies: fc.Arbitrary<Described> = fc.record({
    is: fc.constant('related' as const),
    relation: fc.constantFrom('parent', 'parent', 'children', 'near'),
    rule: rules(1, [undefined, 'editorId'], { group: ofTags }),
    depth: fc.constantFrom(1, 2, 3, 32),
  })
  const ofItems = {
    group: ofTags,
    parts: rules(1, [undefined, 'itemId'], { tag: ofTags }),
    tags: ofTags,
  }
  const owners = ids.name === 'uuid' ? [undefined, 'editorId', 'key'] : [undefined, 'editorId']
  const policies = rules(3, owners, ofItems, [hierarchies])

  const grants = fc.array(
    fc.tuple(fc.constantFrom(...roleNames), fc.constantFrom(null, 0, 1)).map(([name, i]) => ({
      id: numbered(7, 0),
      role: name,
      domainId: i === null ? null : (domainIds[i] as string),
      domainName: i === null ? null : (domainNames[i] as string),
    })),
    { maxLength: 3 },
  )
  const actors: fc.Arbitrary<Actor | null> = fc.option(
    fc.record({
      id: fc.constantFrom(...userIds),
      user: fc.constant({}),
      grants: fc.oneof(fc.constant([]), grants),
      sessionId: fc.constant(null),
      abilities: fc.constantFrom(null, null, null, [], ['read']),
      impersonatorId: fc.constantFrom(null, null, null, userIds[0] as string),
      // The times are far from the limits, so that a slow run changes nothing.
      authTime: fc
        .constantFrom(null, 0, 2 * HOUR, 20 * HOUR, -HOUR)
        .map((age) => (age === null ? null : new Date(Date.now() - age * 1000))),
      amr: fc.constantFrom(null, [], ['pwd'], ['pwd', 'otp', 'mfa'], ['swk', 'user'], ['pwd', 'recovery']),
    }),
    { freq: 6 },
  )

  return { policies, hierarchies, actors, ofTags }
}
