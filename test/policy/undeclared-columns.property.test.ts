import { expect } from 'chai'
import fc from 'fast-check'
import { type JSONSchema, Model } from 'objection'
import { allOf, anyOf, asSystem, initPerms, not, type Perms, PermsMixin, type Rule, type SqlRule, where } from '../../src/index.js'
import { compile } from '../../src/policy/compiler/compile.js'
import { holds } from '../../src/policy/compiler/condition.js'
import { scopeOf } from '../../src/policy/compiler/scope.js'
import { asAnonymous } from '../../src/policy/context.js'
import { dialectOfClass } from '../../src/record/codec.js'
import { eachDatabase } from '../helpers/databases.js'
import { generatedCases } from '../helpers/repetitions.js'

const seed = Number(process.env['FAST_CHECK_SEED'] ?? 20261128)
const runs = generatedCases(400, 'FAST_CHECK_RUNS')

const texts = ['', 'a', 'A', 'b', 'ab', 'a%', 'a_', '%', '\\', 'ä', 'Ä', 'a ', 'é', 'e\u0301', '😀', '\uFFFD', "'", '?', 'true']
const samples: Record<string, readonly unknown[]> = {
  str: texts,
  txt: texts,
  num: [-2147483648, -1, 0, 1, 7, 10, 2147483647],
  big: [-1, 0, 9, 10, 9007199254740991],
  dec: [-1.5, 0, 0.25, 9, 10, 9999.75],
  yes: [true, false],
  at: [new Date(0), new Date(1), new Date('2024-02-29T23:59:59.999Z'), new Date('2024-03-01T00:00:00.000Z')],
}
const patterns = ['%', '_', 'a%', '%a', 'a\\%', '_%', '', 'A%', 'ä', '%\\', '__']
const isText = (name: string) => name === 'str' || name === 'txt'

type Plan =
  | { kind: 'where'; column: string; operator: string; value: unknown }
  | { kind: 'any'; parts: Plan[] }
  | { kind: 'all'; parts: Plan[] }
  | { kind: 'not'; part: Plan }

