import { Socket } from 'node:net'
import { expect } from 'chai'
import { CrudResource } from '../../src/http/crud/crud-resource.js'
import { Api } from '../../src/http/serve/api.js'
import { UserResource } from '../../src/http/users/user-resource.js'
import { apps } from '../conformance/apps.js'
import { openZoo, UserDocument, type Zoo } from '../conformance/zoo.js'

type Write = (this: Socket, ...args: never[]) => void
type Writing = Record<'_write' | '_writev', Write>

/** Counts the writes to the sockets of a server while fn runs. Node makes one system call for each. */
async function writesOf(url: string, fn: () => Promise<void>): Promise<number> {
  const port = Number(new URL(url).port)
  const prototype = Socket.prototype as unknown as Writing
  const { _write, _writev } = prototype
  let count = 0
  const counting = (write: Write): Write =>
    function (...args) {
      if (this.localPort === port) count += 1
      write.apply(this, args)
    }
  Object.assign(prototype, { _write: counting(_write), _writev: counting(_writev) })
  try {
    await fn()
  } finally {
    Object.assign(prototype, { _write, _writev })
  }
  return count
}

describe('A response is one write to the socket, headers and body together', () => {
  let zoo: Zoo
  before(async () => {
    zoo = await openZoo()
  })
  after(() => zoo.close())

  for (const [name, start] of Object.entries(apps)) {
    it(`with ${name}`, async () => {
      const documents = new CrudResource({ model: UserDocument, path: 'documents' })
      const app = await start(zoo.perms, new Api({ prefix: '/api', resources: [new UserResource({}), documents] }))
      const ask = (method: string, path: string, status: number, body?: object) => async () => {
        const headers = { authorization: `Bearer ${zoo.tokens.ada}`, ...(body && { 'content-type': 'application/json' }) }
        const response = await fetch(`${app.url}/api/${path}`, { method, headers, ...(body && { body: JSON.stringify(body) }) })
        await response.arrayBuffer()
        expect(response.status).to.equal(status)
      }
      const requests = [
        ask('GET', 'users/me', 200),
        ask('GET', 'documents', 200),
        ask('GET', `documents/${zoo.ids.document}`, 200),
        ask('POST', 'documents', 201, { title: 'é', content: 'text '.repeat(100) }),
        ask('POST', 'documents', 422, { title: 5 }),
        ask('GET', 'documents/none', 404),
      ]
      const counts: number[] = []
      for (const request of requests) counts.push(await writesOf(app.url, request))
      await app.close()
      expect(counts).to.deep.equal(requests.map(() => 1))
    })
  }
})
