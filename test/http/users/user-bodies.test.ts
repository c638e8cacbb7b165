import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import { ConfigurationError, ForbiddenError } from '../../../src/core/errors.js'
import type { Endpoint } from '../../../src/http/core/endpoint.js'
import type { HookContext } from '../../../src/http/crud/crud-options.js'
import { Api } from '../../../src/http/serve/api.js'
import type { UserResourceOptions } from '../../../src/http/users/user-options.js'
import { UserResource } from '../../../src/http/users/user-resource.js'
import { asSystem, currentActor } from '../../../src/policy/context.js'
import { signInAs } from '../../../src/testing/index.js'
import { runAs } from '../../../src/users/caller/actor.js'
import { Domain } from '../../../src/users/domain.js'
import { Role } from '../../../src/users/roles/roles.js'
import type { FullZoo } from '../../conformance/full-zoo.js'
import { password } from '../../conformance/zoo.js'
import { availableDatabases, countQueries } from '../../helpers/databases.js'
import { type Client, clientOf, type Reply } from '../client.js'
import { OpenPerson, openPeople, Person, servePeople } from '../people.js'

const accepted = ['email', 'password', 'oldPassword', 'nickname']

for (const database of availableDatabases) {
  describe(`Endpoints that create or change a user (${database})`, function () {
    this.timeout(30_000)
    let zoo: FullZoo
    before(async () => {
      zoo = await openPeople(database)
      await asSystem(() => Domain.create({ name: 'press' }))
    })
    after(() => zoo.close())

    const newEmail = () => `${randomBytes(6).toString('hex')}@example.com`
    const findPerson = (email: string) => asSystem(() => Person.getBy({ email }))
    const errorFields = ({ body }: Reply) => body.errors.map(({ field }: { field: string }) => field)
    const invite = async (email: string): Promise<string> => {
      const { user } = await signInAs({ email: 'admin@example.com' }, { role: Role.ADMIN })
      await runAs(user, () => zoo.perms.auth.invitations.invite({ email, role: 'reader', domain: 'press' }))
      await zoo.perms.auth.settled()
      return zoo.mailer.tokenFrom(zoo.mailer.last(email))
    }

    // Each way of making a user, as a request that sends these values.
    const creations: Record<
      string,
      { options: UserResourceOptions; send: (ask: Client, email: string, values: object) => Promise<Reply> }
    > = {
      'POST users': {
        options: { model: OpenPerson as never },
        send: (ask, email, values) => ask('POST', '/users', null, { body: { email, password, ...values } }),
      },
      'a private registration': {
        options: { model: OpenPerson as never, features: { privateRegistration: true } },
        send: async (ask, email, values) => {
          const answer = await ask('POST', '/users', null, { body: { email, password, ...values } })
          await zoo.perms.auth.settled()
          return answer
        },
      },
      'invitations/register': {
        options: { model: OpenPerson as never, features: { invitations: true } },
        send: async (ask, email, values) =>
          ask('POST', '/users/invitations/register', null, { body: { token: await invite(email), password, ...values } }),
      },
    }

    for (const [name, { options, send }] of Object.entries(creations)) {
      describe(name, () => {
        it('accepts only the keys of the argSchema [promise 64]', async () => {
          const ask = servePeople(zoo, { ...options, argSchema: accepted })
          const email = newEmail()
          const refused = await send(ask, email, { plan: 'gold' })
          expect([refused.status, errorFields(refused)]).to.deep.equal([422, ['plan']])
          expect(await findPerson(email)).to.equal(null)
          expect((await send(ask, email, { nickname: 'Ada' })).status).to.be.below(300)
          expect(await findPerson(email)).to.include({ nickname: 'Ada', plan: 'free' })
        })

        it('validates the body against the JSON Schema of the argSchema [promise 64]', async () => {
          const argSchema = {
            type: 'object',
            properties: { email: { type: 'string' }, password: { type: 'string' }, nickname: { type: 'string', minLength: 3 } },
            required: ['email', 'nickname'],
            additionalProperties: false,
          }
          const ask = servePeople(zoo, { ...options, methods: { create: { argSchema } } })
          const email = newEmail()
          expect((await send(ask, email, { nickname: 'Al' })).status).to.equal(422)
          expect((await send(ask, email, {})).status).to.equal(422)
          expect(await findPerson(email)).to.equal(null)
          expect((await send(ask, email, { nickname: 'Ada' })).status).to.be.below(300)
          expect(await findPerson(email)).to.include({ nickname: 'Ada' })
        })

        it('runs beforeCreate and afterCreate as the caller, with the keys that are not columns [promise 64]', async () => {
          const seen: unknown[] = []
          const hooks = {
            beforeCreate: ({ input, args }: HookContext) => {
              seen.push(['before', args, currentActor()])
              Object.assign(input, { nickname: 'from the hook' })
            },
            afterCreate: (row: { email: string }, { args }: HookContext) => {
              seen.push(['after', row.email, args, currentActor()])
            },
          }
          const ask = servePeople(zoo, { ...options, argSchema: [...accepted, 'source'], hooks: hooks as never })
          const email = newEmail()
          expect((await send(ask, email, { source: 'poster' })).status).to.be.below(300)
          expect(seen).to.deep.equal([
            ['before', { source: 'poster' }, null],
            ['after', email, { source: 'poster' }, null],
          ])
          expect(await findPerson(email)).to.include({ nickname: 'from the hook' })
        })

        it('creates no user if a hook throws [promise 64]', async () => {
          const refuse = () => {
            throw new ForbiddenError('Not you.')
          }
          const email = newEmail()
          expect((await send(servePeople(zoo, { ...options, hooks: { beforeCreate: refuse } }), email, {})).status).to.equal(403)
          expect(await findPerson(email)).to.equal(null)
          const after = await send(servePeople(zoo, { ...options, hooks: { afterCreate: refuse } }), email, {})
          // The response to a private registration says nothing about what comes of it.
          expect(after.status).to.equal(options.features?.privateRegistration ? 202 : 403)
          expect(await findPerson(email)).to.equal(null)
        })

        it('does not exist if create is disabled, and gives 403 to anonymous callers if create needs a role [promise 64]', async () => {
          for (const off of [{ methods: { create: false } }, { skipMethods: ['create'] }, { methods: ['list'] }] as UserResourceOptions[]) {
            const email = newEmail()
            expect((await send(servePeople(zoo, { ...options, ...off }), email, {})).status).to.equal(405)
            expect(await findPerson(email)).to.equal(null)
          }
          for (const create of [{ adminOnly: true }, { role: 'editor' }]) {
            const email = newEmail()
            expect((await send(servePeople(zoo, { ...options, methods: { create } }), email, {})).status).to.be.oneOf([401, 403])
            expect(await findPerson(email)).to.equal(null)
          }
        })

        it('shows no column that the schema omits [promise 64]', async () => {
          const { body } = await send(servePeople(zoo, { ...options, schema: ['id', 'nickname'] }), newEmail(), {
            nickname: 'Ada',
            pin: '1234',
          })
          expect(Object.keys(body).filter((key) => !['id', 'nickname', 'status'].includes(key))).to.deep.equal([])
        })
      })
    }

    it('a private registration applies the policy of its model [promise 64]', async () => {
      class Closed extends OpenPerson {
        static override publicRegistration = false
      }
      const ask = servePeople(zoo, {
        model: Closed as never,
        methods: { create: { public: true } },
        features: { privateRegistration: true },
      })
      const email = newEmail()
      expect((await ask('POST', '/users', null, { body: { email, password } })).status).to.be.oneOf([401, 403])
      await zoo.perms.auth.settled()
      expect(await findPerson(email)).to.equal(null)
    })

    describe('PATCH me/', () => {
      const me = (options: UserResourceOptions, body: object, more: object = {}) =>
        servePeople(zoo, options)('PATCH', '/users/me', zoo.tokens.ada, { body, ...more })
      const ada = () => findPerson('ada@example.com')
      beforeEach(() =>
        asSystem(async () => (await Person.getByOr404({ email: 'ada@example.com' })).update({ plan: 'free', nickname: null })),
      )

      it('accepts only the keys that PATCH users/:id accepts [promise 64]', async () => {
        for (const options of [{ argSchema: accepted }, { methods: { update: { argSchema: accepted } } }] as UserResourceOptions[]) {
          const refused = await me(options, { plan: 'gold' })
          expect([refused.status, errorFields(refused)]).to.deep.equal([422, ['plan']])
          expect((await me(options, { nickname: 'Ada' })).status).to.equal(200)
        }
        expect(await ada()).to.include({ plan: 'free', nickname: 'Ada' })
      })

      it('accepts only keys that me.argSchema and the argSchema of update both allow [promise 64]', async () => {
        const argSchema = {
          type: 'object',
          properties: { nickname: { type: 'string', minLength: 3 }, pin: {} },
          additionalProperties: false,
        }
        const options = { methods: { update: { argSchema } }, me: { argSchema: ['nickname'] } }
        expect((await me(options, { pin: '1' })).status).to.equal(422)
        expect((await me(options, { nickname: 'Al' })).status).to.equal(422)
        expect((await me(options, { nickname: 'Ada' })).status).to.equal(200)
        expect((await me({ me: { argSchema: ['nickname'] } }, { plan: 'gold' })).status).to.equal(422)
        expect(await ada()).to.include({ plan: 'free', nickname: 'Ada', pin: null })
      })

      it('does not exist if update is disabled [promise 64]', async () => {
        for (const off of [
          { methods: { update: false } },
          { skipMethods: ['update'] },
          { methods: ['get', 'list'] },
        ] as UserResourceOptions[]) {
          const { status, headers } = await me(off, { nickname: 'Ada' })
          expect([status, headers['allow']]).to.deep.equal([405, 'GET, HEAD'])
        }
        expect(await ada()).to.include({ nickname: null })
      })

      it('requires the role that update requires [promise 64]', async () => {
        for (const update of [{ adminOnly: true }, { role: 'editor' }])
          expect((await me({ methods: { update } }, { nickname: 'Ada' })).status).to.equal(403)
        expect(await ada()).to.include({ nickname: null })
        const ask = servePeople(zoo, { methods: { update: { adminOnly: true } } })
        expect((await ask('PATCH', '/users/me', zoo.tokens.admin, { body: { nickname: 'Chief' } })).body).to.include({ nickname: 'Chief' })
        expect((await ask('PATCH', '/users/me', null, { body: {} })).status).to.equal(401)
      })

      it('refuses anonymous callers even if update is public [promise 64]', async () => {
        const ask = servePeople(zoo, { methods: { update: { public: true } } })
        expect((await ask('PATCH', '/users/me', null, { body: { nickname: 'x' } })).status).to.equal(401)
      })

      it('runs the hooks of update in its transaction [promise 64]', async () => {
        const seen: unknown[] = []
        const hooks = {
          beforeUpdate: (row: { id: string }, { input, args }: HookContext) => {
            seen.push(['before', row.id, { ...input }, args])
            input['nickname'] = `${input['nickname']}!`
          },
          afterUpdate: (row: { nickname: string }) => {
            seen.push(['after', row.nickname])
            if (row.nickname === 'Eve!') throw new ForbiddenError('Not this name.')
          },
        }
        const options = { argSchema: ['nickname', 'reason'], hooks: hooks as never }
        expect((await me(options, { nickname: 'Ada', reason: 'wedding' })).body).to.include({ nickname: 'Ada!' })
        expect(seen).to.deep.equal([
          ['before', zoo.ids.ada, { nickname: 'Ada' }, { reason: 'wedding' }],
          ['after', 'Ada!'],
        ])
        expect((await me(options, { nickname: 'Eve' })).status).to.equal(403)
        expect(await ada()).to.include({ nickname: 'Ada!' })
      })

      it('uses the endpoint that a subclass overrides for PATCH users/:id [promise 64]', async () => {
        class Careful extends UserResource {
          override updateEndpoint(): Endpoint {
            const endpoint = super.updateEndpoint()
            return endpoint.with({
              handler: (context) => {
                if ((context.input as { nickname?: string }).nickname === 'root') throw new ForbiddenError('Not this name.')
                return endpoint.options.handler(context)
              },
            })
          }
        }
        const ask = clientOf(new Api({ resources: [new Careful()] }), zoo.perms)
        for (const path of ['/users/me', `/users/${zoo.ids.ada}`])
          expect((await ask('PATCH', path, zoo.tokens.ada, { body: { nickname: 'root' } })).status, path).to.equal(403)
        expect((await ask('PATCH', '/users/me', zoo.tokens.ada, { body: { nickname: 'Ada' } })).status).to.equal(200)
      })

      it('shows the columns of the schema, and the roles [promise 64]', async () => {
        const shown = async (options: UserResourceOptions) => Object.keys((await me(options, { nickname: 'Ada' })).body)
        expect(await shown({ schema: ['id', 'nickname'] })).to.have.members(['id', 'nickname', 'roles'])
        expect(await shown({ methods: { update: { schema: ['nickname'] } } })).to.have.members(['nickname', 'roles'])
        expect(await shown({ me: { schema: ['nickname', 'plan'] } })).to.have.members(['nickname', 'plan', 'roles'])
      })

      it('refuses a lost update, like PATCH users/:id', async () => {
        const { etag } = (await servePeople(zoo, {})('GET', `/users/${zoo.ids.ada}`, zoo.tokens.ada)).headers
        const headers = { headers: { 'if-match': etag } }
        const first = await me({}, { nickname: 'one' }, headers)
        expect(first.status).to.equal(200)
        expect((await me({}, { nickname: 'two' }, headers)).status).to.equal(412)
        expect((await me({}, { nickname: 'two' }, { headers: { 'if-match': first.headers['etag'] } })).status).to.equal(200)
      })

      it('runs as many statements as PATCH users/:id', async () => {
        const ask = servePeople(zoo, {})
        const count = async (path: string, nickname: string) =>
          (await countQueries(zoo.perms.knex, () => ask('PATCH', path, zoo.tokens.ada, { body: { nickname } }))).statements.length
        expect(await count('/users/me', 'one')).to.equal(await count(`/users/${zoo.ids.ada}`, 'two'))
      })
    })

    it('GET me/ shows the columns that list and get show to the caller [promise 65]', async () => {
      const shown = async (options: UserResourceOptions, token = zoo.tokens.ada) =>
        Object.keys((await servePeople(zoo, options)('GET', '/users/me', token)).body).filter((name) => name !== 'roles')
      expect(await shown({ schema: ['id', 'nickname'] })).to.have.members(['id', 'nickname'])
      expect(await shown({ methods: { get: { schema: ['plan'] }, list: { schema: ['id'] } } })).to.have.members(['id', 'plan'])
      const forAdmins: UserResourceOptions = { methods: { get: { adminOnly: true }, list: { schema: ['id', 'nickname'] } } }
      expect(await shown(forAdmins)).to.have.members(['id', 'nickname'])
      expect(await shown(forAdmins, zoo.tokens.admin)).to.include.members(['email', 'pin'])
      expect(await shown({ ...forAdmins, me: { schema: ['email'] } })).to.have.members(['email'])
    })
  })
}

