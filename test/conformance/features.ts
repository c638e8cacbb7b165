import { asSystem, runAsActor } from '../../src/policy/context.js'
import { createUser, signInAs } from '../../src/testing/index.js'
import { runAs } from '../../src/users/actor.js'
import { Domain } from '../../src/users/domain.js'
import { Role } from '../../src/users/roles.js'
import type { User } from '../../src/users/user.js'
import { UserRole } from '../../src/users/user-role.js'
import { challengeOf, codeOf, type Factor } from '../auth/flows/factor.js'
import type { Case } from './cases.js'
import { type FullZoo, Keeper } from './full-zoo.js'
import { password } from './zoo.js'

/** A case whose request is made when it is sent, of what the zoo holds then. */
export interface FeatureCase extends Omit<Case, 'path' | 'body'> {
  readonly path: string | ((zoo: FullZoo) => Promise<string>)
  readonly body?: object | ((zoo: FullZoo) => Promise<object>)
  /** The Bearer token. */
  readonly token?: (zoo: FullZoo) => Promise<string>
}

const email = 'carol@example.com'
const moved = 'caroline@example.com'
const newPassword = 'a wholly new password'

/** What the cases leave for one another, in each zoo. */
interface Notes {
  carol: User
  superadmin: User
  factor: Factor
  /** The last of its kind. */
  token: string
  key: string
  keyId: string
  inPlace: string
  grantId: string
}
const notes = new WeakMap<object, Notes>()
const notesOf = (zoo: FullZoo) => notes.get(zoo) as Notes

/** Whom the cases speak of. */
export async function populate(zoo: FullZoo): Promise<void> {
  await asSystem(async () => {
    await Domain.create({ name: 'press' })
    const carol = await createUser({ email, password })
    const superadmin = await createUser({ email: 'root@example.com' }, { role: Role.SUPERADMIN })
    const { id } = await UserRole.create({ user: await createUser({ email: 'dan@example.com' }), role: 'editor', domain: 'press' })
    notes.set(zoo, {
      carol,
      superadmin,
      factor: { secret: '', recoveryCodes: [] },
      token: '',
      key: '',
      keyId: '',
      inPlace: '',
      grantId: id,
    })
  })
}

/** As she is now. */
const carolOf = async (zoo: FullZoo) => (await asSystem(() => Keeper.getOr404(notesOf(zoo).carol.id))) as unknown as User
const carol = async (zoo: FullZoo) => (await signInAs(await carolOf(zoo))).accessToken
const superadmin = async (zoo: FullZoo) => (await signInAs(notesOf(zoo).superadmin)).accessToken

/** The token of a mail, which is kept for the cases after. */
const mailed =
  (ask: (zoo: FullZoo) => Promise<unknown>) =>
  async (zoo: FullZoo): Promise<{ token: string }> => {
    await ask(zoo)
    await zoo.perms.auth.settled()
    notesOf(zoo).token = zoo.mailer.tokenFrom(zoo.mailer.last())
    return { token: notesOf(zoo).token }
  }
const again = async (zoo: FullZoo) => ({ token: notesOf(zoo).token })
const invite = (to: string) => (zoo: FullZoo) =>
  runAs(notesOf(zoo).superadmin, () => zoo.perms.auth.invitations.invite({ email: to, role: 'editor', domain: 'press' }))
/** Another code of the app than the one before: the library takes none twice. */
async function nextCode(zoo: FullZoo): Promise<string> {
  await zoo.perms.knex('second_factor').update({ last_step: null })
  return codeOf(notesOf(zoo).factor.secret)
}

async function asked(zoo: FullZoo): Promise<{ challenge: string }> {
  notesOf(zoo).token = await challengeOf(zoo.perms, moved, newPassword)
  return { challenge: notesOf(zoo).token }
}
/** An API key for documents, the same for all cases. */
async function key(zoo: FullZoo): Promise<string> {
  const kept = notesOf(zoo)
  if (kept.key === '') {
    const made = await zoo.perms.auth.apiKeys.issue(kept.carol, { abilities: ['documents:read'] })
    kept.key = made.plain
    kept.keyId = made.key.id
  }
  return kept.key
}
const keyOf = (user: 'carol' | 'superadmin', abilities: readonly string[]) => async (zoo: FullZoo) =>
  (await zoo.perms.auth.apiKeys.issue(notesOf(zoo)[user], { abilities })).plain
async function inPlace(zoo: FullZoo): Promise<string> {
  const kept = notesOf(zoo)
  if (kept.inPlace === '') {
    const actor = await zoo.perms.auth.authenticate(await superadmin(zoo))
    kept.inPlace = (await runAsActor(actor, () => zoo.perms.auth.impersonation.start(zoo.ids.ada))).accessToken
  }
  return kept.inPlace
}
const member = async (zoo: FullZoo) => `/api/users/domains/press/members/${notesOf(zoo).grantId}`

