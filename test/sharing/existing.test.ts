import { expect } from 'chai'
import { Model } from 'objection'
import {
  anyOf,
  asSystem,
  explain,
  initPerms,
  owner,
  type Perms,
  PermsMixin,
  type Policy,
  runAs,
  ShareableMixin,
  shared,
  type User,
  whoCan,
} from '../../src/index.js'
import { createUser } from '../../src/testing/index.js'
import { eachDatabase } from '../helpers/databases.js'

const policy: Policy = {
  read: anyOf(owner('user_id'), shared('viewer')),
  update: anyOf(owner('user_id'), shared('editor')),
  share: owner('user_id'),
}
const properties = { user_id: { type: ['string', 'null'] }, title: { type: 'string' } }

/** A model over a table of the application, with an id of this JSON Schema. Without one, the model has no schema at all. */
function modelOver(table: string, id: object | undefined) {
  class Existing extends ShareableMixin(PermsMixin(Model)) {
    declare id: string
    declare user_id: string
    declare title: string
    static override tableName = table
    static override jsonSchema = (id === undefined ? undefined : { type: 'object', properties: { ...properties, id } }) as never
    static override policy = policy
  }
  return Existing
}

const tables = {
  existing_uuid: { id: { type: 'string', format: 'uuid' }, of: (n: number) => `00000000-0000-4000-8000-00000000000${n}` },
  existing_text: { id: { type: 'string' }, of: (n: number) => ['ann', 'Ann', 'ann ', 'änn'][n] as string },
  existing_number: { id: { type: 'integer' }, of: (n: number) => n + 1 },
  existing_bare: { id: undefined, of: (n: number) => n + 1 },
  existing_bare_uuid: { id: undefined, of: (n: number) => `00000000-0000-4000-8000-00000000000${n}` },
}

eachDatabase('Shared rows of existing tables', (db) => {
  let perms: Perms
  let [ada, bob]: User[] = []
  const models = Object.fromEntries(Object.entries(tables).map(([name, { id }]) => [name, modelOver(name, id)]))
  before(async () => {
    perms = initPerms({ knex: db.knex, models: Object.values(models), outsideContext: 'deny' })
    await perms.migrate()
    for (const name of Object.keys(tables)) {
      await db.knex.schema.createTable(name, (table) => {
        if (name.includes('uuid')) table.uuid('id').primary()
        else if (name.includes('text'))
          db.dialect === 'mysql' ? table.specificType('id', 'varchar(20) collate utf8mb4_bin').primary() : table.string('id', 20).primary()
        else table.bigInteger('id').primary()
        table.string('user_id', 36)
        table.string('title')
      })
    }
    ;[ada, bob] = [await createUser(), await createUser()]
  })
  after(() => perms.close())

  for (const [name, { of }] of Object.entries(tables)) {
    it(`[promise 240] are found by lists, by id, in memory and by whoCan(): ${name}`, async () => {
      const cls = models[name] as ReturnType<typeof modelOver>
      const ids = ([0, 1, 2, 3].map((n) => of(n)) as (string | number)[]).slice(0, db.dialect === 'mysql' && name.includes('text') ? 2 : 4)
      await asSystem(async () => {
        for (const id of ids) await cls.query().insert({ id, user_id: ada?.id, title: String(id) } as never)
      })
      const row = (await asSystem(async () => await cls.query().findById(ids[1] as never))) as InstanceType<typeof cls>
      await runAs(ada?.id as string, () => row.share(bob as User, 'viewer'))
      await runAs(bob?.id as string, async () => {
        expect((await cls.query()).map(({ title }) => title)).to.deep.equal([String(ids[1])])
        expect((await cls.query().findById(ids[1] as never))?.title).to.equal(String(ids[1]))
        expect(await cls.query().findById(ids[0] as never)).to.equal(undefined)
        expect([await row.can('read'), await row.can('update')]).to.deep.equal([true, false])
      })
      expect((await asSystem(async () => await whoCan('read', row))).map(({ id }) => id).sort()).to.deep.equal([ada?.id, bob?.id].sort())
      expect((await asSystem(() => explain(cls, 'read', bob ?? null, row))).allowed).to.equal(true)
      await asSystem(() => cls.query().deleteById(ids[1] as never))
      expect(await db.knex('row_share').where('row_table', name)).to.have.lengthOf(0)
    })
  }
})
