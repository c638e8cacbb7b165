import { createServer, type Server, type ServerResponse } from 'node:http'
import { NotFoundError, type Perms, Role } from 'objection-perms'
import { type NodeHandler, nodeAdapter } from 'objection-perms/node'
import { accounts } from './accounts.js'
import { zooApi } from './api.js'
import { readJson } from './json-body.js'
import { zooPages } from './pages.js'
import { zooReport } from './reports.js'

/** The zoo on node:http alone. */
export function serveWithNode(perms: Perms, port: number, host: string): Server {
  const { authenticate, router, requireUser, requireRole, errorHandler } = nodeAdapter(perms)
  const { register, login, profile } = accounts(perms)

  const own = routes(
    {
      'GET /auth/profile': requireUser(async (_req, res) => send(res, 200, await profile())),
      'GET /reports': requireRole(Role.ADMIN, async (_req, res) => send(res, 200, await zooReport())),
    },
    () => {
      throw new NotFoundError()
    },
  )

  const zoo = routes(
    {
      'GET /health': (_req, res) => send(res, 200, { status: 'ok' }),
      // Before authenticate(): whoever signs in may still send a token that has expired.
      'POST /auth/register': async (req, res) => {
        const body = await readJson((name) => req.headers[name], req)
        send(res, 201, await register(body, { address: req.socket.remoteAddress }))
      },
      'POST /auth/login': async (req, res) => {
        const body = await readJson((name) => req.headers[name], req)
        res.setHeader('cache-control', 'no-store')
        send(res, 200, await login(body, { address: req.socket.remoteAddress }))
      },
    },
    router(zooPages(perms), authenticate(router(zooApi(perms), own))),
  )

  return createServer(errorHandler(zoo)).listen(port, host)
}

function routes(handlers: Readonly<Record<string, NodeHandler>>, otherwise: NodeHandler): NodeHandler {
  return (req, res) => {
    const method = req.method === 'HEAD' ? 'GET' : req.method
    const handler = handlers[`${method} ${req.url?.split('?')[0]?.replace(/\/$/, '')}`] ?? otherwise
    return handler(req, res)
  }
}

function send(res: ServerResponse, status: number, value: object): void {
  res.writeHead(status, { 'content-type': 'application/json; charset=utf-8' }).end(JSON.stringify(value))
}
