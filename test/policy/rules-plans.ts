/** Random rules as plain data, and a naive evaluation of them. */
import fc from 'fast-check'
import {
  allOf,
  anyOf,
  authenticated,
  type Domain,
  everyone,
  nobody,
  not,
  owner,
  related,
  role,
  type SqlRule,
  where,
} from '../../src/index.js'
import { isUuid } from '../../src/schema/values.js'
import type { SuiteIds } from '../helpers/id-kinds.js'

export interface PartRow {
  readonly userId: string | null
  readonly weight: number | null
}
export interface Row {
  readonly id: string
  readonly userId: string | null
  readonly domainId: string | null
  readonly values: Readonly<Record<string, unknown>>
  readonly maker: { readonly id: string; readonly rank: number | null } | null
  readonly parts: readonly PartRow[]
  readonly labels: readonly { readonly word: string; readonly place: number }[]
}

export type Plan =
  | { kind: 'everyone' | 'nobody' | 'authenticated' | 'owner' }
  | { kind: 'owner of'; field: string }
  | { kind: 'role'; roles: string[]; domain: string | undefined }
  | { kind: 'where'; column: string; operator: string; value: unknown }
  | { kind: 'any' | 'all'; parts: Plan[] }
  | { kind: 'not'; part: Plan }
  | { kind: 'related'; relation: 'maker' | 'parts' | 'heavyParts' | 'labels' | 'firstLabels'; part: Plan }

const texts = [
  '',
  'a',
  'A',
  'b',
  'ab',
  'a%',
  'a_',
  '_',
  '%',
  '\\',
  'a\\',
  'ä',
  'Ä',
  'a ',
  'é',
  'e\u0301',
  '\uFFFD',
  '😀',
  '[a]',
  '*',
  "'",
  '?',
]
/** The values of each column. Columns of models that only a JSON Schema describes hold what JSON has. */
export function samplesOf(ids: SuiteIds, isLegacy: boolean): Record<string, readonly unknown[]> {
  const declared = {
    dec: ['-1.50', '0.00', '0.01', '9.00', '10.00', '999999.99'],
    big: ['-9223372036854775808', '-1', '0', '9', '10', '9007199254740993', '9007199254740992', '9223372036854775807'],
    day: ['1000-01-01', '1999-12-31', '2000-02-29', '9999-12-31'],
    at: [new Date(0), new Date(1), new Date('2024-02-29T23:59:59.999Z'), new Date('2024-03-01T00:00:00.000Z')],
  }
  return {
    str: texts,
    txt: texts,
    int: [-2147483648, -1, 0, 1, 7, 2147483647],
    ...(isLegacy ? { dec: [-1.5, 0, 0.25, 9, 10, 999999.75] } : declared),
    yes: [true, false],
    uid: [901, 902, 903, 904].map(ids.nth).map((id) => (isLegacy && ids.name === 'bigint' ? Number(id) : id)),
    kind: ['a', 'B', 'ä'],
  }
}
const patterns = ['%', '_', 'a%', '%a', 'a\\%', 'a\\_', '\\%', '_%', '', 'A%', 'ä', '%\\', '*', '[a]', '?', '__', 'a\\b']

