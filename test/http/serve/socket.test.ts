import { createServer, type Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { expect } from 'chai'
import { WebSocket, WebSocketServer } from 'ws'
import { nodeAdapter } from '../../../src/adapters/node.js'
import { InvalidTokenError } from '../../../src/core/errors.js'
import type { SocketConnection, UpgradeOptions } from '../../../src/http/serve/socket.js'
import { asSystem, currentUserId } from '../../../src/policy/context.js'
import { fakeClock, signInAs } from '../../../src/testing/index.js'
import { currentUser } from '../../../src/users/caller/actor.js'
import type { User } from '../../../src/users/user.js'
import { openZoo, UserDocument, type Zoo } from '../../conformance/zoo.js'
import { until } from '../../helpers/until.js'

interface Attempt {
  readonly protocols?: string[]
  readonly headers?: Record<string, string>
  readonly path?: string
}

describe('Sockets', () => {
  let zoo: Zoo
  let server: Server
  let options: UpgradeOptions
  let connections: SocketConnection[]
  const opened: WebSocket[] = []

  beforeEach(async () => {
    zoo = await openZoo('better-sqlite3', { cookies: { origins: ['https://app.example.com'] } })
    options = {}
    connections = []
    const { upgrade } = nodeAdapter(zoo.perms)
    const sockets = new WebSocketServer({ noServer: true })
    server = createServer()
    server.on('upgrade', async (req, socket, head) => {
      const connection = await upgrade(req, socket, options)
      if (connection === null) return
      connections.push(connection)
      sockets.handleUpgrade(req, socket, head, (ws) => {
        connection.onEnd(() => ws.close(4401))
        ws.on('close', () => connection.close())
        ws.on('message', (command) => {
          const answer = async (): Promise<unknown> =>
            String(command) === 'documents' ? (await UserDocument.query()).length : currentUserId()
          void connection.run(answer).then(
            (value) => ws.send(JSON.stringify({ value })),
            (error) => ws.send(JSON.stringify({ code: (error as InvalidTokenError).code })),
          )
        })
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  })
  afterEach(async () => {
    for (const ws of opened.splice(0)) ws.terminate()
    server.close()
    server.closeAllConnections()
    await zoo.close()
  })

  const port = () => (server.address() as AddressInfo).port
  /** Connects. @returns the socket, or the status and the code of the refusal */
  const open = ({ protocols = [], headers = {}, path = '/' }: Attempt = {}) =>
    new Promise<WebSocket | { status: number; code: string }>((resolve, reject) => {
      const ws = new WebSocket(`ws://127.0.0.1:${port()}${path}`, protocols, { headers })
      opened.push(ws)
      ws.on('open', () => resolve(ws))
      ws.on('error', reject)
      ws.on('unexpected-response', (_request, response) => {
        let text = ''
        response.on('data', (chunk) => {
          text += String(chunk)
        })
        response.on('end', () => resolve({ status: response.statusCode ?? 0, code: (JSON.parse(text) as { code: string }).code }))
      })
    })
  const accepted = async (attempt: Attempt) => {
    const result = await open(attempt)
    if (!(result instanceof WebSocket)) throw new Error(`refused: ${JSON.stringify(result)}`)
    return result
  }
  const ask = (ws: WebSocket, command = 'who') =>
    new Promise<{ value?: unknown; code?: string }>((resolve) => {
      ws.once('message', (data) => resolve(JSON.parse(String(data)) as { value?: unknown; code?: string }))
      ws.send(command)
    })
  const closed = (ws: WebSocket) => new Promise<number>((resolve) => ws.once('close', resolve))
  /** Sends a message. @returns the code with which the server closed the socket, and the values that it sent before */
  const refused = async (ws: WebSocket) => {
    const values: unknown[] = []
    ws.on('message', (data) => values.push((JSON.parse(String(data)) as { value?: unknown }).value))
    const code = closed(ws)
    ws.send('documents')
    return { code: await code, values }
  }
  const bearer = (token = zoo.tokens.ada) => ({ headers: { authorization: `Bearer ${token}` } })
  const cookie = (token = zoo.tokens.ada) => `__Host-access=${token}`

  it('a token in the Authorization header connects, and messages run as the caller', async () => {
    const ws = await accepted(bearer())
    expect(await ask(ws)).to.deep.equal({ value: zoo.ids.ada })
    expect(await ask(ws, 'documents')).to.deep.equal({ value: 1 })
    expect((connections[0] as SocketConnection).caller).to.have.property('email', 'ada@example.com')
  })

  it('a token after the subprotocol connects, and the response does not repeat the token', async () => {
    const ws = await accepted({ protocols: ['objection-perms', zoo.tokens.ada] })
    expect(ws.protocol).to.equal('objection-perms')
    expect(await ask(ws)).to.deep.equal({ value: zoo.ids.ada })
  })

  it('a token in the query string does not connect [promise 19]', async () => {
    expect(await open({ path: `/?access_token=${zoo.tokens.ada}&token=${zoo.tokens.ada}` })).to.deep.equal({
      status: 401,
      code: 'unauthorized',
    })
  })

  it('an invalid, empty or repeated token does not connect [promise 19]', async () => {
    const unauthorized = { status: 401, code: 'invalid_token' }
    expect(await open(bearer('bad'))).to.deep.equal(unauthorized)
    expect(await open({ headers: { authorization: 'Bearer' } })).to.deep.equal(unauthorized)
    expect(await open({ headers: { 'sec-websocket-protocol': 'objection-perms' } })).to.deep.equal(unauthorized)
    const both = { headers: { ...bearer().headers, 'sec-websocket-protocol': `objection-perms, ${zoo.tokens.ada}` } }
    expect(await open(both)).to.deep.equal({ status: 400, code: 'ambiguous_credentials' })
    const withCookie = { headers: { ...bearer().headers, cookie: cookie() } }
    expect(await open(withCookie)).to.deep.equal({ status: 400, code: 'ambiguous_credentials' })
  })

  it('a cookie connects from a page of this server or of a listed origin', async () => {
    for (const origin of [`http://127.0.0.1:${port()}`, 'https://app.example.com']) {
      const ws = await accepted({ headers: { cookie: cookie(), origin } })
      expect(await ask(ws)).to.deep.equal({ value: zoo.ids.ada })
    }
  })

  it('a cookie without the Origin of an allowed page does not connect', async () => {
    const foreign = { status: 403, code: 'foreign_origin' }
    const none = { cookie: cookie(), 'sec-fetch-site': 'same-origin', referer: `http://127.0.0.1:${port()}/` }
    expect(await open({ headers: none })).to.deep.equal(foreign)
    for (const origin of ['https://evil.example', 'null', `http://127.0.0.1:${port()}.evil.example`, 'http://127.0.0.1:1'])
      expect(await open({ headers: { cookie: cookie(), origin } }), origin).to.deep.equal(foreign)
  })

  it('a client without credentials connects only with the option anonymous', async () => {
    expect(await open()).to.deep.equal({ status: 401, code: 'unauthorized' })
    options = { anonymous: true }
    const ws = await accepted({})
    expect(await ask(ws)).to.deep.equal({ value: null })
    expect(await ask(ws, 'documents')).to.deep.equal({ value: 0 })
    expect(await open(bearer('bad'))).to.deep.equal({ status: 401, code: 'invalid_token' })
  })

  it('a sign-out closes the connection at once [promise 22]', async () => {
    const { accessToken, user } = await signInAs({ email: 'ada@example.com' })
    const [ended, other] = [await accepted(bearer(accessToken)), await accepted(bearer(zoo.tokens.bob))]
    const code = closed(ended)
    await zoo.perms.auth.signOutEverywhere(user)
    expect(await code).to.equal(4401)
    expect(connections[0]?.hasEnded).to.equal(true)
    expect(await ask(other)).to.deep.equal({ value: zoo.ids.bob })
  })

  it('a disabled user sends no further message, and the connection closes [promises 22, 56]', async () => {
    const ws = await accepted(bearer())
    await zoo.perms.knex('user').where({ id: zoo.ids.ada }).update({ is_enabled: false })
    expect(await refused(ws)).to.deep.equal({ code: 4401, values: [] })
  })

  it('an idle connection closes after its session was revoked elsewhere [promise 22]', async () => {
    options = { checkEvery: 0.05 }
    const ws = await accepted(bearer())
    const code = closed(ws)
    await zoo.perms.knex('token').update({ revoked: true })
    expect(await code).to.equal(4401)
  })

  it('a token that expires during the connection is refused at the next message', async () => {
    const ws = await accepted(bearer())
    const clock = fakeClock()
    try {
      clock.advance(1000)
      expect(await refused(ws)).to.deep.equal({ code: 4401, values: [] })
    } finally {
      clock.restore()
    }
  })

  it('a message obeys a role that changed during the connection', async () => {
    const ws = await accepted(bearer())
    const ada = (await asSystem(() => zoo.perms.models.user.query().findById(zoo.ids.ada))) as unknown as User
    expect(await ask(ws, 'documents')).to.deep.equal({ value: 1 })
    await asSystem(() => ada.grantRole('admin'))
    expect(await ask(ws, 'documents')).to.deep.equal({ value: 2 })
    await asSystem(() => ada.revokeRole('admin'))
    expect(await ask(ws, 'documents')).to.deep.equal({ value: 1 })
  })

  it('a database that is down refuses the message and keeps the connection [promise 61]', async () => {
    await accepted(bearer())
    const connection = connections[0] as SocketConnection
    await zoo.perms.knex.schema.renameTable('token', 'token_elsewhere')
    await connection
      .run(() => currentUser())
      .then(
        () => expect.fail('ran without a proven session'),
        () => undefined,
      )
    expect(connection.hasEnded).to.equal(false)
    await zoo.perms.knex.schema.renameTable('token_elsewhere', 'token')
    expect(((await connection.run(() => currentUser())) as User).id).to.equal(zoo.ids.ada)
  })

  it('a check that fails for any reason ends an idle connection [promise 61]', async () => {
    options = { checkEvery: 0.05 }
    const ws = await accepted(bearer())
    const code = closed(ws)
    await zoo.perms.knex.schema.renameTable('token', 'token_elsewhere')
    expect(await code).to.equal(4401)
  })

  it('run() fails and onEnd() is silent after close()', async () => {
    await accepted(bearer())
    const connection = connections[0] as SocketConnection
    let calls = 0
    connection.onEnd(() => {
      calls += 1
    })
    connection.close()
    const error = await connection
      .run(() => 1)
      .then(
        () => null,
        (thrown: unknown) => thrown,
      )
    expect(error).to.be.instanceOf(InvalidTokenError)
    expect(calls).to.equal(0)
  })

  it('a client that disconnects during the check does not end the process', async () => {
    const socket = connect(port(), '127.0.0.1')
    const lines = [
      'GET / HTTP/1.1',
      'Host: x',
      'Connection: Upgrade',
      'Upgrade: websocket',
      `Authorization: Bearer ${zoo.tokens.ada}`,
      '',
      '',
    ]
    await new Promise<void>((resolve) => socket.write(lines.join('\r\n'), () => resolve()))
    socket.resetAndDestroy()
    const ws = await accepted(bearer())
    await until('an answer to a later client', async () => (await ask(ws)).value === zoo.ids.ada)
  })
})
