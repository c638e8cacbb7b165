import { type Case, noStore } from '../case.js'
import { carol, dead, key, post, withKey } from '../feature-steps.js'

/** API keys. */
export const keyCases: readonly Case[] = [
  post('a user creates an API key', 'api-keys/', { abilities: ['documents:read'], description: 'CI', expiresIn: 60 }, 201, {
    token: carol,
  }),
  post('an anonymous caller cannot create an API key', 'api-keys', { abilities: ['*'] }, 401),
  post('an API key needs abilities', 'api-keys', { abilities: [] }, 422, { token: carol, fields: ['abilities'] }),
  { title: 'a user lists API keys', method: 'GET', path: '/api/users/api-keys/', token: carol, status: 200, expect: noStore },
  { title: 'an API key works as a Bearer token', method: 'GET', path: '/api/documents', token: key, status: 200 },
  { title: "an API key identifies the caller on the application's routes", method: 'GET', path: '/who', token: key, status: 200 },
  { title: 'requireUser accepts an API key with a listed ability', method: 'GET', path: '/shelf', token: key, status: 200 },
  withKey('requireUser refuses an API key without a listed ability', '/shelf', ['critters:read'], 403, { code: 'insufficient_ability' }),
  withKey('requireUser without abilities refuses an API key [promise 25]', '/account', ['documents:*'], 403, {
    code: 'insufficient_ability',
  }),
  withKey('requireUser without abilities accepts an API key for everything', '/account', ['*'], 200),
  withKey("requireRole refuses an admin's API key without the ability [promise 25]", '/reports', ['documents:*'], 403, {
    user: 'superadmin',
    code: 'insufficient_ability',
  }),
  withKey("requireRole accepts an admin's API key for everything", '/reports', ['*'], 200, { user: 'superadmin' }),
  withKey("requireRole accepts an admin's API key with a listed ability", '/archive', ['documents:read'], 200, { user: 'superadmin' }),
  withKey('requireRole refuses an API key of a user without the role', '/archive', ['documents:read'], 403, { code: 'forbidden' }),
  { title: 'requireRole needs no ability of a signed-in user', method: 'GET', path: '/archive', as: 'admin', status: 200 },
  post('an API key cannot do more than its abilities', '', { title: 'x', content: 'x' }, 403, {
    path: '/api/documents',
    token: key,
    code: 'insufficient_ability',
  }),
  post('an API key cannot create API keys', 'api-keys', { abilities: ['*'] }, 403, { token: key }),
  {
    title: 'revoking an unknown API key gives 404',
    method: 'DELETE',
    path: '/api/users/api-keys/00000000-0000-7000-8000-000000000000',
    token: carol,
    status: 404,
  },
  {
    title: 'a user revokes an API key',
    method: 'DELETE',
    path: async (world) => `/api/users/api-keys/${world.people.keyId}/`,
    token: carol,
    status: 204,
    expect: noStore,
  },
  {
    title: 'a revoked API key gives 401',
    method: 'GET',
    path: '/api/documents',
    token: async (world) => world.people.key,
    status: 401,
    ...dead,
  },
]
