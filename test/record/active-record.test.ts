import { expect } from 'chai'
import { UniqueViolationError as ObjectionUniqueViolationError } from 'objection'
import {
  BaseModel,
  ConfigurationError,
  column,
  createTables,
  initPerms,
  NotFoundError,
  type Perms,
  transaction,
  UniqueViolationError,
  ValidationError,
} from '../../src/index.js'
import { testHasher } from '../../src/testing/hasher.js'
import { countQueries, eachDatabase } from '../helpers/databases.js'
import { fieldsOf, rejection, thrown } from '../helpers/errors.js'

class Shelf extends BaseModel.withColumns({
  shelfName: column.string({ maxLength: 20 }).unique(),
  floorNumber: column.integer().default(0),
  isOpen: column.boolean().default(true),
  extra: column.json<{ tags: string[] }>().nullable(),
  openedAt: column.datetime().nullable(),
  labelText: column.string({ maxLength: 20 }).nullable(),
}) {}

eachDatabase('ActiveRecord', (db) => {
  let perms: Perms
  before(async () => {
    perms = initPerms({ knex: db.knex, passwordHasher: testHasher() })
    await createTables(db.knex, [Shelf])
  })
  after(() => perms.close())
  beforeEach(() => db.knex('shelf').delete())

  const stored = async (id: string) => (await db.knex('shelf').where({ id }).first()) as Record<string, unknown> | undefined
  const numberOf = async () => Number(((await db.knex('shelf').count({ n: '*' })) as { n: unknown }[])[0]?.n)

  describe('build()', () => {
    it('creates a row with its defaults, without saving it', async () => {
      const { result: shelf, statements } = await countQueries(db.knex, () => Shelf.build({ shelfName: 'a' }))
      expect(shelf).to.be.instanceOf(Shelf)
      expect(shelf.isNew).to.equal(true)
      expect([shelf.floorNumber, shelf.isOpen]).to.deep.equal([0, true])
      expect(statements).to.deep.equal([])
    })

    it('refuses invalid values and names each field', () => {
      const error = thrown(() => Shelf.build({ floorNumber: 1.5, isOpen: 'yes' } as never))
      expect(error).to.be.instanceOf(ValidationError)
      expect(fieldsOf(error)).to.have.members(['shelfName', 'floorNumber', 'isOpen'])
    })

    it('names unknown keys', () => {
      const error = thrown(() => Shelf.build({ shelfName: 'a', colour: 'red', $size: 1 } as never))
      expect(fieldsOf(error)).to.include.members(['colour'])
    })

    it('refuses undefined, which would be neither a value nor NULL', () => {
      expect(fieldsOf(thrown(() => Shelf.build({ shelfName: undefined as never })))).to.deep.equal(['shelfName'])
    })

    it('gives each row a default of its own', () => {
      class Owning extends BaseModel.withColumns({ list: column.json<string[]>().default([]) }) {}
      const [a, b] = [Owning.build({}), Owning.build({})]
      a.list.push('x')
      expect(b.list).to.deep.equal([])
      expect(Owning.build({}).list).to.deep.equal([])
    })
  })

  describe('create()', () => {
    it('saves the row with an id of version 7 and timestamps', async () => {
      const before = Date.now()
      const shelf = await Shelf.create({ shelfName: 'a' })
      expect(shelf.id).to.match(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      expect(shelf.createdAt.getTime()).to.be.within(before, Date.now())
      expect(shelf.updatedAt.getTime()).to.equal(shelf.createdAt.getTime())
      expect(shelf.isNew).to.equal(false)
      expect((await stored(shelf.id))?.['shelf_name']).to.equal('a')
    })

    it('returns the values in the database', async () => {
      const shelf = await Shelf.create({ shelfName: 'a', extra: { tags: ['x'] }, openedAt: new Date(1234567890123) })
      expect({ ...(await Shelf.getOr404(shelf.id)) }).to.deep.equal({ ...shelf })
    })

    it('keeps an id that was given', async () => {
      const id = '0198c0de-0000-7000-8000-00000000000a'
      expect((await Shelf.create({ id, shelfName: 'a' })).id).to.equal(id)
      expect(await stored(id)).not.to.equal(undefined)
    })

    it('joins the transaction given last', async () => {
      const trx = await db.knex.transaction()
      const shelf = await Shelf.create({ shelfName: 'a' }, trx)
      await trx.rollback()
      expect(await stored(shelf.id)).to.equal(undefined)
    })
  })

  describe('save()', () => {
    it('inserts what was built', async () => {
      const shelf = await Shelf.build({ shelfName: 'a' }).save()
      expect(await numberOf()).to.equal(1)
      await shelf.save()
      expect(await numberOf()).to.equal(1)
    })

    it('validates properties set by hand', async () => {
      const shelf = Shelf.build({ shelfName: 'a' })
      shelf.floorNumber = 'first' as never
      expect(fieldsOf(await rejection(shelf.save()))).to.deep.equal(['floorNumber'])
      shelf.floorNumber = 1
      await shelf.save()
      shelf.floorNumber = 'first' as never
      expect(fieldsOf(await rejection(shelf.save()))).to.deep.equal(['floorNumber'])
      expect((await stored(shelf.id))?.['floor_number']).to.equal(1)
    })

    for (const how of ['created', 'read'] as const) {
      it(`writes the changed columns only, of a row that was ${how}`, async () => {
        const made = await Shelf.create({ shelfName: 'a', extra: { tags: ['x'] }, openedAt: new Date(1234567890123) })
        const shelf = how === 'created' ? made : await Shelf.getOr404(made.id)
        shelf.floorNumber = 7
        const { statements } = await countQueries(db.knex, () => shelf.save())
        const update = statements.find((sql) => /^update/i.test(sql)) as string
        expect(update).to.match(/floor_number.*updated_at|updated_at.*floor_number/)
        expect(update).not.to.match(/shelf_name|is_open|opened_at|label_text|created_at/)
        expect((await stored(shelf.id))?.['floor_number']).to.equal(7)
      })

      it(`keeps concurrent changes of other columns, of a row that was ${how}`, async () => {
        const made = await Shelf.create({ shelfName: 'a', extra: { tags: ['x'] } })
        const shelf = how === 'created' ? made : await Shelf.getOr404(made.id)
        await Shelf.query()
          .findById(made.id)
          .patch({ labelText: 'theirs', extra: { tags: ['theirs'] } })
        shelf.floorNumber = 3
        await shelf.save()
        const now = await Shelf.getOr404(made.id)
        expect([now.labelText, now.floorNumber, now.extra]).to.deep.equal(['theirs', 3, { tags: ['theirs'] }])
      })

      it(`sends no statement when nothing changed, of a row that was ${how}`, async () => {
        const made = await Shelf.create({ shelfName: 'a', extra: { tags: ['x'] }, openedAt: new Date(1234567890123) })
        const shelf = how === 'created' ? made : await Shelf.getOr404(made.id)
        const { statements } = await countQueries(db.knex, () => shelf.save())
        expect(statements).to.deep.equal([])
      })

      it(`sees a date and a json value changed in place, of a row that was ${how}`, async () => {
        const made = await Shelf.create({ shelfName: 'a', extra: { tags: ['x'] }, openedAt: new Date(0) })
        const shelf = how === 'created' ? made : await Shelf.getOr404(made.id)
        shelf.extra?.tags.push('y')
        shelf.openedAt?.setTime(5)
        await shelf.save()
        const now = await Shelf.getOr404(made.id)
        expect([now.extra, now.openedAt?.getTime()]).to.deep.equal([{ tags: ['x', 'y'] }, 5])
      })
    }

    it('writes a second change after a first', async () => {
      const shelf = await Shelf.getOr404((await Shelf.create({ shelfName: 'a' })).id)
      for (const floor of [1, 2, 1]) {
        shelf.floorNumber = floor
        await shelf.save()
        expect((await stored(shelf.id))?.['floor_number']).to.equal(floor)
      }
    })

    it('moves updatedAt and leaves createdAt', async () => {
      const shelf = await Shelf.create({ shelfName: 'a' })
      const { createdAt, updatedAt } = shelf
      await new Promise((resolve) => setTimeout(resolve, 5))
      shelf.floorNumber = 1
      await shelf.save()
      expect(shelf.updatedAt.getTime()).to.be.greaterThan(updatedAt.getTime())
      const now = await Shelf.getOr404(shelf.id)
      expect(now.updatedAt.getTime()).to.equal(shelf.updatedAt.getTime())
      expect(now.createdAt.getTime()).to.equal(createdAt.getTime())
    })

    it('can be repeated after it was refused', async () => {
      await Shelf.create({ shelfName: 'taken' })
      const shelf = Shelf.build({ shelfName: 'taken' })
      expect(await rejection(shelf.save())).to.be.instanceOf(UniqueViolationError)
      expect(shelf.isNew).to.equal(true)
      shelf.shelfName = 'free'
      await shelf.save()
      expect((await stored(shelf.id))?.['shelf_name']).to.equal('free')
      shelf.shelfName = 'taken'
      expect(await rejection(shelf.save())).to.be.instanceOf(UniqueViolationError)
      shelf.shelfName = 'other'
      await shelf.save()
      expect((await stored(shelf.id))?.['shelf_name']).to.equal('other')
    })

    it('throws NotFoundError for a deleted row', async () => {
      const shelf = await Shelf.create({ shelfName: 'a' })
      await db.knex('shelf').delete()
      shelf.floorNumber = 1
      expect(await rejection(shelf.save())).to.be.instanceOf(NotFoundError)
    })

    it('does not write columns that were not selected', async () => {
      const { id } = await Shelf.create({ shelfName: 'a', labelText: 'kept' })
      const shelf = (await Shelf.query().findById(id).select('id', 'floorNumber')) as Shelf
      shelf.floorNumber = 9
      await shelf.save()
      expect(await stored(id)).to.include({ label_text: 'kept', floor_number: 9, shelf_name: 'a' })
    })
  })

  describe('update()', () => {
    it('sets and saves', async () => {
      const shelf = await Shelf.create({ shelfName: 'a' })
      expect(await shelf.update({ floorNumber: 4, labelText: 'x' })).to.equal(shelf)
      expect([shelf.floorNumber, shelf.labelText]).to.deep.equal([4, 'x'])
      expect(await stored(shelf.id)).to.include({ floor_number: 4, label_text: 'x' })
    })

    it('keeps the object unchanged when the values are refused', async () => {
      await Shelf.create({ shelfName: 'taken' })
      const shelf = await Shelf.create({ shelfName: 'a' })
      const before = { ...shelf }
      for (const values of [{ floorNumber: 'x' as never }, { shelfName: 'taken', floorNumber: 8 }, { colour: 1 } as never]) {
        expect(await rejection(shelf.update(values))).to.be.instanceOf(Error)
        expect({ ...shelf }).to.deep.equal(before)
      }
      shelf.floorNumber = 5
      await shelf.save()
      expect(await stored(shelf.id)).to.include({ shelf_name: 'a', floor_number: 5 })
    })

    it('keeps a property that was set before, for the next save()', async () => {
      const shelf = await Shelf.getOr404((await Shelf.create({ shelfName: 'a' })).id)
      shelf.labelText = 'set by hand'
      await shelf.update({ floorNumber: 1 })
      expect((await stored(shelf.id))?.['label_text']).to.equal(null)
      await shelf.save()
      expect((await stored(shelf.id))?.['label_text']).to.equal('set by hand')
    })

    it('is refused on a row that was never saved', async () => {
      expect(await rejection(Shelf.build({ shelfName: 'a' }).update({ floorNumber: 1 }))).to.be.instanceOf(ValidationError)
      expect(await numberOf()).to.equal(0)
    })

    it('refuses undefined and throws NotFoundError for a deleted row', async () => {
      const shelf = await Shelf.create({ shelfName: 'a' })
      expect(fieldsOf(await rejection(shelf.update({ labelText: undefined as never })))).to.deep.equal(['labelText'])
      await db.knex('shelf').delete()
      expect(await rejection(shelf.update({ labelText: 'x' }))).to.be.instanceOf(NotFoundError)
    })
  })

  describe('delete()', () => {
    it('removes this row and no other', async () => {
      const shelf = await Shelf.create({ shelfName: 'a' })
      const other = await Shelf.create({ shelfName: 'b' })
      await shelf.delete()
      expect(await stored(shelf.id)).to.equal(undefined)
      expect(await stored(other.id)).not.to.equal(undefined)
      expect(await rejection(shelf.delete())).to.be.instanceOf(NotFoundError)
    })

    it('deletes nothing when the row was never saved', async () => {
      await Shelf.create({ shelfName: 'a' })
      expect(await rejection(Shelf.build({ shelfName: 'b' }).delete())).to.be.instanceOf(Error)
      expect(await numberOf()).to.equal(1)
    })
  })

  describe('the getters', () => {
    it('getBy() finds by property names, or gives null', async () => {
      const { id } = await Shelf.create({ shelfName: 'a', floorNumber: 2 })
      expect((await Shelf.getBy({ shelfName: 'a', floorNumber: 2 }))?.id).to.equal(id)
      expect(await Shelf.getBy({ shelfName: 'a', floorNumber: 3 })).to.equal(null)
    })

    it('getBy() finds NULL, dates and booleans', async () => {
      const openedAt = new Date(1234567890123)
      const { id } = await Shelf.create({ shelfName: 'a', openedAt })
      expect((await Shelf.getBy({ labelText: null }))?.id).to.equal(id)
      expect((await Shelf.getBy({ openedAt }))?.id).to.equal(id)
      expect((await Shelf.getBy({ isOpen: true }))?.id).to.equal(id)
      expect(await Shelf.getBy({ isOpen: false })).to.equal(null)
    })

    it('getBy() refuses an empty, an undefined and an unknown condition, which would find any row', async () => {
      await Shelf.create({ shelfName: 'a' })
      expect(await rejection(Shelf.getBy({}))).to.be.instanceOf(ValidationError)
      expect(fieldsOf(await rejection(Shelf.getBy({ shelfName: undefined as never })))).to.deep.equal(['shelfName'])
      expect(fieldsOf(await rejection(Shelf.getBy({ colour: 'red' } as never)))).to.deep.equal(['colour'])
      expect(fieldsOf(await rejection(Shelf.getBy({ shelfName: { like: '%' } } as never)))).to.deep.equal(['shelfName'])
    })

    it('get() and getOr404() find by id; a malformed id finds no row', async () => {
      const { id } = await Shelf.create({ shelfName: 'a' })
      expect((await Shelf.get(id))?.shelfName).to.equal('a')
      expect((await Shelf.getOr404(id.toUpperCase())).id).to.equal(id)
      for (const bad of ['0198c0de-0000-7000-8000-00000000000a', 'x', '', "' or 1=1 --"]) {
        expect(await Shelf.get(bad)).to.equal(null)
        expect(await rejection(Shelf.getOr404(bad))).to.be.instanceOf(NotFoundError)
      }
      for (const bad of [undefined, null]) expect(await Shelf.get(bad as never).catch((e: unknown) => e)).to.satisfy(nullOrError)
      expect(await rejection(Shelf.getByOr404({ shelfName: 'nobody' }))).to.be.instanceOf(NotFoundError)
    })

    it('take a transaction last', async () => {
      const trx = await db.knex.transaction()
      try {
        const { id } = await Shelf.create({ shelfName: 'a' }, trx)
        expect((await Shelf.get(id, trx))?.id).to.equal(id)
        expect((await Shelf.getOr404(id, trx)).id).to.equal(id)
        expect((await Shelf.getBy({ shelfName: 'a' }, trx))?.id).to.equal(id)
        const shelf = await Shelf.getByOr404({ shelfName: 'a' }, trx)
        shelf.floorNumber = 1
        await shelf.save(trx)
        await shelf.update({ labelText: 'x' }, trx)
        await shelf.delete(trx)
        expect(await Shelf.get(id, trx)).to.equal(null)
      } finally {
        await trx.rollback()
      }
    })

    it('throw the library’s errors from query() too', async () => {
      await Shelf.create({ shelfName: 'a' })
      const taken = await rejection(Shelf.query().insert({ shelfName: 'a' }))
      expect(taken).to.be.instanceOf(UniqueViolationError).and.not.instanceOf(ObjectionUniqueViolationError)
      expect(fieldsOf(taken)).to.deep.equal(['shelfName'])
      const missing = await rejection(Shelf.query().findById('0198c0de-0000-7000-8000-00000000000a').throwIfNotFound())
      expect(missing).to.be.instanceOf(NotFoundError)
    })
  })

  describe('getClone()', () => {
    it('shares nothing with the row', async () => {
      const shelf = await Shelf.getOr404((await Shelf.create({ shelfName: 'a', extra: { tags: ['x'] }, openedAt: new Date(0) })).id)
      const clone = shelf.getClone()
      expect(clone).to.be.instanceOf(Shelf)
      expect({ ...clone }).to.deep.equal({ ...shelf })
      clone.extra?.tags.push('y')
      clone.openedAt?.setTime(9)
      clone.floorNumber = 9
      expect([shelf.extra, shelf.openedAt?.getTime(), shelf.floorNumber]).to.deep.equal([{ tags: ['x'] }, 0, 0])
    })

    it('is saved like the row itself', async () => {
      const clone = (await Shelf.create({ shelfName: 'a' })).getClone()
      clone.floorNumber = 3
      await clone.save()
      expect(await numberOf()).to.equal(1)
      expect((await stored(clone.id))?.['floor_number']).to.equal(3)
      expect(Shelf.build({ shelfName: 'b' }).getClone().isNew).to.equal(true)
    })
  })

  describe('toJSON()', () => {
    it('is what JSON.stringify shows, columns in the order of their declaration', async () => {
      const shelf = await Shelf.create({ shelfName: 'a', openedAt: new Date('2030-01-31T12:00:00.123Z') })
      expect(Object.keys(shelf.toJSON())).to.deep.equal([
        'id',
        'createdAt',
        'updatedAt',
        'shelfName',
        'floorNumber',
        'isOpen',
        'extra',
        'openedAt',
        'labelText',
      ])
      expect(JSON.parse(JSON.stringify(shelf))).to.include({ openedAt: '2030-01-31T12:00:00.123Z', labelText: null })
    })

    it('leaves hidden columns out', async () => {
      class Safe extends BaseModel.withColumns({ label: column.string(), code: column.string().hidden() }) {}
      expect(Safe.build({ label: 'a', code: '1234' }).toJSON()).to.deep.equal({ label: 'a' })
    })
  })

  it('refuses class fields that would overwrite values from the database', () => {
    class Wrong extends BaseModel.withColumns({ label: column.string() }) {
      override label = 'x'
    }
    const error = thrown(() => Wrong.build({ label: 'y' }))
    expect(error).to.be.instanceOf(ConfigurationError)
    expect(error.message).to.include('declare label').and.not.to.include('tsconfig')
  })

  it('names the setting of TypeScript that keeps fields without a value, as applications on Objection declare columns', () => {
    class Wrong extends BaseModel.withColumns({ label: column.string() }) {
      override label!: string
      size!: number
    }
    const error = thrown(() => Wrong.build({ label: 'y' }))
    expect(error.message).to.include('(label, size)').and.to.include('"useDefineForClassFields": false')
  })

  it('joins transaction() by itself, whatever method is called', async () => {
    const kept = await Shelf.create({ shelfName: 'kept' })
    const error = await rejection(
      transaction(async () => {
        const made = await Shelf.create({ shelfName: 'made' })
        made.floorNumber = 2
        await made.save()
        await kept.update({ floorNumber: 8 })
        await Shelf.query().patch({ isOpen: false })
        expect(await Shelf.get(made.id)).not.to.equal(null)
        await (await Shelf.getByOr404({ shelfName: 'made' })).delete()
        throw new Error('no')
      }),
    )
    expect(error.message).to.equal('no')
    expect(await stored(kept.id)).to.include({ floor_number: 0 })
    expect(await numberOf()).to.equal(1)
  })
})

function nullOrError(value: unknown): boolean {
  return value === null || value instanceof Error
}
