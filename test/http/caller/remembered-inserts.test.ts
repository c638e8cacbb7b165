import { expect } from 'chai'
import { NotFoundError } from '../../../src/core/errors.js'
import { BasePermsModel } from '../../../src/enforce/base-perms-model.js'
import { CrudResource } from '../../../src/http/crud/crud-resource.js'
import { createTables } from '../../../src/migrations.js'
import { HasUserMixin } from '../../../src/mixins/has-user.js'
import { asSystem } from '../../../src/policy/context.js'
import { owner } from '../../../src/policy/rules.js'
import { column } from '../../../src/schema/column.js'
import { type SignedInAs, signInAs } from '../../../src/testing/index.js'
import { eachDatabase } from '../../helpers/databases.js'
import { type Ask, clients, Note, openRememberedWorld, type RememberedWorld } from './remembered-world.js'

const policy = { read: owner(), create: owner(), update: owner(), delete: owner() }

/** On PostgreSQL, a trigger fills in its id. */
class Letter extends HasUserMixin(BasePermsModel).withColumns({ text: column.string() }) {
  static override tableName = 'letter'
  static override policy = policy
}
/** Its table has no primary key. */
class Parcel extends HasUserMixin(BasePermsModel).withColumns({ code: column.string(), text: column.string() }) {
  static override tableName = 'parcel'
  static override idColumn = 'code'
  static override policy = policy
}

eachDatabase('an INSERT that proves its caller', (db) => {
  let world: RememberedWorld
  let ask: Ask
  let me: SignedInAs
  before(async function () {
    this.timeout(30_000)
    world = await openRememberedWorld(db.knex)
    await createTables(db.knex, [Letter, Parcel])
    if (db.dialect !== 'sqlite') {
      await db.knex.schema.alterTable('parcel', (table) => table.dropPrimary())
      await db.knex.schema.alterTable('parcel', (table) => table.string('code').nullable().alter())
    }
    if (db.dialect === 'pg') {
      await db.knex.raw(
        'create function fill_id() returns trigger language plpgsql as $$ begin new.id := coalesce(new.id, gen_random_uuid()); return new; end $$',
      )
      await db.knex.raw('create trigger fill_id before insert on letter for each row execute function fill_id()')
    }
    ask = clients(world.perms, { resources: [Letter, Parcel].map((model) => new CrudResource({ model, path: model.tableName })) }).ask
  })
  after(() => world.perms.close())
  beforeEach(async () => {
    me = await signInAs()
    await asSystem(() => Note.create({ text: 'mine', userId: me.user.id }))
    await world.ask('GET', '/notes/', me.accessToken)
    expect((await world.ask('GET', '/notes/', me.accessToken)).statements).to.equal(1)
  })
  const rows = async (table: string) => Number((await db.knex(table).where('user_id', me.user.id).count({ n: '*' }).first())?.n)
  const bodies = { letter: { text: 'x' }, parcel: { code: 'a', text: 'x' } }

  for (const [table, body] of Object.entries(bodies))
    it(`stores nothing of a changed caller, whatever fills in or accepts a missing id: ${table} [promise 245]`, async () => {
      expect(await ask('POST', `/${table}/`, me.accessToken, { body })).to.include({ status: 201, statements: 1 })
      await db.knex('token').where('user_id', me.user.id).update({ revoked: true })
      const { status } = await ask('POST', `/${table}/`, me.accessToken, {
        body: { ...body, ...(table === 'parcel' ? { code: 'b' } : {}) },
      })
      expect([status, await rows(table)]).to.deep.equal([401, 1])
    })

  it('is not repeated after an error that code of the application throws for its result [promise 245]', async () => {
    const { config } = db.knex.client as { config: { postProcessResponse?: ((result: unknown) => unknown) | undefined } }
    const before = config.postProcessResponse
    let isInsert = false
    const note = ({ sql }: { sql: string }) => {
      isInsert = /^insert into .letter/i.test(sql)
    }
    db.knex.on('query', note)
    config.postProcessResponse = (result) => {
      if (isInsert) throw new NotFoundError('no such row')
      return result
    }
    const { status } = await ask('POST', '/letter/', me.accessToken, { body: { text: 'x' } }).finally(() => {
      config.postProcessResponse = before
      db.knex.off('query', note)
    })
    expect([status, await rows('letter')]).to.deep.equal([404, 1])
  })
})
