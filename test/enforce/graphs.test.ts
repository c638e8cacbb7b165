import { expect } from 'chai'
import { Model } from 'objection'
import {
  asSystem,
  authenticated,
  BaseModel,
  BasePermsModel,
  belongsTo,
  column,
  createTables,
  everyone,
  ForbiddenError,
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
} from '../../src/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

/** Every caller may read a row, only its owner may write it. */
const ofItsOwner = { read: everyone(), create: authenticated(), update: owner(), delete: owner() }

class GraphCard extends HasUserMixin(BasePermsModel).withColumns({ text: column.string() }) {
  static override policy = ofItsOwner
}
class GraphStep extends HasUserMixin(BasePermsModel).withColumns({
  text: column.string(),
  boardId: column.uuid().references('graph_board.id').nullable(),
}) {
  static override policy = ofItsOwner
}
class GraphSoftStep extends SoftDeleteMixin(HasUserMixin(BasePermsModel)).withColumns({
  text: column.string(),
  boardId: column.uuid().references('graph_board.id').nullable(),
}) {
  static override policy = ofItsOwner
}
class GraphLabel extends HasUserMixin(BasePermsModel).withColumns({ text: column.string() }) {
  static override policy = ofItsOwner
}
/** Links that no caller may delete. */
class GraphFirmLink extends BasePermsModel.withColumns({
  boardId: column.uuid(),
  labelId: column.uuid(),
  note: column.string().nullable(),
}) {
  static override policy = { read: everyone(), create: authenticated(), update: authenticated(), delete: role(Role.ADMIN) }
}

const labels = (table: string, modelClass?: unknown) => ({
  relation: Model.ManyToManyRelation,
  modelClass: GraphLabel,
  join: {
    from: 'graph_board.id',
    through: { from: `${table}.boardId`, to: `${table}.labelId`, extra: ['note'], ...(modelClass ? { modelClass } : {}) },
    to: 'graph_label.id',
  },
})

class GraphBoard extends HasUserMixin(BasePermsModel).withColumns({
  title: column.string(),
  cardId: column.uuid().references('graph_card.id').nullable(),
}) {
  static override policy = ofItsOwner
  static override relationMappings(): any {
    return {
      card: belongsTo(() => GraphCard, 'cardId'),
      steps: hasMany(() => GraphStep, 'boardId'),
      softSteps: hasMany(() => GraphSoftStep, 'boardId'),
      labels: labels('graph_link'),
      firmLabels: labels('graph_firm_link', GraphFirmLink),
    }
  }
}
/** A root without permissions over the same rows. */
class GraphFolder extends BaseModel.withColumns({ title: column.string() }) {
  static override relationMappings(): any {
    return { steps: hasMany(() => GraphStep, 'boardId') }
  }
}

