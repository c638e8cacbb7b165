import { type Case, noStore } from '../case.js'
import { carol, impersonation, newPassword, post, untexts, withKey } from '../feature-steps.js'

const exported = { 'content-type': 'application/x-ndjson; charset=utf-8', 'content-disposition': 'attachment; filename="export.ndjson"' }

/** Exports and the deletion of accounts. */
export const lifecycleCases: readonly Case[] = [
  {
    title: 'a user exports data as a stream of JSON lines [promise 174]',
    method: 'GET',
    path: '/api/users/me/export/',
    as: 'bob',
    status: 200,
    expect: { ...exported, ...noStore, 'content-length': null },
    // It contains the network addresses of sessions, which not every framework knows.
    own: true,
  },
  {
    title: 'HEAD of an export has no body',
    method: 'HEAD',
    path: '/api/users/me/export',
    as: 'bob',
    status: 200,
    expect: { 'content-type': exported['content-type'] },
    own: true,
  },
  { title: 'an anonymous caller cannot export data', method: 'GET', path: '/api/users/me/export', status: 401 },
  withKey('an API key cannot export data [promise 170]', '/api/users/me/export', ['*'], 403, { code: 'insufficient_ability' }),
  {
    title: 'an impersonation cannot export data [promise 170]',
    method: 'GET',
    path: '/api/users/me/export',
    token: async (world) => {
      // An earlier case has ended the previous one.
      world.people.impersonation = ''
      return await impersonation(world)
    },
    status: 403,
    code: 'forbidden',
  },
  post('an anonymous caller cannot ask for a deletion', 'me/deletion', {}, 401),
  post('a wrong password does not delete an account [promise 170]', 'me/deletion', { password: 'a wrong password' }, 401, {
    token: carol,
    code: 'invalid_credentials',
  }),
  ...untexts('me/deletion', ['password'], { token: carol }),
  post('a user asks for the deletion of the account [promise 164]', 'me/deletion/', { password: newPassword }, 202, { token: carol }),
  { title: 'me/ shows when the account will be deleted [promise 164]', method: 'GET', path: '/api/users/me', token: carol, status: 200 },
  {
    title: 'a user keeps the account after all [promise 164]',
    method: 'DELETE',
    path: '/api/users/me/deletion/',
    token: carol,
    status: 204,
    expect: noStore,
  },
  {
    title: 'undoing a deletion that is not scheduled gives 404',
    method: 'DELETE',
    path: '/api/users/me/deletion',
    token: carol,
    status: 404,
    code: 'not_found',
  },
]
