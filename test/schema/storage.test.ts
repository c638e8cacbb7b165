import { expect } from 'chai'
import fc from 'fast-check'
import type { Knex } from 'knex'
import { ConfigurationError, ValidationError } from '../../src/core/errors.js'
import { prepareConnections } from '../../src/database/connections.js'
import { createTablesFromSpecs, type TableSpec } from '../../src/database/tables/tables.js'
import { type ColumnSpec, column } from '../../src/schema/column.js'
import { decoder, dialectOf, encode, sqlValue } from '../../src/schema/storage.js'
import { eachDriver } from '../helpers/databases.js'

const all = {
  id: column.integer(),
  name: column.string({ maxLength: 100 }).nullable(),
  story: column.text().nullable(),
  mood: column.enum(['good', 'bad']).nullable(),
  count: column.integer().nullable(),
  big: column.bigint().nullable(),
  price: column.decimal(38, 4).nullable(),
  whole: column.decimal(12, 0).nullable(),
  ratio: column.float().nullable(),
  isOn: column.boolean().nullable(),
  day: column.date().nullable(),
  moment: column.datetime().nullable(),
  key: column.uuid().nullable(),
  data: column.json().nullable(),
  always: column.json().default([]),
}
const table: TableSpec = { name: 'all_types', columns: all, primaryKey: 'id' }
const specOf = (property: string): ColumnSpec => (all as TableSpec['columns'])[property]?.spec as ColumnSpec
const snake = (property: string) => (property === 'isOn' ? 'is_on' : property)

/** Runs fn as if the process had been started in another time zone. */
async function inTimeZone<T>(zone: string, fn: () => Promise<T>): Promise<T> {
  const before = process.env['TZ']
  process.env['TZ'] = zone
  try {
    return await fn()
  } finally {
    if (before === undefined) delete process.env['TZ']
    else process.env['TZ'] = before
  }
}

// São Paulo had no midnight on 2018-11-04, Samoa had no 2011-12-30 at all.
const zones = ['UTC', 'America/Sao_Paulo', 'Pacific/Apia', 'Asia/Kathmandu']

describe('encode', () => {
  it('refuses a value that the column cannot store exactly, instead of rounding it', () => {
    const cases: [ColumnSpec, unknown][] = [
      [column.decimal(5, 2).spec, '1.005'],
      [column.decimal(5, 2).spec, '1000'],
      [column.decimal(5, 2).spec, 0.1 + 0.2],
      [column.decimal(5, 2).spec, 'NaN'],
      [column.decimal(5, 2).spec, ''],
      [column.bigint().spec, '9223372036854775808'],
      [column.bigint().spec, '-9223372036854775809'],
      [column.bigint().spec, 2 ** 53],
      [column.bigint().spec, '1.0'],
      [column.date().spec, '2023-02-29'],
      [column.date().spec, '0000-13-45'],
      [column.date().spec, new Date()],
      [column.datetime().spec, new Date(Number.NaN)],
      [column.datetime().spec, '2023-01-01T00:00:00'],
      [column.datetime().spec, new Date('+010000-01-01T00:00:00Z')],
      [column.string().spec, 'a\0b'],
      [column.string().spec, 'a\ud83d'],
      [column.string().spec, { raw: 'x' }],
      [column.json().spec, { a: 'x\0' }],
      [column.json().spec, ['\\\\\0']],
      [column.json().spec, '\udc00'],
      [column.json().spec, 10n],
      [column.boolean().spec, 1],
      [column.integer().spec, '1'],
      [column.float().spec, Number.POSITIVE_INFINITY],
    ]
    for (const [spec, value] of cases) {
      for (const dialect of ['sqlite', 'pg', 'mysql'] as const) {
        expect(() => encode(spec, value, dialect), `${spec.type} ${String(value)}`).to.throw(ValidationError)
      }
    }
  })

  it('refuses the years before 100 on MariaDB, whose driver reads them as 19xx', () => {
    expect(() => encode(column.date().spec, '0099-12-31', 'mysql')).to.throw(ValidationError)
    expect(() => encode(column.datetime().spec, new Date('0099-12-31T00:00:00Z'), 'mysql')).to.throw(ValidationError)
    expect(encode(column.date().spec, '0099-12-31', 'pg')).to.equal('0099-12-31')
  })

  it('keeps JSON text that only looks like an escape', () => {
    expect(encode(column.json().spec, 'C:\\u0000', 'pg')).to.equal('"C:\\\\u0000"')
  })

  it('writes equal numbers as equal text, so that SQL can compare them', () => {
    const price = column.decimal(10, 2).spec
    for (const same of ['5', '5.0', '005.00', 5, '5.000']) expect(encode(price, same, 'sqlite')).to.equal('5.00')
    expect(encode(price, '-0', 'sqlite')).to.equal('0.00')
    for (const same of ['7', '007', 7, 7n]) expect(encode(column.bigint().spec, same, 'sqlite')).to.equal('7')
    expect(encode(column.bigint().spec, '-0', 'sqlite')).to.equal('0')
  })

  it('returns undefined and null unchanged', () => {
    for (const property of Object.keys(all)) {
      expect(encode(specOf(property), undefined, 'pg')).to.equal(undefined)
      if (property !== 'always') expect(encode(specOf(property), null, 'pg')).to.equal(null)
    }
  })
})

