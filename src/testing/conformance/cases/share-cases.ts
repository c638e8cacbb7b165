import type { Case } from '../case.js'
import type { PopulatedWorld } from '../feature-steps.js'

const shares = async ({ people }: PopulatedWorld) => `/api/letters/${people.letterId}/shares`
const letter = async ({ people }: PopulatedWorld) => `/api/letters/${people.letterId}`
const ending = async ({ people, ids }: PopulatedWorld) => `/api/letters/${people.letterId}/shares/?userId=${ids.bob}`

/** Shares of single rows. */
export const shareCases: readonly Case[] = [
  { title: 'the shares of a row need a caller [promise 244]', method: 'GET', path: shares, status: 401, code: 'unauthorized' },
  {
    title: 'the shares of an unreadable row give 404 [promise 244]',
    method: 'GET',
    path: shares,
    as: 'bob',
    status: 404,
    code: 'not_found',
  },
  {
    title: 'a row is not shared with a user whom the caller may not read [promise 244]',
    method: 'POST',
    path: shares,
    as: 'ada',
    body: async ({ ids }) => ({ userId: ids.bob, relation: 'viewer' }),
    status: 422,
    fields: ['userId'],
  },
  {
    title: 'a row is not shared with a user who does not exist [promise 244]',
    method: 'POST',
    path: shares,
    as: 'ada',
    body: { userId: '01890000-0000-7000-8000-000000000000', relation: 'viewer' },
    status: 422,
    fields: ['userId'],
  },
  {
    title: 'a row is shared with a user [promise 244]',
    method: 'POST',
    path: shares,
    as: 'admin',
    body: async ({ ids }) => ({ userId: ids.bob, relation: 'viewer' }),
    status: 201,
  },
  { title: 'a user reads a row that is shared with them [promise 240]', method: 'GET', path: letter, as: 'bob', status: 200 },
  {
    title: 'a viewer does not change a row [promise 240]',
    method: 'PATCH',
    path: letter,
    as: 'bob',
    body: { text: 'x' },
    status: 403,
    code: 'forbidden',
  },
  {
    title: 'a viewer does not list the shares of a row [promise 244]',
    method: 'GET',
    path: shares,
    as: 'bob',
    status: 403,
    code: 'forbidden',
  },
  {
    title: 'a viewer who sends a wrong body gets 403 [promise 244]',
    method: 'POST',
    path: shares,
    as: 'bob',
    body: {},
    status: 403,
    code: 'forbidden',
  },
  { title: 'the owner lists the shares of a row', method: 'GET', path: shares, as: 'ada', status: 200 },
  {
    title: 'a relation that the model does not have is refused',
    method: 'POST',
    path: shares,
    as: 'ada',
    body: { role: 'editor', relation: 'ruler' },
    status: 422,
    fields: ['relation'],
  },
  { title: 'a share is ended [promise 244]', method: 'DELETE', path: ending, as: 'ada', status: 204 },
  { title: 'a share that does not exist gives 404', method: 'DELETE', path: ending, as: 'ada', status: 404, code: 'not_found' },
  {
    title: 'a user whose share has ended reads the row no more [promise 240]',
    method: 'GET',
    path: letter,
    as: 'bob',
    status: 404,
    code: 'not_found',
  },
  { title: 'PUT of shares gives 405', method: 'PUT', path: shares, as: 'ada', body: {}, status: 405 },
]
