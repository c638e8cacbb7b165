import { expect } from 'chai'
import { BasePermsModel } from '../../src/enforce/base-perms-model.js'
import { CrudResource } from '../../src/http/crud/crud-resource.js'
import { Api, type Route } from '../../src/http/serve/api.js'
import { UserResource } from '../../src/http/users/user-resource.js'
import { createTables } from '../../src/migrations.js'
import { HasDomainMixin } from '../../src/mixins/has-domain.js'
import { HasUserMixin } from '../../src/mixins/has-user.js'
import { ShareableMixin } from '../../src/mixins/shareable.js'
import { SoftDeleteMixin } from '../../src/mixins/soft-delete.js'
import { asSystem } from '../../src/policy/context.js'
import { authenticated, owner } from '../../src/policy/rules.js'
import { column } from '../../src/schema/column.js'
import { createUser, type SignedInAs, signInAs } from '../../src/testing/index.js'
import { runAs } from '../../src/users/caller/actor.js'
import { Domain } from '../../src/users/domain.js'
import { Identity } from '../../src/users/identity.js'
import { Invitation } from '../../src/users/invitation.js'
import { Role } from '../../src/users/roles/roles.js'
import { Token } from '../../src/users/token.js'
import { TrustedDevice } from '../../src/users/trusted-device.js'
import type { User } from '../../src/users/user.js'
import { UserRole } from '../../src/users/user-role.js'
import { addFactor, challengeOf } from '../auth/flows/second-factor/factor.js'
import { allFeatures, type FullZoo, Keeper, openFullZoo } from '../conformance/full-zoo.js'
import { Critter, critterResource, password, UserDocument } from '../conformance/zoo.js'
import { type Client, clientOf } from './client.js'

class Notice extends HasDomainMixin(HasUserMixin(BasePermsModel)).withColumns({ text: column.text() }) {
  static override policy = { read: authenticated(), create: authenticated(), update: owner(), delete: owner() }
}

class Page extends SoftDeleteMixin(HasUserMixin(BasePermsModel)).withColumns({ text: column.text() }) {
  static override policy = { read: authenticated(), create: authenticated(), update: owner(), restore: owner() }
}

class Memo extends ShareableMixin(HasUserMixin(BasePermsModel)).withColumns({ text: column.text() }) {
  static override policy = { read: authenticated(), create: authenticated(), update: owner() }
}

const actors = [
  'anonymous',
  'bad token',
  'disabled',
  'stranger',
  'owner',
  'admin of another domain',
  'admin of the domain',
  'admin',
  'superadmin',
  'API key of the owner',
  'API key of an admin',
  'half signed in',
  "superadmin in the owner's place",
] as const
type Who = (typeof actors)[number]

const grants: Readonly<Partial<Record<Who, { role: string; domain?: 'own' | 'other' }>>> = {
  'admin of another domain': { role: Role.ADMIN, domain: 'other' },
  'admin of the domain': { role: Role.ADMIN, domain: 'own' },
  admin: { role: Role.ADMIN },
  'API key of an admin': { role: Role.ADMIN },
  superadmin: { role: Role.SUPERADMIN },
}

/** The callers whom the rows belong to. */
const owners: readonly Who[] = ['owner', 'API key of the owner', "superadmin in the owner's place"]

