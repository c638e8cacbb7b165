import { expect } from 'chai'
import {
  Api,
  allowed,
  anyOf,
  before as asBefore,
  asSystem,
  authenticated,
  BasePermsModel,
  belongsTo,
  CrudResource,
  colleague,
  column,
  createTables,
  Domain,
  HasDomainMixin,
  HasUserMixin,
  member,
  owner,
  related,
  role,
  self,
  User,
  where,
} from '../../../src/index.js'
import { signInAs } from '../../../src/testing/index.js'
import { openZoo, type Zoo } from '../../conformance/zoo.js'
import { availableDatabases } from '../../helpers/databases.js'
import { type Client, clientOf } from '../client.js'

class Colleague extends User {
  static override tableName = 'user'
  static override policy = { read: anyOf(self(), colleague()), update: self() }
}

class Case extends HasUserMixin(BasePermsModel).withColumns({
  title: column.string({ maxLength: 50 }),
  status: column.enum(['open', 'closed']).default('open'),
  assigneeId: column.uuid().references('user.id').nullable(),
}) {
  static override policy = {
    read: authenticated(),
    create: { own: authenticated(), others: role('agent') },
    update: { from: authenticated(), to: anyOf(where({ status: 'open' }), asBefore(owner('assigneeId'))) },
  }
}

class Letter extends HasDomainMixin(HasUserMixin(BasePermsModel)).withColumns({ title: column.string({ maxLength: 50 }) }) {
  static override policy = { read: anyOf(member(), owner()), create: member(), update: owner() }
}

class Answer extends BasePermsModel.withColumns({
  text: column.string({ maxLength: 50 }),
  letterId: column.uuid().references('letter.id', { onDelete: 'cascade' }),
}) {
  static override relationMappings = { letter: belongsTo(() => Letter, 'letterId') }
  static override policy = { read: related('letter', allowed('read')), create: related('letter', allowed('update')) }
}

for (const name of availableDatabases) {
  describe(`Rules over HTTP (${name})`, function () {
    this.timeout(30_000)
    let zoo: Zoo
    let ask: Client
    let press: Domain
    type Person = Awaited<ReturnType<typeof signInAs>>
    let ada: Person
    let bob: Person
    let agent: Person
    let stranger: Person

    before(async () => {
      zoo = await openZoo(name, { user: Colleague as never })
      await createTables(zoo.perms.knex, [Case, Letter, Answer])
      press = await asSystem(() => Domain.create({ name: 'press' }))
      ada = await signInAs({}, { role: 'author', domain: press.id })
      bob = await signInAs({}, { role: 'author', domain: press.id })
      agent = await signInAs({}, { role: 'agent' })
      stranger = await signInAs({})
      const resources = [
        new CrudResource({ model: Case }),
        new CrudResource({ model: Letter }),
        new CrudResource({ model: Answer }),
        new CrudResource({ model: Colleague, path: 'people', schema: ['id', 'email'] }),
      ]
      ask = clientOf(new Api({ resources }), zoo.perms)
    })
    after(() => zoo.close())

    const made = (values: object) => asSystem(() => Case.create({ title: 't', userId: ada.user.id, ...values } as never))
    const patch = async (id: string, who: Person, body: object) => (await ask('PATCH', `/cases/${id}`, who.accessToken, { body })).status

    it('judges before() by the row as it was, also if one request changes both columns [promise 193]', async () => {
      const { id } = await made({ assigneeId: ada.user.id })
      expect(await patch(id, bob, { assigneeId: bob.user.id, status: 'closed' })).to.equal(403)
      expect((await ask('GET', `/cases/${id}`, bob.accessToken)).body).to.include({ status: 'open', assigneeId: ada.user.id })
      expect(await patch(id, bob, { title: 'changed' })).to.equal(200)
      expect(await patch(id, ada, { assigneeId: bob.user.id, status: 'closed' })).to.equal(200)
      expect(await patch(id, ada, { title: 'late' })).to.equal(403)
      expect(await patch(id, bob, { title: 'mine now' })).to.equal(200)
    })

    it('creates for others only under the rule others, and for users whom the caller may read [promise 194]', async () => {
      const create = async (who: Person, body: object) => (await ask('POST', '/cases', who.accessToken, { body })).status
      expect(await create(ada, { title: 'own' })).to.equal(201)
      expect(await create(ada, { title: 'own', userId: ada.user.id })).to.equal(201)
      expect(await create(ada, { title: 'for bob', userId: bob.user.id })).to.equal(403)
      // The agent reads neither of them.
      const unknown = '019aca54-0000-7000-8000-000000000000'
      expect(await create(agent, { title: 'for bob', userId: bob.user.id })).to.equal(await create(agent, { title: 'x', userId: unknown }))
      await asSystem(() => agent.user.grantRole('author', { domain: press.id }))
      expect(await create(agent, { title: 'for bob', userId: bob.user.id })).to.equal(201)
      await asSystem(() => agent.user.revokeRole('author', { domain: press.id }))
    })

    it('shows colleagues to each other; others look like missing users [promise 195]', async () => {
      const ids = (await ask('GET', '/people?pageSize=100', ada.accessToken)).body.data.map((one: { id: string }) => one.id)
      expect(ids).to.have.members([ada.user.id, bob.user.id])
      expect((await ask('GET', `/people/${bob.user.id}`, ada.accessToken)).status).to.equal(200)
      const [hidden, missing] = [
        await ask('GET', `/people/${stranger.user.id}`, ada.accessToken),
        await ask('GET', '/people/019aca54-0000-7000-8000-000000000000', ada.accessToken),
      ]
      expect([hidden.status, hidden.body]).to.deep.equal([404, missing.body])
      const { id } = await made({})
      expect(await patch(id, ada, { assigneeId: bob.user.id })).to.equal(200)
      expect(await patch(id, ada, { assigneeId: stranger.user.id })).to.equal(422)
      expect((await ask('GET', `/people?id=${stranger.user.id}`, ada.accessToken)).body.data).to.deep.equal([])
    })

    it("shows rows of a domain to its members, and rows below them by the other model's policy [promise 192]", async () => {
      const letter = await ask('POST', '/letters', ada.accessToken, { body: { title: 'dear' } })
      expect(letter.status, JSON.stringify(letter.body)).to.equal(201)
      expect((await ask('POST', '/letters', stranger.accessToken, { body: { title: 'no' } })).status).to.equal(403)
      const answer = await ask('POST', '/answers', ada.accessToken, { body: { text: 'yes', letterId: letter.body.id } })
      expect(answer.status).to.equal(201)
      expect((await ask('POST', '/answers', bob.accessToken, { body: { text: 'no', letterId: letter.body.id } })).status).to.equal(403)
      for (const path of [`/letters/${letter.body.id}`, `/answers/${answer.body.id}`]) {
        expect((await ask('GET', path, bob.accessToken)).status).to.equal(200)
        expect((await ask('GET', path, stranger.accessToken)).status).to.equal(404)
      }
      for (const path of ['/letters', '/answers']) {
        expect((await ask('GET', path, bob.accessToken)).body.pagination.total).to.equal(1)
        expect((await ask('GET', path, stranger.accessToken)).body.pagination.total).to.equal(0)
      }
    })
  })
}
