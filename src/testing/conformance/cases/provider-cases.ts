import { challengeOf } from '../../../auth/flows/providers/sign-in-store.js'
import { asSystem, runAsActor } from '../../../policy/context.js'
import { type Case, noStore } from '../case.js'
import { carol, dead, key, type PopulatedWorld, post, untexts } from '../feature-steps.js'
import { APP_REDIRECT, approved } from '../test-provider.js'

const verifier = 'v'.repeat(43)
const form = { 'content-type': 'application/x-www-form-urlencoded' }
const wrong = `state=ps_${'x'.repeat(43)}&code=x`

/** Begins a sign-in of a native app. @returns the query of the callback */
async function begun({ perms }: PopulatedWorld): Promise<string> {
  const { url } = await perms.auth.providers.start('query', { challenge: challengeOf(verifier), redirect: APP_REDIRECT })
  return approved(url, 'native')
}

async function code(world: PopulatedWorld): Promise<string> {
  const { redirect } = await world.perms.auth.providers.finish('query', new URLSearchParams(await begun(world)))
  world.people.token = redirect.replace(/.*code=/, '')
  return world.people.token
}

/** The id of an account that is linked to carol. */
async function linked(world: PopulatedWorld): Promise<string> {
  const { auth } = world.perms
  const actor = await auth.authenticate(await carol(world))
  const { url, binding } = await runAsActor(actor, () => auth.providers.startLink('query'))
  await auth.providers.finish('query', new URLSearchParams(approved(url, 'carol at the provider')), { binding: binding ?? undefined })
  const [identity] = await asSystem(() => auth.providers.identities(world.people.carol))
  return String(identity?.id)
}

/** Identity providers. */
export const providerCases: readonly Case[] = [
  { title: 'the identity providers are listed', method: 'GET', path: '/api/users/providers/', status: 200 },
  post('a sign-in with a provider begins', 'providers/query/start/', { redirect: '/' }, 200),
  post('a redirect that is not in the list gives 422', 'providers/query/start', { redirect: '//evil.example' }, 422, {
    fields: ['redirect'],
  }),
  post('a maxAge that is no number gives 422', 'providers/query/start', { maxAge: '300' }, 422, { fields: ['maxAge'] }),
  post('an unknown provider gives 404', 'providers/nobody/start', {}, 404),
  ...untexts('providers/query/start', ['invitation']),
  {
    title: 'a response without its cookie is refused',
    method: 'GET',
    path: `/api/users/providers/query/callback/?${wrong}`,
    status: 401,
    ...dead,
  },
  {
    title: 'a posted response without its cookie is refused',
    method: 'POST',
    path: '/api/users/providers/posting/callback/',
    body: wrong,
    headers: form,
    status: 401,
    ...dead,
  },
  {
    title: 'a posted response that is no form gives 415',
    method: 'POST',
    path: '/api/users/providers/posting/callback',
    body: { state: 'x' },
    status: 415,
  },
  {
    title: 'a response returns a native app with a code',
    method: 'GET',
    path: async (world) => `/api/users/providers/query/callback/?${await begun(world)}`,
    status: 303,
    expect: noStore,
  },
  post('a code is exchanged for tokens', 'providers/exchange/', async (world) => ({ code: await code(world), verifier }), 200),
  post('a code is exchanged only once', 'providers/exchange', async (world) => ({ code: world.people.token, verifier }), 401, dead),
  ...untexts('providers/exchange', ['code', 'verifier']),
  post('linking an account begins', 'me/identities/', { provider: 'query' }, 200, { token: carol }),
  post('linking an account is not for anonymous callers', 'me/identities', { provider: 'query' }, 401),
  post('linking an account is not for API keys', 'me/identities', { provider: 'query' }, 403, { token: key }),
  ...untexts('me/identities', ['provider'], { token: carol }),
  { title: 'linked accounts are listed', method: 'GET', path: '/api/users/me/identities/', token: carol, status: 200, expect: noStore },
  {
    title: 'a linked account is removed',
    method: 'DELETE',
    path: async (world) => `/api/users/me/identities/${await linked(world)}`,
    token: carol,
    status: 204,
    expect: noStore,
  },
  {
    title: 'an unknown linked account gives 404',
    method: 'DELETE',
    path: '/api/users/me/identities/00000000-0000-4000-8000-000000000000',
    token: carol,
    status: 404,
  },
]
