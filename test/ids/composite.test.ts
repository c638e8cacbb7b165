import { expect } from 'chai'
import { Model } from 'objection'
import {
  Api,
  asSystem,
  authenticated,
  BasePermsModel,
  CrudResource,
  column,
  createTables,
  ForbiddenError,
  HasUserMixin,
  initPerms,
  owner,
  type Perms,
  related,
  runAs,
  type User,
  UserOwnershipMixin,
} from '../../src/index.js'
import { createUser, signInAs, testHasher } from '../../src/testing/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection, thrown } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'
import { clientOf } from '../http/client.js'

const text = () => column.string({ maxLength: 40 })
const { BelongsToOneRelation, HasManyRelation, ManyToManyRelation } = Model

class Hall extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
  city: text(),
  num: column.integer(),
  title: text(),
  slug: text().unique(),
}) {
  declare seats?: Seat[]
  declare labels?: Label[]
  static override idColumn = ['city', 'num']
  static override relationMappings = {
    seats: {
      relation: HasManyRelation,
      modelClass: () => Seat,
      join: { from: ['hall.city', 'hall.num'], to: ['seat.city', 'seat.hallNum'] },
    },
    labels: {
      relation: ManyToManyRelation,
      modelClass: () => Label,
      join: {
        from: ['hall.city', 'hall.num'],
        through: { modelClass: () => HallLabel, from: ['hall_label.city', 'hall_label.hallNum'], to: 'hall_label.labelId' },
        to: 'label.id',
      },
    },
  }
}

/** The owner of the hall reads and changes its seats. */
class Seat extends BasePermsModel.withColumns({ city: text(), hallNum: column.integer(), place: column.integer(), note: text() }) {
  declare hall?: Hall
  static override idColumn = ['city', 'hall_num', 'place']
  static override policy = { read: related('hall', owner()), create: related('hall', owner()), update: related('hall', owner()) }
  static override relationMappings = {
    hall: {
      relation: BelongsToOneRelation,
      modelClass: Hall,
      join: { from: ['seat.city', 'seat.hallNum'], to: ['hall.city', 'hall.num'] },
    },
  }
}

class Label extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({ word: text() }) {}

class HallLabel extends BasePermsModel.withColumns({ city: text(), hallNum: column.integer(), labelId: column.uuid() }) {
  static override idColumn = ['city', 'hall_num', 'label_id']
  static override policy = { read: authenticated(), create: authenticated(), delete: authenticated() }
}

const models = [Hall, Seat, Label, HallLabel]
const classes = models as never[]
let count = 0
const slug = () => `slug-${++count}`
const notes = (seats: readonly Seat[] | undefined) => (seats ?? []).map(({ place, note }) => `${place} ${note}`).sort()

