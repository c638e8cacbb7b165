import { expect } from 'chai'
import fc from 'fast-check'
import { Model } from 'objection'
import { v7 as uuid } from 'uuid'
import {
  allOf,
  anyOf,
  asSystem,
  authenticated,
  BaseModel,
  BasePermsModel,
  column,
  createTables,
  Domain,
  everyone,
  HasDomainMixin,
  HasUserMixin,
  initPerms,
  nobody,
  not,
  owner,
  type Perms,
  type Rule,
  related,
  role,
  runAs,
  type SqlRule,
  self,
  Token,
  User,
  UserRole,
  UserSetting,
  where,
} from '../../src/index.js'
import { compile } from '../../src/policy/compiler/compile.js'
import { holds } from '../../src/policy/compiler/condition.js'
import { type Scope, scopeOf } from '../../src/policy/compiler/scope.js'
import { type Actor, asAnonymous, currentActor } from '../../src/policy/context.js'
import { dialectOfClass } from '../../src/record/codec.js'
import { eachDatabase } from '../helpers/databases.js'
import { generatedCases } from '../helpers/repetitions.js'

const seed = Number(process.env['FAST_CHECK_SEED'] ?? 20260318)
const runs = generatedCases(400, 'FAST_CHECK_RUNS')

// -- the models

const values = {
  str: column.string({ maxLength: 20 }).nullable(),
  txt: column.text().nullable(),
  int: column.integer().nullable(),
  dec: column.decimal(8, 2).nullable(),
  big: column.bigint().nullable(),
  yes: column.boolean().nullable(),
  day: column.date().nullable(),
  at: column.datetime().nullable(),
  uid: column.uuid().nullable(),
  kind: column.enum(['a', 'B', 'ä']).nullable(),
}

class Maker extends BaseModel.withColumns({ name: column.string(), rank: column.integer().nullable() }) {}
class Part extends HasUserMixin(BaseModel).withColumns({ thingId: column.uuid().nullable(), weight: column.integer().nullable() }) {
  static override userIdNullable = true
}
class Label extends BaseModel.withColumns({ word: column.string() }) {}

class Thing extends HasDomainMixin(HasUserMixin(BasePermsModel)).withColumns({ ...values, makerId: column.uuid().nullable() }) {
  static override userIdNullable = true
  static override unguarded = ['domain']
  static override adminBypass = false
  // All classes of thingWith() have this table.
  static override relationMappings(): any {
    const table = 'thing'
    return {
      maker: { relation: Model.BelongsToOneRelation, modelClass: Maker, join: { from: `${table}.makerId`, to: 'maker.id' } },
      parts: { relation: Model.HasManyRelation, modelClass: Part, join: { from: `${table}.id`, to: 'part.thingId' } },
      heavyParts: {
        relation: Model.HasManyRelation,
        modelClass: Part,
        filter: (query: any) => query.where('part.weight', '>', 1),
        join: { from: `${table}.id`, to: 'part.thingId' },
      },
      labels: {
        relation: Model.ManyToManyRelation,
        modelClass: Label,
        join: { from: `${table}.id`, through: { from: 'thing_label.thing_id', to: 'thing_label.label_id' }, to: 'label.id' },
      },
      firstLabels: {
        relation: Model.ManyToManyRelation,
        modelClass: Label,
        join: {
          from: `${table}.id`,
          through: { from: 'thing_label.thing_id', to: 'thing_label.label_id', filter: (query: any) => query.where('place', 1) },
          to: 'label.id',
        },
      },
    }
  }
}

/** Creates a class with this policy. All these classes have the same table. */
function thingWith(policy: SqlRule): typeof Thing {
  return class extends Thing {
    static override tableName = 'thing'
    static override policy = { read: policy }
  }
}

// -- rows, actors and rules as plain data

interface PartRow {
  readonly userId: string | null
  readonly weight: number | null
}
interface Row {
  readonly id: string
  readonly userId: string | null
  readonly domainId: string | null
  readonly values: Readonly<Record<string, unknown>>
  readonly maker: { readonly id: string; readonly rank: number | null } | null
  readonly parts: readonly PartRow[]
  readonly labels: readonly { readonly word: string; readonly place: number }[]
}

type Plan =
  | { kind: 'everyone' | 'nobody' | 'authenticated' | 'owner' }
  | { kind: 'owner of'; field: string }
  | { kind: 'role'; roles: string[]; domain: string | undefined }
  | { kind: 'where'; column: string; operator: string; value: unknown }
  | { kind: 'any' | 'all'; parts: Plan[] }
  | { kind: 'not'; part: Plan }
  | { kind: 'related'; relation: 'maker' | 'parts' | 'heavyParts' | 'labels' | 'firstLabels'; part: Plan }