const noStore = { 'cache-control': 'no-store' }
const post = (
  title: string,
  path: string,
  body: NonNullable<FeatureCase['body']>,
  status: number,
  more: Partial<FeatureCase> = {},
): FeatureCase => ({
  title,
  method: 'POST',
  path: `/api/users/${path}`,
  body,
  status,
  ...(status < 300 && { expect: noStore }),
  ...more,
})
/** An own route with an API key made for it. */
const own = (
  title: string,
  path: string,
  abilities: readonly string[],
  status: number,
  { user = 'carol', ...more }: Partial<FeatureCase> & { user?: 'carol' | 'superadmin' } = {},
): FeatureCase => ({ title, method: 'GET', path, token: keyOf(user, abilities), status, ...more })
const dead = { code: 'invalid_token' }
/** What is no text is refused before anything is looked up. */
const untexts = (path: string, fields: readonly string[], more: Partial<FeatureCase> = {}): FeatureCase[] =>
  [null, '', ' ', {}, []].map((value) =>
    post(`refuses ${JSON.stringify(value)} at ${path} [promise 27]`, path, Object.fromEntries(fields.map((field) => [field, value])), 422, {
      fields,
      ...more,
    }),
  )

/** Every feature of UserResource: at least one use of each endpoint, and what it refuses. In this order. */
export const featureCases: readonly FeatureCase[] = [
  // -- verified addresses
  post('takes an address to verify', 'verify-email/request/', { email }, 202),
  post('takes an address of nobody alike', 'verify-email/request/', { email: 'nobody@example.com' }, 202),
  ...untexts('verify-email/request', ['email']),
  post(
    'verifies an address',
    'verify-email/',
    mailed(({ perms }) => perms.auth.mail.requestVerification(email)),
    204,
  ),
  post('verifies it once', 'verify-email', again, 401, dead),
  ...untexts('verify-email', ['token']),
  // -- forgotten passwords
  post('takes an address to reset the password of', 'reset-password/request', { email }, 202),
  post('takes one of nobody alike', 'reset-password/request', { email: 'nobody@example.com' }, 202),
  post('looks at no credentials there', 'reset-password/request', { email }, 202, { headers: { authorization: 'Bearer bad' } }),
  ...untexts('reset-password/request', ['email']),
  post(
    'refuses a weak password',
    'reset-password/',
    async (zoo) => ({ ...(await mailed(({ perms }) => perms.auth.mail.requestPasswordReset(email))(zoo)), password: 'short' }),
    422,
    { fields: ['password'] },
  ),
  post('resets a password with the same token', 'reset-password/', async (zoo) => ({ ...(await again(zoo)), password: newPassword }), 204),
  post('resets it once', 'reset-password/', async (zoo) => ({ ...(await again(zoo)), password }), 401, dead),
  post('signs in with the new one', 'login', { email, password: newPassword }, 200),
  ...untexts('reset-password', ['token', 'password']),
  // -- changed addresses
  post('asks who changes an address', 'me/email', { email: 'x@example.com', oldPassword: newPassword }, 401),
  post('asks for the old password', 'me/email', { email: 'x@example.com', oldPassword: 'wrong' }, 422, {
    token: carol,
    fields: ['oldPassword'],
  }),
  post('takes a new address', 'me/email/', { email: moved, oldPassword: newPassword }, 202, { token: carol }),
  ...untexts('me/email', ['email', 'oldPassword'], { token: carol }),
  post(
    'changes an address',
    'change-email/',
    mailed((zoo) =>
      asSystem(async () => zoo.perms.auth.mail.requestEmailChange(await carolOf(zoo), { email: moved, oldPassword: newPassword })),
    ),
    204,
  ),
  post('changes it once', 'change-email/', again, 401, dead),
  ...untexts('change-email', ['token']),
  // -- magic links
  post('takes an address to sign in at', 'magic-link/request/', { email: moved }, 202),
  ...untexts('magic-link/request', ['email']),
  post(
    'signs in by link',
    'magic-link/',
    mailed(({ perms }) => perms.auth.mail.requestMagicLink(moved)),
    200,
  ),
  post('signs in by it once', 'magic-link/', again, 401, dead),
  ...untexts('magic-link', ['token']),
  // -- second factors
  { title: 'knows of no second factor', method: 'GET', path: '/api/users/me/second-factor/', token: carol, status: 200, expect: noStore },
  { title: 'tells nobody of second factors', method: 'GET', path: '/api/users/me/second-factor', status: 401 },
  post('asks for the password before a second factor', 'me/second-factor', {}, 422, { token: carol, fields: ['password'] }),
  post('begins a second factor', 'me/second-factor/', { password: newPassword }, 201, { token: carol }),
  post('refuses a wrong code of the app', 'me/second-factor/confirm', { code: '000000' }, 401, {
    token: carol,
    code: 'invalid_credentials',
  }),
  post(
    'confirms a second factor',
    'me/second-factor/confirm/',
    async (zoo) => {
      const user = await carolOf(zoo)
      const { secret } = await asSystem(() => zoo.perms.auth.secondFactors.begin(user, { password: newPassword }))
      notesOf(zoo).factor = { secret, recoveryCodes: [] }
      return { code: codeOf(secret) }
    },
    200,
    { token: carol },
  ),
  ...untexts('me/second-factor/confirm', ['code'], { token: carol }),
  post('asks for the second factor', 'login', { email: moved, password: newPassword }, 200),
  {
    title: 'shows nothing to one who is half signed in',
    method: 'GET',
    path: '/api/users/me',
    token: async (zoo) => await challengeOf(zoo.perms, moved, newPassword),
    status: 401,
    ...dead,
  },
  post('refuses a wrong code', 'second-factor', async (zoo) => ({ ...(await asked(zoo)), code: '000000' }), 401, {
    code: 'invalid_credentials',
  }),
  post('signs in by code', 'second-factor/', async (zoo) => ({ ...(await asked(zoo)), code: await nextCode(zoo) }), 200),
  post('takes a challenge once', 'second-factor', async (zoo) => ({ challenge: notesOf(zoo).token, code: await nextCode(zoo) }), 401, dead),
  ...untexts('second-factor', ['challenge', 'code']),
  post('gives new recovery codes', 'me/second-factor/recovery-codes/', async (zoo) => ({ code: await nextCode(zoo) }), 200, {
    token: carol,
  }),
  ...untexts('me/second-factor/recovery-codes', ['code'], { token: carol }),
  post('keeps the second factor for a wrong code', 'me/second-factor/remove', { code: '000000' }, 401, { token: carol }),
  post('removes the second factor', 'me/second-factor/remove/', async (zoo) => ({ code: await nextCode(zoo) }), 204, { token: carol }),
  post('has none to remove', 'me/second-factor/remove', { code: '000000' }, 422, { token: carol, fields: ['code'] }),
  ...untexts('me/second-factor/remove', ['code'], { token: carol }),
  // -- API keys
  post('makes an API key', 'api-keys/', { abilities: ['documents:read'], description: 'CI', expiresIn: 60 }, 201, { token: carol }),
  post('makes none for nobody', 'api-keys', { abilities: ['*'] }, 401),
  post('makes none without abilities', 'api-keys', { abilities: [] }, 422, { token: carol, fields: ['abilities'] }),
  { title: 'lists API keys', method: 'GET', path: '/api/users/api-keys/', token: carol, status: 200, expect: noStore },
  { title: 'takes a key for a Bearer token', method: 'GET', path: '/api/documents', token: key, status: 200 },
  { title: 'takes it on own routes', method: 'GET', path: '/who', token: key, status: 200 },
  { title: 'takes it on an own route that names what it has', method: 'GET', path: '/shelf', token: key, status: 200 },
  own('takes none that lacks what an own route names', '/shelf', ['critters:read'], 403, { code: 'insufficient_ability' }),
  own('takes none on an own route that names nothing [promise 25]', '/account', ['documents:*'], 403, { code: 'insufficient_ability' }),
  own('takes one for everything there', '/account', ['*'], 200),
  own('takes no admin’s key for the admin [promise 25]', '/reports', ['documents:*'], 403, {
    user: 'superadmin',
    code: 'insufficient_ability',
  }),
  own('takes an admin’s key for everything', '/reports', ['*'], 200, { user: 'superadmin' }),
  own('takes an admin’s key that has what is named', '/archive', ['documents:read'], 200, { user: 'superadmin' }),
  own('takes no key in place of a role', '/archive', ['documents:read'], 403, { code: 'forbidden' }),
  { title: 'asks who has signed in for no ability', method: 'GET', path: '/archive', as: 'admin', status: 200 },
  post('refuses a key what it does not name', '', { title: 'x', content: 'x' }, 403, {
    path: '/api/documents',
    token: key,
    code: 'insufficient_ability',
  }),
  post('lets no key make keys', 'api-keys', { abilities: ['*'] }, 403, { token: key }),
  {
    title: 'knows no key of that id',
    method: 'DELETE',
    path: '/api/users/api-keys/00000000-0000-7000-8000-000000000000',
    token: carol,
    status: 404,
  },
  {
    title: 'revokes a key',
    method: 'DELETE',
    path: async (zoo) => `/api/users/api-keys/${notesOf(zoo).keyId}/`,
    token: carol,
    status: 204,
    expect: noStore,
  },
  { title: 'takes no revoked key', method: 'GET', path: '/api/documents', token: async (zoo) => notesOf(zoo).key, status: 401, ...dead },
  // -- invitations
  post('lets admins invite', 'invitations/', { email: 'erin@example.com', role: 'editor', domain: 'press' }, 201, { as: 'admin' }),
  post('lets nobody else invite', 'invitations', { email: 'erin@example.com', role: 'editor', domain: 'press' }, 403, { as: 'ada' }),
  post('lets nobody invite above their rank', 'invitations', { email: 'erin@example.com', role: 'admin', domain: 'nowhere' }, 403, {
    as: 'ada',
  }),
  ...untexts('invitations', ['email', 'role', 'domain'], { as: 'admin' }),
  { title: 'lists invitations', method: 'GET', path: '/api/users/invitations?domain=press', as: 'admin', status: 200, expect: noStore },
  { title: 'lists none to those who made none', method: 'GET', path: '/api/users/invitations/', as: 'ada', status: 200 },
  { title: 'knows no invitation of that id', method: 'DELETE', path: '/api/users/invitations/x', as: 'admin', status: 404 },
  {
    title: 'takes an invitation back',
    method: 'DELETE',
    path: async (zoo) => `/api/users/invitations/${(await invite('frank@example.com')(zoo)).id}`,
    as: 'admin',
    status: 204,
    expect: noStore,
  },
  post('lets nobody take what is another’s', 'invitations/accept', mailed(invite('bob@example.com')), 403, { token: carol }),
  post('accepts an invitation', 'invitations/accept/', mailed(invite(moved)), 200, { token: carol }),
  post('accepts it once', 'invitations/accept', again, 401, { token: carol, ...dead }),
  ...untexts('invitations/accept', ['token'], { token: carol }),
  post(
    'registers by invitation',
    'invitations/register/',
    async (zoo) => ({ ...(await mailed(invite('gail@example.com'))(zoo)), password }),
    201,
  ),
  post('registers by it once', 'invitations/register', async (zoo) => ({ ...(await again(zoo)), password }), 401, dead),
  post('leaves those who have an account to sign in', 'invitations/register', mailed(invite(moved)), 409),
  ...untexts('invitations/register', ['token']),
  // -- members
  {
    title: 'lists the members of a domain',
    method: 'GET',
    path: '/api/users/domains/press/members/',
    as: 'admin',
    status: 200,
    expect: noStore,
  },
  { title: 'lists them to its admins alone', method: 'GET', path: '/api/users/domains/press/members', as: 'ada', status: 404 },
  { title: 'changes a role', method: 'PATCH', path: member, as: 'admin', body: { role: 'reader' }, status: 200 },
  { title: 'takes text for a role', method: 'PATCH', path: member, as: 'admin', body: { role: null }, status: 422, fields: ['role'] },
  { title: 'gives nobody one’s own rank', method: 'PATCH', path: member, as: 'admin', body: { role: 'superadmin' }, status: 403 },
  { title: 'takes a role away', method: 'DELETE', path: member, as: 'admin', status: 204 },
  { title: 'knows no such member any more', method: 'DELETE', path: member, as: 'admin', status: 404 },
  // -- in another's place
  post('lets superadmins alone act in another’s place', 'impersonation', async (zoo) => ({ userId: zoo.ids.ada }), 403, { as: 'admin' }),
  post('lets a superadmin', 'impersonation/', async (zoo) => ({ userId: zoo.ids.ada, reason: 'a ticket' }), 201, { token: superadmin }),
  post('takes ids for users', 'impersonation', { userId: 'x' }, 422, { token: superadmin, fields: ['userId'] }),
  { title: 'says who acts', method: 'GET', path: '/api/users/me', token: inPlace, status: 200 },
  post('makes no key in another’s place', 'api-keys', { abilities: ['*'] }, 403, { token: inPlace }),
  { title: 'ends it', method: 'DELETE', path: '/api/users/impersonation/', token: inPlace, status: 204, expect: noStore },
  { title: 'has ended it', method: 'GET', path: '/api/users/me', token: async (zoo) => notesOf(zoo).inPlace, status: 401, ...dead },
  { title: 'ends nothing else', method: 'DELETE', path: '/api/users/impersonation', as: 'ada', status: 403 },
  // -- registering without saying who is there
  {
    title: 'registers privately',
    method: 'POST',
    path: '/api/newcomers',
    body: { email: 'hugo@example.com', password },
    status: 202,
    expect: noStore,
  },
  {
    title: 'registers privately alike where the address is taken',
    method: 'POST',
    path: '/api/newcomers/',
    body: { email: moved, password },
    status: 202,
  },
  {
    title: 'says what is wrong with a private registration',
    method: 'POST',
    path: '/api/newcomers',
    body: { email: 'x', password: 'short' },
    status: 422,
  },
]
