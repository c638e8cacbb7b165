/**
 * Makes Objection itself execute the queries of models, instead of src/query/execution/execution.ts. An application gets this with another
 * version of Objection, or with a query builder that overrides execute(). Load it before the tests:
 *
 *   npx mocha --require ./test/helpers/objection-executor.ts 'test/{enforce,policy}/*.test.ts'
 */
import { createRequire } from 'node:module'
import { QueryBuilder } from 'objection'

// require() returns one object for a JSON file, so the sources read this version too.
const installed = createRequire(import.meta.url)('objection/package.json') as { version: string }
installed.version = `${installed.version.replace(/^3\.1\./, '3.0.')}`

const { isAsExpected } = await import('../../src/query/execution/execution.js')
if (isAsExpected(QueryBuilder))
  throw new Error('src/query/execution/execution.ts still executes the queries. isAsExpected() must return false here.')