const uuids = Array.from({ length: 4 }, () => uuid())
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
const samples: Record<string, readonly unknown[]> = {
  str: texts,
  txt: texts,
  int: [-2147483648, -1, 0, 1, 7, 2147483647],
  dec: ['-1.50', '0.00', '0.01', '9.00', '10.00', '999999.99'],
  big: ['-9223372036854775808', '-1', '0', '9', '10', '9007199254740993', '9007199254740992', '9223372036854775807'],
  yes: [true, false],
  day: ['1000-01-01', '1999-12-31', '2000-02-29', '9999-12-31'],
  at: [new Date(0), new Date(1), new Date('2024-02-29T23:59:59.999Z'), new Date('2024-03-01T00:00:00.000Z')],
  uid: uuids,
  kind: ['a', 'B', 'ä'],
}
const patterns = ['%', '_', 'a%', '%a', 'a\\%', 'a\\_', '\\%', '_%', '', 'A%', 'ä', '%\\', '*', '[a]', '?', '__', 'a\\b']
const sample = (name: string) => fc.constantFrom(...(samples[name] as unknown[]))
const columns = Object.keys(samples)

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

const plans = fc.letrec<{ plan: Plan }>((tie) => ({
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
      { weight: 6, arbitrary: condition(columns, sample) },
      { weight: 3, arbitrary: relatedPlan },
    ),
    fc.record({ kind: fc.constantFrom('any' as const, 'all' as const), parts: fc.array(tie('plan'), { maxLength: 3 }) }),
    fc.record({ kind: fc.constant('not' as const), part: tie('plan') }),
  ),
})).plan

// -- the rule of a plan, and a naive evaluation of the plan