describe('the me option', () => {
  const refusals: Record<string, [UserResourceOptions, RegExp]> = {
    'a key that update does not take': [{ argSchema: ['nickname'], me: { argSchema: ['plan'] } }, /me\.argSchema names 'plan'/],
    'a key that the JSON Schema of update does not have': [
      { methods: { update: { argSchema: { properties: { nickname: {} } } } }, me: { argSchema: { properties: { plan: {} } } } },
      /me\.argSchema names 'plan'/,
    ],
    'a column that the resource does not show': [{ schema: ['id'], me: { schema: ['id', 'pin'] } }, /me\.schema names 'pin'/],
    'a column that neither list nor get shows': [
      { methods: { list: { schema: ['id'] }, get: { schema: ['nickname'] } }, me: { schema: ['pin'] } },
      /me\.schema names 'pin'/,
    ],
    'an argSchema where update is off': [{ skipMethods: ['update'], me: { argSchema: ['nickname'] } }, /update is disabled/],
  }
  for (const [title, [options, message]] of Object.entries(refusals)) {
    it(`refuses ${title} [promise 64]`, () => {
      expect(() => new UserResource(options)).to.throw(ConfigurationError, message)
    })
  }

  it('refuses a hidden column and an unknown key when the API is mounted [promise 64]', async () => {
    const zoo = await openPeople('better-sqlite3')
    try {
      for (const me of [{ schema: ['passwordHash'] }, { argSchema: ['passwordHash'] }, { argSchema: ['nope'] }])
        expect(() => servePeople(zoo, { me })).to.throw(ConfigurationError, /me\.\w+ names '(passwordHash|nope)'/)
    } finally {
      await zoo.close()
    }
  })

  it('accepts a column that either list or get shows', () => {
    expect(
      new UserResource({ methods: { list: { schema: ['id'] }, get: { schema: ['pin'] } }, me: { schema: ['id', 'pin'] } }).path,
    ).to.equal('users')
  })
})
