import { expect } from 'chai'
import {
  BaseModel,
  column,
  createTables,
  initPerms,
  MissingReferenceError,
  type Perms,
  PermsError,
  StillReferencedError,
  UniqueViolationError,
  ValidationError,
} from '../../src/index.js'
import { testHasher } from '../../src/testing/hasher.js'
import { eachDatabase } from '../helpers/databases.js'
import { fieldsOf, rejection, thrown } from '../helpers/errors.js'

const nowhere = '0198c0de-0000-7000-8000-00000000000a'

class Team extends BaseModel.withColumns({
  teamName: column.string({ maxLength: 10, minLength: 2, pattern: '^[a-z]+$' }).unique(),
}) {}

class Player extends BaseModel.withColumns({
  nickName: column.string({ maxLength: 10 }).unique(),
  shirtNumber: column.integer({ minimum: 1, maximum: 99 }),
  homeTeamId: column.uuid().references('team.id', { onDelete: 'restrict' }),
  guestTeamId: column.uuid().nullable().references('team.id', { onDelete: 'set null' }),
  website: column.string({ format: 'uri' }).nullable(),
  position: column.enum(['goal', 'field']).default('field'),
  ratio: column.float({ minimum: 0, maximum: 1 }).nullable(),
  extra: column.json({ type: 'object', required: ['size'], properties: { size: { type: 'integer' } } }).nullable(),
}) {}

