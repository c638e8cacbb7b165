import type { Server } from 'node:http'
import { type HttpBindings, serve } from '@hono/node-server'
import { NotFoundError, type Perms, Role } from 'objection-perms'
import { type FetchHandler, fetchAdapter } from 'objection-perms/fetch'
import { accounts } from './accounts.js'
import { zooApi } from './api.js'
import { readJson } from './json-body.js'
import { zooPages } from './pages.js'
import { zooReport } from './reports.js'

/** The zoo as a function from Request to Response. */
export function serveWithFetch(perms: Perms, port: number, host: string): Server {
  const { authenticate, router, requireUser, requireRole, errorHandler } = fetchAdapter(perms, { address: (_request, env) => address(env) })
  const { register, login, profile } = accounts(perms)

  const own = routes(
    {
      'GET /auth/profile': requireUser(async () => Response.json(await profile())),
      'GET /reports': requireRole(Role.ADMIN, async () => Response.json(await zooReport())),
    },
    () => {
      throw new NotFoundError()
    },
  )

  const zoo = routes(
    {
      'GET /health': () => Response.json({ status: 'ok' }),
      // Before authenticate(): whoever signs in may still send a token that has expired.
      'POST /auth/register': async (request, env) =>
        Response.json(await register(await json(request), { address: address(env) }), { status: 201 }),
      'POST /auth/login': async (request, env) =>
        Response.json(await login(await json(request), { address: address(env) }), { headers: { 'cache-control': 'no-store' } }),
    },
    router(zooPages(perms), authenticate(router(zooApi(perms), own))),
  )

  return serve({ fetch: errorHandler(zoo), port, hostname: host }) as Server
}

function routes(handlers: Readonly<Record<string, FetchHandler>>, otherwise: FetchHandler): FetchHandler {
  return (request, ...rest) => {
    const method = request.method === 'HEAD' ? 'GET' : request.method
    const { pathname } = new URL(request.url)
    const handler = handlers[`${method} ${pathname.replace(/\/$/, '')}`] ?? otherwise
    return handler(request, ...rest)
  }
}

const json = (request: Request) => readJson((name) => request.headers.get(name), request.body)

/** @hono/node-server passes this object beside the request. It holds the socket. */
const address = (env: unknown) => (env as HttpBindings).incoming.socket.remoteAddress