function ruleOf(plan: Plan, press: Domain): SqlRule {
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
      return role(plan.roles, plan.domain === undefined ? {} : { domain: plan.domain === 'id of press' ? press.id : plan.domain })
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

interface Caller {
  readonly id: string
  readonly grants: readonly { readonly role: string; readonly domain: 'press' | 'closed' | 'zoo' | null }[]
}
interface Ids {
  readonly press: string
  readonly zoo: string
  readonly closed: string
}

function order(name: string, a: unknown, b: unknown): number {
  if (name === 'big') return Number(BigInt(String(a)) > BigInt(String(b))) - Number(BigInt(String(a)) < BigInt(String(b)))
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

function naive(plan: Plan, caller: Caller | null, row: Row | PartRow | Record<string, unknown>, ids: Ids): boolean {
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
      return caller !== null && one.values[plan.field] === caller.id
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

eachDatabase('rules in SQL and in memory', (db) => {
  let perms: Perms
  let ids: Ids
  let press: Domain
  const rows: Row[] = []
  const callers: (Caller | null)[] = [null]

  before(async function () {
    this.timeout(60_000)
    if (db.dialect === 'sqlite') await db.knex.raw('pragma synchronous = off')
    perms = initPerms({ knex: db.knex, models: [Thing, Maker, Part, Label] })
    await createTables(db.knex, [User, UserRole, Domain, Token, UserSetting, Maker, Thing, Part, Label])
    await db.knex.schema.createTable('thing_label', (table) => {
      table.uuid('thing_id')
      table.uuid('label_id')
      table.integer('place')
    })
    press = await Domain.create({ name: 'press' })
    const zoo = await Domain.create({ name: 'zoo' })
    const closed = await Domain.create({ name: 'closed' })
    const domains = { press, zoo, closed }
    ids = { press: press.id, zoo: zoo.id, closed: closed.id }
    const grants: Caller['grants'][] = [
      [],
      [{ role: 'admin', domain: null }],
      [{ role: 'superadmin', domain: 'press' }],
      [
        { role: 'editor', domain: 'press' },
        { role: 'user', domain: 'zoo' },
      ],
      [
        { role: 'editor', domain: null },
        { role: 'admin', domain: 'zoo' },
      ],
      [
        { role: 'Editor', domain: 'closed' },
        { role: 'admin', domain: 'closed' },
      ],
    ]
    for (const [i, held] of grants.entries()) {
      const user = await User.create({ email: `u${i}@example.com` })
      for (const { role: name, domain } of held) {
        await UserRole.create({ user, role: name, ...(domain ? { domain: domains[domain] } : {}) } as never)
      }
      callers.push({ id: user.id, grants: held })
    }
    await closed.update({ active: false } as never)
    const labels = [await Label.create({ word: 'a' }), await Label.create({ word: 'b' })]
    const users = callers.flatMap((caller) => (caller ? [caller.id] : []))
    // Random rows, determined by the seed. Each column is sometimes NULL.
    const rowOf = fc.record({
      userId: fc.option(fc.constantFrom(...users)),
      domainId: fc.option(fc.constantFrom(...Object.values(ids))),
      values: fc.record(
        Object.fromEntries(
          columns.map((name) => [
            name,
            fc.option(name === 'uid' ? fc.oneof(sample(name), fc.constantFrom(...users)) : sample(name), { freq: 4 }),
          ]),
        ),
      ),
      rank: fc.option(fc.constantFrom(0, 1, 2)),
      hasMaker: fc.boolean(),
      parts: fc.array(fc.record({ userId: fc.option(fc.constantFrom(...users)), weight: fc.option(fc.constantFrom(0, 1, 2)) }), {
        maxLength: 3,
      }),
      labels: fc.uniqueArray(fc.record({ word: fc.constantFrom('a', 'b'), place: fc.constantFrom(1, 2) }), {
        maxLength: 2,
        selector: ({ word }) => word,
      }),
    })
    await db.knex.transaction(async (trx) => {
      for (const made of fc.sample(rowOf, { seed, numRuns: 60 })) {
        const maker = made.hasMaker ? await Maker.query(trx).insert({ name: 'm', rank: made.rank } as never) : null
        const thing = await Thing.query(trx).insert({
          ...made.values,
          userId: made.userId,
          domainId: made.domainId,
          makerId: maker?.id ?? null,
        } as never)
        for (const part of made.parts) await Part.query(trx).insert({ ...part, thingId: thing.id } as never)
        for (const { word, place } of made.labels) {
          await trx('thing_label').insert({ thing_id: thing.id, label_id: labels.find((one) => one.word === word)?.id, place })
        }
        rows.push({ ...made, id: thing.id, maker: maker ? { id: maker.id, rank: made.rank } : null } as unknown as Row)
      }
    })
  })

  after(() => perms?.close())

  it('[promise 30] agree with each other and with a naive evaluation, for random policies, callers and rows', async function () {
    this.timeout(60_000)
    console.log(`      seed ${seed}, ${runs} policies`)
    const actors = new Map<Caller, Actor | null>()
    for (const caller of callers) if (caller) actors.set(caller, await runAs(caller.id, () => currentActor()))
    const stored = await asSystem(() => Thing.query())
    let some = 0
    await fc.assert(
      fc.asyncProperty(
        plans,
        fc.constantFrom(...callers),
        fc.array(fc.nat(rows.length - 1), { minLength: 3, maxLength: 3 }),
        async (plan, caller, picked) => {
          const Class = thingWith(ruleOf(plan, press))
          const read = async () => ((await Class.query().select('id')) as { id: string }[]).map(({ id }) => id).sort()
          const inSql = await (caller ? runAs(caller.id, read) : asAnonymous(read))
          const expected = rows
            .filter((row) => naive(plan, caller, row, ids))
            .map(({ id }) => id)
            .sort()
          expect(inSql, 'in SQL').to.deep.equal(expected)
          if (expected.length > 0 && expected.length < rows.length) some += 1
          const total = await (caller ? runAs(caller.id, () => Class.query().resultSize()) : asAnonymous(() => Class.query().resultSize()))
          expect(total, 'counted').to.equal(expected.length)
          for (const index of picked) {
            const row = rows[index] as Row
            const scope: Scope = {
              ...scopeOf(Class as never, caller ? (actors.get(caller) as Actor) : null, {
                dialect: dialectOfClass(Class as never),
                ref: 't',
              }),
              row: stored.find(({ id }) => id === row.id) as never,
            }
            expect(await holds(db.knex, compile(Class.policy.read as Rule, scope)), `in memory, ${row.id}`).to.equal(
              expected.includes(row.id),
            )
          }
        },
      ),
      { seed, numRuns: runs },
    )
    expect(some, 'policies that tell rows apart').to.be.greaterThan(runs / 6)
  })

  it('[promise 30] match only the row of the caller with self()', async () => {
    class Account extends User {
      static override adminBypass = false
      static override policy = { read: anyOf(self(), allOf(not(self()), where({ email: 'u0@example.com' }))) }
    }
    for (const caller of callers) {
      const read = () => Account.query()
      const found = ((await (caller ? runAs(caller.id, read) : asAnonymous(read))) as User[]).map(({ id }) => id)
      const first = callers[1]?.id as string
      expect(found).to.have.members([...new Set([...(caller ? [caller.id] : []), first])])
    }
  })

  it('[promise 30] match no row with an empty anyOf(), and all rows with an empty allOf() or where({})', async () => {
    for (const [rule, isAll] of [
      [anyOf(), false],
      [allOf(), true],
      [not(anyOf()), true],
      [not(allOf()), false],
      [where({}), true],
      [nobody(), false],
    ] as const) {
      const Class = thingWith(rule)
      expect((await asAnonymous(() => Class.query())).length).to.equal(isAll ? rows.length : 0)
    }
  })
})
