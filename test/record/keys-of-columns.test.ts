import { expect } from 'chai'
import { readSchema } from '../../src/database/catalogue/read-schema.js'
import {
  BasePermsModel,
  ConfigurationError,
  column,
  createTables,
  HasUserMixin,
  initPerms,
  type Perms,
  UniqueViolationError,
} from '../../src/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { fieldsOf, rejection } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

class Seat extends HasUserMixin(BasePermsModel).withColumns(
  { row: column.string({ maxLength: 20 }), seatNumber: column.integer() },
  { uniques: [['row', 'seatNumber']], indexes: [['userId', 'row']] },
) {
  static override userIdNullable = true
}
class BoxSeat extends Seat.withColumns({ box: column.integer() }, { uniques: [['box', 'seatNumber']] }) {}

eachDatabase('withColumns(columns, keys)', (db) => {
  let perms: Perms
  before(async () => {
    perms = initPerms({ knex: db.knex, models: [Seat, BoxSeat] })
    await migrateAtOnce(perms)
    await createTables(db.knex, [Seat, BoxSeat])
  })
  after(() => perms.close())

  it('creates unique constraints and indexes over several columns, which subclasses inherit', async () => {
    const { tables } = await readSchema(db.knex, { tables: ['seat', 'box_seat'] })
    const keysOf = (table: string, isUnique: boolean) =>
      tables
        .get(table)
        ?.indexes.filter((index) => index.isUnique === isUnique && index.columns.length > 1)
        .map(({ columns }) => columns.join())
    expect(keysOf('seat', true)).to.deep.equal(['row,seat_number'])
    expect(keysOf('seat', false)).to.deep.equal(['user_id,row'])
    expect(keysOf('box_seat', true)).to.have.members(['row,seat_number', 'box,seat_number'])
  })

  it('reports all fields of a combination that is taken', async () => {
    await Seat.create({ row: 'a', seatNumber: 1 })
    await Seat.create({ row: 'a', seatNumber: 2 })
    const error = await rejection(Seat.create({ row: 'a', seatNumber: 1 }))
    expect(error).to.be.instanceOf(UniqueViolationError)
    expect(fieldsOf(error)).to.have.members(['row', 'seatNumber'])
  })

  it('refuses a key over a column that does not exist, and suggests others', () => {
    class Wrong extends BasePermsModel.withColumns({ row: column.string() }, { indexes: [['rows']] }) {}
    expect(() => Wrong.columnSpecs).to.throw(ConfigurationError, "Wrong.withColumns(..., { indexes }): there is no column 'rows'.")
  })
})