eachDatabase('Composite keys', (db) => {
  let perms: Perms
  let ada: User
  let bob: User
  before(async () => {
    perms = initPerms({
      knex: db.knex,
      models: classes,
      jwt: { secret: 'a secret of the tests, 32 bytes long' },
      passwordHasher: testHasher(),
    })
    await migrateAtOnce(perms)
    await createTables(db.knex, classes)
    ;[ada, bob] = await asSystem(async () => [
      await createUser({ email: 'ada@example.com' }),
      await createUser({ email: 'bob@example.com' }),
    ])
  })
  after(() => perms?.close())
  beforeEach(async () => {
    for (const table of ['hall_label', 'label', 'seat', 'hall']) await db.knex(table).delete()
    // The keys differ in one part each, and the city in its case.
    for (const [user, city, num] of [
      [ada, 'Rome', 1],
      [ada, 'Rome', 2],
      [bob, 'rome', 1],
      [bob, 'Oslo', 2],
    ] as const)
      await runAs(user, async () => {
        await Hall.create({ city, num, title: `${city} ${num}`, slug: slug() })
        for (const place of [1, 2]) await Seat.create({ city, hallNum: num, place, note: `of ${city} ${num}` })
      })
  })

  it('are the primary keys of tables, and the classes have no column id', async () => {
    for (const cls of [Hall, Seat, HallLabel]) expect(cls.columnSpecs).to.not.have.property('id')
    const columns = Object.keys(await db.knex('hall').columnInfo())
    expect(columns).to.include.members(['city', 'num']).and.not.include('id')
    const error = await rejection(db.knex('seat').insert({ city: 'Rome', hall_num: 1, place: 1, note: 'x', created_at: 0, updated_at: 0 }))
    expect(error).to.be.instanceOf(Error)
  })

  it('find, change, copy and delete rows by active-record methods, of their owner only', async () => {
    await runAs(ada, async () => {
      const hall = await Hall.getOr404(['Rome', 2])
      expect([await hall.canRead(), await hall.canWrite(), await hall.canDelete()]).to.deep.equal([true, true, true])
      await hall.update({ title: 'renamed' })
      hall.title = 'saved'
      await hall.save()
      expect((await Hall.getByOr404({ city: 'Rome', num: 2 })).title).to.equal('saved')
      expect(
        (
          await Hall.query().findByIds([
            ['Rome', 1],
            ['Rome', 2],
            ['rome', 1],
          ])
        )
          .map(({ num }) => num)
          .sort(),
      ).to.deep.equal([1, 2])
      for (const key of [
        ['Rome', '2'],
        ['Rome', '02'],
        ['Rome', 3],
        ['ROME', 2],
        ['Rome'],
        ['Rome', 2, 1],
        'Rome',
        2,
        'Rome,2',
        null,
        {},
      ]) {
        const isSame = Array.isArray(key) && key.length === 2 && key[0] === 'Rome' && key[1] === '2'
        expect((await Hall.get(key as never))?.title, JSON.stringify(key)).to.equal(isSame ? 'saved' : undefined)
      }
      await hall.delete()
      expect(await Hall.get(['Rome', 2])).to.equal(null)
    })
    await runAs(bob, async () => {
      expect(await Hall.get(['Rome', 1])).to.equal(null)
      expect(await Hall.query().findById(['Rome', 1]).patch({ title: 'taken' })).to.equal(0)
      expect(await Hall.query().patch({ title: 'of bob' })).to.equal(2)
      expect(await Hall.query().deleteById(['Rome', 1])).to.equal(0)
    })
    expect(await db.knex('hall').whereNot('title', 'of bob').pluck('title')).to.deep.equal(['Rome 1'])
  })

  it('never change: an update of a part is refused', async () => {
    await runAs(ada, async () => {
      expect(await rejection(Hall.query().findById(['Rome', 1]).patch({ num: 9 }))).to.be.instanceOf(ForbiddenError)
      expect(await rejection(Hall.query().findById(['Rome', 1]).patch({ city: 'rome' }))).to.be.instanceOf(ForbiddenError)
    })
    expect(await db.knex('hall').where({ num: 9 })).to.deep.equal([])
  })

  it('join relations under policies: related(), graphs in one and several statements, and related queries', async () => {
    await runAs(ada, async () => {
      expect(notes(await Seat.query())).to.deep.equal(['1 of Rome 1', '1 of Rome 2', '2 of Rome 1', '2 of Rome 2'])
      for (const graph of ['withGraphFetched', 'withGraphJoined'] as const) {
        const halls = await Hall.query()[graph]('seats.hall').orderBy('hall.num')
        expect(
          halls.map(({ seats }) => notes(seats)),
          graph,
        ).to.deep.equal([
          ['1 of Rome 1', '2 of Rome 1'],
          ['1 of Rome 2', '2 of Rome 2'],
        ])
        expect(halls[1]?.seats?.[0]?.hall?.title).to.equal('Rome 2')
      }
      const hall = await Hall.getOr404(['Rome', 1])
      expect(await hall.$relatedQuery('seats').patch({ note: 'dusted' } as never)).to.equal(2)
      await hall.$relatedQuery('seats').insert({ place: 3, note: 'new' } as never)
      expect(notes(await hall.$relatedQuery('seats'))).to.deep.equal(['1 dusted', '2 dusted', '3 new'])
      expect(
        await Hall.relatedQuery('seats')
          .for([
            ['Rome', 2],
            ['rome', 1],
          ])
          .resultSize(),
      ).to.equal(2)
      const theirs = { city: 'rome', hallNum: 1, place: 9, note: 'x' }
      expect(await rejection(Seat.query().insert(theirs)))
        .to.have.property('status')
        .that.is.oneOf([403, 422])
    })
    expect(await db.knex('seat').where({ note: 'dusted' }).distinct('city', 'hall_num')).to.deep.equal([{ city: 'Rome', hall_num: 1 }])
  })

  it('identify the rows of insertGraph() and upsertGraph()', async () => {
    const graph = (seats: object[]) => ({ city: 'Bern', num: 1, title: 'Bern 1', slug: 'bern', seats }) as never
    await runAs(ada, async () => {
      await Hall.query().insertGraph(
        graph([
          { place: 1, note: 'one' },
          { place: 2, note: 'two' },
        ]),
      )
      const seats = [
        { city: 'Bern', hallNum: 1, place: 1, note: 'changed' },
        { city: 'Bern', hallNum: 1, place: 3, note: 'three' },
      ]
      await Hall.query().upsertGraph(graph(seats), { noDelete: true, insertMissing: true })
      expect(notes((await Hall.query().findById(['Bern', 1]).withGraphFetched('seats'))?.seats)).to.deep.equal([
        '1 changed',
        '2 two',
        '3 three',
      ])
    })
    const stolen = { city: 'Rome', num: 1, title: 'stolen', seats: [{ city: 'Rome', hallNum: 1, place: 1, note: 'stolen' }] }
    for (const options of [{}, { insertMissing: true }])
      await rejection(runAs(bob, () => Hall.query().upsertGraph(stolen as never, options)))
    expect(await db.knex('hall').where({ title: 'stolen' })).to.deep.equal([])
    expect(await db.knex('seat').where({ note: 'stolen' })).to.deep.equal([])
  })

  it('identify both ends of relate() and unrelate(), also in graphs', async () => {
    await runAs(ada, async () => {
      const [one, two] = [await Label.create({ word: 'one' }), await Label.create({ word: 'two' })]
      const hall = await Hall.getOr404(['Rome', 1])
      await hall.$relatedQuery('labels').relate(one.id)
      await Hall.relatedQuery('labels')
        .for([['Rome', 2]])
        .relate(one.id)
      await Hall.query().upsertGraph({ city: 'Rome', num: 1, labels: [{ id: two.id }] } as never, {
        relate: true,
        unrelate: true,
        noUpdate: ['labels'],
      })
      expect((await hall.$relatedQuery('labels')).map((label) => (label as Label).word)).to.deep.equal(['two'])
      expect(await hall.$relatedQuery('labels').unrelate()).to.equal(1)
    })
    expect(await db.knex('hall_label').select('city', 'hall_num')).to.deep.equal([{ city: 'Rome', hall_num: 2 }])
    const label = await db.knex('label').first()
    await runAs(bob, async () => {
      expect(
        await rejection(
          Hall.relatedQuery('labels')
            .for([['Rome', 1]])
            .relate(label.id),
        ),
      ).to.be.instanceOf(Error)
      await Hall.relatedQuery('labels')
        .for([['Rome', 2]])
        .unrelate()
        .catch(() => 0)
    })
    expect(await db.knex('hall_label').select('city', 'hall_num')).to.deep.equal([{ city: 'Rome', hall_num: 2 }])
  })

  it('are refused by CrudResource, for a model and for a parent, unless the option id names a unique column', async () => {
    const serve = (options: object) => clientOf(new Api({ resources: [new CrudResource(options as never)] }), perms)
    const message =
      "Seat has a composite key (city, hallNum, place), and a path names a row by one value. Add a unique column and name it: new CrudResource({ model: Seat, id: 'slug' })."
    expect(thrown(() => serve({ model: Seat })).message).to.equal(message)
    expect(thrown(() => serve({ model: Label, parent: { model: Hall, param: 'userId' } })).message).to.match(
      /^Hall has a composite key \(city, num\)/,
    )

    const ask = serve({ model: Hall, id: 'slug' })
    const token = (await signInAs(ada)).accessToken
    const made = await ask('POST', '/halls', token, { body: { city: 'Kyiv', num: 5, title: 'a', slug: 'kyiv-5' } })
    expect([made.status, made.headers.location]).to.deep.equal([201, '/halls/kyiv-5'])
    expect((await ask('GET', '/halls/kyiv-5', token)).body).to.deep.equal(made.body)
    const headers = { 'if-match': made.headers.etag as string }
    expect((await ask('PATCH', '/halls/kyiv-5', token, { body: { title: 'b' }, headers })).status).to.equal(200)
    expect((await ask('PATCH', '/halls/kyiv-5', token, { body: { title: 'c' }, headers })).status).to.equal(412)
    expect((await ask('PATCH', '/halls/kyiv-5', token, { body: { num: 6 } })).status).to.equal(422)
    const pages: unknown[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const { body } = await ask('GET', `/halls?sort=city&pageSize=1${cursor && `&cursor=${cursor}`}`, token)
      pages.push(...body.data.map(({ city, num }: Hall) => [city, num]))
      cursor = body.pagination.nextCursor
    }
    expect(pages).to.deep.equal([
      ['Kyiv', 5],
      ['Rome', 1],
      ['Rome', 2],
    ])
    expect((await ask('DELETE', '/halls/kyiv-5', token)).status).to.equal(204)
    expect(await db.knex('hall').where({ city: 'Kyiv' })).to.deep.equal([])
  })
})
