import { createRequire } from 'node:module'
import { expect } from 'chai'
import type { Knex } from 'knex'
import { type JSONSchema, Model, QueryBuilder } from 'objection'
import { asSystem, initPerms, owner, type Perms, PermsMixin, runAs, type User, ValidationError } from '../../src/index.js'
import { createUser, testHasher } from '../../src/testing/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

type ModelClass = typeof Model
type Plugin = (Base: ModelClass) => ModelClass

/** The query methods that the plugins add. */
interface PluginQuery extends PromiseLike<Model[]> {
  whereNotDeleted(): PluginQuery
  whereDeleted(): PluginQuery
  undelete(): PromiseLike<number>
  hardDelete(): PromiseLike<number>
  where(name: string, value: unknown): PluginQuery
  orderBy(name: string): PluginQuery
  limit(count: number): PluginQuery
  clone(): PluginQuery
  cursorPage(cursor?: string): PromiseLike<{ results: { title: string }[]; pageInfo: { next: string } }>
}

const load = createRequire(import.meta.url)
const unique = load('objection-unique') as (options: object) => Plugin
const { default: visibility } = load('objection-visibility') as { default: Plugin }
const guid = load('objection-guid') as (options?: object) => Plugin
const softDelete = load('objection-soft-delete') as (options?: object) => Plugin
const cursor = load('objection-cursor') as (options: object) => Plugin
const password = load('objection-password') as (options?: object) => Plugin

/** Objection 3 has no mergeContext(), which objection-soft-delete calls. Its context() merges. */
class MergingQueryBuilder<M extends Model, R = M[]> extends QueryBuilder<M, R> {
  mergeContext(context: object): this {
    return this.context(context)
  }
}
class WithMergeContext extends Model {
  static override QueryBuilder = MergingQueryBuilder as typeof QueryBuilder
}

const policy = { read: owner('user_id'), create: owner('user_id'), update: owner('user_id'), delete: owner('user_id') }

const Base = {
  unique: unique({ fields: ['email', 'username', ['phone_prefix', 'phone_number']], identifiers: ['id'] })(Model),
  visibility: visibility(Model),
  guid: guid()(Model),
  softDelete: softDelete({ columnName: 'deleted' })(WithMergeContext),
  cursor: cursor({ limit: 10 })(Model),
  password: password()(Model),
}

class Member extends PermsMixin(Base.unique) {
  declare id: number
  declare email: string
  declare username: string
  declare user_id: string
  static override get tableName() {
    return 'members'
  }
  static override policy = policy
}

class Shy extends PermsMixin(Base.visibility) {
  declare id: number
  declare first_name: string
  declare user_id: string
  static override get tableName() {
    return 'shy'
  }
  static get hidden() {
    return ['hashed_password']
  }
  static override policy = policy
}

class Item extends PermsMixin(Base.guid) {
  declare id: string
  declare name: string
  declare user_id: string
  static override get tableName() {
    return 'items'
  }
  static override policy = policy
}

class Account extends PermsMixin(Base.softDelete) {
  declare id: number
  declare name: string
  declare user_id: string
  static override get tableName() {
    return 'accounts'
  }
  static override get jsonSchema(): JSONSchema {
    return {
      type: 'object',
      required: [],
      properties: { id: { type: 'integer' }, deleted: { type: 'boolean' }, name: { type: 'string' }, user_id: { type: 'string' } },
    }
  }
  static override policy = policy
}

class Movie extends PermsMixin(Base.cursor) {
  declare id: number
  declare title: string
  declare author: string
  declare user_id: string
  static override get tableName() {
    return 'movies'
  }
  static override policy = policy
}

class Person extends PermsMixin(Base.password) {
  declare id: number
  declare email: string
  declare password: string
  declare user_id: string
  declare verifyPassword: (password: string) => Promise<boolean>
  static override get tableName() {
    return 'people'
  }
  static override policy = policy
}

