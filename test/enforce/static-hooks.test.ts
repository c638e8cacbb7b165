import { expect } from 'chai'
import { Model } from 'objection'
import {
  allOf,
  anyOf,
  asSystem,
  authenticated,
  BaseModel,
  BasePermsModel,
  belongsTo,
  bypassPerms,
  ConfigurationError,
  check,
  column,
  createTables,
  everyone,
  HasUserMixin,
  hasMany,
  initPerms,
  owner,
  type Perms,
  Role,
  role,
  runAs,
  SoftDeleteMixin,
  User,
  where,
} from '../../src/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

type Hook = 'beforeInsert' | 'afterInsert' | 'beforeUpdate' | 'afterUpdate' | 'beforeDelete' | 'afterDelete'
interface Arguments {
  asFindQuery(): any
}

const seen: Partial<Record<Hook, string[]>> = {}
const all = (query: any) => query
let look: (query: any) => unknown = all

const noting =
  (hook: Hook) =>
  async ({ asFindQuery }: Arguments): Promise<void> => {
    const found: any = await look(asFindQuery())
    seen[hook] = Array.isArray(found) ? found.map(({ text, mark }) => text ?? mark).sort() : found
  }
const hooks = {
  beforeInsert: noting('beforeInsert'),
  afterInsert: noting('afterInsert'),
  beforeUpdate: noting('beforeUpdate'),
  afterUpdate: noting('afterUpdate'),
  beforeDelete: noting('beforeDelete'),
  afterDelete: noting('afterDelete'),
}

/** Every caller may read these rows. Each model has its own rules for update and delete. */
class HookNote extends HasUserMixin(BasePermsModel).withColumns({
  text: column.string(),
  state: column.string().default('open'),
  pinned: column.boolean().default(false).writableBy(role(Role.ADMIN)),
  boardId: column.uuid().references('hook_board.id').nullable(),
}) {
  static override policy = {
    read: everyone(),
    create: authenticated(),
    update: { from: allOf(owner(), where({ state: 'open' })), to: owner() },
    delete: where({ state: 'closed' }),
  }
}
class HookSoft extends SoftDeleteMixin(HasUserMixin(BasePermsModel)).withColumns({ text: column.string() }) {
  static override policy = { read: everyone(), create: authenticated(), update: everyone(), delete: owner() }
}
class HookChecked extends HasUserMixin(BasePermsModel).withColumns({ text: column.string() }) {
  static override policy = {
    read: everyone(),
    create: authenticated(),
    update: check((row: any) => row.text < 'c'),
    delete: anyOf(
      check((row: any) => row.text === 'a'),
      where({ text: 'd' }),
    ),
  }
}
class HookLink extends BaseModel.withColumns({ boardId: column.uuid(), noteId: column.uuid(), mark: column.string().nullable() }) {}
class HookBoard extends HasUserMixin(BasePermsModel).withColumns({
  text: column.string(),
  noteId: column.uuid().references('hook_note.id').nullable(),
}) {
  static override policy = { read: everyone(), create: authenticated(), update: owner(), delete: owner() }
  static override relationMappings(): any {
    return {
      notes: hasMany(() => HookNote, 'boardId'),
      note: belongsTo(() => HookNote, 'noteId'),
      linked: {
        relation: Model.ManyToManyRelation,
        modelClass: HookNote,
        join: {
          from: 'hook_board.id',
          through: { from: 'hook_link.boardId', to: 'hook_link.noteId', modelClass: HookLink },
          to: 'hook_note.id',
        },
      },
    }
  }
}
for (const cls of [HookNote, HookSoft, HookChecked, HookLink]) Object.assign(cls, hooks)