eachDatabase('Graphs under permissions', (db) => {
  let perms: Perms
  let [me, other]: any[] = []
  let board: any
  let theirs: any

  before(async () => {
    perms = initPerms({ knex: db.knex, models: [GraphBoard, GraphCard, GraphStep, GraphSoftStep, GraphLabel, GraphFirmLink, GraphFolder] })
    await createTables(db.knex, [User, GraphCard, GraphBoard, GraphStep, GraphSoftStep, GraphLabel, GraphFirmLink, GraphFolder])
    await migrateAtOnce(perms)
    await db.knex.schema.createTable('graph_link', (table) => {
      table.uuid('board_id').notNullable()
      table.uuid('label_id').notNullable()
      table.string('note')
    })
    ;[me, other] = [await User.create({ email: 'me@example.com' }), await User.create({ email: 'other@example.com' })]
  })
  after(() => perms?.close())

  const tables = ['graph_firm_link', 'graph_link', 'graph_label', 'graph_soft_step', 'graph_step', 'graph_board', 'graph_card']
  beforeEach(async () => {
    for (const table of tables) await db.knex(table).delete()
    const card = await GraphCard.create({ text: 'theirs', userId: other.id })
    board = await GraphBoard.create({ title: 'mine', userId: me.id, cardId: card.id })
    theirs = await GraphBoard.create({ title: 'theirs', userId: other.id, cardId: card.id })
    for (const [text, userId] of [
      ['mine', me.id],
      ['theirs', other.id],
    ]) {
      await GraphStep.create({ text, userId, boardId: board.id })
      await GraphSoftStep.create({ text, userId, boardId: board.id })
      const label = await GraphLabel.create({ text, userId })
      for (const one of [board, theirs]) {
        await db.knex('graph_link').insert({ board_id: one.id, label_id: label.id, note: 'old' })
        await GraphFirmLink.create({ boardId: one.id, labelId: label.id, note: 'old' })
      }
    }
  })

  const idsOf = async (cls: any, text: string): Promise<string> => (await cls.query().findOne({ text })).id
  const asMe = <T>(fn: () => T) => runAs(me, fn)

  const refused: Record<string, () => Promise<PromiseLike<unknown>> | PromiseLike<unknown>> = {
    'deletes a row of another': () => GraphBoard.query().upsertGraph({ id: board.id, title: 'new', steps: [] } as never),
    'deletes one row of another among one’s own': async () =>
      GraphBoard.query().upsertGraph({ id: board.id, title: 'new', steps: [{ text: 'added', userId: me.id }] } as never),
    'deletes a row of another softly': () => GraphBoard.query().upsertGraph({ id: board.id, title: 'new', softSteps: [] } as never),
    'deletes the one row that it refers to': () => GraphBoard.query().upsertGraph({ id: board.id, title: 'new', card: null } as never),
    'deletes a row of another through a join table': () =>
      GraphBoard.query().upsertGraph({ id: board.id, title: 'new', labels: [] } as never),
    'unlinks a row of another that holds the key': () =>
      GraphBoard.query().upsertGraph({ id: board.id, title: 'new', steps: [] } as never, { unrelate: true }),
    'unlinks by a model of links that keeps them': () =>
      GraphBoard.query().upsertGraph({ id: board.id, title: 'new', firmLabels: [] } as never, { unrelate: true }),
    'unlinks from a board of another': () => GraphBoard.query().upsertGraph({ id: theirs.id, labels: [] } as never, { unrelate: true }),
    'changes a link of a board of another': async () =>
      GraphBoard.query().upsertGraph({ id: theirs.id, labels: [{ id: await idsOf(GraphLabel, 'mine'), note: 'new' }] } as never, {
        noDelete: true,
      }),
    'changes a row of another': async () =>
      GraphBoard.query().upsertGraph(
        { id: board.id, title: 'new', steps: [{ id: await idsOf(GraphStep, 'theirs'), text: 'new' }] } as never,
        {
          noDelete: true,
        },
      ),
    'changes a row of another through a join table': async () =>
      GraphBoard.query().upsertGraph(
        { id: board.id, title: 'new', labels: [{ id: await idsOf(GraphLabel, 'theirs'), text: 'new' }] } as never,
        {
          noDelete: true,
        },
      ),
    'relates a row of another that holds the key': async () => {
      const mine: any = await GraphBoard.query().findOne({ title: 'mine' })
      const free = await asSystem(() => GraphStep.create({ text: 'free', userId: other.id }))
      return GraphBoard.query().upsertGraph({ id: mine.id, title: 'new', steps: [{ id: free.id }] } as never, {
        relate: true,
        noDelete: true,
      })
    },
    'links to a board of another': async () => {
      const label = await asSystem(() => GraphLabel.create({ text: 'free', userId: me.id }))
      return GraphBoard.query().upsertGraph({ id: theirs.id, labels: [{ id: label.id }] } as never, { relate: true, noDelete: true })
    },
  }

  for (const [what, run] of Object.entries(refused)) {
    it(`[promise 34] a graph that ${what} is refused and rolled back completely`, async () => {
      const error = await rejection(asMe(async () => await run()))
      expect(error, String(error)).to.be.instanceOf(ForbiddenError)
      expect(await GraphBoard.query().where('title', 'new')).to.have.length(0)
      expect(await GraphStep.query().where('text', 'added')).to.have.length(0)
      expect(await GraphStep.query().where('boardId', board.id)).to.have.length(2)
      expect(await GraphSoftStep.query().where('boardId', board.id)).to.have.length(2)
      for (const table of ['graph_link', 'graph_firm_link']) expect(await db.knex(table).where({ note: 'old' })).to.have.length(4)
    })
  }

  it('[promise 34] a graph whose root has no permissions is undone as a whole too', async () => {
    const folder = await GraphFolder.query().insert({ title: 'folder' })
    await db.knex('graph_step').update({ board_id: null })
    const graph = {
      id: folder.id,
      title: 'new',
      steps: [
        { text: 'first', userId: me.id },
        { text: 'second', userId: other.id },
      ],
    }
    expect(await rejection(asMe(async () => await GraphFolder.query().upsertGraph(graph as never)))).to.be.instanceOf(Error)
    expect((await GraphFolder.query().findById(folder.id))?.title).to.equal('folder')
    expect(await GraphStep.query().where('text', 'first')).to.have.length(0)
  })

  it('a graph removes and changes only rows that the caller may change, and keeps rows that the caller may not read', async () => {
    await db.knex('graph_step').where({ text: 'theirs' }).delete()
    await asMe(async () => {
      await GraphBoard.query().upsertGraph({ id: board.id, title: 'new', steps: [] } as never)
      await GraphBoard.query().upsertGraph({ id: board.id, labels: [] } as never, { unrelate: true })
    })
    expect(await db.knex('graph_step')).to.have.length(0)
    expect(await db.knex('graph_link')).to.have.length(2)
    await asSystem(() =>
      GraphBoard.query().upsertGraph({ id: board.id, softSteps: [], firmLabels: [] } as never, { unrelate: ['firmLabels'] }),
    )
    expect(await db.knex('graph_firm_link')).to.have.length(2)
    expect(await GraphSoftStep.query()).to.have.length(0)
  })
})
