/** Proves the adapter: `node --import tsx examples/hapi/conformance.ts`. Needs `npm run build`. */
import { after, before, describe, it } from 'node:test'
import { server as hapiServer, type Lifecycle, type RouteOptions } from '@hapi/hapi'
import Knex from 'knex'
import type { Api, Perms } from 'objection-perms'
import { type ApplicationRoute, conformance } from 'objection-perms/testing/conformance'
import { hapiAdapter } from './adapter.js'

conformance(
  'hapi',
  { knex: () => Knex({ client: 'better-sqlite3', connection: ':memory:', useNullAsDefault: true }), start },
  { after, before, describe, it },
)

async function start(perms: Perms, api: Api, routes: readonly ApplicationRoute[]) {
  const { listener, router, requireUser, requireRole, errorHandler } = hapiAdapter(perms)
  // The library reads its cookies itself. Hapi would refuse malformed cookies of other applications.
  const server = hapiServer({ listener, host: '127.0.0.1', port: 0, routes: { state: { parse: false } } })
  const protectedBy = ({ requires }: ApplicationRoute): Lifecycle.Method | undefined => {
    if (requires === undefined) return undefined
    return requires.role === undefined ? requireUser(requires.options) : requireRole(requires.role, requires.options)
  }
  await server.register([errorHandler, router(api)])
  for (const route of routes) {
    const method = protectedBy(route)
    const options: RouteOptions = method === undefined ? {} : { ext: { onPreAuth: { method } } }
    server.route({ method: 'GET', path: route.path, options, handler: async () => await route.handler() })
  }
  await server.start()
  const close = async () => {
    listener.closeAllConnections()
    await server.stop({ timeout: 0 })
  }
  return { url: server.info.uri, close }
}
