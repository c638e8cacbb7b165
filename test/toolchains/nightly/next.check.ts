import { join } from 'node:path'
import { expect } from 'chai'
import { type Server, send, startServer } from '../server.js'
import { install, node } from '../set-up.js'

describe('A Next.js application', function () {
  this.timeout(420_000)
  let server: Server
  const cookies: Record<string, string> = {}

  before(async () => {
    const folder = install('next')
    const next = 'node_modules/next/dist/bin/next'
    const env = { NEXT_TELEMETRY_DISABLED: '1' }
    await node([next, 'build'], folder, env)
    const settings = { ...env, JWT_SECRET: 'a secret of at least thirty-two bytes', DATABASE_FILE: join(folder, 'next.db') }
    // Port 0 is any free port.
    server = await startServer([next, 'start', '--port', '0', '--hostname', '127.0.0.1'], folder, settings, /Local:\s+http:\/\/[^:]+:(\d+)/)
    for (const name of ['ada', 'bob']) {
      const input = { email: `${name}@example.com`, password: `the word of ${name}` }
      const signedIn = await send(`${server.url}/api/users/login/`, input, { prefer: 'cookies', origin: server.url })
      expect(signedIn.status, server.output()).to.equal(200)
      cookies[name] =
        signedIn.headers
          .getSetCookie()
          .find((line) => line.startsWith('__Host-access='))
          ?.split(';')[0] ?? ''
    }
  })

  after(async () => {
    await server?.stop()
  })

  const as = (name: string) => ({ cookie: cookies[name] ?? '', origin: server.url })

  it('refuses a row of another user in a route handler and in a server component', async () => {
    const created = await send(`${server.url}/api/notes/`, { title: 'of ada' }, as('ada'))
    expect(created.status, server.output()).to.equal(201)
    const { id } = (await created.json()) as { id: string }
    const status = async (name: string) => (await send(`${server.url}/api/notes/${id}`, undefined, as(name))).status
    expect([await status('ada'), await status('bob'), await status('nobody')]).to.deep.equal([200, 404, 401])
    const shows = async (name: string) => (await (await send(server.url, undefined, as(name))).text()).includes('<li>of ada</li>')
    expect([await shows('ada'), await shows('bob'), await shows('nobody')], server.output()).to.deep.equal([true, false, false])
  })
})
