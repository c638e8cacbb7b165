import { expect } from 'chai'
import type { AnyQueryBuilder, JSONSchema, Modifiers } from 'objection'
import { BaseModel, ConfigurationError, column, createTables, initPerms, type Perms } from '../../src/index.js'
import { testHasher } from '../../src/testing/hasher.js'
import { eachDatabase } from '../helpers/databases.js'
import { fieldsOf, rejection, thrown } from '../helpers/errors.js'

class Parent extends BaseModel.withColumns({
  label: column.string({ maxLength: 20 }),
  note: column.string().nullable(),
  secretCode: column.string().nullable().hidden(),
  madeBy: column.string().nullable().readOnly(),
  serialNumber: column.string().default('none').immutable(),
  rank: column.integer().default(3),
  stamp: column.uuid().default(() => '0198c0de-0000-7000-8000-000000000001'),
}) {
  static override jsonSchema: JSONSchema = { type: 'object', properties: { label: { pattern: '^[a-z]' } } }
  static override virtualAttributes = ['shout']
  static override modifiers: Modifiers = {
    ranked: (query: AnyQueryBuilder) => query.orderBy('rank'),
    low: (query: AnyQueryBuilder) => query.where('rank', '<', 3),
  }
  get shout(): string {
    return this.label.toUpperCase()
  }
}

class Child extends Parent.withColumns({ extraNote: column.string({ maxLength: 5 }).nullable() }) {
  static override jsonSchema: JSONSchema = {
    type: 'object',
    required: ['note'],
    properties: { homeAddress: { type: ['object', 'null'], properties: { city: { type: 'string' } } } },
  }
  static override virtualAttributes = ['whisper']
  static override modifiers: Modifiers = { low: (query: AnyQueryBuilder) => query.where('rank', '<', 100) }
  declare homeAddress?: { city: string } | null
  get whisper(): string {
    return this.label.toLowerCase()
  }
}