describe('decoder', () => {
  it('returns null and undefined unchanged, and reads values of other tables and driver settings', () => {
    for (const dialect of ['sqlite', 'pg', 'mysql'] as const) {
      for (const property of Object.keys(all)) {
        const decode = decoder(specOf(property), dialect) ?? ((value: unknown) => value)
        expect(decode(null)).to.equal(null)
        expect(decode(undefined)).to.equal(undefined)
      }
      const read = (spec: ColumnSpec, value: unknown) => (decoder(spec, dialect) ?? ((same: unknown) => same))(value)
      expect(read(column.decimal(10, 2).spec, 12.5)).to.equal('12.50')
      expect(read(column.bigint().spec, 12)).to.equal('12')
      expect(read(column.bigint().spec, 12n)).to.equal('12')
      expect(read(column.datetime().spec, '2020-01-02 03:04:05')).to.deep.equal(new Date('2020-01-02T03:04:05Z'))
      expect(read(column.datetime().spec, '2020-01-02 03:04:05.678+05:30')).to.deep.equal(new Date('2020-01-02T03:04:05.678+05:30'))
      expect(read(column.datetime().spec, '2020-01-02 03:04:05-03')).to.deep.equal(new Date('2020-01-02T06:04:05Z'))
      expect(read(column.date().spec, '2020-01-02')).to.equal('2020-01-02')
      expect(read(column.json().spec, { a: 1 })).to.deep.equal({ a: 1 })
    }
  })
})

