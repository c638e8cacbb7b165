import type { Case } from '../case.js'

/** Reads of one row. */
export const itemCases: readonly Case[] = [
  {
    title: 'GET shows a row',
    method: 'GET',
    path: '/api/documents/{document}',
    as: 'ada',
    status: 200,
    expect: { 'cache-control': 'private, no-cache' },
  },
  { title: 'GET works with a trailing slash', method: 'GET', path: '/api/documents/{document}/', as: 'ada', status: 200 },
  {
    title: 'GET of a row that the caller may not read gives 404 [promise 36]',
    method: 'GET',
    path: '/api/documents/{foreign}',
    as: 'ada',
    status: 404,
    code: 'not_found',
  },
  {
    title: 'GET of an unknown id gives 404',
    method: 'GET',
    path: '/api/documents/00000000-0000-7000-8000-000000000000',
    as: 'ada',
    status: 404,
    code: 'not_found',
  },
  {
    title: 'GET of a malformed id gives 404 [promise 47]',
    method: 'GET',
    path: '/api/documents/1%27--',
    as: 'ada',
    status: 404,
    code: 'not_found',
  },
  {
    title: 'an encoded slash in the id gives 404 [promise 49]',
    method: 'GET',
    path: '/api/documents/..%2f{document}',
    as: 'ada',
    status: 404,
    code: 'not_found',
  },
  { title: 'HEAD answers without a body', method: 'HEAD', path: '/api/documents/{document}', as: 'ada', status: 200 },
  { title: 'HEAD of a missing row gives 404', method: 'HEAD', path: '/api/documents/{foreign}', as: 'ada', status: 404 },
  { title: 'GET without a token gives 401 for every id', method: 'GET', path: '/api/documents/{foreign}', status: 401 },
]
