import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { BaseModel, column } from '../../src/index.js'
import { modelClass } from '../../src/schema/model-class.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { Application } from './application.js'

class Parent extends BaseModel.withColumns({ id: column.integer(), title: column.string({ maxLength: 20 }) }) {
  static override tableName = 'parent'
}
class LongParent extends BaseModel.withColumns({ id: column.integer(), title: column.string({ maxLength: 50 }) }) {
  static override tableName = 'parent'
}
class Child extends BaseModel.withColumns({ parentId: column.integer().references('parent.id', { onDelete: 'cascade' }) }) {
  static override tableName = 'child'
}

const first = `exports.up = async (knex) => {
  await knex.raw('create table parent (id integer primary key autoincrement not null, created_at datetime not null, updated_at datetime not null, title varchar(20) not null collate nocase check (length(title) > 0))')
  await knex.raw('create table child (id char(36) primary key not null, created_at datetime not null, updated_at datetime not null, parent_id integer not null references parent(id) on delete cascade)')
  await knex.raw('create index child_parent on child (parent_id)')
  await knex.raw("create index parent_partial on parent (title) where title <> 'x?'")
  await knex.raw('create table trace (title text)')
  await knex.raw("create trigger parent_trace after update on parent begin insert into trace values (new.title); end")
  await knex.raw('create view titles as select title from parent')
}
exports.down = async () => {}
`

eachDatabase('A table that a migration replaces on SQLite', (db) => {
  if (db.dialect !== 'sqlite') return
  let app: Application

  before(async () => {
    app = new Application(db.knex)
    writeFileSync(join(app.folder, '1_first.js'), first)
    await app.up()
    await db.knex('parent').insert([
      { title: 'a', created_at: 1, updated_at: 1 },
      { title: 'b', created_at: 1, updated_at: 1 },
    ])
    await db.knex('child').insert({ id: 'c', parent_id: 1, created_at: 1, updated_at: 1 })
    await db.knex('parent').where({ id: 2 }).del()
    await app.make([modelClass(LongParent), modelClass(Child)])
    await db.knex.raw('pragma foreign_keys = on')
  })
  after(() => app.remove())

  it('cannot run inside a transaction, in which SQLite ignores that foreign keys are off', async () => {
    const error = await rejection(db.knex.transaction((trx) => trx.migrate.latest({ directory: app.folder })))
    expect(error.message).to.match(/cannot run inside a transaction/)
    expect(await db.knex('child').pluck('parent_id')).to.deep.equal([1])
  })

  it('keeps the rows that refer to it with ON DELETE CASCADE, while foreign keys are on', async () => {
    await app.with([], async () => {
      expect(Object.values((await db.knex.raw('pragma foreign_keys'))[0])).to.deep.equal([1])
      await app.up()
      expect(Object.values((await db.knex.raw('pragma foreign_keys'))[0])).to.deep.equal([1])
    })
    expect(await db.knex('child').pluck('parent_id')).to.deep.equal([1])
    expect(await app.drift([modelClass(LongParent), modelClass(Child)])).to.deep.equal([])
    expect(await app.drift([modelClass(Parent), modelClass(Child)])).to.have.length(1)
  })

  it('keeps its triggers, partial indexes, views, collations and checks', async () => {
    await db.knex('parent').where({ id: 1 }).update({ title: 'traced' })
    expect(await db.knex('trace').pluck('title')).to.deep.equal(['traced'])
    expect(await db.knex('sqlite_master').where({ name: 'parent_partial' }).pluck('sql')).to.deep.equal([
      "CREATE INDEX parent_partial on parent (title) where title <> 'x?'",
    ])
    expect(await db.knex('titles').pluck('title')).to.deep.equal(['traced'])
    expect(await db.knex('parent').where({ title: 'TRACED' }).pluck('id')).to.deep.equal([1])
    expect((await rejection(db.knex('parent').insert({ title: '', created_at: 1, updated_at: 1 }))).message).to.match(/CHECK/)
  })

  it('does not use the id of a deleted row again', async () => {
    await db.knex('parent').insert({ title: 'c', created_at: 1, updated_at: 1 })
    expect(await db.knex('parent').where({ title: 'c' }).pluck('id')).to.deep.equal([3])
  })
})
