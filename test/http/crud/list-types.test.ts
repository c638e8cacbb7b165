import { expect } from 'chai'
import { BasePermsModel } from '../../../src/enforce/base-perms-model.js'
import { CrudResource } from '../../../src/http/crud/crud-resource.js'
import { type Operator, operatorsOf } from '../../../src/http/crud/filters.js'
import { Api } from '../../../src/http/serve/api.js'
import { initPerms } from '../../../src/init.js'
import { createTables } from '../../../src/migrations.js'
import { asSystem } from '../../../src/policy/context.js'
import { everyone } from '../../../src/policy/rules.js'
import { column } from '../../../src/schema/column.js'
import { testHasher } from '../../../src/testing/index.js'
import { eachDatabase } from '../../helpers/databases.js'
import { migrateAtOnce } from '../../helpers/library-tables-at-once.js'
import { type Client, clientOf } from '../client.js'

class Sample extends BasePermsModel.withColumns({
  name: column.string({ maxLength: 10 }),
  string: column.string({ maxLength: 20 }).nullable(),
  text: column.text().nullable(),
  integer: column.integer().nullable(),
  bigint: column.bigint().nullable(),
  decimal: column.decimal(30, 10).nullable(),
  float: column.float().nullable(),
  boolean: column.boolean().nullable(),
  date: column.date().nullable(),
  datetime: column.datetime().nullable(),
  uuid: column.uuid().nullable(),
  enum: column.enum(['red', 'green', 'blue']).nullable(),
  json: column.json().nullable().filterable(true),
}) {
  static override policy = { read: everyone() }
}

type Values = Readonly<Record<string, string | number | boolean | Date | object | null>>

const names = Object.keys(Sample.columnSpecs).filter((name) => !['id', 'createdAt', 'updatedAt', 'name', 'json'].includes(name))
const nothing: Values = Object.fromEntries([...names, 'json'].map((name) => [name, null]))

// Two that are equal, two without anything, and what sorts otherwise as text, in UTF-16, as a double or in 32 bits.
const rows: readonly Values[] = [
  nothing,
  nothing,
  {
    string: '',
    text: 'a',
    integer: 0,
    bigint: '0',
    decimal: '0',
    float: 0,
    boolean: false,
    date: '2000-02-29',
    datetime: new Date('2000-02-29T00:00:00.000Z'),
    uuid: '00000000-0000-0000-0000-000000000001',
    enum: 'red',
    json: {},
  },
  {
    string: 'a',
    text: 'A',
    integer: -2147483648,
    bigint: '-9223372036854775808',
    decimal: '-99999999999999999999.0000000001',
    float: -1.5e300,
    boolean: true,
    date: '0100-01-01',
    datetime: new Date('0100-01-01T00:00:00.000Z'),
    uuid: 'ffffffff-ffff-ffff-ffff-ffffffffffff',
    enum: 'green',
    json: [1],
  },
  {
    string: 'A',
    text: 'ä',
    integer: 2147483647,
    bigint: '9223372036854775807',
    decimal: '99999999999999999999.9999999999',
    float: 0.1,
    boolean: true,
    date: '9999-12-31',
    datetime: new Date('9999-12-31T23:59:59.999Z'),
    uuid: '7fffffff-ffff-ffff-ffff-ffffffffffff',
    enum: 'blue',
    json: 'x',
  },
  {
    string: '\u{1f600}',
    text: 'a ',
    integer: 10,
    bigint: '9007199254740993',
    decimal: '12345678901234567890.0000000001',
    float: 0.30000000000000004,
    boolean: false,
    date: '2000-03-01',
    datetime: new Date('2000-02-29T23:59:59.999Z'),
    uuid: '80000000-0000-0000-0000-000000000000',
    enum: 'red',
    json: 5,
  },
  {
    string: '\uffee',
    text: 'a ',
    integer: 9,
    bigint: '9007199254740992',
    decimal: '12345678901234567890.0000000002',
    float: 0.3,
    boolean: false,
    date: '2000-03-01',
    datetime: new Date('2000-03-01T00:00:00.000Z'),
    uuid: '80000000-0000-0000-0000-000000000000',
    enum: 'red',
    json: false,
  },
]

const textOf = (value: Values[string] | undefined): string => (value instanceof Date ? value.toISOString() : String(value))

