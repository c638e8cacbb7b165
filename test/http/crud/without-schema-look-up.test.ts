import { expect } from 'chai'
import type { Knex } from 'knex'
import { knexSnakeCaseMappers, Model } from 'objection'
import { Api, CrudResource, everyone, initPerms, type Perms, PermsMixin, ServiceUnavailableError } from '../../../src/index.js'
import { testHasher } from '../../../src/testing/index.js'
import { countQueries, createDatabase, eachDatabase } from '../../helpers/databases.js'
import { rejection } from '../../helpers/errors.js'
import { clientOf } from '../client.js'

class Note extends PermsMixin(Model) {
  static override tableName = 'notes'
  static override policy = { read: everyone(), create: everyone(), update: everyone() }
}

const open = { list: { public: true }, get: { public: true }, create: { public: true }, update: { public: true }, delete: false }
const options = { jwt: { secret: 'a secret of the tests, 32 bytes long' } }

const createNotes = (knex: Knex, stars: 'integer' | 'boolean') =>
  knex.schema.createTable('notes', (table) => {
    table.increments('id')
    table.string('note_text')
    table[stars]('is_pinned')
    table.string('hidden_text').defaultTo('hidden')
  })

/** The library reads a catalogue through a subquery with this name. */
const isOfCatalogue = (sql: string) => sql.includes('perms_rows')

eachDatabase('The look-up of column types', (db) => {
  let perms: Perms
  let isBroken = false
  let knex: Knex
  const errors: unknown[] = []
  const resource = () =>
    new CrudResource({ model: Note, schema: ['id', 'noteText', 'isPinned'], argSchema: ['noteText', 'isPinned'], methods: open })

  before(() => createNotes(db.knex, 'boolean'))
  beforeEach(async () => {
    errors.length = 0
    await db.knex('notes').delete()
    const mappers = knexSnakeCaseMappers()
    knex = db.connect({
      ...mappers,
      postProcessResponse: (result) => {
        if (isBroken) throw new Error('The database is not reachable.')
        return mappers.postProcessResponse(result)
      },
    })
    perms = initPerms({ knex, ...options, passwordHasher: testHasher() })
  })
  afterEach(() => perms.close())

  it('happens once for concurrent first requests', async () => {
    const ask = clientOf(new Api({ resources: [resource()] }), perms, errors)
    const { statements } = await countQueries(knex, () => perms.ready())
    const inOneLookUp = statements.filter(isOfCatalogue).length
    expect(inOneLookUp).to.be.greaterThan(0)
    await perms.close()
    perms = initPerms({ knex, ...options, passwordHasher: testHasher() })
    const again = clientOf(new Api({ resources: [resource()] }), perms, errors)
    const first = await countQueries(knex, () => Promise.all([again('GET', '/notes/'), again('GET', '/notes/1'), again('GET', '/notes/')]))
    expect(first.result.map(({ status }) => status)).to.deep.equal([200, 404, 200])
    expect(first.statements.filter(isOfCatalogue)).to.have.length(inOneLookUp)
    const later = await countQueries(knex, () => again('GET', '/notes/'))
    expect(later.statements.filter(isOfCatalogue)).to.deep.equal([])
    expect(ask).to.be.a('function')
  })

  it('gives 503 when it fails, and happens again with the next request', async () => {
    const ask = clientOf(new Api({ resources: [resource()] }), perms, errors)
    isBroken = true
    const failed = await ask('GET', '/notes/')
    expect([failed.status, failed.body.code]).to.deep.equal([503, 'unavailable'])
    expect((await ask('POST', '/notes/', null, { body: { hiddenText: 'x' } })).status).to.equal(503)
    expect((await ask('GET', '/openapi.json')).status).to.equal(503)
    expect(await rejection(perms.ready())).to.be.instanceOf(ServiceUnavailableError)
    isBroken = false
    expect((await ask('GET', '/notes/')).status).to.equal(200)
    expect((await ask('GET', '/openapi.json')).status).to.equal(200)
    await perms.ready()
  })

  it('finds the columns that knexSnakeCaseMappers() renames', async () => {
    const ask = clientOf(new Api({ resources: [resource()] }), perms, errors)
    const made = await ask('POST', '/notes/', null, { body: { noteText: 'x', isPinned: true } })
    expect(made.body, String(errors)).to.deep.equal({ id: made.body.id, noteText: 'x', isPinned: true })
    expect((await ask('GET', '/notes/?isPinned=true&sort=-noteText')).body.data).to.deep.equal([made.body])
    expect((await ask('POST', '/notes/', null, { body: { hiddenText: 'x' } })).status).to.equal(422)
    expect(JSON.stringify((await ask('GET', '/notes/')).body)).not.to.match(/hidden/)
  })

  it('happens for resources that no adapter serves yet, unless their table is in another database', async () => {
    class Elsewhere extends PermsMixin(Model) {
      static override tableName = 'elsewhere'
      static override policy = {}
    }
    new CrudResource({ model: Elsewhere, schema: ['id'] })
    const api = new Api({ resources: [resource()] })
    const { statements } = await countQueries(knex, () => perms.ready())
    expect(statements.filter(isOfCatalogue)).not.to.deep.equal([])
    const ask = clientOf(api, perms, errors)
    const { result, statements: later } = await countQueries(knex, () => ask('GET', '/notes/'))
    expect(result.status).to.equal(200)
    expect(later.filter(isOfCatalogue)).to.deep.equal([])
  })

  it('happens for each runtime, whose tables may have other types', async () => {
    const other = await createDatabase(db.name)
    await createNotes(other.knex, 'integer')
    const second = initPerms({ knex: other.connect(knexSnakeCaseMappers()), ...options, name: 'other', passwordHasher: testHasher() })
    const api = new Api({ resources: [resource()] })
    const [here, there] = [clientOf(api, perms, errors), clientOf(api, second, errors)]
    expect((await here('POST', '/notes/', null, { body: { isPinned: true } })).body.isPinned).to.equal(true)
    expect((await there('POST', '/notes/', null, { body: { isPinned: 3 } })).body.isPinned).to.equal(3)
    expect((await here('POST', '/notes/', null, { body: { isPinned: 3 } })).status).to.equal(422)
    expect((await there('GET', '/notes/?isPinned__gt=2')).body.data).to.have.length(1)
    expect((await here('GET', '/notes/?isPinned__gt=2')).status).to.equal(422)
    await second.close()
    await other.destroy()
  })
})
