import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import type { Endpoint } from '../../../src/http/core/endpoint.js'
import { crudMethods } from '../../../src/http/crud/crud-options.js'
import { Api } from '../../../src/http/serve/api.js'
import type { UserResourceOptions } from '../../../src/http/users/user-options.js'
import { UserResource } from '../../../src/http/users/user-resource.js'
import { asSystem } from '../../../src/policy/context.js'
import { signInAs } from '../../../src/testing/index.js'
import { runAs } from '../../../src/users/caller/actor.js'
import { Domain } from '../../../src/users/domain.js'
import { Role } from '../../../src/users/roles/roles.js'
import { allFeatures, type FullZoo } from '../../conformance/full-zoo.js'
import { password } from '../../conformance/zoo.js'
import { clientOf, type Reply } from '../client.js'
import { openPeople, Person } from '../people.js'

type Body = 'create' | 'update' | 'fixed' | 'none'
type Access = 'list' | 'get' | 'create' | 'update' | 'delete' | 'feature'
type Shown = 'user' | 'no user'

/**
 * Which options of the resource govern each endpoint.
 *
 * Body: whose argSchema and hooks it passes, or `fixed` for a body of its own that sets only what the endpoint is named after.
 * Access: the method whose `false`, skipMethods, adminOnly and role it obeys, or `feature` where features alone switch it.
 * Shown: whether the response holds columns of a user, which `schema` and shape() then narrow.
 */
const table: Readonly<Record<string, readonly [Body, Access, Shown]>> = {
  'GET ': ['none', 'list', 'user'],
  'GET :id': ['none', 'get', 'user'],
  'POST ': ['create', 'create', 'user'],
  'PATCH :id': ['update', 'update', 'user'],
  'DELETE :id': ['none', 'delete', 'no user'],
  'GET me': ['none', 'feature', 'user'],
  'PATCH me': ['update', 'update', 'user'],
  'GET me/permissions': ['none', 'feature', 'no user'],
  'POST login': ['fixed', 'feature', 'no user'],
  'POST refresh': ['fixed', 'feature', 'no user'],
  'POST logout': ['none', 'feature', 'no user'],
  'GET sessions': ['none', 'feature', 'no user'],
  'DELETE sessions/:sessionId': ['none', 'feature', 'no user'],
  'DELETE sessions': ['none', 'feature', 'no user'],
  'POST api-keys': ['fixed', 'feature', 'no user'],
  'GET api-keys': ['none', 'feature', 'no user'],
  'DELETE api-keys/:keyId': ['none', 'feature', 'no user'],
  'POST verify-email/request': ['fixed', 'feature', 'no user'],
  'POST verify-email': ['fixed', 'feature', 'no user'],
  'POST reset-password/request': ['fixed', 'feature', 'no user'],
  'POST reset-password': ['fixed', 'feature', 'no user'],
  'POST me/email': ['fixed', 'feature', 'no user'],
  'POST change-email': ['fixed', 'feature', 'no user'],
  'POST magic-link/request': ['fixed', 'feature', 'no user'],
  'POST magic-link': ['fixed', 'feature', 'no user'],
  'POST codes/request': ['fixed', 'feature', 'no user'],
  'POST codes': ['fixed', 'feature', 'no user'],
  'POST second-factor': ['fixed', 'feature', 'no user'],
  'POST second-factor/options': ['fixed', 'feature', 'no user'],
  'POST passkeys/options': ['none', 'feature', 'no user'],
  'POST passkeys': ['fixed', 'feature', 'no user'],
  'GET me/passkeys': ['none', 'feature', 'no user'],
  'POST me/passkeys/options': ['none', 'feature', 'no user'],
  'POST me/passkeys': ['fixed', 'feature', 'no user'],
  'PATCH me/passkeys/:passkeyId': ['fixed', 'feature', 'no user'],
  'DELETE me/passkeys/:passkeyId': ['none', 'feature', 'no user'],
  'POST me/confirm/options': ['none', 'feature', 'no user'],
  'GET me/second-factor': ['none', 'feature', 'no user'],
  'POST me/second-factor': ['fixed', 'feature', 'no user'],
  'POST me/second-factor/confirm': ['fixed', 'feature', 'no user'],
  'POST me/second-factor/remove': ['fixed', 'feature', 'no user'],
  'POST me/second-factor/recovery-codes': ['fixed', 'feature', 'no user'],
  'GET me/devices': ['none', 'feature', 'no user'],
  'DELETE me/devices/:deviceId': ['none', 'feature', 'no user'],
  'DELETE me/devices': ['none', 'feature', 'no user'],
  'GET providers': ['none', 'feature', 'no user'],
  'POST providers/:provider/start': ['fixed', 'feature', 'no user'],
  // Signing up passes the checks of create: see providers.test.ts.
  'GET providers/:provider/callback': ['none', 'feature', 'no user'],
  'POST providers/:provider/callback': ['none', 'feature', 'no user'],
  'POST providers/exchange': ['fixed', 'feature', 'no user'],
  'GET me/identities': ['none', 'feature', 'no user'],
  'POST me/identities': ['fixed', 'feature', 'no user'],
  'DELETE me/identities/:identityId': ['none', 'feature', 'no user'],
  'GET me/export': ['none', 'feature', 'no user'],
  'POST me/deletion': ['fixed', 'feature', 'no user'],
  'DELETE me/deletion': ['none', 'feature', 'no user'],
  'POST me/confirm': ['fixed', 'feature', 'no user'],
  'POST me/confirm/code': ['none', 'feature', 'no user'],
  'POST invitations': ['fixed', 'feature', 'no user'],
  'GET invitations': ['none', 'feature', 'no user'],
  'DELETE invitations/:invitationId': ['none', 'feature', 'no user'],
  'POST invitations/accept': ['fixed', 'feature', 'no user'],
  'POST invitations/register': ['create', 'create', 'user'],
  'GET domains/:domainId/members': ['none', 'feature', 'user'],
  'PATCH domains/:domainId/members/:grantId': ['fixed', 'feature', 'user'],
  'DELETE domains/:domainId/members/:grantId': ['none', 'feature', 'no user'],
  'POST impersonation': ['fixed', 'feature', 'no user'],
  'DELETE impersonation': ['none', 'feature', 'no user'],
}

