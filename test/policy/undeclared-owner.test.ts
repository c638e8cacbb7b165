import { expect } from 'chai'
import { type JSONSchema, Model } from 'objection'
import { asSystem, column, initPerms, owner, type Perms, PermsMixin, runAs, User } from '../../src/index.js'
import { testHasher } from '../../src/testing/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

class Person extends User.withColumns({ id: column.string({ maxLength: 40 }).default('unset') }) {
  static override tableName = 'people'
}

class Letter extends PermsMixin(Model) {
  static override tableName = 'letters'
  static override policy = { read: owner('person_id'), create: owner('person_id'), update: owner('person_id') }
}

class Described extends Letter {
  static override tableName = 'letters'
  static override jsonSchema: JSONSchema = { type: 'object', properties: { id: { type: 'integer' }, person_id: { type: 'string' } } }
}

eachDatabase('The owner in a column that nobody declared', (db) => {
  let perms: Perms
  before(async () => {
    perms = initPerms({ knex: db.knex, user: Person, passwordHasher: testHasher() })
    await migrateAtOnce(perms)
    await db.knex.schema.createTable('letters', (table) => {
      table.increments('id')
      table.string('person_id')
      table.string('text')
    })
    for (const id of ['ann', 'ANN']) await asSystem(() => Person.create({ id, email: `${id === 'ann' ? 'a' : 'b'}@example.com` } as never))
  })
  after(() => perms.close())
  beforeEach(async () => {
    await db.knex('letters').delete()
    await db.knex('letters').insert({ person_id: 'ann', text: 'hers' })
  })

  for (const Model of [Letter, Described])
    it(`is compared exactly, ${Model === Letter ? 'without a schema' : 'with a jsonSchema'} [promise 75]`, async () => {
      expect(await runAs('ann', () => Model.query())).to.have.length(1)
      expect(await runAs('ANN', () => Model.query())).to.have.length(0)
      expect(await runAs('ANN', () => Model.query().patch({ text: 'his' } as never))).to.equal(0)
      expect(await runAs('ann', () => Model.query().patch({ text: 'new' } as never))).to.equal(1)
    })
})