describe('withColumns()', () => {
  it('does not change the class it is called on', () => {
    const before = Object.keys(Parent.columnSpecs)
    class _More extends Parent.withColumns({ another: column.integer() }) {}
    expect(Object.keys(_More.columnSpecs)).to.include('another')
    expect(Object.keys(Parent.columnSpecs)).to.deep.equal(before)
  })

  it('gives columns in the order of their declaration, the base’s first', () => {
    expect(Object.keys(Child.columnSpecs)).to.deep.equal([...Object.keys(Parent.columnSpecs), 'extraNote', 'homeAddress'])
    expect(Object.keys(Parent.columnSpecs).slice(0, 4)).to.deep.equal(['id', 'createdAt', 'updatedAt', 'label'])
  })

  it('can be called twice in a chain', () => {
    class Twice extends BaseModel.withColumns({ a: column.integer() }).withColumns({ b: column.integer() }) {}
    expect(Object.keys(Twice.columnSpecs).slice(3)).to.deep.equal(['a', 'b'])
    expect(fieldsOf(thrown(() => Twice.build({} as never)))).to.have.members(['a', 'b'])
  })

  it('lets a subclass override a column, the schemas with it', () => {
    class Wider extends Parent.withColumns({ label: column.string({ maxLength: 40 }).nullable() }) {}
    expect(Wider.schema.create.properties['label']).to.include({ maxLength: 40 })
    expect(Wider.schema.create.required).not.to.include('label')
    expect(Parent.schema.create.properties['label']).to.include({ maxLength: 20 })
  })

  it('adds a subclass’s jsonSchema to its base’s', () => {
    const error = thrown(() => Child.build({ label: 'X' }))
    expect(fieldsOf(error)).to.have.members(['label', 'note'])
    expect(fieldsOf(thrown(() => Parent.build({ label: 'X' })))).to.deep.equal(['label'])
    expect(Parent.build({ label: 'x' }).label).to.equal('x')
    expect(fieldsOf(thrown(() => Child.build({ label: 'x', note: 'n', homeAddress: { city: 5 as never } })))).to.deep.equal([
      'homeAddress.city',
    ])
  })

  it('names unknown keys beside a hand-written jsonSchema too', () => {
    expect(fieldsOf(thrown(() => Child.build({ label: 'x', note: 'n', colour: 1 } as never)))).to.deep.equal(['colour'])
    expect(fieldsOf(thrown(() => Parent.build({ label: 'x', homeAddress: null } as never)))).to.deep.equal(['homeAddress'])
  })

  it('adds virtualAttributes, which are in the output', () => {
    const child = Child.build({ label: 'aB', note: 'n' })
    expect(child.toJSON()).to.include({ shout: 'AB', whisper: 'ab' })
    expect(Parent.build({ label: 'aB' }).toJSON())
      .to.include({ shout: 'AB' })
      .and.not.have.property('whisper')
    expect(Child.schema.output.properties).to.include.all.keys('shout', 'whisper')
    expect(Child.schema.create.properties).not.to.have.any.keys('shout', 'whisper')
  })

  describe('gives the schemas', () => {
    const { create, update, output, filter } = Parent.schema

    it('create: the columns that a client may send, with the required ones', () => {
      expect(Object.keys(create.properties)).to.have.members(['label', 'note', 'serialNumber', 'rank', 'stamp'])
      expect(create.required).to.deep.equal(['label'])
      expect(create.additionalProperties).to.equal(false)
      expect(create.properties['label']).to.deep.include({ type: 'string', maxLength: 20, pattern: '^[a-z]' })
      expect(create.properties['rank']).to.include({ default: 3 })
      expect(create.properties['note']).to.deep.include({ type: ['string', 'null'] })
    })

    it('update: the same without immutable columns, none required', () => {
      expect(Object.keys(update.properties)).to.have.members(['label', 'note', 'rank', 'stamp'])
      expect(update.required).to.deep.equal([])
    })

    it('output: all columns except hidden ones', () => {
      expect(Object.keys(output.properties)).to.have.members([
        ...['id', 'createdAt', 'updatedAt', 'label', 'note', 'madeBy', 'serialNumber', 'rank', 'stamp', 'shout'],
      ])
      expect(output.properties['madeBy']).to.include({ readOnly: true })
    })

    it('filter: the columns that clients may filter by', () => {
      expect(filter.properties).to.include.keys('id', 'label', 'rank').and.not.have.any.keys('secretCode', 'shout')
    })

    it('the same object each time', () => {
      expect(Parent.schema).to.equal(Parent.schema)
      expect(Child.schema).not.to.equal(Parent.schema)
    })
  })

  for (const [what, make] of Object.entries({
    'no precision': () => column.decimal(0, 0),
    'a scale beyond the precision': () => column.decimal(2, 3),
    'a target without a column': () => column.uuid().references('user'),
  })) {
    it(`refuses ${what} at once`, () => {
      expect(thrown(make)).to.be.instanceOf(ConfigurationError)
    })
  }
})