/** How two values are ordered, worked out without the library. */
function order(name: string, a: unknown, b: unknown): number {
  const scaled = (value: unknown) => BigInt(String(value).replace(/^(-?\d+)\.?(\d*)$/, (_, whole, rest) => whole + rest.padEnd(10, '0')))
  if (name === 'bigint' || name === 'decimal') return scaled(a) < scaled(b) ? -1 : scaled(a) > scaled(b) ? 1 : 0
  if (typeof a === 'string') return Buffer.compare(Buffer.from(a), Buffer.from(String(b)))
  return Math.sign(Number(a) - Number(b))
}

const isSo: Readonly<Record<Exclude<Operator, 'like' | 'ilike' | 'null'>, (order: number) => boolean>> = {
  eq: (n) => n === 0,
  in: (n) => n === 0,
  ne: (n) => n !== 0,
  gt: (n) => n > 0,
  gte: (n) => n >= 0,
  from: (n) => n >= 0,
  min: (n) => n >= 0,
  lt: (n) => n < 0,
  lte: (n) => n <= 0,
  to: (n) => n <= 0,
  max: (n) => n <= 0,
}

eachDatabase('lists of every type', (db) => {
  let ask: Client
  let perms: ReturnType<typeof initPerms>
  before(async () => {
    perms = initPerms({
      knex: db.knex,
      jwt: { secret: 'a secret of the tests, 32 bytes long' },
      passwordHasher: testHasher(),
      models: [Sample],
    })
    await migrateAtOnce(perms)
    await createTables(db.knex, [Sample])
    await asSystem(async () => {
      for (const [i, values] of rows.entries()) await Sample.create({ name: `r${i}`, ...values } as never)
    })
    ask = clientOf(new Api({ resources: [new CrudResource({ model: Sample, methods: { list: { public: true } } })] }), perms)
  })
  after(() => perms.close())

  const found = async (query: string): Promise<string[]> => {
    const { status, body } = await ask('GET', `/samples?${query}`)
    expect(status, `${query}: ${JSON.stringify(body)}`).to.equal(200)
    return body.data.map((row: { name: string }) => row.name)
  }
  const where = (isWanted: (values: Values) => boolean): string[] => rows.flatMap((values, i) => (isWanted(values) ? [`r${i}`] : []))

  for (const name of names) {
    const operators = operatorsOf(Sample.columnSpecs[name] as never).filter((one) => one !== 'like' && one !== 'ilike')
    it(`filter ${name} by ${operators.join(', ')}`, async () => {
      for (const operator of operators) {
        const key = operator === 'eq' ? name : `${name}__${operator}`
        if (operator === 'null') {
          expect(await found(`sort=name&${key}=true`)).to.deep.equal(where((values) => values[name] === null))
          expect(await found(`sort=name&${key}=false`)).to.deep.equal(where((values) => values[name] !== null))
          continue
        }
        // SQLite orders decimals by their first 15 digits.
        const probes = rows.slice(2, name === 'decimal' ? 5 : undefined).map((values) => values[name])
        for (const probe of operator === 'eq' || operator === 'gt' || operator === 'to' ? probes : probes.slice(1, 3)) {
          const expected = where((values) =>
            values[name] === null ? operator === 'ne' : isSo[operator as keyof typeof isSo](order(name, values[name], probe)),
          )
          const query = `sort=name&${key}=${encodeURIComponent(textOf(probe))}`
          expect(await found(query), query).to.deep.equal(expected)
        }
      }
      const [first, second] = [rows[3]?.[name], rows[4]?.[name]].map(textOf) as [string, string]
      const either = where((values) => values[name] !== null && [first, second].includes(textOf(values[name])))
      expect(await found(`sort=name&${name}__in=${encodeURIComponent(first)},${encodeURIComponent(second)}`)).to.deep.equal(either)
    })
  }

  it('filter json only by null, if the model enables it', async () => {
    expect(operatorsOf(Sample.columnSpecs['json'] as never)).to.deep.equal(['null'])
    expect(await found('sort=name&json__null=true')).to.deep.equal(['r0', 'r1'])
    expect((await ask('GET', '/samples?json=1&sort=json')).body.errors.map(({ field }: { field: string }) => field)).to.deep.equal([
      'json',
      'sort',
    ])
  })

  for (const name of names) {
    it(`page through ${name} by cursor in both directions like by page number, NULL first and each row once`, async () => {
      for (const sort of [name, `-${name}`, `${name},-name`, `-${name},name`]) {
        const whole = await found(`sort=${sort}`)
        const values = whole.map((row) => rows[Number(row.slice(1))]?.[name] ?? null)
        for (const [i, value] of values.slice(1).entries()) {
          const [a, b] = sort.startsWith('-') ? [value, values[i]] : [values[i], value]
          const isOrdered = a === null || (b !== null && order(name, a, b) <= 0)
          // SQLite orders decimals by their first 15 digits.
          const isLongDecimal = name === 'decimal' && String(a).startsWith('1234') && String(b).startsWith('1234')
          expect(isOrdered || isLongDecimal, `${sort}: ${textOf(values[i])}, ${textOf(value)}`).to.equal(true)
        }
        const byPage: string[] = []
        for (let page = 1; page <= rows.length; page += 1) byPage.push(...(await found(`sort=${sort}&pageSize=1&page=${page}`)))
        expect(byPage, sort).to.deep.equal(whole)
        const byCursor: string[] = []
        let cursor: string | null = ''
        while (cursor !== null && byCursor.length <= rows.length) {
          const { body } = await ask('GET', `/samples?sort=${sort}&pageSize=1${cursor === '' ? '' : `&cursor=${cursor}`}`)
          byCursor.push(...body.data.map((row: { name: string }) => row.name))
          cursor = body.pagination.nextCursor
        }
        expect(byCursor, sort).to.deep.equal(whole)
      }
    })
  }

  it('continue at the same position by cursor after inserts and deletes', async () => {
    const page = async (cursor?: string) => {
      const { body } = await ask('GET', `/samples?sort=-integer,boolean&name__ne=late&pageSize=2${cursor ? `&cursor=${cursor}` : ''}`)
      return { names: body.data.map((row: { name: string }) => row.name) as string[], next: body.pagination.nextCursor as string }
    }
    const before = await found('sort=-integer,boolean')
    const first = await page()
    expect(first.names).to.deep.equal(before.slice(0, 2))
    // Before the place, at it with equal values, and after it; then the row at the place itself goes away.
    const made: Sample[] = []
    await asSystem(async () => {
      for (const [i, integer] of [2147483647, 10, 10, -5].entries())
        made.push(await Sample.create({ ...nothing, name: `n${i}`, integer, boolean: false } as never))
      await Sample.query().delete().where({ name: before[1] })
    })
    const rest: string[] = []
    for (let next = first.next; next; ) {
      const { names: more, next: further } = await page(next)
      rest.push(...more)
      next = further
    }
    // The two that are equal to it were made later, so that their ids come after it.
    expect(rest.filter((name) => name.startsWith('r'))).to.deep.equal(before.slice(2))
    expect(rest.filter((name) => name.startsWith('n'))).to.deep.equal(['n1', 'n2', 'n3'])
    await asSystem(async () => {
      for (const row of made) await row.delete()
      const lost = Number(before[1]?.slice(1))
      await Sample.create({ name: `r${lost}`, ...rows[lost] } as never)
    })
  })

  const tooFar: readonly [string, 'all' | 'none'][] = [
    ['datetime__to=9999-12-31', 'all'],
    ['datetime__from=0001-01-01', 'all'],
    ['datetime__gt=0001-01-01', 'all'],
    ['datetime__lt=0001-01-01', 'none'],
    ['datetime=0001-01-01', 'none'],
    ['datetime__in=0001-01-01', 'none'],
    ['date__from=0001-01-01', 'all'],
    ['date__lte=0001-01-01', 'none'],
    ['integer__lt=99999999999', 'all'],
    ['integer__gt=99999999999', 'none'],
    ['integer__gte=-99999999999', 'all'],
  ]
  for (const [query, which] of tooFar) {
    it(`accept a bound outside the range of the column: ${query} [promise 47]`, async () => {
      expect(await found(`sort=name&${query}`)).to.deep.equal(which === 'none' ? [] : ['r2', 'r3', 'r4', 'r5', 'r6'])
    })
  }
})
