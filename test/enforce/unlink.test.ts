import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import { Model } from 'objection'
import {
  asSystem,
  authenticated,
  BaseModel,
  BasePermsModel,
  bypassPerms,
  column,
  createTables,
  everyone,
  initPerms,
  type Perms,
  runAs,
  SoftDeleteMixin,
  User,
} from '../../src/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

const open = { read: everyone(), create: authenticated(), update: authenticated(), delete: authenticated() }
const keys = { docId: column.uuid(), tagId: column.uuid(), note: column.string().nullable() }

class UnlinkModelLink extends BasePermsModel.withColumns(keys) {
  static override policy = open
}
class UnlinkSoftLink extends SoftDeleteMixin(BasePermsModel).withColumns(keys) {
  static override policy = open
}
class UnlinkPlainLink extends BaseModel.withColumns(keys) {}
/** Two columns make the key of a document and of a tag. */
class UnlinkPairLink extends BasePermsModel.withColumns({
  docSpace: column.string(),
  docCode: column.string(),
  tagSpace: column.string(),
  tagCode: column.string(),
  note: column.string().nullable(),
}) {
  static override policy = open
}

const pair = { space: column.string({ maxLength: 20 }), code: column.string({ maxLength: 20 }) }

class UnlinkTag extends BasePermsModel.withColumns({ name: column.string(), ...pair }) {
  static override policy = open
}

const through = (table: string, modelClass?: unknown, modify?: (query: any) => unknown) => ({
  relation: Model.ManyToManyRelation,
  modelClass: UnlinkTag,
  join: {
    from: 'unlink_doc.id',
    through: {
      from: `${table}.docId`,
      to: `${table}.tagId`,
      extra: ['note'],
      ...(modelClass ? { modelClass } : {}),
      ...(modify ? { modify } : {}),
    },
    to: 'unlink_tag.id',
  },
})

const relations = {
  byTable: through('unlink_bare_link'),
  byTableInPart: through('unlink_bare_link', undefined, (query) => query.where('note', '<>', 'hidden')),
  byColumns: through('unlink_bare_link', undefined, (query) => query.select('doc_id', 'tag_id', 'note')),
  byModel: through('unlink_model_link', UnlinkModelLink),
  bySoftModel: through('unlink_soft_link', UnlinkSoftLink),
  byPlainModel: through('unlink_plain_link', UnlinkPlainLink),
  byPair: {
    relation: Model.ManyToManyRelation,
    modelClass: UnlinkTag,
    join: {
      from: ['unlink_doc.space', 'unlink_doc.code'],
      through: {
        from: ['unlink_pair_link.docSpace', 'unlink_pair_link.docCode'],
        to: ['unlink_pair_link.tagSpace', 'unlink_pair_link.tagCode'],
        extra: ['note'],
        modelClass: UnlinkPairLink,
      },
      to: ['unlink_tag.space', 'unlink_tag.code'],
    },
  },
} as const
type Name = keyof typeof relations
const tableOf: Record<Name, string> = {
  byTable: 'unlink_bare_link',
  byTableInPart: 'unlink_bare_link',
  byColumns: 'unlink_bare_link',
  byModel: 'unlink_model_link',
  bySoftModel: 'unlink_soft_link',
  byPlainModel: 'unlink_plain_link',
  byPair: 'unlink_pair_link',
}

class UnlinkDoc extends BasePermsModel.withColumns({ title: column.string(), ...pair }) {
  static override policy = open
  static override relationMappings(): any {
    return relations
  }
}
/** The same without permissions. */
class UnlinkPlainDoc extends BaseModel.withColumns({ title: column.string(), ...pair }) {
  static override tableName = 'unlink_doc'
  static override relationMappings(): any {
    return relations
  }
}

const [Doc, Tag] = [UnlinkDoc, UnlinkTag] as const

