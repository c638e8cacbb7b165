import type { Case } from '../case.js'

const feed = (id: string) => `/api/critters/{${id}}/feed`
const food = { food: 'hay' }

/** Actions that a policy adds, and the flags of what a caller may do. */
export const actionCases: readonly Case[] = [
  { title: 'an action runs for a caller whom its rule allows', method: 'POST', path: feed('critter'), as: 'bob', body: food, status: 200 },
  { title: 'an action works with a trailing slash', method: 'POST', path: `${feed('critter')}/`, as: 'bob', body: food, status: 200 },
  { title: 'an action needs a caller', method: 'POST', path: feed('critter'), body: food, status: 401, code: 'unauthorized' },
  {
    title: 'an action on a readable row gives 403 to other callers [promise 191]',
    method: 'POST',
    path: feed('critter'),
    as: 'ada',
    body: food,
    status: 403,
    code: 'forbidden',
  },
  {
    title: 'an action on an unreadable row gives 404 [promise 191]',
    method: 'POST',
    path: feed('shy'),
    as: 'ada',
    body: food,
    status: 404,
    code: 'not_found',
  },
  {
    title: 'an invalid body of an action names the fields',
    method: 'POST',
    path: feed('critter'),
    as: 'bob',
    body: { food: 7, more: 1 },
    status: 422,
    fields: ['more'],
  },
  {
    title: 'an invalid body of an action gives 403 to a caller whom its rule does not allow [promise 191]',
    method: 'POST',
    path: feed('critter'),
    as: 'ada',
    body: {},
    status: 403,
    code: 'forbidden',
  },
  { title: 'GET of an action gives 405', method: 'GET', path: feed('critter'), as: 'bob', status: 405 },
  {
    title: 'a list says what the caller may do',
    method: 'GET',
    path: '/api/critters?sort=name&allowed=update,delete,feed',
    as: 'bob',
    status: 200,
  },
  { title: 'a list says what an anonymous caller may do', method: 'GET', path: '/api/critters?allowed=update,feed', status: 200 },
  { title: 'a row says what the caller may do', method: 'GET', path: '/api/critters/{critter}?allowed=feed', as: 'ada', status: 200 },
  {
    title: 'a list refuses actions that the resource does not offer [promise 81]',
    method: 'GET',
    path: '/api/critters?allowed=feed,publish',
    as: 'bob',
    status: 422,
    fields: ['allowed'],
  },
]
