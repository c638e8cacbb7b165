import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { WebSocket } from 'ws'
import { request } from '../helpers/http.js'

const root = fileURLToPath(new URL('../../', import.meta.url))

describe('The example of sockets', function () {
  this.timeout(60_000)

  it('answers messages as the caller and closes the socket at sign-out', async () => {
    const { NODE_V8_COVERAGE: _coverage, ...inherited } = process.env
    const env = { ...inherited, PORT: '0', JWT_SECRET: 'a secret of at least thirty-two bytes, for tests' }
    const child = spawn(process.execPath, ['--import', 'tsx', 'examples/sockets/main.ts'], {
      cwd: root,
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    try {
      let output = ''
      const url = await new Promise<string>((resolve, reject) => {
        child.once('exit', (code) => reject(new Error(`The example ended with ${code}.`)))
        child.stdout.on('data', (chunk: Buffer) => {
          output += chunk.toString()
          const found = /listening on (http:\/\/\S+)/.exec(output)
          if (found) resolve(found[1] as string)
        })
      })
      const credentials = { email: 'ada@example.com', password: 'correct horse battery' }
      expect((await request(url, 'POST', '/api/users/', { json: credentials })).status).to.equal(201)
      const { access_token: token } = (await request(url, 'POST', '/api/users/login/', { json: credentials })).body as {
        access_token: string
      }
      const ws = new WebSocket(url.replace('http', 'ws'), ['objection-perms', token])
      await once(ws, 'open')
      ws.send('hello')
      const [data] = (await once(ws, 'message')) as [Buffer]
      expect(JSON.parse(data.toString())).to.deep.equal({ echo: 'hello', users: ['ada@example.com'] })
      const closed = once(ws, 'close')
      expect((await request(url, 'POST', '/api/users/logout/', { token })).status).to.equal(204)
      expect((await closed)[0]).to.equal(4401)
    } finally {
      const ended = once(child, 'exit')
      child.kill()
      await ended
    }
  })
})