eachDatabase('Columns', (db) => {
  let perms: Perms
  before(async () => {
    perms = initPerms({ knex: db.knex, passwordHasher: testHasher() })
    await createTables(db.knex, [Parent, Child])
  })
  after(() => perms.close())
  beforeEach(async () => {
    await db.knex('parent').delete()
    await db.knex('child').delete()
  })

  it('are filled with their defaults, by code and in the table', async () => {
    const parent = await Parent.create({ label: 'a' })
    expect(await Parent.getOr404(parent.id)).to.include({
      note: null,
      secretCode: null,
      serialNumber: 'none',
      rank: 3,
      stamp: '0198c0de-0000-7000-8000-000000000001',
    })
    await db
      .knex('parent')
      .insert({ id: '0198c0de-0000-7000-8000-000000000009', label: 'x', stamp: parent.stamp, created_at: 0, updated_at: 0 })
      .catch(() =>
        db.knex('parent').insert({
          id: '0198c0de-0000-7000-8000-000000000009',
          label: 'x',
          stamp: parent.stamp,
          created_at: '2020-01-01 00:00:00',
          updated_at: '2020-01-01 00:00:00',
        }),
      )
    expect(await Parent.getOr404('0198c0de-0000-7000-8000-000000000009')).to.include({ rank: 3, serialNumber: 'none' })
  })

  it('are filled with their defaults in query().insert() too', async () => {
    const made = await Parent.query().insert({ label: 'a' })
    expect(await Parent.getOr404(made.id)).to.include({ rank: 3, serialNumber: 'none', note: null })
  })

  it('accept null as a default only if they are nullable', async () => {
    expect(fieldsOf(await rejection(Parent.create({ label: 'a', rank: null as never })))).to.deep.equal(['rank'])
  })

  it('of a hand-written jsonSchema are saved, read and changed, as JSON where they are objects', async () => {
    const child = await Child.create({ label: 'a', note: 'n', homeAddress: { city: 'Graz' } })
    expect((await Child.getOr404(child.id)).homeAddress).to.deep.equal({ city: 'Graz' })
    const read = await Child.getOr404(child.id)
    read.homeAddress = { city: 'Wien' }
    await read.save()
    expect((await Child.getOr404(child.id)).homeAddress).to.deep.equal({ city: 'Wien' })
    await read.update({ homeAddress: null })
    expect((await db.knex('child').first()).home_address).to.equal(null)
  })

  it('are not columns when a virtual attribute has that name', async () => {
    const child = await Child.create({ label: 'aB', note: 'n' })
    await (await Child.getOr404(child.id)).update({ rank: 8 })
    expect((await Child.getOr404(child.id)).toJSON()).to.include({ shout: 'AB', rank: 8 })
  })

  it('are known to modifiers of the class and of its base', async () => {
    await Parent.create({ label: 'b', rank: 2 })
    await Parent.create({ label: 'a', rank: 1 })
    await Parent.create({ label: 'c', rank: 50 })
    for (const rank of [9, 50, 200]) await Child.create({ label: `r${rank}`, note: 'n', rank })
    expect((await Parent.query().modify('ranked').modify('low')).map(({ label }) => label)).to.deep.equal(['a', 'b'])
    expect((await Child.query().modify('ranked').modify('low')).map(({ label }) => label)).to.deep.equal(['r9', 'r50'])
  })

  describe('and clients', () => {
    it('createFrom() refuses and names columns that clients may not write [promise 42]', async () => {
      const input = { label: 'a', id: 'x', createdAt: '2020-01-01T00:00:00Z', secretCode: 's', madeBy: 'me', shout: 'x', constructor: 1 }
      const error = await rejection(Parent.createFrom(input))
      expect(fieldsOf(error)).to.have.members(['id', 'createdAt', 'secretCode', 'madeBy', 'shout', 'constructor'])
      expect(fieldsOf(await rejection(Parent.createFrom(JSON.parse('{"label":"a","__proto__":{"rank":1}}'))))).to.deep.equal(['__proto__'])
      expect(fieldsOf(await rejection(Parent.createFrom({ label: 'a', $set: { rank: 1 }, '#ref': 1 })))).to.have.members(['$set', '#ref'])
      expect((await Parent.createFrom({ label: 'a', rank: 7, serialNumber: 's1' })).toJSON()).to.include({ rank: 7, serialNumber: 's1' })
    })

    it('updateFrom() does not change immutable columns [promise 42]', async () => {
      const parent = await Parent.createFrom({ label: 'a' })
      expect(fieldsOf(await rejection(parent.updateFrom({ serialNumber: 'x', rank: 1 })))).to.deep.equal(['serialNumber'])
      expect(fieldsOf(await rejection(parent.updateFrom({ madeBy: 'x', updatedAt: null })))).to.have.members(['madeBy', 'updatedAt'])
      await parent.updateFrom({ rank: 9 })
      expect((await Parent.getOr404(parent.id)).rank).to.equal(9)
    })

    it('names missing and invalid fields in one error', async () => {
      expect(fieldsOf(await rejection(Parent.createFrom({ rank: '7', note: 5, more: 1 })))).to.have.members([
        'label',
        'rank',
        'note',
        'more',
      ])
    })

    for (const input of [null, undefined, 'x', 5, [], [{ label: 'a' }], true]) {
      it(`refuses ${JSON.stringify(input)} as a body`, async () => {
        expect(await rejection(Parent.createFrom(input))).to.have.property('status', 422)
        expect(await rejection((await Parent.create({ label: 'a' })).updateFrom(input))).to.have.property('status', 422)
      })
    }

    it('code may set every column', async () => {
      const parent = await Parent.create({ label: 'a', secretCode: 's', madeBy: 'me' })
      await parent.update({ serialNumber: 'changed' })
      expect(await Parent.getOr404(parent.id)).to.include({ secretCode: 's', madeBy: 'me', serialNumber: 'changed' })
    })
  })
})