/** Where each option of a CrudResource is tested for the endpoints of users; those of one method only go through that method's tests. */
const options: Readonly<
  Record<
    string,
    'this table' | 'resources.test.ts' | 'list.test.ts' | 'shown-columns.test.ts' | 'deleted-users.test.ts' | 'shared-users.test.ts'
  >
> = {
  model: 'resources.test.ts',
  path: 'resources.test.ts',
  name: 'resources.test.ts',
  methods: 'this table',
  skipMethods: 'this table',
  schema: 'this table',
  argSchema: 'this table',
  hooks: 'this table',
  parent: 'this table',
  id: 'resources.test.ts',
  pageSize: 'list.test.ts',
  maxPageSize: 'list.test.ts',
  include: 'shown-columns.test.ts',
  deleted: 'deleted-users.test.ts',
  shares: 'shared-users.test.ts',
}

const keyOf = ({ options: { method, path } }: Endpoint) => `${method} ${path}`

describe('The options of a user resource', function () {
  this.timeout(60_000)
  let zoo: FullZoo
  before(async () => {
    zoo = await openPeople('better-sqlite3')
  })
  after(() => zoo.close())

  const resourceWith = (more: UserResourceOptions): UserResource => {
    const resource = new UserResource({ features: allFeatures, ...more })
    resource.bind(zoo.perms)
    return resource
  }
  const endpointsWith = (more: UserResourceOptions) =>
    new Map(
      resourceWith(more)
        .endpoints()
        .map((endpoint) => [keyOf(endpoint), endpoint]),
    )
  const keysWhere = (is: (row: readonly [Body, Access, Shown]) => boolean) =>
    Object.entries(table).flatMap(([key, row]) => (is(row) ? [key] : []))

  it('are listed here for every endpoint, and for no other', () => {
    expect([...endpointsWith({}).keys()]).to.have.members(Object.keys(table))
  })

  it('include every option of a CrudResource', () => {
    const source = readFileSync(fileURLToPath(new URL('../../../src/http/crud/crud-options.ts', import.meta.url)), 'utf8')
    const [, body = ''] = /^export interface CrudResourceOptions.*?\{\n([\s\S]*?)^\}/m.exec(source) ?? []
    expect([...body.matchAll(/^ {2}(\w+)\??: /gm)].map(([, name]) => name)).to.have.members(Object.keys(options))
  })

  for (const method of crudMethods) {
    it(`disable only the endpoints of ${method} if it is off [promise 64]`, () => {
      const governed = keysWhere(([, access]) => access === method)
      const others = Object.keys(table).filter((key) => !governed.includes(key))
      for (const off of [{ methods: { [method]: false } }, { skipMethods: [method] }] as UserResourceOptions[])
        expect([...endpointsWith(off).keys()]).to.have.members(others)
    })

    it(`refuse callers without the role that ${method} requires [promise 64]`, async () => {
      const { accessToken } = await signInAs({ email: 'bob@example.com' })
      for (const only of [{ adminOnly: true }, { role: 'editor' }]) {
        const ask = clientOf(new Api({ resources: [new UserResource({ features: allFeatures, methods: { [method]: only } })] }), zoo.perms)
        for (const key of keysWhere(([, access]) => access === method)) {
          const [verb = '', path = ''] = key.split(' ')
          const target = `/users/${path.replace(':id', zoo.ids.bob)}`
          const { status } = await ask(verb, target, accessToken, verb === 'POST' || verb === 'PATCH' ? { body: {} } : {})
          expect(status, key).to.equal(403)
        }
      }
    })
  }

  it('restrict only the bodies that an argSchema applies to [promise 64]', () => {
    const usual = endpointsWith({})
    const narrow = endpointsWith({ argSchema: ['email', 'nickname'] })
    for (const [key, [body]] of Object.entries(table)) {
      const input = narrow.get(key)?.options.description?.input as { properties: object } | undefined
      if (body === 'create' || body === 'update') {
        const names = Object.keys(input?.properties ?? {}).filter((name) => name !== 'token')
        expect(names, key).to.have.members(key === 'POST invitations/register' ? ['nickname'] : ['email', 'nickname'])
      } else expect(input, key).to.deep.equal(usual.get(key)?.options.description?.input)
    }
  })

  it('add no user columns to the schema of a response without users [promise 65]', () => {
    const columns = Object.keys(Person.columnSpecs).filter((name) => !['id', 'createdAt', 'updatedAt'].includes(name))
    for (const [key, endpoint] of endpointsWith({})) {
      if (table[key]?.[2] === 'user') continue
      const { properties = {} } = (endpoint.options.description?.output ?? {}) as { properties?: object }
      // An invitation has the address that it was sent to.
      expect(
        Object.keys(properties).filter((name) => columns.includes(name) && !(key === 'POST invitations' && name === 'email')),
        key,
      ).to.deep.equal([])
    }
  })

  it('restrict every response with a user to the schema and shape() [promise 65]', async () => {
    class Shouting extends UserResource {
      protected override shape(row: never, method: never): Record<string, unknown> {
        const shown = super.shape(row, method)
        return 'nickname' in shown ? { ...shown, nickname: 'SHAPED' } : shown
      }
    }
    const { user, accessToken } = await signInAs({ email: 'admin@example.com' }, { role: Role.ADMIN })
    const mail = 'secret-address@example.com'
    await asSystem(async () => {
      await Domain.create({ name: 'press' })
      const seen = await Person.create({ email: mail, password, nickname: 'plain', pin: 'secret-pin', plan: 'secret-plan' })
      await seen.grantRole('reader', { domain: 'press' })
    })
    const own = await signInAs({ email: mail })
    const invite = async () => {
      await runAs(user, () =>
        zoo.perms.auth.invitations.invite({ email: `secret-${Date.now()}@example.com`, role: 'reader', domain: 'press' }),
      )
      await zoo.perms.auth.settled()
      return zoo.mailer.tokenFrom(zoo.mailer.last('invitation'))
    }
    const { id: domain } = await asSystem(() => Domain.getByOr404({ name: 'press' }))
    const send = async (resource: UserResource): Promise<Record<string, Reply>> => {
      const ask = clientOf(new Api({ resources: [resource] }), zoo.perms)
      const members = `/users/domains/${domain}/members`
      const list = await ask('GET', members, accessToken)
      const { grantId } = list.body.data[0]
      const values = { password, nickname: 'plain', pin: 'secret-pin', plan: 'secret-plan' }
      return {
        'GET ': await ask('GET', '/users', own.accessToken),
        'GET :id': await ask('GET', `/users/${own.user.id}`, own.accessToken),
        'POST ': await ask('POST', '/users', accessToken, { body: { ...values, email: `secret-new-${Date.now()}@example.com` } }),
        'PATCH :id': await ask('PATCH', `/users/${own.user.id}`, own.accessToken, { body: { pin: 'secret-pin' } }),
        'GET me': await ask('GET', '/users/me', own.accessToken),
        'PATCH me': await ask('PATCH', '/users/me', own.accessToken, { body: { pin: 'secret-pin' } }),
        'POST invitations/register': await ask('POST', '/users/invitations/register', null, { body: { token: await invite(), ...values } }),
        'GET domains/:domainId/members': list,
        'PATCH domains/:domainId/members/:grantId': await ask('PATCH', `${members}/${grantId}`, accessToken, {
          body: { role: `r${Date.now()}` },
        }),
      }
    }
    const features = allFeatures
    const whole = await send(new UserResource({ features }))
    expect(Object.keys(whole)).to.have.members(keysWhere(([, , shown]) => shown === 'user'))
    for (const [key, { status, body }] of Object.entries(whole)) {
      expect(status, key).to.be.below(300)
      expect(JSON.stringify(body), key).to.contain('secret-')
    }
    const narrow = await send(new Shouting({ features, schema: ['id', 'nickname'] }))
    for (const [key, { status, body }] of Object.entries(narrow)) {
      expect(status, key).to.be.below(300)
      expect(JSON.stringify(body), key).not.to.contain('secret-')
      expect(JSON.stringify(body), key).not.to.contain('plain')
    }
  })

  it('restrict PATCH me/ to users below the parent in the path [promise 64]', async () => {
    const parent = { model: Person as never, param: 'owner', field: 'id', path: 'owners' }
    const ask = clientOf(new Api({ resources: [new UserResource({ parent })] }), zoo.perms)
    const patch = (owner: string) => ask('PATCH', `/owners/${owner}/users/me`, zoo.tokens.ada, { body: { nickname: 'below' } })
    expect((await patch(zoo.ids.ada)).status).to.equal(200)
    expect((await patch(zoo.ids.bob)).status).to.equal(403)
    expect((await patch('nobody')).status).to.equal(404)
  })
})