const condition = (names: readonly string[], of: (name: string) => fc.Arbitrary<unknown>): fc.Arbitrary<Plan> =>
  fc.constantFrom(...names).chain((name) => {
    const value = of(name)
    const isText = name === 'str' || name === 'txt' || name === 'kind' || name === 'word'
    const comparison = fc.oneof(
      fc.record({ operator: fc.constantFrom('eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'bare'), value }),
      fc.record({
        operator: fc.constantFrom('in', 'notIn', 'list'),
        value: fc.array(fc.oneof(value, fc.constant(null)), { maxLength: 3 }),
      }),
      fc.record({ operator: fc.constantFrom('eq', 'ne', 'bare'), value: fc.constant(null) }),
      fc.record({ operator: fc.constant('null'), value: fc.boolean() }),
      ...(isText ? [fc.record({ operator: fc.constant('like'), value: fc.constantFrom(...patterns) })] : []),
    )
    return comparison.map((one) => ({ kind: 'where' as const, column: name, ...one }))
  })

const roleNames = ['admin', 'superadmin', 'editor', 'Editor', 'user']
const numbers = fc.constantFrom<unknown>(0, 1, 2)
const inner: Record<string, fc.Arbitrary<Plan>> = {
  maker: condition(['rank'], () => numbers),
  parts: fc.oneof(
    condition(['weight'], () => numbers),
    fc.constant<Plan>({ kind: 'owner' }),
  ),
  heavyParts: fc.oneof(
    condition(['weight'], () => numbers),
    fc.constant<Plan>({ kind: 'owner' }),
  ),
  labels: condition(['word'], () => fc.constantFrom<unknown>('a', 'b')),
  firstLabels: condition(['word'], () => fc.constantFrom<unknown>('a', 'b')),
}
const relatedPlan = fc
  .constantFrom('maker' as const, 'parts' as const, 'heavyParts' as const, 'labels' as const, 'firstLabels' as const)
  .chain((relation) =>
    fc
      .oneof(
        { weight: 4, arbitrary: inner[relation] as fc.Arbitrary<Plan> },
        { weight: 1, arbitrary: fc.constantFrom<Plan>({ kind: 'everyone' }, { kind: 'any', parts: [] }, { kind: 'authenticated' }) },
        { weight: 1, arbitrary: (inner[relation] as fc.Arbitrary<Plan>).map((part): Plan => ({ kind: 'not', part })) },
      )
      .map((part): Plan => ({ kind: 'related', relation, part })),
  )

export const plansOf = (samples: Record<string, readonly unknown[]>) =>
  fc.letrec<{ plan: Plan }>((tie) => ({
    plan: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      fc.oneof(
        { weight: 2, arbitrary: fc.constantFrom<Plan>({ kind: 'everyone' }, { kind: 'nobody' }, { kind: 'authenticated' }) },
        { weight: 2, arbitrary: fc.constantFrom<Plan>({ kind: 'owner' }, { kind: 'owner of', field: 'uid' }) },
        {
          weight: 3,
          arbitrary: fc.record({
            kind: fc.constant('role' as const),
            roles: fc.uniqueArray(fc.constantFrom(...roleNames), { minLength: 1, maxLength: 2 }),
            domain: fc.constantFrom(undefined, 'any', 'press', 'closed', 'id of press'),
          }),
        },
        { weight: 6, arbitrary: condition(Object.keys(samples), (name) => fc.constantFrom(...(samples[name] as unknown[]))) },
        { weight: 3, arbitrary: relatedPlan },
      ),
      fc.record({ kind: fc.constantFrom('any' as const, 'all' as const), parts: fc.array(tie('plan'), { maxLength: 3 }) }),
      fc.record({ kind: fc.constant('not' as const), part: tie('plan') }),
    ),
  })).plan

// A UUID is no name of a domain.
const referenceTo = ({ id }: Domain) => (isUuid(id) ? id : { id })

export function ruleOf(plan: Plan, press: Domain): SqlRule {
  switch (plan.kind) {
    case 'everyone':
      return everyone()
    case 'nobody':
      return nobody()
    case 'authenticated':
      return authenticated()
    case 'owner':
      return owner()
    case 'owner of':
      return owner(plan.field)
    case 'role':
      return role(plan.roles, plan.domain === undefined ? {} : { domain: plan.domain === 'id of press' ? referenceTo(press) : plan.domain })
    case 'where':
      return where({
        [plan.column]: plan.operator === 'bare' || plan.operator === 'list' ? plan.value : { [plan.operator]: plan.value },
      } as never)
    case 'any':
      return anyOf(...plan.parts.map((part) => ruleOf(part, press)))
    case 'all':
      return allOf(...plan.parts.map((part) => ruleOf(part, press)))
    case 'not':
      return not(ruleOf(plan.part, press))
    case 'related':
      return related(plan.relation, ruleOf(plan.part, press))
  }
}

export interface Caller {
  readonly id: string
  readonly grants: readonly { readonly role: string; readonly domain: 'press' | 'closed' | 'zoo' | null }[]
}
export interface Ids {
  readonly press: string
  readonly zoo: string
  readonly closed: string
}

function order(name: string, a: unknown, b: unknown): number {
  const isWhole = (text: unknown) => typeof text === 'string' && /^-?\d+$/.test(text)
  // Texts of digits are ids of 64 bits in the column uid.
  if (name === 'big' || (name === 'uid' && isWhole(a) && isWhole(b)))
    return Number(BigInt(String(a)) > BigInt(String(b))) - Number(BigInt(String(a)) < BigInt(String(b)))
  if (name === 'dec') return Number(a) - Number(b)
  if (typeof a === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(String(b)))
  return Number(a) - Number(b)
}

function like(text: string, pattern: string): boolean {
  const [first, ...rest] = [...pattern]
  const [head, ...tail] = [...text]
  if (first === undefined) return head === undefined
  if (first === '%') return like(text, rest.join('')) || (head !== undefined && like(tail.join(''), pattern))
  if (first === '\\' && rest.length > 0) return head === rest[0] && like(tail.join(''), rest.slice(1).join(''))
  return head !== undefined && (first === '_' || first === head) && like(tail.join(''), rest.join(''))
}

function compareNaively(name: string, operator: string, held: unknown, asked: unknown): boolean {
  const isNull = held === null || held === undefined
  if (operator === 'null') return isNull === asked
  if (operator === 'bare' || operator === 'eq') return asked === null ? isNull : !isNull && order(name, held, asked) === 0
  if (operator === 'ne') return asked === null ? !isNull : !isNull && order(name, held, asked) !== 0
  if (operator === 'in' || operator === 'list') return (asked as unknown[]).some((one) => compareNaively(name, 'eq', held, one))
  if (operator === 'notIn') return !isNull && !(asked as unknown[]).some((one) => compareNaively(name, 'eq', held, one))
  if (isNull) return false
  if (operator === 'like') return like(String(held), String(asked))
  const sign = order(name, held, asked)
  return { gt: sign > 0, gte: sign >= 0, lt: sign < 0, lte: sign <= 0 }[operator] as boolean
}

export function naive(plan: Plan, caller: Caller | null, row: Row | PartRow | Record<string, unknown>, ids: Ids): boolean {
  const one = row as Row
  switch (plan.kind) {
    case 'everyone':
      return true
    case 'nobody':
      return false
    case 'authenticated':
      return caller !== null
    case 'owner':
      return caller !== null && one.userId === caller.id
    case 'owner of':
      return caller !== null && String(one.values[plan.field]) === String(caller.id)
    case 'role': {
      const wanted = plan.roles.includes('admin') ? [...plan.roles, 'superadmin'] : plan.roles
      return (caller?.grants ?? []).some(({ role: held, domain }) => {
        if (!wanted.includes(held)) return false
        if (domain === null) return true
        // A grant in an inactive domain has no effect.
        if (domain === 'closed') return false
        if (plan.domain === 'any') return true
        if (plan.domain !== undefined) return (plan.domain === 'id of press' ? 'press' : plan.domain) === domain
        return one.domainId === ids[domain]
      })
    }
    case 'where':
      return compareNaively(plan.column, plan.operator, ((one.values ?? row) as Record<string, unknown>)[plan.column] ?? null, plan.value)
    case 'any':
      return plan.parts.some((part) => naive(part, caller, row, ids))
    case 'all':
      return plan.parts.every((part) => naive(part, caller, row, ids))
    case 'not':
      return !naive(plan.part, caller, row, ids)
    case 'related': {
      const rows: readonly object[] = {
        maker: one.maker ? [one.maker] : [],
        parts: one.parts,
        heavyParts: one.parts.filter(({ weight }) => weight !== null && weight > 1),
        labels: one.labels,
        firstLabels: one.labels.filter(({ place }) => place === 1),
      }[plan.relation]
      return rows.some((other) => naive(plan.part, caller, other as Record<string, unknown>, ids))
    }
  }
}