const sample = (name: string) => fc.constantFrom(...(samples[name] as unknown[]))
const condition: fc.Arbitrary<Plan> = fc
  .constantFrom(...Object.keys(samples))
  .chain((column) =>
    fc
      .oneof(
        fc.record({ operator: fc.constantFrom('eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'bare'), value: sample(column) }),
        fc.record({ operator: fc.constantFrom('in', 'notIn', 'list'), value: fc.array(sample(column), { maxLength: 3 }) }),
        fc.record({ operator: fc.constantFrom('eq', 'ne'), value: fc.constant(null) }),
        fc.record({ operator: fc.constant('null'), value: fc.boolean() }),
        ...(isText(column) ? [fc.record({ operator: fc.constant('like'), value: fc.constantFrom(...patterns) })] : []),
      )
      .map((one) => ({ kind: 'where' as const, column, ...one })),
  )
const plans = fc.letrec<{ plan: Plan }>((tie) => ({
  plan: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    condition,
    fc.record({ kind: fc.constant('any' as const), parts: fc.array(tie('plan'), { maxLength: 3 }) }),
    fc.record({ kind: fc.constant('all' as const), parts: fc.array(tie('plan'), { maxLength: 3 }) }),
    fc.record({ kind: fc.constant('not' as const), part: tie('plan') }),
  ),
})).plan

function ruleOf(plan: Plan): SqlRule {
  if (plan.kind === 'any') return anyOf(...plan.parts.map(ruleOf))
  if (plan.kind === 'all') return allOf(...plan.parts.map(ruleOf))
  if (plan.kind === 'not') return not(ruleOf(plan.part))
  const { column, operator, value } = plan
  return where({ [column]: operator === 'bare' || operator === 'list' ? value : { [operator]: value } } as never)
}

function compared(name: string, held: unknown, asked: unknown): number {
  if (isText(name)) return Buffer.compare(Buffer.from(String(held)), Buffer.from(String(asked)))
  return Number(held) - Number(asked)
}

function naive(plan: Plan, row: Readonly<Record<string, unknown>>): boolean {
  if (plan.kind === 'any') return plan.parts.some((part) => naive(part, row))
  if (plan.kind === 'all') return plan.parts.every((part) => naive(part, row))
  if (plan.kind === 'not') return !naive(plan.part, row)
  const { column, operator, value } = plan
  const held = row[column] ?? null
  const equals = (asked: unknown) => held !== null && compared(column, held, asked) === 0
  switch (operator) {
    case 'null':
      return (held === null) === value
    case 'bare':
    case 'eq':
      return value === null ? held === null : equals(value)
    case 'ne':
      return value === null ? held !== null : held !== null && !equals(value)
    case 'in':
    case 'list':
      return (value as unknown[]).some(equals)
    case 'notIn':
      return held !== null && !(value as unknown[]).some(equals)
    case 'like':
      return held !== null && likeExpression(String(value)).test(String(held))
    default: {
      if (held === null) return false
      const order = compared(column, held, value)
      return { gt: order > 0, gte: order >= 0, lt: order < 0, lte: order <= 0 }[operator] as boolean
    }
  }
}

function likeExpression(pattern: string): RegExp {
  const parts = [...pattern.matchAll(/\\(.)|([\s\S])/gu)].map(([, escaped, plain]) => {
    if (escaped === undefined && plain === '%') return '.*'
    if (escaped === undefined && plain === '_') return '.'
    return (escaped ?? plain ?? '').replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')
  })
  return new RegExp(`^${parts.join('')}$`, 'su')
}

const jsonSchema: JSONSchema = {
  type: 'object',
  properties: {
    id: { type: 'integer' },
    str: { type: ['string', 'null'] },
    txt: { type: ['string', 'null'] },
    num: { type: ['integer', 'null'] },
    big: { type: ['integer', 'null'] },
    dec: { type: ['number', 'null'] },
    yes: { type: ['boolean', 'null'] },
    at: { type: ['string', 'null'], format: 'date-time' },
  },
}

function modelWith(policy: SqlRule, schema: JSONSchema | undefined) {
  return class Plain extends PermsMixin(Model) {
    declare id: number
    static override tableName = 'plain'
    static override jsonSchema = schema as JSONSchema
    static override policy = { read: policy }
  }
}

eachDatabase('Rules over columns that nobody declared', (db) => {
  let perms: Perms
  const rows: Record<string, unknown>[] = []
  before(async () => {
    perms = initPerms({ knex: db.knex })
    await db.knex.schema.createTable('plain', (table) => {
      table.increments('id')
      table.string('str')
      table.text('txt')
      table.integer('num')
      table.bigInteger('big')
      table.specificType('dec', 'decimal(12, 2)')
      table.boolean('yes')
      table.dateTime('at', { precision: 3 } as never)
    })
    const rowOf = fc.record(Object.fromEntries(Object.keys(samples).map((name) => [name, fc.option(sample(name), { freq: 4 })])))
    for (const [i, made] of fc.sample(rowOf, { seed, numRuns: 50 }).entries()) rows.push({ id: i + 1, ...made })
    for (const row of rows) await db.knex('plain').insert(row as object)
  })
  after(() => perms.close())

  for (const [name, schema] of [
    ['without a schema', undefined],
    ['with only a jsonSchema', jsonSchema],
  ] as const)
    it(`[promise 30] agree in SQL, in memory and with a naive evaluation, ${name}`, async function () {
      this.timeout(60_000)
      const Whole = modelWith(where({}), schema)
      const stored = await asSystem(() => Whole.query())
      let some = 0
      await fc.assert(
        fc.asyncProperty(plans, fc.array(fc.nat(rows.length - 1), { minLength: 3, maxLength: 3 }), async (plan, picked) => {
          const Class = modelWith(ruleOf(plan), schema)
          const expected = rows.filter((row) => naive(plan, row)).map(({ id }) => id as number)
          const found = (await asAnonymous(() => Class.query().orderBy('id'))).map(({ id }) => id)
          expect(found, 'in SQL').to.deep.equal(expected)
          if (expected.length > 0 && expected.length < rows.length) some += 1
          for (const index of picked) {
            const id = rows[index]?.id as number
            const row = stored.find((one) => one.id === id)
            const scope = scopeOf(Class, null, { dialect: dialectOfClass(Class), ref: 't', row: row as never })
            expect(await holds(db.knex, compile(Class.policy.read as Rule, scope)), `in memory, ${id}`).to.equal(expected.includes(id))
          }
        }),
        { seed, numRuns: runs },
      )
      expect(some, 'policies that tell rows apart').to.be.greaterThan(runs / 6)
    })
})
