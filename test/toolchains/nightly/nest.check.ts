import { join } from 'node:path'
import { expect } from 'chai'
import { type Server, send, startServer } from '../server.js'
import { install, node, root } from '../set-up.js'

describe('A NestJS application', function () {
  this.timeout(300_000)
  let server: Server
  const tokens: Record<string, string> = {}
  const as = (name: string) => ({ authorization: `Bearer ${tokens[name]}` })

  before(async () => {
    const folder = install('nest')
    const types = ['--typeRoots', join(root, 'node_modules/@types'), '--types', 'node']
    await node([join(root, 'node_modules/typescript-5.9/bin/tsc'), '-p', '.', ...types], folder)
    server = await startServer(
      ['--no-warnings', 'dist/main.js'],
      folder,
      { JWT_SECRET: 'a secret of at least thirty-two bytes' },
      /listening on port (\d+)/,
    )
    for (const name of ['ada', 'bob']) {
      const signedIn = await send(`${server.url}/sign-in`, { email: `${name}@example.com`, password: `the word of ${name}` })
      expect(signedIn.status).to.equal(201)
      tokens[name] = ((await signedIn.json()) as { token: string }).token
    }
  })

  after(async () => {
    await server?.stop()
  })

  it('passes the signed-in user to a parameter with the decorator of the example', async () => {
    const me = await send(`${server.url}/me`, undefined, as('bob'))
    expect([me.status, await me.json()]).to.deep.equal([200, { email: 'bob@example.com' }])
  })

  it('refuses an anonymous caller in the guard of the example', async () => {
    const me = await send(`${server.url}/me`)
    expect([me.status, me.headers.get('www-authenticate')]).to.deep.equal([401, 'Bearer'])
  })

  it('answers 404 for a row of another user, with problem details from the exception filter of the example', async () => {
    const created = await send(`${server.url}/notes`, { title: 'of ada' }, as('ada'))
    expect(created.status).to.equal(201)
    const { id } = (await created.json()) as { id: string }
    expect((await send(`${server.url}/notes/${id}`, undefined, as('ada'))).status).to.equal(200)
    const refused = await send(`${server.url}/notes/${id}`, undefined, as('bob'))
    expect([refused.status, refused.headers.get('content-type')]).to.deep.equal([404, 'application/problem+json; charset=utf-8'])
    expect(await refused.json()).to.include({ code: 'not_found' })
  })

  it('answers 422 that names the field, and 401 for a wrong password', async () => {
    const invalid = await send(`${server.url}/notes`, { title: 7 }, as('ada'))
    expect([invalid.status, ((await invalid.json()) as { errors: { field: string }[] }).errors[0]?.field]).to.deep.equal([422, 'title'])
    const wrong = await send(`${server.url}/sign-in`, { email: 'ada@example.com', password: 'another word' })
    expect([wrong.status, ((await wrong.json()) as { code: string }).code]).to.deep.equal([401, 'invalid_credentials'])
  })
})
