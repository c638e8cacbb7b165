import { expect } from 'chai'
import { readSchema } from '../../../src/database/catalogue/read-schema.js'
import { addMissingColumns, createTablesFromSpecs } from '../../../src/database/tables/tables.js'
import { BasePermsModel, column, createTables, initPerms, type Perms, ValidationError } from '../../../src/index.js'
import { eachDriver } from '../../helpers/databases.js'
import { rejection } from '../../helpers/errors.js'

const values = [
  ...["it's", 'back\\slash', "\\'", 'a?b', '??', '\\?', '"q"', '`', '$1', ':name', '%s', '{}', '$' + '{x}', ''],
  ...['ü', '☃', '😀', 'line\nbreak', '\u2028', ' ', 'trailing '],
]
const others = ['x', 'a', '  ', "IT'S", 'a$1b', 'back\\\\slash', '?', 'trailing', 'u', '😁', 'a????b']

class Ticket extends BasePermsModel.withColumns({
  title: column.string(),
  state: column.enum(['open', 'done']).default('open'),
  kind: column.enum(['bug', 'idea']).nullable().named('ticket_kind'),
}) {}

eachDriver('The check of column.enum()', (db) => {
  let perms: Perms
  before(async () => {
    perms = initPerms({ knex: db.knex, models: [Ticket] })
    await createTables(db.knex, [Ticket])
  })
  after(() => perms.close())

  it('allows exactly the declared values, whichever characters they contain', async () => {
    const columns = { id: column.integer(), value: column.enum(values).default("it's") }
    await createTablesFromSpecs(db.knex, [{ name: 'thing', primaryKey: 'id', columns }])
    for (const [id, value] of values.entries()) await db.knex('thing').insert({ id, value })
    const stored = await db.knex('thing').select('value').orderBy('id')
    expect(stored.map((row) => row.value)).to.deep.equal(values)
    for (const value of others) await rejection(db.knex('thing').insert({ id: 100, value }))
  })

  it('is read from the catalogue with its column and values', async () => {
    const { checks } = (await readSchema(db.knex, { tables: ['thing'] })).tables.get('thing') ?? { checks: [] }
    expect(checks).to.have.length(1)
    expect(checks[0]).to.deep.include({ name: 'thing_value_check', column: 'value', values })
  })

  it('comes with a column that is added to a table', async () => {
    const columns = { id: column.integer(), added: column.enum(['one', "t'wo"]).nullable() }
    await createTablesFromSpecs(db.knex, [{ name: 'grown', primaryKey: 'id', columns: { id: columns.id } }])
    await addMissingColumns(db.knex, { name: 'grown', primaryKey: 'id', columns }, ['added'])
    await db.knex('grown').insert({ id: 1, added: "t'wo" })
    await db.knex('grown').insert({ id: 2, added: null })
    await rejection(db.knex('grown').insert({ id: 3, added: 'two' }))
  })

  it('gives a ValidationError of the field', async () => {
    await Ticket.create({ title: 'one', kind: 'bug' })
    for (const [field, column] of Object.entries({ state: 'state', kind: 'ticket_kind' })) {
      const ofModel = await rejection(Ticket.query().patch({ [field]: db.knex.raw("'other'") }))
      const ofKnex = perms.mapError(await rejection(db.knex('ticket').update({ [column]: 'other' }))) as ValidationError
      expect(ofModel)
        .to.be.instanceOf(ValidationError)
        .and.deep.include({ status: 422, errors: [{ field, message: 'is not allowed' }] })
      expect(ofKnex).to.be.instanceOf(ValidationError)
      expect(ofKnex.errors.map(({ message }) => message)).to.deep.equal(['is not allowed'])
    }
  })
})
