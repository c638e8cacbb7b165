import assert from 'node:assert/strict'
import { nodeReference } from './reference.js'
import { CaseRun, type ConformanceTarget, CookieRun, casesFor, cookieChecks, type Responses } from './suite.js'

export { nodeReference } from './reference.js'
export type { ApplicationRoute } from './routes.js'
export type { ConformanceServer, ConformanceTarget, Responses } from './suite.js'

/**
 * The functions of a test framework. mocha and node:test have these names. With Vitest and Jest, pass beforeAll as `before` and
 * afterAll as `after`.
 */
export interface TestFramework {
  describe(title: string, register: () => void): unknown
  it(title: string, run: () => Promise<void>): unknown
  before(run: () => Promise<void>): unknown
  after(run: () => Promise<void>): unknown
}

/**
 * Registers the tests that every adapter must pass, about 300: sign-in, callers, routes of the application, lists, writes, protocol,
 * every feature of UserResource, and cookies. Each response must be identical to that of the adapter for node:http.
 *
 * The suite calls initPerms() for its own databases. Run it in a test file that does not call initPerms() itself. It needs otpauth and openid-client.
 *
 * @param name the name of the adapter, for the titles
 * @param target how to start a server with the adapter
 * @param framework where to register the tests
 * @param reference the responses to compare with, if several adapters are tested. Default: nodeReference(target.knex).
 * @example
 * import { after, before, describe, it } from 'node:test'
 *
 * conformance('hapi', {
 *   knex: () => Knex({ client: 'better-sqlite3', connection: ':memory:', useNullAsDefault: true }),
 *   start: async (perms, api, routes) => await startHapi(perms, api, routes),
 * }, { after, before, describe, it })
 */
export function conformance(
  name: string,
  target: ConformanceTarget,
  { describe, it, before, after }: TestFramework,
  reference: () => Promise<Responses> = () => nodeReference(target.knex),
): void {
  describe(`The adapter ${name}`, () => {
    describe('conforms', () => {
      let expected: Responses
      let run: CaseRun | undefined
      before(async () => {
        expected = await reference()
        run = await CaseRun.start(target)
      })
      after(async () => await run?.close())
      for (const one of casesFor(target)) it(one.title, async () => await (run as CaseRun).check(one))
      it('gives the same responses as the adapter for node:http', async () => {
        const { responses } = run as CaseRun
        assert.ok(responses.size > 200, `Only ${responses.size} responses were recorded: run the whole suite.`)
        for (const [title, text] of responses) if (expected.has(title)) assert.equal(text, expected.get(title), title)
      })
    })
    describe('supports cookies', () => {
      let run: CookieRun | undefined
      before(async () => {
        run = await CookieRun.start(target)
      })
      after(async () => await run?.close())
      for (const check of cookieChecks) it(check.title, async () => await check.run((run as CookieRun).client))
    })
  })
}