eachDriver('storage', (db) => {
  let undo: () => void
  before(async () => {
    undo = prepareConnections(db.knex)
    await createTablesFromSpecs(db.knex, [table])
  })
  after(() => undo())

  let nextId = 0
  const through = (knex: Knex) => async (values: Record<string, unknown>) => {
    nextId += 1
    const stored = Object.fromEntries(
      Object.entries({ always: null, ...values, id: nextId }).map(([property, value]) => [
        snake(property),
        encode(specOf(property), value, db.dialect),
      ]),
    )
    await knex('all_types').insert(stored)
    const row = await knex('all_types').where({ id: nextId }).first()
    return Object.fromEntries(
      Object.keys(values).map((property) => [
        property,
        (decoder(specOf(property), db.dialect) ?? ((same: unknown) => same))(row[snake(property)]),
      ]),
    )
  }
  const roundTrip = (values: Record<string, unknown>) => through(db.knex)(values)

  it('returns the dialect of an instance and of a transaction', async () => {
    expect(dialectOf(db.knex)).to.equal(db.dialect)
    await db.knex.transaction(async (trx) => expect(dialectOf(trx)).to.equal(db.dialect))
  })

  it('returns a value of every type as it was written', async () => {
    const values = {
      name: 'O\'Brien \\ ? $1 `x` "y" ',
      story: '𝒳 👩‍👩‍👧 ü\u0301 \ufeff '.repeat(2000),
      mood: 'good',
      count: -2147483648,
      big: '-9223372036854775808',
      price: '-1234567890123456789012345678901234.5678',
      whole: '999999999999',
      ratio: 0.1,
      isOn: true,
      day: '2024-02-29',
      moment: new Date('2024-02-29T23:59:59.999Z'),
      key: '018f4e2a-7b3c-7def-8123-456789abcdef',
      data: { a: [1, 'b', null, { c: true }], d: '𝒳' },
    }
    expect(await roundTrip(values)).to.deep.equal(values)
    expect(await roundTrip({ isOn: false, big: '9223372036854775807', ratio: 1.7976931348623157e308 })).to.deep.equal({
      isOn: false,
      big: '9223372036854775807',
      ratio: 1.7976931348623157e308,
    })
  })

  it('returns null for every type', async () => {
    const nulls = Object.fromEntries(
      Object.keys(all)
        .filter((p) => p !== 'id' && p !== 'always')
        .map((p) => [p, null]),
    )
    expect(await roundTrip(nulls)).to.deep.equal(nulls)
  })

  it('writes and finds UUIDs in lower case', async () => {
    expect(await roundTrip({ key: '018F4E2A-7B3C-7DEF-8123-456789ABCDE0' })).to.deep.equal({ key: '018f4e2a-7b3c-7def-8123-456789abcde0' })
  })

  it('distinguishes every JSON value from every other', async () => {
    for (const data of [
      '',
      'text',
      '"quoted"',
      '1',
      1,
      0,
      '1e5',
      true,
      'true',
      false,
      'null',
      [],
      ['a', "'"],
      {},
      [null],
      [[1], [2]],
      '{}',
      '\\',
      '你',
    ]) {
      expect(await roundTrip({ data })).to.deep.equal({ data })
    }
  })

  it('stores null as SQL NULL if a json column is nullable, and as JSON null if it is not', async () => {
    await roundTrip({ data: null, always: null })
    const row = await db.knex('all_types').where({ id: nextId }).whereNull('data').whereNotNull('always').first()
    expect(row).to.include({ id: nextId })
    expect(await roundTrip({ always: null })).to.deep.equal({ always: null })
  })

  it('keeps random numbers exactly', async () => {
    const digits = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })
    const decimals = fc.bigInt({ min: -(10n ** 38n) + 1n, max: 10n ** 38n - 1n })
    await fc.assert(
      fc.asyncProperty(digits, decimals, fc.double({ noNaN: true, noDefaultInfinity: true }), async (big, scaled, ratio) => {
        const sign = scaled < 0n ? '-' : ''
        const text = (scaled < 0n ? -scaled : scaled).toString().padStart(5, '0')
        const values = { big: big.toString(), price: `${sign}${text.slice(0, -4)}.${text.slice(-4)}`, ratio: ratio + 0 }
        expect(await roundTrip(values)).to.deep.equal(values)
      }),
      { numRuns: 25 },
    )
  })

  for (const zone of zones) {
    it(`keeps dates and datetimes in every time zone of the process (${zone})`, async () => {
      await inTimeZone(zone, async () => {
        if (zone === 'Pacific/Apia') expect(new Date(2011, 11, 30).getDate(), 'TZ takes effect').to.equal(31)
        for (const day of ['2018-11-04', '2011-12-30', '2024-03-10', '1900-01-01', '0100-01-01', '9999-12-31']) {
          expect(await roundTrip({ day })).to.deep.equal({ day })
        }
        for (const text of [
          '2018-11-04T00:00:00.000Z',
          '2011-12-30T10:00:00.001Z',
          '1970-01-01T00:00:00.000Z',
          '1890-06-01T12:34:56.789Z',
          '0100-01-01T00:00:00.000Z',
          '9999-12-31T23:59:59.999Z',
        ]) {
          expect(await roundTrip({ moment: new Date(text) })).to.deep.equal({ moment: new Date(text) })
        }
        expect(await roundTrip({ moment: '2020-01-01T00:00:00.5+02:00' })).to.deep.equal({ moment: new Date('2019-12-31T22:00:00.500Z') })
      })
    })

    it(`finds a datetime by a plain Date in where(), and stores a Date bound by plain Knex (${zone})`, async () => {
      await inTimeZone(zone, async () => {
        const moment = new Date('2021-07-01T11:22:33.444Z')
        await roundTrip({ moment })
        expect(await db.knex('all_types').where({ id: nextId, moment })).to.have.length(1)
        expect(
          await db
            .knex('all_types')
            .where({ id: nextId })
            .where('moment', '>', new Date(moment.getTime() - 1)),
        ).to.have.length(1)
        expect(await db.knex('all_types').where({ id: nextId }).where('moment', '>', moment)).to.have.length(0)
        const later = new Date('2022-01-01T00:00:00.001Z')
        await db.knex('all_types').where({ id: nextId }).update({ moment: later })
        const row = await db.knex('all_types').where({ id: nextId }).first('moment')
        expect(decoder(specOf('moment'), db.dialect)?.(row.moment)).to.deep.equal(later)
      })
    })
  }

  it('returns the same values in a process with another time zone', async () => {
    const values = { day: '2011-12-30', moment: new Date('2011-12-30T05:06:07.008Z') }
    const other = db.connect()
    const release = prepareConnections(other)
    await inTimeZone('America/Sao_Paulo', () => roundTrip(values))
    const id = nextId
    const row = await inTimeZone('Pacific/Apia', async () => await other('all_types').where({ id }).first())
    release()
    expect(decoder(specOf('day'), db.dialect)?.(row.day)).to.equal(values.day)
    expect(decoder(specOf('moment'), db.dialect)?.(row.moment)).to.deep.equal(values.moment)
  })

  it('compares strings byte for byte: case, accents, trailing spaces [promise 57]', async () => {
    const same = async (stored: string, asked: string) => {
      await roundTrip({ name: stored })
      return (await db.knex('all_types').where({ id: nextId, name: asked })).length === 1
    }
    expect(await same('admin', 'admin')).to.equal(true)
    for (const asked of ['ADMIN', 'admin ', 'ádmin', 'admin\u200b', ' admin', 'admin\u0301']) {
      expect(await same('admin', asked), asked).to.equal(false)
    }
    expect(await same('é', 'e\u0301')).to.equal(false)
    expect(await same('straße', 'strasse')).to.equal(false)
  })

  it('orders by value with sqlValue, strings by their bytes', async () => {
    const ordered = async (property: string, values: string[]) => {
      await db.knex('all_types').del()
      for (const value of values) await roundTrip({ [property]: value })
      const order = sqlValue(specOf(property), db.knex.ref(`all_types.${property}`).toQuery(), db.dialect)
      const rows = await db.knex('all_types').orderByRaw(order).select(property)
      return rows.map((row: Record<string, unknown>) => (decoder(specOf(property), db.dialect) ?? ((same: unknown) => same))(row[property]))
    }
    expect(await ordered('big', ['10', '9', '-1', '9007199254740993', '9007199254740992', '-20'])).to.deep.equal([
      '-20',
      '-1',
      '9',
      '10',
      '9007199254740992',
      '9007199254740993',
    ])
    expect(await ordered('price', ['10', '9.5', '-3', '9.4999'])).to.deep.equal(['-3.0000', '9.4999', '9.5000', '10.0000'])
    expect(await ordered('name', ['b', 'a', 'B', 'é', 'z', 'A', '_', 'a '])).to.deep.equal(['A', 'B', '_', 'a', 'a ', 'b', 'z', 'é'])
  })

  it('compares a bound value through sqlValue', async () => {
    await db.knex('all_types').del()
    await roundTrip({ big: '9', price: '9.5' })
    const greater = async (property: string, value: string) => {
      const spec = specOf(property)
      const [left, right] = [sqlValue(spec, property, db.dialect), sqlValue(spec, '?', db.dialect)]
      return (await db.knex('all_types').whereRaw(`${left} > ${right}`, [encode(spec, value, db.dialect) as string])).length
    }
    expect(await greater('big', '10')).to.equal(0)
    expect(await greater('big', '8')).to.equal(1)
    expect(await greater('price', '10')).to.equal(0)
    expect(await greater('price', '9.4999')).to.equal(1)
  })
})

describe('dialectOf', () => {
  it('refuses unsupported clients and names the supported ones', () => {
    const stranger = { client: { driverName: 'oracledb' } } as unknown as Knex
    expect(() => dialectOf(stranger)).to.throw(ConfigurationError, /oracledb.*better-sqlite3/)
    expect(() => dialectOf({ client: { driverName: 'constructor' } } as unknown as Knex)).to.throw(ConfigurationError)
  })
})
