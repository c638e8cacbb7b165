import { type Case, noStore } from '../case.js'
import { post, stale, treasure, withKey } from '../feature-steps.js'

const challenge =
  'Bearer error="insufficient_user_authentication", error_description="A more recent or stronger authentication is required"'
const askedFor = (more: string) => ({ code: 'insufficient_user_authentication', expect: { 'www-authenticate': `${challenge}, ${more}` } })
const recently = askedFor('max_age="300"')

/** Sessions that need a confirmation. */
export const stepUpCases: readonly Case[] = [
  { title: 'requireUser accepts a recent session', method: 'GET', path: '/vault', as: 'ada', status: 200, caller: 'ada' },
  { title: 'requireUser asks for a recent session [promise 88]', method: 'GET', path: '/vault', token: stale, status: 401, ...recently },
  {
    title: 'requireUser with a step-up gives 401 to an anonymous caller',
    method: 'GET',
    path: '/vault',
    status: 401,
    code: 'unauthorized',
  },
  withKey('requireUser with a step-up refuses an API key [promise 86]', '/vault', ['*'], 403, { code: 'insufficient_ability' }),
  {
    title: 'requireRole asks only callers with the role for a factor',
    method: 'GET',
    path: '/safe',
    as: 'ada',
    status: 403,
    code: 'forbidden',
  },
  {
    title: 'requireRole asks callers with the role for a factor [promise 88]',
    method: 'GET',
    path: '/safe',
    as: 'admin',
    status: 401,
    ...askedFor('acr_values="passkey totp"'),
  },
  {
    title: 'a method asks for a recent session [promise 88]',
    method: 'GET',
    path: '/api/treasures',
    token: stale,
    status: 401,
    ...recently,
  },
  { title: 'a row is shown to a session that is not recent', method: 'GET', path: treasure, token: stale, status: 200 },
  {
    title: 'a change asks for a recent session [promise 88]',
    method: 'PATCH',
    path: treasure,
    token: stale,
    body: { title: 'Silver' },
    status: 401,
    ...recently,
  },
  {
    title: 'an action of the policy asks for a recent session [promises 88, 191]',
    method: 'POST',
    path: async (world) => `/api/treasures/${world.people.treasureId}/polish`,
    token: stale,
    status: 401,
    ...recently,
  },
  {
    title: 'a deletion asks for a recent session and a factor [promise 88]',
    method: 'DELETE',
    path: treasure,
    token: stale,
    status: 401,
    ...askedFor('acr_values="totp", max_age="300"'),
  },
  {
    title: 'a new row asks for a recent session [promise 88]',
    method: 'POST',
    path: '/api/treasures',
    token: stale,
    body: { title: 'Silver' },
    status: 401,
    ...recently,
  },
  {
    title: 'a change of a foreign row gives 404, whatever the session [promise 88]',
    method: 'DELETE',
    path: treasure,
    as: 'bob',
    status: 404,
  },
  post('a wrong password does not confirm a session [promise 90]', 'me/confirm', { password: 'wrong' }, 401, {
    token: stale,
    code: 'invalid_credentials',
  }),
  post('a wrong code does not confirm a session [promise 90]', 'me/confirm', { code: '000000' }, 401, {
    token: stale,
    code: 'invalid_credentials',
  }),
  post('confirming a session needs a password or a code', 'me/confirm', {}, 422, { token: stale, fields: ['password'] }),
  post('confirming a session needs a caller', 'me/confirm', { password: 'correct horse battery' }, 401, { code: 'unauthorized' }),
  post('a password confirms a session', 'me/confirm/', { password: 'correct horse battery' }, 200, { token: stale, expect: noStore }),
  {
    title: 'a confirmed session may change a row [promise 90]',
    method: 'PATCH',
    path: treasure,
    token: stale,
    body: { title: 'Silver' },
    status: 200,
  },
  {
    title: 'a confirmation with a password is no factor [promise 88]',
    method: 'DELETE',
    path: treasure,
    token: stale,
    status: 401,
    ...askedFor('acr_values="totp"'),
  },
]