eachDatabase('Links of a many-to-many relation', (db) => {
  let perms: Perms
  let me: User
  let [first, second]: any[] = []
  let [red, green, blue]: any[] = []

  before(async () => {
    perms = initPerms({ knex: db.knex, models: [Doc, Tag] })
    await createTables(db.knex, [User, Doc, Tag, UnlinkModelLink, UnlinkSoftLink, UnlinkPlainLink, UnlinkPairLink])
    await migrateAtOnce(perms)
    await db.knex.schema.createTable('unlink_bare_link', (table) => {
      table.uuid('doc_id').notNullable()
      table.uuid('tag_id').notNullable()
      table.string('note')
    })
    me = await User.create({ email: 'me@example.com' })
  })
  after(() => perms?.close())

  beforeEach(async () => {
    for (const table of new Set([...Object.values(tableOf), 'unlink_doc', 'unlink_tag'])) await db.knex(table).delete()
    ;[first, second] = [
      await Doc.create({ title: 'first', space: 'a', code: '1' }),
      await Doc.create({ title: 'second', space: 'a', code: '2' }),
    ]
    ;[red, green, blue] = [
      await Tag.create({ name: 'red', space: 'r', code: '1' }),
      await Tag.create({ name: 'green', space: 'r', code: '2' }),
      await Tag.create({ name: 'blue', space: 'b', code: '1' }),
    ]
  })

  // first: red, green, green a second time, blue; second: red, green.
  const link = async (name: Name) => {
    const rows = [
      [first, red, 'fr'],
      [first, green, 'fg'],
      [first, green, 'again'],
      [first, blue, 'fb'],
      [second, red, 'sr'],
      [second, green, 'fg'],
    ]
    const keysOf = (doc: any, tag: any) =>
      name === 'byPair'
        ? { doc_space: doc.space, doc_code: doc.code, tag_space: tag.space, tag_code: tag.code }
        : { doc_id: doc.id, tag_id: tag.id }
    const own = () => (tableOf[name] === 'unlink_bare_link' ? {} : { id: randomUUID(), created_at: new Date(), updated_at: new Date() })
    await db.knex(tableOf[name]).delete()
    await db.knex(tableOf[name]).insert(rows.map(([doc, tag, note]) => ({ ...own(), ...keysOf(doc, tag), note })))
  }
  const left = async (name: Name) => {
    const rows: any[] = await db.knex(tableOf[name]).select('*')
    const isFirst = (row: any) => row.doc_id === first.id || row.doc_code === '1'
    return rows
      .filter((row) => !row.deleted_at)
      .map((row) => `${isFirst(row) ? 'first' : 'second'} ${row.note}`)
      .sort()
  }
  const all = ['first again', 'first fb', 'first fg', 'first fr', 'second fg', 'second sr']
  const without = (...gone: string[]) => all.filter((one) => !gone.includes(one))

  const callers: Record<string, <T>(fn: () => Promise<T>) => Promise<unknown>> = {
    'a caller': (fn) => runAs(me, fn),
    'a caller past all rules': (fn) => runAs(me, () => bypassPerms(fn)),
    'a caller past the rules of the owner': (fn) => runAs(me, () => Doc.bypassPerms(fn)),
    'the application': (fn) => asSystem(fn),
  }

  const related = (name: Name) => first.$relatedQuery(name)
  const ofBoth = (name: Name) => Doc.relatedQuery(name).for([first, second])
  const noteOf = (name: Name) => `${tableOf[name]}.note`

  const changes: Record<string, { run(name: Name): PromiseLike<unknown>; leaves: string[] | ((name: Name) => string[]) }> = {
    'unrelate by a column of the related row': {
      run: (name) => related(name).unrelate().where('name', 'green'),
      leaves: without('first fg', 'first again'),
    },
    'unrelate by id': { run: (name) => related(name).unrelate().findById(blue.id), leaves: without('first fb') },
    'unrelate by a column of the join table': {
      run: (name) => related(name).unrelate().where(noteOf(name), 'fg'),
      // Elsewhere than on SQLite a link is known by its id, or by both of its ends.
      leaves: (name) =>
        db.dialect === 'sqlite' || name === 'byModel' || name === 'bySoftModel' || name === 'byPlainModel' || name === 'byPair'
          ? without('first fg')
          : without('first fg', 'first again'),
    },
    'unrelate of several owners by a column of the join table': {
      run: (name) => ofBoth(name).unrelate().where(noteOf(name), 'in', ['fr', 'fb']),
      leaves: without('first fr', 'first fb'),
    },
    'unrelate of nothing': { run: (name) => related(name).unrelate().where('name', 'none'), leaves: all },
    'patch of a column of the join table': {
      run: (name) => related(name).patch({ note: 'new' }).where('name', 'blue'),
      leaves: [...without('first fb'), 'first new'].sort(),
    },
    'patch of a column of the join table, of several owners': {
      run: (name) => ofBoth(name).patch({ note: 'new' }).where(noteOf(name), 'sr'),
      leaves: [...without('second sr'), 'second new'].sort(),
    },
    'upsertGraph with unrelate': {
      run: (name) =>
        Doc.query().upsertGraph(
          { id: first.id, space: 'a', code: '1', [name]: [red, green].map(({ id, space, code }) => ({ id, space, code })) } as never,
          {
            unrelate: true,
          },
        ),
      leaves: without('first fb'),
    },
  }

  for (const [caller, as] of Object.entries(callers)) {
    for (const name of Object.keys(relations) as Name[]) {
      it(`[promise 33] changed by ${caller} are those that the statement names and no others: ${name}`, async () => {
        for (const [what, { run, leaves }] of Object.entries(changes)) {
          await link(name)
          await as(async () => await run(name))
          expect(await left(name), what).to.deep.equal(typeof leaves === 'function' ? leaves(name) : leaves)
        }
      })

      it(`[promise 33] lead ${caller} to the rows that delete and patch name and to no others: ${name}`, async () => {
        await link(name)
        await as(async () => {
          await related(name).patch({ name: 'leaf' }).where('name', 'green')
          await related(name).delete().where(noteOf(name), 'fb')
        })
        expect((await Tag.query().orderBy('name')).map((tag) => tag.name)).to.deep.equal(['leaf', 'red'])
      })
    }
  }

  for (const name of Object.keys(relations) as Name[]) {
    it(`[promise 33] of a model without permissions: unrelate changes the links it names and no others: ${name}`, async () => {
      await link(name)
      const plain: any = await UnlinkPlainDoc.query().findById(first.id)
      await plain
        ?.$relatedQuery(name as never)
        .unrelate()
        .where('name', 'blue')
      expect(await left(name)).to.deep.equal(without('first fb'))
    })
  }
})
