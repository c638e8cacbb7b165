import { type Case, noStore } from '../case.js'
import { carol, post, stale } from '../feature-steps.js'

/** The JSON of a credential of no authenticator. */
const credential = {
  id: 'AAAA',
  type: 'public-key',
  response: { clientDataJSON: 'e30', attestationObject: 'oA', authenticatorData: 'AA', signature: 'AA', userHandle: 'AA' },
}
const tooLong = { ...credential, response: { ...credential.response, clientDataJSON: 'A'.repeat(5000) } }

/** Passkeys, as far as no authenticator is needed. */
export const passkeyCases: readonly Case[] = [
  {
    title: 'anyone gets options for signing in with a passkey',
    method: 'POST',
    path: '/api/users/passkeys/options/',
    status: 200,
    expect: noStore,
  },
  post('a passkey that answers no challenge does not sign in [promise 102]', 'passkeys', { passkey: credential }, 401, {
    code: 'invalid_credentials',
  }),
  post('a passkey must be an object', 'passkeys', { passkey: 'x' }, 422, { fields: ['passkey'] }),
  post('a passkey has parts of bounded length [promise 114]', 'passkeys', { passkey: tooLong }, 422, { fields: ['passkey'] }),
  post('a sign-in with a passkey takes no other keys', 'passkeys', { passkey: credential, email: 'carol@example.com' }, 422, {
    fields: ['email'],
  }),
  {
    title: 'passkeys are listed for their user',
    method: 'GET',
    path: '/api/users/me/passkeys/',
    token: carol,
    status: 200,
    expect: noStore,
  },
  { title: 'passkeys are not listed for an anonymous caller', method: 'GET', path: '/api/users/me/passkeys', status: 401 },
  {
    title: 'adding a passkey needs a recent session [promise 117]',
    method: 'POST',
    path: '/api/users/me/passkeys/options',
    token: stale,
    status: 401,
    code: 'insufficient_user_authentication',
  },
  {
    title: 'a recent session gets options for adding a passkey [promise 117]',
    method: 'POST',
    path: '/api/users/me/passkeys/options',
    as: 'ada',
    status: 200,
    expect: noStore,
  },
  post('a response that answers no challenge adds no passkey [promise 102]', 'me/passkeys', { passkey: credential }, 422, { as: 'ada' }),
  post('a challenge of nobody gets no options for a second factor', 'second-factor/options', { challenge: 'sf_x' }, 401, {
    code: 'invalid_token',
  }),
  post('a passkey that answers no challenge confirms nothing [promise 102]', 'me/confirm', { passkey: credential }, 401, {
    as: 'ada',
    code: 'invalid_credentials',
  }),
  {
    title: 'a missing passkey is not renamed',
    method: 'PATCH',
    path: '/api/users/me/passkeys/0198c0de-0000-7000-8000-00000000000a',
    body: { name: 'Phone' },
    as: 'ada',
    status: 404,
  },
  {
    title: 'a missing passkey is not removed',
    method: 'DELETE',
    path: '/api/users/me/passkeys/0198c0de-0000-7000-8000-00000000000a',
    as: 'ada',
    status: 404,
  },
]