eachDatabase('asFindQuery() in a static hook', (db) => {
  let perms: Perms
  let [me, other]: any[] = []

  before(async () => {
    perms = initPerms({ knex: db.knex, models: [HookNote, HookSoft, HookChecked, HookBoard] })
    await createTables(db.knex, [User, HookBoard, HookNote, HookSoft, HookChecked, HookLink])
    await migrateAtOnce(perms)
    ;[me, other] = [await User.create({ email: 'me@example.com' }), await User.create({ email: 'other@example.com' })]
  })
  after(() => perms?.close())

  beforeEach(async () => {
    for (const table of ['hook_link', 'hook_note', 'hook_soft', 'hook_checked', 'hook_board']) await db.knex(table).delete()
    for (const [text, user, state] of [
      ['a', me, 'open'],
      ['b', me, 'closed'],
      ['c', other, 'open'],
      ['d', other, 'closed'],
    ]) {
      await HookNote.create({ text, userId: user.id, state })
      await HookSoft.create({ text, userId: user.id })
      await HookChecked.create({ text, userId: user.id })
    }
    look = all
    for (const hook of Object.keys(seen)) delete seen[hook as Hook]
  })

  const asMe = <T>(fn: () => PromiseLike<T>) => runAs(me, async () => await fn())

  it('finds the rows that a patch changes', async () => {
    expect(await asMe(() => HookNote.query().patch({ text: 'new' }))).to.equal(1)
    expect(seen).to.deep.equal({ beforeUpdate: ['a'], afterUpdate: ['new'] })
    expect(await asMe(() => HookNote.query().patch({ text: 'x' }).where('state', 'closed'))).to.equal(0)
    expect(seen).to.deep.equal({ beforeUpdate: [], afterUpdate: [] })
  })

  it('finds rows that a patch moved out of the rule', async () => {
    expect(await asMe(() => HookNote.query().patch({ state: 'done' }))).to.equal(1)
    expect(seen).to.deep.equal({ beforeUpdate: ['a'], afterUpdate: ['a'] })
  })

  it('finds no row if a patch sets a column that the caller may not set', async () => {
    await asMe(() => HookNote.query().patch({ pinned: true })).catch(() => {})
    expect(seen.beforeUpdate).to.deep.equal([])
    expect(await db.knex('hook_note').where({ pinned: true })).to.have.length(0)
  })

  it('finds the rows that a delete removes', async () => {
    expect(await asMe(() => HookNote.query().delete())).to.equal(2)
    expect(seen).to.deep.equal({ beforeDelete: ['b', 'd'], afterDelete: [] })
  })

  it('finds the row that a write of one row changes', async () => {
    const [mine, theirs]: any[] = [await HookNote.query().findOne({ text: 'a' }), await HookNote.query().findOne({ text: 'c' })]
    await asMe(() => mine.$query().patch({ state: 'open' }))
    expect(seen.beforeUpdate).to.deep.equal(['a'])
    await rejection(asMe(() => theirs.$query().patch({ state: 'open' })))
    expect(seen.beforeUpdate).to.deep.equal([])
    await asMe(() => HookNote.query().patchAndFetchById(mine.id, { state: 'open' }))
    expect(seen.beforeUpdate).to.deep.equal(['a'])
    await rejection(asMe(() => mine.$query().delete()))
    expect(seen.beforeDelete).to.deep.equal([])
  })

  it('finds the rows that a soft delete marks', async () => {
    expect(await asMe(() => HookSoft.query().delete())).to.equal(2)
    expect(seen.beforeUpdate).to.deep.equal(['a', 'b'])
    expect(await asMe(() => HookSoft.query().delete())).to.equal(0)
    expect(seen.beforeUpdate).to.deep.equal([])
    const row: any = await HookSoft.query().findOne({ text: 'd' })
    await rejection(asMe(() => row.delete()))
    expect(seen.beforeUpdate).to.deep.equal([])
  })

  it('finds the rows that check() allows', async () => {
    expect(await asMe(() => HookChecked.query().patch({ text: 'b2' }))).to.equal(2)
    expect(seen).to.deep.equal({ beforeUpdate: ['a', 'b'], afterUpdate: ['b2', 'b2'] })
    await db.knex('hook_checked').delete()
    for (const text of ['a', 'b', 'd']) await HookChecked.create({ text, userId: other.id })
    expect(await asMe(() => HookChecked.query().delete())).to.equal(2)
    expect(seen.beforeDelete).to.deep.equal(['a', 'd'])
  })

  it('counts the rows that a write changes and works as a subquery', async () => {
    look = (query) => query.resultSize()
    await asMe(() => HookChecked.query().patch({ text: 'b2' }))
    expect(seen.beforeUpdate).to.equal(2)
    look = (query) => HookNote.query().whereIn('id', query.clearSelect().select('id'))
    await asMe(() => HookNote.query().patch({ text: 'new' }))
    expect(seen.beforeUpdate).to.deep.equal(['a'])
    look = (query) => HookChecked.query().whereIn('id', query.clearSelect().select('id'))
    expect(await rejection(asMe(() => HookChecked.query().delete()))).to.be.instanceOf(ConfigurationError)
  })

  it('finds no row before an insert, and the new ones after it', async () => {
    await asMe(() => HookNote.query().insert({ text: 'new' }))
    expect(seen).to.deep.equal({ beforeInsert: [], afterInsert: ['new'] })
    const board: any = await asMe(() => HookBoard.create({ text: 'board' }))
    await asMe(() => board.$relatedQuery('notes').insert({ text: 'related' }))
    expect(seen).to.deep.equal({ beforeInsert: [], afterInsert: ['related'] })
  })

  it('finds the rows that relate() and unrelate() change', async () => {
    const [mine, theirs]: any[] = [await HookNote.query().findOne({ text: 'a' }), await HookNote.query().findOne({ text: 'c' })]
    const board: any = await asMe(() => HookBoard.create({ text: 'board' }))
    await asMe(() => board.$relatedQuery('notes').relate([mine.id, theirs.id]))
    expect(seen.beforeUpdate).to.deep.equal(['a'])
    await db.knex('hook_note').update({ board_id: board.id })
    await asMe(() => board.$relatedQuery('notes').unrelate())
    expect(seen.beforeUpdate).to.deep.equal(['a'])
    const foreign: any = await asSystem(() => HookBoard.create({ text: 'foreign', userId: other.id }))
    for (const [one, text] of [
      [board, 'mine'],
      [foreign, 'foreign'],
    ])
      for (const note of [mine, theirs]) await HookLink.query().insert({ boardId: one.id, noteId: note.id, mark: text })
    await asMe(() => board.$relatedQuery('linked').unrelate().where('hook_note.text', 'c'))
    expect(seen.beforeDelete).to.deep.equal(['mine'])
    await asMe(() => foreign.$relatedQuery('linked').unrelate())
    expect(seen.beforeDelete).to.deep.equal([])
    expect(await db.knex('hook_link')).to.have.length(3)
    await asMe(() => foreign.$relatedQuery('linked').patch({ text: 'through' }))
    expect(seen.beforeUpdate).to.deep.equal(['a'])
    await asMe(() => foreign.$relatedQuery('linked').delete())
    expect(seen.beforeDelete).to.deep.equal([])
  })

  it('finds all rows that a statement of the application changes', async () => {
    await asSystem(async () => await HookNote.query().patch({ text: 'x' }).where('text', '<', 'd'))
    expect(seen.beforeUpdate).to.deep.equal(['a', 'b', 'c'])
    await runAs(me, () => bypassPerms(async () => await HookNote.query().delete().where('text', 'd')))
    expect(seen.beforeDelete).to.deep.equal(['d'])
  })
})
