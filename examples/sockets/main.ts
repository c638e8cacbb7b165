/**
 * A chat over WebSockets: `JWT_SECRET=... node --import tsx examples/sockets/main.ts`. Needs `npm run build`.
 * Clients connect with `new WebSocket(url, ['objection-perms', accessToken])`.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import Knex from 'knex'
import { Api, initPerms, PermsError, type SocketConnection, User, UserResource } from 'objection-perms'
import { nodeAdapter } from 'objection-perms/node'
import { type WebSocket, WebSocketServer } from 'ws'

User.publicRegistration = true
const knex = Knex({ client: 'better-sqlite3', connection: ':memory:', useNullAsDefault: true })
const perms = initPerms({ knex, jwt: { secret: process.env['JWT_SECRET'] } })
await perms.migrate()

const { router, authenticate, upgrade } = nodeAdapter(perms)
const api = new Api({ prefix: '/api', resources: [new UserResource()] })
const server = createServer(authenticate(router(api)))
// `ws` answers with the first subprotocol that the client offers, never with the token.
const sockets = new WebSocketServer({ noServer: true, maxPayload: 65_536 })

server.on('upgrade', async (req, socket, head) => {
  const connection = await upgrade(req, socket, { checkEvery: 5 })
  if (connection === null) return
  sockets.handleUpgrade(req, socket, head, (ws) => serve(ws, connection))
})

function serve(ws: WebSocket, connection: SocketConnection): void {
  connection.onEnd(() => ws.close(4401, 'The session has ended.'))
  ws.on('close', () => connection.close())
  ws.on('error', () => ws.terminate())
  ws.on('message', async (data) => {
    try {
      // Runs as the caller: the query returns the rows that the caller may read.
      const users = await connection.run(() => User.query())
      ws.send(JSON.stringify({ echo: String(data), users: users.map(({ email }) => email) }))
    } catch (error) {
      ws.send(JSON.stringify({ error: error instanceof PermsError ? error.code : 'internal' }))
    }
  })
}

server.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`)
})
