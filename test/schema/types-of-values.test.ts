import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { BaseModel, column, createTables, initPerms, type Perms } from '../../src/index.js'
import { testHasher } from '../../src/testing/hasher.js'
import { bundled } from '../helpers/bundled.js'
import { eachDriver } from '../helpers/databases.js'
import { fieldsOf, rejection } from '../helpers/errors.js'

class Sample extends BaseModel.withColumns({
  text: column.text().nullable(),
  short: column.string({ maxLength: 10 }).nullable(),
  whole: column.integer().nullable(),
  big: column.bigint().nullable(),
  amount: column.decimal(30, 10).nullable(),
  ratio: column.float().nullable(),
  flag: column.boolean().nullable(),
  day: column.date().nullable(),
  moment: column.datetime().nullable(),
  ref: column.uuid().nullable(),
  data: column.json().nullable(),
  must: column.json().default({}),
  colour: column.enum(['red', 'grün', '🟦']).nullable(),
}) {}

const uuid = '0198c0de-abcd-7000-8000-00000000000a'
const longText = 'é🜚'.repeat(30_000)

const roundTrips: Partial<Record<keyof Sample, readonly unknown[]>> = {
  text: [
    '',
    ' ',
    'a ',
    '  a\n\t',
    '👩‍👩‍👧‍👦 𝒳 ﷽',
    'O\'Neill \\ " ? :x ?? %_',
    'ａ',
    '\u0001\u007f\u2028\ufeff',
    longText,
    'null',
    '0',
    'e\u0301',
  ],
  short: ['', '🦊🦊🦊🦊🦊🦊🦊🦊🦊🦊', 'ten chars.'],
  whole: [0, 1, -1, 2147483647, -2147483648],
  big: ['0', '9007199254740993', '9223372036854775807', '-9223372036854775808'],
  amount: ['0.0000000000', '12345678901234567890.1234567891', '-0.0000000001', '99999999999999999999.9999999999'],
  ratio: [0, 0.1, -1.5, 1e300, 5e-324, 123456789.12345679],
  flag: [true, false],
  day: ['2024-02-29', '1900-01-01', '9999-12-31', '1883-11-18', '2011-12-30', '1000-01-01'],
  moment: [
    '2030-01-31T12:00:00.123Z',
    '1970-01-01T00:00:00.000Z',
    '1969-12-31T23:59:59.999Z',
    '2024-03-31T01:30:00.001Z',
    '1900-01-01T00:00:00.000Z',
    '9999-12-31T23:59:59.999Z',
    '1000-01-01T00:00:00.000Z',
  ].map((text) => new Date(text)),
  ref: [uuid, '00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff'],
  data: [
    {},
    [],
    { a: [1, { b: null }], é: '🦊' },
    [1, 2, 3],
    ['a'],
    'text',
    '',
    '5',
    'null',
    'true',
    '{"a":1}',
    0,
    5,
    1.5,
    true,
    false,
    { nested: { deep: ['x'] } },
    [null],
    9007199254740991,
  ],
  colour: ['red', 'grün', '🟦'],
}