eachDatabase('Errors', (db) => {
  let perms: Perms
  let team: Team
  before(async () => {
    perms = initPerms({ knex: db.knex, passwordHasher: testHasher() })
    await createTables(db.knex, [Player, Team])
  })
  after(() => perms.close())
  beforeEach(async () => {
    await db.knex('player').delete()
    await db.knex('team').delete()
    team = await Team.create({ teamName: 'reds' })
  })

  const player = (values: object = {}) => ({ nickName: 'ace', shirtNumber: 7, homeTeamId: team.id, ...values })
  const quiet = (error: Error) => {
    expect(error).to.be.instanceOf(PermsError)
    const told = `${error.message} ${JSON.stringify((error as PermsError).errors)}`
    expect(told).not.to.match(/insert into|update `|update "|select |player_|constraint|SQLITE|ER_|\$2|0198c0de/i)
    return error
  }

  it('of a unique column name the field [promise 48]', async () => {
    await Player.create(player())
    for (const how of [
      () => Player.create(player({ shirtNumber: 8 })),
      async () => (await Player.create(player({ nickName: 'other' }))).update({ nickName: 'ace' }),
      async () => Player.query().insert(player({ shirtNumber: 9 })),
      async () => Player.query().patch({ nickName: 'ace' }),
    ]) {
      const error = quiet(await rejection(how()))
      expect(error).to.be.instanceOf(UniqueViolationError)
      expect(error).to.include({ status: 409, code: 'taken' })
      expect(fieldsOf(error)).to.deep.equal(['nickName'])
    }
  })

  it('of the primary key name id', async () => {
    const { id } = await Player.create(player())
    expect(fieldsOf(quiet(await rejection(Player.create(player({ id, nickName: 'b' })))))).to.deep.equal(['id'])
  })

  it('of a reference name the field [promise 48]', async () => {
    const made = await Player.create(player())
    for (const how of [
      () => Player.create(player({ nickName: 'b', homeTeamId: nowhere })),
      () => made.update({ homeTeamId: nowhere }),
      async () => Player.query().findById(made.id).patch({ homeTeamId: nowhere }),
    ]) {
      const error = quiet(await rejection(how()))
      expect(error).to.be.instanceOf(MissingReferenceError)
      expect(error).to.include({ status: 422, code: 'missing_reference' })
      expect(fieldsOf(error)).to.include('homeTeamId')
    }
  })

  it('of a row that is still referenced have their own class', async () => {
    await Player.create(player())
    for (const how of [() => team.delete(), async () => Team.query().delete(), async () => Team.query().deleteById(team.id)]) {
      const error = quiet(await rejection(how()))
      expect(error).to.be.instanceOf(StillReferencedError)
      expect(error).to.include({ status: 409, code: 'still_referenced' })
    }
  })

  it('from the database name the field: not null, too long, a bad value [promise 48]', async () => {
    const made = await Player.create(player())
    const raw = (await import('objection')).raw
    const notNull = quiet(
      await rejection(
        Player.query()
          .findById(made.id)
          .patch({ shirtNumber: raw('null') as never }),
      ),
    )
    expect(notNull).to.include({ status: 422 })
    expect(fieldsOf(notNull)).to.deep.equal(['shirtNumber'])
    // SQLite has no lengths and no types.
    if (db.dialect === 'sqlite') return
    const tooLong = quiet(
      await rejection(
        Player.query()
          .findById(made.id)
          .patch({ nickName: raw('?', ['x'.repeat(11)]) as never }),
      ),
    )
    expect(tooLong).to.include({ status: 422 })
    expect(fieldsOf(tooLong)).to.deep.equal(['nickName'])
    const bad = quiet(
      await rejection(
        Player.query()
          .findById(made.id)
          .patch({ shirtNumber: raw('?', ['many']) as never }),
      ),
    )
    expect(bad).to.include({ status: 422 })
  })

  it('of values in where() do not contain the values', async () => {
    if (db.dialect !== 'pg') return
    quiet(await rejection(Player.query().where('homeTeamId', 'not-a-uuid')))
  })

  it('of input have a readable message for every field', () => {
    const error = thrown(() =>
      Player.build({
        nickName: 'x'.repeat(11),
        shirtNumber: 100,
        homeTeamId: 'x',
        website: 'no uri',
        position: 'bench',
        ratio: 1.5,
        extra: { size: 'L' },
        colour: 'red',
      } as never),
    ) as PermsError
    expect(error).to.be.instanceOf(ValidationError)
    expect(fieldsOf(error)).to.have.members([
      'nickName',
      'shirtNumber',
      'homeTeamId',
      'website',
      'position',
      'ratio',
      'extra.size',
      'colour',
    ])
    for (const { field, message } of error.errors) expect(error.message).to.include(`${field} ${message}`)
    expect(fieldsOf(thrown(() => Player.build({} as never)))).to.have.members(['nickName', 'shirtNumber', 'homeTeamId'])
    expect(fieldsOf(thrown(() => Team.build({ teamName: 'A1' })))).to.deep.equal(['teamName'])
    expect(fieldsOf(thrown(() => Team.build({ teamName: 'a' })))).to.deep.equal(['teamName'])
  })

  it('of input are thrown by every method: build, create, update, save, query().insert, patch, upsertGraph', async () => {
    const made = await Player.create(player())
    const ways = [
      async () => Player.build(player({ shirtNumber: 0 })),
      () => Player.create(player({ nickName: 'b', shirtNumber: 0 })),
      () => made.update({ shirtNumber: 0 }),
      () => Object.assign(made.getClone(), { shirtNumber: 0 }).save(),
      async () => Player.query().insert(player({ nickName: 'b', shirtNumber: 0 })),
      async () => Player.query().patch({ shirtNumber: 0 }),
      async () => Player.query().update(player({ shirtNumber: 0 })),
      async () => Player.query().patchAndFetchById(made.id, { shirtNumber: 0 }),
      async () => Player.query().upsertGraph({ id: made.id, shirtNumber: 0 }),
      async () => Player.query().insertGraph(player({ nickName: 'b', shirtNumber: 0 })),
      async () => Player.fromJson(player({ shirtNumber: 0 })),
    ]
    for (const [i, way] of ways.entries()) expect(fieldsOf(await rejection(way())), `way ${i}`).to.deep.equal(['shirtNumber'])
    expect((await Player.getOr404(made.id)).shirtNumber).to.equal(7)
  })

  it('of unknown keys are thrown by every method [promise 42]', async () => {
    const made = await Player.create(player())
    const ways = [
      async () => Player.build(player({ colour: 1 })),
      () => made.update({ colour: 1 } as never),
      async () => Player.query().insert(player({ nickName: 'b', colour: 1 })),
      async () => Player.query().patch({ colour: 1 } as never),
    ]
    for (const [i, way] of ways.entries()) expect(fieldsOf(await rejection(way())), `way ${i}`).to.deep.equal(['colour'])
    expect(
      fieldsOf(thrown(() => Player.build(JSON.parse('{"nickName":"a","shirtNumber":1,"__proto__":{"position":"goal"}}') as never))),
    ).to.include('__proto__')
    for (const name of ['constructor', 'toString', 'save', '$query', 'hasOwnProperty', 'isNew'])
      expect(fieldsOf(await rejection((async () => Player.createFrom(player({ nickName: 'b', [name]: 1 })))())), name).to.deep.equal([name])
  })

  it('of input with a method’s name leave the method unchanged', () => {
    const made = (() => {
      try {
        return Player.build({ ...player(), save: 'x', toJSON: 'y', isNew: 'z', $query: 'q' } as never)
      } catch (error) {
        return error as Error
      }
    })()
    if (made instanceof Error) expect(made).to.be.instanceOf(ValidationError)
    else
      expect([typeof made.save, typeof made.toJSON, made.isNew, typeof made.$query]).to.deep.equal([
        'function',
        'function',
        true,
        'function',
      ])
  })

  it('of a missing table show no SQL to clients', async () => {
    class Missing extends BaseModel.withColumns({ a: column.integer() }) {}
    expect(await rejection(Missing.query())).to.be.instanceOf(Error)
  })
})
