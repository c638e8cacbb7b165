import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Knex } from 'knex'
import { type NodeHandler, nodeAdapter } from '../../adapters/node.js'
import type { Api } from '../../http/serve/api.js'
import type { Perms } from '../../setup/perms.js'
import type { ApplicationRoute } from './routes.js'
import { CaseRun, type ConformanceServer, casesFor, type Responses } from './suite.js'

/**
 * Runs the suite against the adapter for node:http and returns its responses, to compare several adapters with them.
 *
 * @param knex returns a Knex instance of an empty database, which the suite destroys
 * @throws AssertionError when a response is not the expected one
 * @example
 * const responses = nodeReference(hapi.knex)
 * conformance('hapi', hapi, mocha, () => responses)
 */
export async function nodeReference(knex: () => Knex | Promise<Knex>): Promise<Responses> {
  const run = await CaseRun.start({ knex, start: startNode })
  try {
    for (const one of casesFor({})) await run.check(one)
  } finally {
    await run.close()
  }
  return run.responses
}

async function startNode(perms: Perms, api: Api, routes: readonly ApplicationRoute[]): Promise<ConformanceServer> {
  const { authenticate, router, requireUser, requireRole, errorHandler } = nodeAdapter(perms, { onError: () => undefined })
  const handlerOf = ({ requires, handler }: ApplicationRoute): NodeHandler => {
    const run: NodeHandler = async (_req, res) => {
      const text = JSON.stringify(await handler())
      res.setHeader('content-type', 'application/json; charset=utf-8')
      res.end(text)
    }
    if (requires === undefined) return run
    return requires.role === undefined ? requireUser(run, requires.options) : requireRole(requires.role, run, requires.options)
  }
  const handlers = new Map(routes.map((route) => [route.path, handlerOf(route)]))
  const otherwise: NodeHandler = (req, res) => {
    const handler = handlers.get((req.url ?? '').split('?')[0] as string)
    return handler ? handler(req, res) : res.writeHead(404).end()
  }
  const server = createServer(errorHandler(authenticate(router(api, otherwise))))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