eachDriver('Values', (db) => {
  let perms: Perms
  before(async () => {
    perms = initPerms({ knex: db.knex, passwordHasher: testHasher() })
    await createTables(db.knex, [Sample])
  })
  after(() => perms.close())

  for (const [name, values] of Object.entries(roundTrips)) {
    it(`of ${name} are read as they were written and found by getBy(), also NULL`, async () => {
      for (const value of [...values, null]) {
        const { id } = await Sample.create({ [name]: value } as never)
        const read = (await Sample.getOr404(id)) as unknown as Record<string, unknown>
        expect(read[name], String(value)).to.deep.equal(value)
        const by = { [name]: value, id } as never
        if (name !== 'data') expect(await Sample.getBy(by), `getBy ${String(value)}`).not.to.equal(null)
        const changed = await Sample.create({})
        await changed.update({ [name]: value } as never)
        expect(((await Sample.getOr404(changed.id)) as unknown as Record<string, unknown>)[name], `update ${String(value)}`).to.deep.equal(
          value,
        )
        const saved = (await Sample.getOr404((await Sample.create({})).id)) as Sample & Record<string, unknown>
        Object.assign(saved, { [name]: value })
        await saved.save()
        expect(((await Sample.getOr404(saved.id)) as unknown as Record<string, unknown>)[name], `save ${String(value)}`).to.deep.equal(
          value,
        )
      }
    })
  }

  it('of json may contain null, and are null only if the column is nullable', async () => {
    const { id } = await Sample.create({ must: [null] })
    expect((await Sample.getOr404(id)).must).to.deep.equal([null])
    expect(fieldsOf(await rejection(Sample.create({ must: null })))).to.deep.equal(['must'])
  })

  it('are the same when they come with withGraphFetched, returning and first()', async () => {
    const { id } = await Sample.create({ amount: '1.5', flag: true, big: '7', day: '2024-02-29' })
    const first = await Sample.query().where('id', id).first()
    expect(first).to.include({ amount: '1.5000000000', flag: true, big: '7', day: '2024-02-29' })
  })

  it('are canonical in the created object too', async () => {
    const made = await Sample.create({
      amount: 1.5 as never,
      big: 12 as never,
      ref: uuid.toUpperCase(),
      moment: '2030-01-31T13:00:00+01:00' as never,
    })
    expect(made).to.include({ amount: '1.5000000000', big: '12', ref: uuid })
    expect(made.moment).to.deep.equal(new Date('2030-01-31T12:00:00Z'))
    const patched = await made.update({ amount: '02.50' })
    expect(patched.amount).to.equal('2.5000000000')
    made.amount = 3 as never
    await made.save()
    expect(made.amount).to.equal('3.0000000000')
  })

  const refused: readonly (readonly [keyof Sample, unknown])[] = [
    ['text', 5],
    ['text', 'a\0b'],
    ['text', '\ud800'],
    ['short', 'eleven char'],
    ['whole', 1.5],
    ['whole', '1'],
    ['whole', 2147483648],
    ['whole', Number.NaN],
    ['big', '9223372036854775808'],
    ['big', 2 ** 53],
    ['big', '1.5'],
    ['big', ''],
    ['amount', '1e5'],
    ['amount', '0.00000000001'],
    ['amount', '1'.repeat(21)],
    ['amount', ''],
    ['ratio', Number.POSITIVE_INFINITY],
    ['ratio', '1'],
    ['flag', 1],
    ['flag', 'true'],
    ['day', '2023-02-29'],
    ['day', '0000-01-01'],
    ['day', new Date()],
    ['day', '2024-1-1'],
    ['moment', new Date('x')],
    ['moment', '2030-01-31'],
    ['moment', '2030-01-31T12:00:00'],
    ['moment', 5],
    ['ref', 'x'],
    ['ref', 5],
    ['data', () => 1],
    ['data', Number.NaN],
    ['data', { a: '\0' }],
    ['data', '\udc00'],
    ['colour', 'RED'],
    ['colour', 'red '],
  ]
  it('that no database stores exactly are refused before any statement, with the field’s name', async () => {
    for (const [name, value] of refused) {
      const label = `${name} ${String(value)}`
      expect(fieldsOf(await rejection(Sample.create({ [name]: value } as never))), label).to.deep.equal([name])
    }
    const sample = await Sample.create({})
    for (const [name, value] of refused) {
      expect(fieldsOf(await rejection(sample.update({ [name]: value } as never))), `update ${name} ${String(value)}`).to.deep.equal([name])
    }
  })

  it('that only this database cannot store are refused with the field’s name [promise 48]', async () => {
    for (const [field, value] of [
      ['day', '0050-01-01'],
      ['moment', new Date('0050-01-01T00:00:00.000Z')],
    ] as const) {
      if (db.dialect === 'mysql') expect(fieldsOf(await rejection(Sample.create({ [field]: value })))).to.deep.equal([field])
      else expect((await Sample.create({ [field]: value }))[field]).to.deep.equal(value)
    }
  })

  it('compare byte for byte: case, trailing blanks and accents differ', async () => {
    await db.knex('sample').delete()
    for (const short of ['admin', 'ADMIN', 'admin ', 'ádmin', 'a\u0301dmin', 'ａdmin']) await Sample.create({ short })
    for (const short of ['admin', 'ADMIN', 'admin ', 'ádmin', 'ａdmin']) {
      expect((await Sample.query().where({ short })).map((row) => row.short)).to.deep.equal([short])
    }
  })

  it('are ordered by value', async () => {
    await db.knex('sample').delete()
    for (const short of ['b', 'B', 'a', '_', 'é', '🦊']) await Sample.create({ short })
    expect((await Sample.query().orderBy('short')).map((row) => row.short)).to.deep.equal(['B', '_', 'a', 'b', 'é', '🦊'])
  })

  it('of dates can be compared in where(), as Date and by property name', async () => {
    await db.knex('sample').delete()
    const { id } = await Sample.create({ moment: new Date('2030-01-31T12:00:00.500Z') })
    expect(await Sample.query().where('moment', '>', new Date('2030-01-31T12:00:00.499Z')).resultSize()).to.equal(1)
    expect(await Sample.query().where('moment', '>', new Date('2030-01-31T12:00:00.500Z')).resultSize()).to.equal(0)
    expect((await Sample.query().findOne({ moment: new Date('2030-01-31T12:00:00.500Z') }))?.id).to.equal(id)
  })

  for (const zone of ['America/St_Johns', 'Pacific/Apia']) {
    it(`are the same in a process whose TZ is ${zone}`, async function () {
      this.timeout(20_000)
      await db.knex('sample').delete()
      const day = '2011-12-30'
      const moments = ['2030-01-31T12:00:00.123Z', '2024-03-31T01:30:00.001Z', '1969-12-31T23:59:59.999Z', '2011-12-30T12:00:00.000Z']
      for (const text of moments) await Sample.create({ text: 'here', short: 'a', day, moment: new Date(text) })
      const program = await bundled('test/helpers/values-elsewhere.ts')
      const { stdout } = await promisify(execFile)(process.execPath, [program, db.name, db.url()], {
        env: { ...process.env, TZ: zone },
      })
      const seen = JSON.parse(stdout) as { zone: string; read: { day: string; moment: string }[] }
      expect(seen.zone).to.equal(zone)
      expect(seen.read.map((row) => row.moment).sort()).to.deep.equal([...moments].sort())
      expect(new Set(seen.read.map((row) => row.day))).to.deep.equal(new Set([day]))
      const there = await Sample.query().where({ text: 'there' })
      expect(there.map((row) => row.moment?.toISOString()).sort()).to.deep.equal([...moments].sort())
      expect(new Set(there.map((row) => row.day))).to.deep.equal(new Set([day]))
    })
  }
})