/** The status for each caller, in the order of `actors`; the row belongs to `owners`, and to the domain `own`. */
const expected: Readonly<Record<string, readonly number[]>> = {
  'POST /users/login': [422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422],
  'POST /users/refresh': [422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422],
  'POST /users/logout': [401, 401, 401, 204, 204, 204, 204, 204, 204, 403, 403, 401, 204],
  'GET /users/me': [401, 401, 401, 200, 200, 200, 200, 200, 200, 200, 200, 401, 200],
  'PATCH /users/me': [401, 401, 401, 200, 200, 200, 200, 200, 200, 403, 200, 401, 200],
  'GET /users/me/permissions': [401, 401, 401, 200, 200, 200, 200, 200, 200, 200, 200, 401, 200],
  'GET /users/sessions': [401, 401, 401, 200, 200, 200, 200, 200, 200, 403, 403, 401, 200],
  'DELETE /users/sessions/:sessionId': [401, 401, 401, 404, 204, 404, 404, 404, 404, 403, 403, 401, 403],
  'DELETE /users/sessions': [401, 401, 401, 204, 204, 204, 204, 204, 204, 403, 403, 401, 403],
  'POST /users/api-keys': [401, 401, 401, 201, 201, 201, 201, 201, 201, 403, 403, 401, 403],
  'GET /users/api-keys': [401, 401, 401, 200, 200, 200, 200, 200, 200, 403, 403, 401, 200],
  'DELETE /users/api-keys/:keyId': [401, 401, 401, 404, 204, 404, 404, 404, 404, 403, 403, 401, 403],
  'POST /users/verify-email/request': [422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422],
  'POST /users/verify-email': [422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422],
  'POST /users/reset-password/request': [422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422],
  'POST /users/reset-password': [422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422],
  'POST /users/me/email': [401, 401, 401, 202, 202, 202, 202, 202, 202, 403, 403, 401, 403],
  'POST /users/change-email': [422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422],
  'POST /users/magic-link/request': [422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422],
  'POST /users/magic-link': [422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422],
  'POST /users/codes/request': [422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422],
  'POST /users/codes': [422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422],
  'POST /users/second-factor': [422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422],
  'POST /users/second-factor/options': [422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422],
  'POST /users/passkeys/options': [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200],
  'POST /users/passkeys': [422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422],
  'GET /users/me/passkeys': [401, 401, 401, 200, 200, 200, 200, 200, 200, 403, 403, 401, 200],
  'POST /users/me/passkeys/options': [401, 401, 401, 200, 200, 200, 200, 200, 200, 403, 403, 401, 403],
  'POST /users/me/passkeys': [401, 401, 401, 422, 422, 422, 422, 422, 422, 403, 403, 401, 403],
  'PATCH /users/me/passkeys/:passkeyId': [401, 401, 401, 404, 404, 404, 404, 404, 404, 403, 403, 401, 403],
  'DELETE /users/me/passkeys/:passkeyId': [401, 401, 401, 404, 404, 404, 404, 404, 404, 403, 403, 401, 403],
  'POST /users/me/confirm/options': [401, 401, 401, 200, 200, 200, 200, 200, 200, 403, 403, 401, 403],
  'GET /users/providers': [200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200, 200],
  'POST /users/providers/:provider/start': [422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422],
  'GET /users/providers/:provider/callback': [401, 401, 401, 401, 401, 401, 401, 401, 401, 401, 401, 401, 401],
  'POST /users/providers/:provider/callback': [415, 415, 415, 415, 415, 415, 415, 415, 415, 415, 415, 415, 415],
  'POST /users/providers/exchange': [422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422, 422],
  'GET /users/me/identities': [401, 401, 401, 200, 200, 200, 200, 200, 200, 403, 403, 401, 200],
  'POST /users/me/identities': [401, 401, 401, 200, 200, 200, 200, 200, 200, 403, 403, 401, 403],
  'DELETE /users/me/identities/:identityId': [401, 401, 401, 404, 204, 404, 404, 404, 404, 403, 403, 401, 403],
  'GET /users/me/second-factor': [401, 401, 401, 200, 200, 200, 200, 200, 200, 403, 403, 401, 200],
  'POST /users/me/second-factor': [401, 401, 401, 201, 201, 201, 201, 201, 201, 403, 403, 401, 403],
  'POST /users/me/second-factor/confirm': [401, 401, 401, 422, 422, 422, 422, 422, 422, 403, 403, 401, 403],
  'POST /users/me/second-factor/remove': [401, 401, 401, 422, 422, 422, 422, 422, 422, 403, 403, 401, 403],
  'POST /users/me/second-factor/recovery-codes': [401, 401, 401, 422, 422, 422, 422, 422, 422, 403, 403, 401, 403],
  'GET /users/me/devices': [401, 401, 401, 200, 200, 200, 200, 200, 200, 403, 403, 401, 200],
  'DELETE /users/me/devices/:deviceId': [401, 401, 401, 404, 204, 404, 404, 404, 404, 403, 403, 401, 403],
  'DELETE /users/me/devices': [401, 401, 401, 204, 204, 204, 204, 204, 204, 403, 403, 401, 403],
  'GET /users/me/export': [401, 401, 401, 200, 200, 200, 200, 200, 200, 403, 403, 401, 403],
  'POST /users/me/deletion': [401, 401, 401, 202, 202, 202, 202, 202, 202, 403, 403, 401, 403],
  'DELETE /users/me/deletion': [401, 401, 401, 404, 404, 404, 404, 404, 404, 403, 403, 401, 403],
  'POST /users/me/confirm': [401, 401, 401, 200, 200, 200, 200, 200, 200, 403, 403, 401, 403],
  'POST /users/me/confirm/code': [401, 401, 401, 202, 202, 202, 202, 202, 202, 403, 403, 401, 403],
  'POST /users/invitations': [401, 401, 401, 403, 403, 403, 201, 201, 201, 403, 403, 401, 403],
  'GET /users/invitations': [401, 401, 401, 200, 200, 200, 200, 200, 200, 403, 403, 401, 200],
  'DELETE /users/invitations/:invitationId': [401, 401, 401, 404, 204, 404, 204, 204, 204, 403, 403, 401, 403],
  'POST /users/invitations/accept': [401, 401, 401, 200, 200, 200, 200, 200, 200, 403, 403, 401, 403],
  'POST /users/invitations/register': [201, 201, 201, 201, 201, 201, 201, 201, 201, 201, 201, 201, 201],
  'GET /users/domains/:domainId/members': [401, 401, 401, 404, 404, 404, 200, 200, 200, 403, 403, 401, 404],
  'PATCH /users/domains/:domainId/members/:grantId': [401, 401, 401, 404, 404, 404, 200, 200, 200, 403, 403, 401, 403],
  'DELETE /users/domains/:domainId/members/:grantId': [401, 401, 401, 404, 404, 404, 204, 204, 204, 403, 403, 401, 403],
  'POST /users/impersonation': [401, 401, 401, 403, 403, 403, 403, 403, 201, 403, 403, 401, 403],
  'DELETE /users/impersonation': [401, 401, 401, 403, 403, 403, 403, 403, 403, 403, 403, 401, 204],
  'GET /users': [401, 401, 401, 200, 200, 200, 200, 200, 200, 403, 200, 401, 200],
  'GET /users/:id': [401, 401, 401, 404, 200, 404, 404, 200, 200, 403, 200, 401, 200],
  'POST /users': [401, 401, 401, 403, 403, 403, 403, 422, 422, 403, 422, 401, 403],
  'PATCH /users/:id': [401, 401, 401, 404, 200, 404, 404, 200, 200, 403, 200, 401, 200],
  'DELETE /users/:id': [401, 401, 401, 404, 403, 404, 404, 204, 204, 403, 204, 401, 403],
  'GET /documents': [401, 401, 401, 200, 200, 200, 200, 200, 200, 200, 200, 401, 200],
  'GET /documents/:id': [401, 401, 401, 404, 200, 404, 404, 200, 200, 200, 200, 401, 200],
  'POST /documents': [401, 401, 401, 422, 422, 422, 422, 422, 422, 422, 422, 401, 422],
  'PATCH /documents/:id': [401, 401, 401, 404, 200, 404, 404, 200, 200, 200, 200, 401, 200],
  'DELETE /documents/:id': [401, 401, 401, 404, 204, 404, 404, 204, 204, 204, 204, 401, 204],
  'GET /critters': [200, 401, 401, 200, 200, 200, 200, 200, 200, 200, 200, 401, 200],
  'GET /critters/:id': [200, 401, 401, 200, 200, 200, 200, 200, 200, 200, 200, 401, 200],
  'POST /critters': [401, 401, 401, 422, 422, 422, 422, 422, 422, 403, 422, 401, 422],
  'PATCH /critters/:id': [401, 401, 401, 403, 200, 403, 403, 200, 200, 403, 200, 401, 200],
  'DELETE /critters/:id': [401, 401, 401, 403, 403, 403, 403, 204, 204, 403, 204, 401, 403],
  'POST /critters/:id/feed': [401, 401, 401, 403, 200, 403, 403, 200, 200, 403, 200, 401, 200],
  'GET /notices': [401, 401, 401, 200, 200, 200, 200, 200, 200, 403, 200, 401, 200],
  'GET /notices/:id': [401, 401, 401, 404, 404, 404, 200, 200, 200, 403, 200, 401, 404],
  'POST /notices': [401, 401, 401, 403, 403, 422, 422, 422, 422, 403, 422, 401, 403],
  'PATCH /notices/:id': [401, 401, 401, 404, 404, 404, 200, 200, 200, 403, 200, 401, 404],
  'DELETE /notices/:id': [401, 401, 401, 404, 404, 404, 204, 204, 204, 403, 204, 401, 404],
  'GET /pages': [401, 401, 401, 200, 200, 200, 200, 200, 200, 403, 200, 401, 200],
  'GET /pages/deleted': [401, 401, 401, 200, 200, 200, 200, 200, 200, 403, 200, 401, 200],
  'POST /pages/:id/restore': [401, 401, 401, 404, 200, 404, 404, 200, 200, 403, 200, 401, 200],
  'GET /memos/:id': [401, 401, 401, 200, 200, 200, 200, 200, 200, 403, 200, 401, 200],
  'GET /memos/:id/shares': [401, 401, 401, 403, 200, 403, 403, 200, 200, 403, 200, 401, 200],
  'POST /memos/:id/shares': [401, 401, 401, 403, 201, 403, 403, 201, 201, 403, 201, 401, 403],
  'DELETE /memos/:id/shares': [401, 401, 401, 403, 422, 403, 403, 422, 422, 403, 422, 401, 403],
}

