import { expect } from 'chai'
import type { QueryBuilder } from 'objection'
import { asSystem, type BasePermsModel, currentUserId, runAs, type User } from '../../src/index.js'
import { rejection } from '../helpers/errors.js'
import { eachServedId, type Id, openServed, type ServedRow, type ServedWorld } from './served-world.js'

eachServedId('In code', (db, ids) => {
  let world: ServedWorld
  let ada: User
  let bob: User
  let project: ServedRow
  let theirs: ServedRow
  const key = (row: object) => ({ [world.property]: world.idOf(row) })
  const keysOf = (rows: readonly object[]) => rows.map((row) => world.idOf(row))
  const as = <T>(user: User, fn: () => T) => runAs(user.id, fn)

  before(async () => {
    world = await openServed(db.knex, ids)
    ada = await world.user('ada@example.com')
    bob = await world.user('bob@example.com')
  })
  after(() => world?.perms.close())
  beforeEach(async () => {
    const { Project, Note, Tag } = world
    for (const table of ['note_tag', 'tag', 'note', 'project']) await db.knex(table).delete()
    const make = (user: User, title: string) =>
      as(user, async () => {
        const row = (await Project.create(world.values({ title }))) as ServedRow
        for (const name of ['one', 'two']) {
          await Note.create(world.values({ title: `${title} ${name}`, projectId: world.idOf(row) }))
          await Tag.create(world.values({ title: `${title} ${name}` }))
        }
        return row
      })
    project = await make(ada, 'ada')
    theirs = await make(bob, 'bob')
  })

  const find = async (cls: 'Note' | 'Tag' | 'Project', title: string) =>
    (await asSystem(() => world[cls].getByOr404({ title }))) as ServedRow
  const projectOf = (row: object) => (row as { projectId: unknown }).projectId
  const related = (row: ServedRow, name: string) => row.$relatedQuery(name as never) as unknown as QueryBuilder<BasePermsModel>
  const titles = (rows: readonly object[] | undefined) => (rows ?? []).map((row) => (row as ServedRow).title).sort()

  it('insertGraph() inserts rows that refer to each other, and #ref and #dbRef refer to them', async () => {
    const { Project, Note } = world
    await as(ada, async () => {
      const tag = await find('Tag', 'ada one')
      const graph = world.values({
        title: 'graph',
        notes: [
          world.values({ title: 'first', tags: [{ '#id': 'new', ...world.values({ title: 'new tag' }) }] }),
          world.values({ title: 'second', tags: [{ '#ref': 'new' }, { '#dbRef': world.idOf(tag) }] }),
        ],
      })
      const made = (await Project.query().insertGraph(graph as never, { allowRefs: true })) as unknown as ServedRow
      const [found] = (await Project.query().where({ title: 'graph' }).withGraphFetched('notes.tags')) as unknown as ServedRow[]
      expect(world.idOf(found as object)).to.deep.equal(world.idOf(made))
      const byTitle = new Map((found?.notes ?? []).map((note) => [note.title, titles(note.tags)]))
      expect(Object.fromEntries(byTitle)).to.deep.equal({ first: ['new tag'], second: ['ada one', 'new tag'] })
      const [joined] = (await Project.query().where({ 'project.title': 'graph' }).withGraphJoined('notes.tags')) as unknown as ServedRow[]
      expect((joined?.notes ?? []).map((note) => titles(note.tags)).sort()).to.deep.equal([...byTitle.values()].sort())
      // Objection sets the keys of the inserted rows, in their type.
      const inserted = (made.notes ?? []) as ServedRow[]
      expect(keysOf(inserted)).to.have.members(keysOf(await Note.query().where({ projectId: world.idOf(made) })))
    })
  })

  it('upsertGraph() updates, inserts, deletes, relates and unrelates rows by their ids', async () => {
    const { Project } = world
    await as(ada, async () => {
      const kept = await find('Note', 'ada one')
      const [one, two] = [await find('Tag', 'ada one'), await find('Tag', 'ada two')]
      await related(kept, 'tags').relate(world.idOf(one))
      const notes = [{ ...key(kept), title: 'kept', tags: [key(two)] }, world.values({ title: 'added' })]
      const options = { relate: ['notes.tags'], unrelate: ['notes.tags'], ...(ids.given ? { insertMissing: true } : {}) }
      await Project.query().upsertGraph({ ...key(project), title: 'changed', notes } as never, options)
      const [found] = (await Project.query().where(key(project)).withGraphFetched('notes.tags')) as unknown as ServedRow[]
      expect([found?.title, titles(found?.notes)]).to.deep.equal(['changed', ['added', 'kept']])
      const after = found?.notes?.find(({ title }) => title === 'kept')
      expect([world.idOf(after as object), titles(after?.tags)]).to.deep.equal([world.idOf(kept), ['ada two']])
      await Project.query().upsertGraph({ ...key(project), notes: [] } as never, { unrelate: true })
      expect(await related(await find('Project', 'changed'), 'notes').resultSize()).to.equal(0)
      expect(titles(await world.Note.query())).to.deep.equal(['added', 'kept'])
    })
  })

  it('upsertGraph() reaches no row of another caller by its id [promise 34]', async () => {
    const { Project } = world
    const [note, tag, own] = [await find('Note', 'bob one'), await find('Tag', 'bob one'), await find('Note', 'ada one')]
    const before = await stateOf()
    const graphs: object[] = [
      { ...key(theirs), title: 'taken' },
      { ...key(project), notes: [{ ...key(note), title: 'taken' }] },
      { ...key(project), notes: [{ ...key(own), tags: [{ ...key(tag), title: 'taken' }] }] },
      { ...key(theirs), notes: [] },
    ]
    for (const options of [{ noDelete: true }, { relate: true, noDelete: true }, { relate: true, unrelate: true }])
      for (const graph of graphs) {
        const outcome = await as(ada, async () => await Project.query().upsertGraph(graph as never, options)).then(
          () => 'done',
          (error: { status?: number }) => error.status,
        )
        expect(outcome, JSON.stringify([graph, options])).to.be.oneOf([403, 404, 422])
      }
    expect(await stateOf()).to.deep.equal(before)
  })

  const stateOf = async () => {
    const state: unknown[] = []
    for (const table of ['project', 'note', 'tag', 'note_tag']) state.push((await db.knex(table)).map((row) => JSON.stringify(row)).sort())
    return state
  }

  it('relate() and unrelate() take ids in their spelling, of readable rows only', async () => {
    const { Note } = world
    const tag = await find('Tag', 'ada one')
    const foreign = await find('Tag', 'bob one')
    await as(ada, async () => {
      const [one, two] = [await find('Note', 'ada one'), await find('Note', 'ada two')]
      await related(one, 'tags').relate(world.idOf(tag))
      await Note.relatedQuery('tags').for(world.idOf(two)).relate(tag)
      expect(titles(await related(one, 'tags'))).to.deep.equal(['ada one'])
      expect(await related(two, 'tags').unrelate()).to.equal(1)
      expect(await rejection(related(one, 'tags').relate(world.idOf(foreign)))).to.have.property('status', 422)
      await related(two, 'project').unrelate()
      expect(projectOf(await find('Note', 'ada two'))).to.equal(null)
      await related(two, 'project').relate(world.idOf(project))
      expect(projectOf(await find('Note', 'ada two'))).to.deep.equal(world.idOf(project))
      expect(await rejection(related(two, 'project').relate(world.idOf(theirs)))).to.have.property('status', 422)
      for (const text of ids.malformed(String(world.idOf(tag))).filter((one) => one !== String(world.idOf(tag)) && one.length < 100)) {
        const error = await rejection(related(two, 'tags').relate(text))
        expect(error, JSON.stringify(text)).to.have.property('status').that.is.oneOf([404, 422])
      }
    })
    expect(await db.knex('note_tag')).to.have.length(1)
  })

  it('a job runs as the user whose id a queue stored as JSON', async () => {
    const { userId } = JSON.parse(JSON.stringify({ userId: ada.id })) as { userId: never }
    const found = await runAs(userId, async () => [currentUserId(), titles(await world.Project.query())])
    expect(found).to.deep.equal([ada.id, ['ada']])
    // Some queues store every value as text.
    expect(await runAs(String(ada.id) as never, () => currentUserId())).to.deep.equal(ada.id)
    expect(typeof userId).to.equal(ids.type === 'integer' ? 'number' : 'string')
    for (const text of ids.malformed(String(ada.id)).filter((one) => one !== String(ada.id))) {
      const caller = await runAs(text as never, () => currentUserId())
      expect(caller, JSON.stringify(text)).to.equal(null)
      expect(await runAs(text as never, () => world.Project.query()), JSON.stringify(text)).to.deep.equal([])
    }
  })

  it('rows of a job find their rows by the ids that a queue stored', async () => {
    const note = await find('Note', 'ada one')
    const stored = JSON.parse(JSON.stringify({ noteId: world.idOf(note), projectId: world.idOf(project) })) as Record<string, Id>
    await as(ada, async () => {
      expect((await world.Note.get(stored['noteId'] as never))?.$id()).to.deep.equal(world.idOf(note))
      expect(
        await world.Note.query()
          .where({ projectId: stored['projectId'] as never })
          .resultSize(),
      ).to.equal(2)
      expect(
        await world.Note.query()
          .whereIn(world.property, [stored['noteId'] as never])
          .resultSize(),
      ).to.equal(1)
    })
    await as(bob, async () => expect(await world.Note.get(stored['noteId'] as never)).to.equal(null))
  })
})
