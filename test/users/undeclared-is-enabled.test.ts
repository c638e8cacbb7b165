import { expect } from 'chai'
import { type JSONSchema, Model } from 'objection'
import { HasRolesMixin, initPerms, PasswordMixin, type Perms, PermsMixin, runAs, self } from '../../src/index.js'
import { testHasher } from '../../src/testing/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

const password = 'correct horse battery'

class Clerk extends HasRolesMixin(PasswordMixin(PermsMixin(Model))) {
  declare id: number
  declare email: string
  static override tableName = 'clerks'
  static override columnNames = { passwordHash: 'password' }
  static override jsonSchema: JSONSchema = { type: 'object', properties: { id: { type: 'integer' }, email: { type: 'string' } } }
  static override policy = { read: self(), update: self() }
}

eachDatabase('A user model whose table has is_enabled, which the model does not declare', (db) => {
  let perms: Perms
  before(async () => {
    await db.knex.schema.createTable('clerks', (table) => {
      table.increments('id')
      table.string('email').notNullable().unique()
      table.string('password')
      table.boolean('isEnabled').notNullable().defaultTo(true)
    })
    perms = initPerms({ knex: db.knex, user: Clerk, jwt: { secret: 'a secret of the tests, 32 bytes long' }, passwordHasher: testHasher() })
    await migrateAtOnce(perms)
    await perms.auth.register({ email: 'ada@example.com', password })
  })
  after(() => perms.close())

  it('signs no user in, and the error says what to declare', async () => {
    for (const attempt of [() => perms.auth.signIn({ email: 'ada@example.com', password }), () => runAs(1 as never, () => Clerk.query())]) {
      const error = await rejection(attempt())
      expect(error).to.have.property('code', 'configuration')
      expect(error.message).to.equal(
        "Clerk: its table has a column for isEnabled, which the model does not declare. Add isEnabled: { type: 'boolean', default: true } to its jsonSchema.",
      )
    }
  })
})