describe('The authorization table', function () {
  this.timeout(60_000)
  let zoo: FullZoo
  let ask: Client
  const api = new Api({
    resources: [
      new UserResource({ features: allFeatures }),
      new CrudResource({ model: UserDocument, path: 'documents' }),
      critterResource({ methods: { delete: { adminOnly: true }, list: { public: true }, get: { public: true } } }),
      new CrudResource({ model: Notice }),
      new CrudResource({ model: Page, methods: ['list'], deleted: true }),
      new CrudResource({ model: Memo, methods: ['get'], shares: true }),
    ],
  })
  const routes: Route[] = []
  const nameOf = ({ endpoint, path }: Route) => `${endpoint.options.method} ${path}`
  const domains = { own: '', other: '' }
  let superadmin: SignedInAs
  before(async () => {
    zoo = await openFullZoo()
    await createTables(zoo.perms.knex, [Notice, Page, Memo])
    const [domain, other] = await asSystem(
      async () => [await Domain.create({ name: 'press' }), await Domain.create({ name: 'other' })] as const,
    )
    domains.own = domain.id
    domains.other = other.id
    superadmin = await signInAs({}, { role: Role.SUPERADMIN })
    routes.push(...api.routes(zoo.perms))
    ask = clientOf(api, zoo.perms)
  })
  after(() => zoo.close())

  interface Caller {
    readonly id: string
    readonly email: string
    readonly token: string | null
  }

  /** A new user of the kind, signed in as far as the kind goes. */
  async function caller(who: Who): Promise<Caller> {
    if (who === 'anonymous') return { id: '', email: '', token: null }
    if (who === 'bad token') return { id: '', email: '', token: 'bad' }
    const { role, domain } = grants[who] ?? {}
    const { user, accessToken } = await signInAs<User>({ password }, { role, ...(domain && { domain: domains[domain] }) })
    const { id, email } = user
    const key = async (abilities: string[]) => (await asSystem(() => Token.issue(user, { kind: 'api', abilities }))).plain
    const tokenOf = async (): Promise<string> => {
      switch (who) {
        case 'API key of the owner':
          return await key(['documents:*', 'critters:read'])
        case 'API key of an admin':
          return await key(['*'])
        case 'half signed in':
          await addFactor(zoo.perms, user, password)
          return await challengeOf(zoo.perms, email, password)
        case "superadmin in the owner's place":
          return (await ask('POST', '/users/impersonation', superadmin.accessToken, { body: { userId: id } })).body.access_token
        case 'disabled':
          await asSystem(() => user.update({ isEnabled: false } as never))
      }
      return accessToken
    }
    return { id, email, token: await tokenOf() }
  }

  /** The routes that leave a caller another than they were: each has callers of its own. */
  const changing: readonly string[] = [
    'POST /users/logout',
    'DELETE /users/sessions/:sessionId',
    'DELETE /users/sessions',
    'DELETE /users/me/devices/:deviceId',
    'POST /users/me/second-factor',
    'POST /users/invitations/accept',
    'POST /users/me/deletion',
    'DELETE /users/me/identities/:identityId',
    'DELETE /users/me/deletion',
    'DELETE /users/impersonation',
    'DELETE /users/:id',
  ]
  /** The paths of POST endpoints that read no body. */
  const withoutBody = [
    '/users/logout',
    '/users/me/confirm/code',
    '/users/passkeys/options',
    '/users/me/passkeys/options',
    '/users/me/confirm/options',
  ]
  const known = new Map<Who, Caller>()
  async function callerFor(name: string, who: Who): Promise<Caller> {
    if (changing.includes(name)) return await caller(who)
    const found = known.get(who) ?? (await caller(who))
    known.set(who, found)
    return found
  }

  /** The token of an invitation to this address, by mail. */
  async function invited(email: string): Promise<string> {
    await runAs(superadmin.user, () => zoo.perms.auth.invitations.invite({ email, role: 'editor', domain: domains.own }))
    await zoo.perms.auth.settled()
    return zoo.mailer.tokenFrom(zoo.mailer.last('invitation'))
  }

  let count = 0
  function newAddress(): string {
    count += 1
    return `somebody-${count}@example.com`
  }

  /** Sound bodies, where who may send them is more than who may call. */
  const bodies: Readonly<Record<string, (caller: Caller) => object | Promise<object>>> = {
    'POST /users/api-keys': () => ({ abilities: ['*'] }),
    'POST /users/me/email': () => ({ email: newAddress(), oldPassword: password }),
    'POST /users/me/second-factor': () => ({ password }),
    'POST /users/me/second-factor/confirm': () => ({ code: '000000' }),
    'POST /users/me/second-factor/remove': () => ({ code: '000000' }),
    'POST /users/me/second-factor/recovery-codes': () => ({ code: '000000' }),
    'PATCH /users/me/passkeys/:passkeyId': () => ({ name: 'Phone' }),
    'POST /users/me/deletion': () => ({ password }),
    'POST /users/me/identities': () => ({ provider: 'query' }),
    'POST /users/me/confirm': () => ({ password }),
    'POST /users/invitations': () => ({ email: newAddress(), role: 'editor', domain: domains.own }),
    'POST /users/invitations/accept': async ({ email }) => ({ token: await invited(email || newAddress()) }),
    'POST /users/invitations/register': async () => ({ token: await invited(newAddress()), password }),
    'PATCH /users/domains/:domainId/members/:grantId': () => ({ role: 'reader' }),
    'POST /critters/:id/feed': () => ({ food: 'hay' }),
    'POST /memos/:id/shares': () => ({ role: 'editor', relation: 'viewer' }),
    'POST /users/impersonation': async () => ({ userId: (await createUser()).id }),
  }

  /** The values of path parameters: rows of this owner, or rows in the domain `own`. */
  async function rowsFor(path: string, owner: User): Promise<Record<string, string>> {
    const { auth } = zoo.perms
    const userId = owner.id
    return await asSystem(async () => {
      if (path.includes(':sessionId')) {
        await auth.createRefreshToken(owner)
        return { sessionId: (await auth.sessions(userId))[0]?.id ?? '' }
      }
      if (path.includes(':deviceId')) {
        const { id } = await TrustedDevice.create({
          userId,
          token: newAddress(),
          passwordMark: 'x',
          expiresAt: new Date(Date.now() + 60_000),
        } as never)
        return { deviceId: id }
      }
      if (path.includes(':passkeyId')) return { passkeyId: userId }
      if (path.includes(':provider')) return { provider: 'query' }
      if (path.includes(':identityId')) {
        const subject = newAddress()
        return { identityId: (await Identity.create({ userId, provider: 'query', issuer: 'https://x', subject } as never)).id }
      }
      if (path.includes(':keyId')) return { keyId: (await auth.apiKeys.issue(owner, { abilities: ['*'] })).key.id }
      if (path.includes(':invitationId')) {
        await invited(newAddress())
        const { id } = (await Invitation.query().orderBy('createdAt', 'desc').first()) as Invitation
        await zoo.perms.knex('invitation').where({ id }).update({ invited_by_id: userId })
        return { invitationId: id }
      }
      if (path.includes(':domainId')) {
        const { id } = await UserRole.create({ user: await createUser(), role: 'editor', domain: domains.own })
        return { domainId: domains.own, grantId: id }
      }
      if (path.startsWith('/users')) return { id: userId }
      if (path.startsWith('/documents')) return { id: (await UserDocument.create({ title: 't', content: 'c', userId })).id }
      if (path.startsWith('/notices')) return { id: (await Notice.create({ text: 't', userId, domainId: domains.own })).id }
      if (path.startsWith('/memos')) return { id: (await Memo.create({ text: 't', userId })).id }
      if (path.startsWith('/pages')) {
        const page = await Page.create({ text: 't', userId })
        await page.delete()
        return { id: page.id }
      }
      return { id: (await Critter.create({ name: 'n', species: 's', userId })).id }
    })
  }

  it('has a row for every route [promise 50]', () => {
    expect(routes.map(nameOf)).to.have.members(Object.keys(expected))
  })

  for (const [name, statuses] of Object.entries(expected)) {
    it(`${name} [promise 50]`, async () => {
      const [method, path] = name.split(' ') as [string, string]
      const answers: number[] = []
      for (const who of actors) {
        const asking = await callerFor(name, who)
        const owner = owners.includes(who) ? ((await asSystem(() => Keeper.get(asking.id))) as unknown as User) : await createUser()
        const rows = await rowsFor(path, owner)
        const sound = await bodies[name]?.(asking)
        const body = sound ?? (method === 'POST' ? { nope: 1 } : method === 'PATCH' ? {} : undefined)
        const target = path.replace(/:(\w+)/g, (_, parameter: string) => rows[parameter] ?? '')
        const answer = await ask(method, target, asking.token, body === undefined || withoutBody.includes(path) ? {} : { body })
        answers.push(answer.status)
      }
      expect(Object.fromEntries(actors.map((who, i) => [who, answers[i]]))).to.deep.equal(
        Object.fromEntries(actors.map((who, i) => [who, statuses[i]])),
      )
    })
  }
})