const tables: Readonly<Record<string, (table: Knex.CreateTableBuilder) => void>> = {
  members: (table) => ['email', 'username', 'phone_prefix', 'phone_number'].forEach((name) => void table.string(name)),
  shy: (table) => ['first_name', 'hashed_password'].forEach((name) => void table.string(name)),
  items: (table) => void table.string('name'),
  accounts: (table) => {
    table.string('name')
    table.boolean('deleted').notNullable().defaultTo(false)
  },
  movies: (table) => ['title', 'author'].forEach((name) => void table.string(name)),
  people: (table) => ['email', 'password'].forEach((name) => void table.string(name)),
}

eachDatabase('Plugins of Objection under a policy', (db) => {
  let perms: Perms
  let ada: User
  let bob: User
  before(async () => {
    perms = initPerms({ knex: db.knex, passwordHasher: testHasher() })
    await migrateAtOnce(perms)
    for (const [name, columns] of Object.entries(tables)) {
      await db.knex.schema.createTable(name, (table) => {
        if (name === 'items') table.string('id', 36).primary()
        else table.increments('id')
        if (db.dialect === 'pg') table.uuid('user_id').notNullable()
        else table.string('user_id', 36).notNullable()
        columns(table)
      })
    }
    ;[ada, bob] = await asSystem(async () => [
      await createUser({ email: 'ada@example.com' }),
      await createUser({ email: 'bob@example.com' }),
    ])
  })
  after(() => perms.close())

  const asAda = <T>(fn: () => T) => runAs(ada, fn)
  const asBob = <T>(fn: () => T) => runAs(bob, fn)

  /** Checks that bob neither reads nor changes the rows of ada, and creates none in her name. */
  async function assertEnforced(cls: typeof Member, change: object): Promise<void> {
    const rows = await asAda(() => cls.query())
    expect(rows).not.to.have.length(0)
    const [row] = rows as [Member]
    const before = await db.knex(cls.tableName).where({ id: row.id }).first()
    expect(await asBob(() => cls.query())).to.have.length(0)
    expect(await asBob(() => cls.query().findById(row.id))).to.equal(undefined)
    expect(
      await asBob(() =>
        cls
          .query()
          .where('id', row.id)
          .patch(change as never)
          .catch(() => 0),
      ),
    ).to.equal(0)
    expect(await asBob(() => cls.query().where('id', row.id).delete())).to.equal(0)
    await asBob(() => rejection(row.$query().patch(change as never) as never))
    await asBob(() => rejection(cls.query().insert({ ...change, user_id: ada.id } as never) as never))
    expect(await db.knex(cls.tableName).where({ id: row.id }).first()).to.deep.equal(before)
    expect(await db.knex(cls.tableName)).to.have.length(rows.length)
  }

  it('objection-unique refuses a value that exists', async () => {
    const made = await asAda(() => Member.query().insert({ email: 'foo', username: 'bar', user_id: ada.id } as never))
    const taken = await asAda(() => rejection(Member.query().insert({ email: 'foo', username: 'bar', user_id: ada.id } as never) as never))
    expect(taken).to.have.property('message', 'Unique Validation Failed')
    expect(perms.mapError(taken)).to.be.instanceOf(ValidationError)
    const other = await asAda(() => Member.query().insertAndFetch({ email: 'biz', username: 'buz', user_id: ada.id } as never))
    expect(await asAda(() => rejection(other.$query().patch({ email: 'foo' } as never) as never))).to.have.property(
      'message',
      taken.message,
    )
    await asAda(() => other.$query().patch({ email: 'new' } as never))
    expect(made.id).to.be.a('number')
    await assertEnforced(Member, { email: 'x' })
  })

  it('objection-visibility omits hidden properties from JSON', async () => {
    await asAda(() => Shy.query().insert({ first_name: 'Ada', hashed_password: 'secret', user_id: ada.id } as never))
    const [read] = await asAda(() => Shy.query())
    expect(JSON.parse(JSON.stringify(read)))
      .to.include({ first_name: 'Ada' })
      .and.not.have.property('hashed_password')
    await assertEnforced(Shy as never, { first_name: 'x' })
  })

  it('objection-guid gives the ids', async () => {
    const made = await asAda(() => Item.query().insert({ name: 'foo', user_id: ada.id } as never))
    expect(made.id).to.match(/^[0-9a-f]{8}-[0-9a-f]{4}-4/)
    const given = await asAda(() => Item.query().insert({ id: 'my-id', name: 'own', user_id: ada.id } as never))
    expect(given.id).to.equal('my-id')
    await assertEnforced(Item as never, { name: 'x' })
  })

  it('objection-soft-delete does not run on Objection 3 by itself, with or without this library', async () => {
    class Plain extends softDelete({ columnName: 'deleted' })(Model) {
      static override tableName = 'accounts_alone'
    }
    await db.knex.schema.createTable('accounts_alone', (table) => {
      table.increments('id')
      table.boolean('deleted').notNullable().defaultTo(false)
    })
    const failed = await rejection((async () => await Plain.query(db.knex).where('id', 1).delete())())
    expect(failed.message).to.match(/mergeContext is not a function/)
  })

  it('objection-soft-delete, with mergeContext() added to the base class, flags rows, restores and removes them', async () => {
    const query = () => Account.query() as unknown as PluginQuery
    const { id } = await asAda(() => Account.query().insert({ name: 'a', user_id: ada.id } as never))
    await asAda(() => Account.query().where('id', id).delete())
    expect(await db.knex('accounts').select('deleted').first()).to.satisfy(({ deleted }: { deleted: unknown }) => Boolean(deleted))
    expect(await asAda(() => query().whereNotDeleted())).to.have.length(0)
    expect(await asAda(() => query().whereDeleted())).to.have.length(1)
    expect(await asBob(() => query().whereDeleted())).to.have.length(0)
    expect(await asBob(() => query().where('id', id).undelete())).to.equal(0)
    await asAda(() => query().where('id', id).undelete())
    expect(await asAda(() => query().whereNotDeleted())).to.have.length(1)
    await assertEnforced(Account as never, { name: 'x' })
    expect(await asBob(() => query().where('id', id).hardDelete())).to.equal(0)
    expect(await asAda(() => query().where('id', id).hardDelete())).to.equal(1)
    expect(await db.knex('accounts')).to.deep.equal([])
  })

  it('objection-cursor pages through the rows that the caller may read', async () => {
    for (const title of ['a', 'b', 'c'])
      for (const user of [ada, bob])
        await runAs(user, () => Movie.query().insert({ title: `${title} of ${user.email}`, author: 'x', user_id: user.id } as never))
    const query = () => (Movie.query() as unknown as PluginQuery).orderBy('title').orderBy('author').limit(2)
    const first = await asAda(() => query().cursorPage())
    expect(first.results.map(({ title }) => title)).to.deep.equal(['a of ada@example.com', 'b of ada@example.com'])
    const second = await asAda(() => query().cursorPage(first.pageInfo.next))
    expect(second.results.map(({ title }) => title)).to.deep.equal(['c of ada@example.com'])
    // A cursor of another caller shows the rows after that position, of the new caller only.
    const foreign = await asBob(() => query().cursorPage(first.pageInfo.next))
    expect(foreign.results.map(({ title }) => title)).to.deep.equal(['b of bob@example.com', 'c of bob@example.com'])
    await db.knex('movies').where({ user_id: bob.id }).delete()
    await assertEnforced(Movie as never, { title: 'x' })
  })

  it('objection-password hashes the password and verifies it', async () => {
    const made = await asAda(() => Person.query().insert({ email: 'matt@damon.com', password: 'q1w2e3r4', user_id: ada.id } as never))
    expect(made.password).to.match(/^\$2[ab]\$12\$/)
    const read = (await asAda(() => Person.query().findOne({ email: 'matt@damon.com' }))) as Person
    expect(await read.verifyPassword('q1w2e3r4')).to.equal(true)
    expect(await read.verifyPassword('wrong')).to.equal(false)
    await asAda(() => read.$query().patch({ email: 'other@damon.com' } as never))
    expect(await ((await asAda(() => Person.query().first())) as Person).verifyPassword('q1w2e3r4')).to.equal(true)
    await assertEnforced(Person as never, { email: 'x' })
  }).timeout(20_000)
})
