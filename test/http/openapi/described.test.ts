import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { expect } from 'chai'
import express from 'express'
import fastify from 'fastify'
import { Hono } from 'hono'
import { expressAdapter } from '../../../src/adapters/express.js'
import { fastifyAdapter } from '../../../src/adapters/fastify.js'
import { honoAdapter } from '../../../src/adapters/hono.js'
import { nodeAdapter } from '../../../src/adapters/node.js'
import { HttpResponse } from '../../../src/http/core/response.js'
import { CrudResource } from '../../../src/http/crud/crud-resource.js'
import { type OpenApiDocument, openApiDocument } from '../../../src/http/openapi/document.js'
import { Api, MountedApi } from '../../../src/http/serve/api.js'
import { UserResource } from '../../../src/http/users/user-resource.js'
import { allFeatures, openFullZoo } from '../../conformance/full-zoo.js'
import { Critter, type Zoo } from '../../conformance/zoo.js'
import { clientOf, neutralRequest } from '../client.js'

describe('The OpenAPI document describes the responses', function () {
  this.timeout(30_000)
  let zoo: Zoo
  before(async () => {
    zoo = await openFullZoo()
  })
  after(() => zoo.close())

  const operation = (document: OpenApiDocument, id: string) =>
    Object.values(document.paths)
      .flatMap((path) => Object.values(path))
      .find(({ operationId }) => operationId === id)
  const inputOf = (document: OpenApiDocument, id: string): object => {
    const body = operation(document, id)?.requestBody as { content: { 'application/json': { schema: { $ref: string } } } }
    return document.components.schemas[body.content['application/json'].schema.$ref.split('/').pop() as string] as object
  }

  it('with one limit for e-mail addresses', () => {
    const users = new UserResource({ name: 'User', features: { ...allFeatures, privateRegistration: false } })
    const document = openApiDocument(new Api({ resources: [users] }), zoo.perms)
    const limits: unknown[] = []
    JSON.stringify(document, (name, value) => {
      if (name === 'email' && value !== null && typeof value === 'object' && 'maxLength' in value) limits.push(value.maxLength)
      return value
    })
    expect(limits.length).to.be.greaterThan(7)
    expect([...new Set(limits)]).to.deep.equal([254])
  })

  it('to keys of an argSchema that are not columns', async () => {
    const critters = new CrudResource({ model: Critter, argSchema: ['name', 'species', 'reason'] })
    const users = new UserResource({
      name: 'User',
      argSchema: ['email', 'password', 'oldPassword', 'reason'],
      features: { invitations: true },
    })
    const api = new Api({ resources: [critters, users] })
    const document = openApiDocument(api, zoo.perms)
    const bodies = {
      createCritter: { name: 'Rex', species: 'dog', reason: 'found' },
      updateCritter: { reason: ['any', { value: 1 }] },
      createUser: { email: 'new@example.com', reason: null },
      updateUser: { reason: 'x' },
      updateCurrentUser: { reason: 'x' },
      registerUserByInvitation: { token: 'x', password: 'x', reason: 'x' },
    }
    const ajv = new Ajv2020({ code: { optimize: false }, strict: false, validateFormats: false })
    for (const [id, body] of Object.entries(bodies)) {
      const validate = ajv.compile(inputOf(document, id))
      expect(validate(body), `${id} ${JSON.stringify(validate.errors)}`).to.equal(true)
      expect(validate({ ...body, isAdoptable: true }), id).to.equal(false)
    }
    const ask = clientOf(api, zoo.perms)
    expect((await ask('POST', '/critters', zoo.tokens.ada, { body: bodies.createCritter })).status).to.equal(201)
    expect((await ask('PATCH', '/users/me', zoo.tokens.ada, { body: bodies.updateCurrentUser })).status).to.equal(200)
  })

  it('of endpoints without a schema', async () => {
    const critters = new CrudResource({ model: Critter })
    const handlers: Record<string, () => unknown> = {
      value: () => ({ ok: true }),
      nothing: () => undefined,
      response: () => HttpResponse.json([1]),
    }
    for (const method of ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const)
      for (const [path, handler] of Object.entries(handlers))
        critters.endpoint({ method, path: `do/${path}`, handler, abilities: () => [] })
    critters.endpoint({ method: 'POST', path: 'do/later', handler: () => ({ later: true }), status: 202, abilities: () => [] })
    critters.endpoint({ method: 'POST', path: 'do/empty', handler: () => undefined, status: 204, abilities: () => [] })
    const api = new Api({ resources: [critters] })
    const document = openApiDocument(api, zoo.perms)
    const ask = clientOf(api, zoo.perms)
    let count = 0
    for (const [path, operations] of Object.entries(document.paths).filter(([one]) => one.startsWith('/critters/do/'))) {
      for (const [method, { responses }] of Object.entries(operations)) {
        const more = method === 'post' || method === 'put' || method === 'patch' ? { body: {} } : {}
        const { status, body } = await ask(method.toUpperCase(), path, zoo.tokens.ada, more)
        const documented = responses[String(status)] as { content?: object } | undefined
        expect(documented, `${method} ${path} ${status}`).to.be.an('object')
        expect(documented?.content !== undefined, `${method} ${path} ${status}`).to.equal(body !== undefined)
        count += 1
      }
    }
    expect(count).to.equal(17)
    expect(Object.keys(document.paths['/critters/do/later']?.['post']?.responses ?? {}).filter((one) => one < '300')).to.deep.equal(['202'])
    expect(Object.keys(document.paths['/critters/do/empty']?.['post']?.responses ?? {}).filter((one) => one < '300')).to.deep.equal(['204'])
  })

  it("of the library's endpoints without a response body", () => {
    const document = openApiDocument(new Api({ resources: [new UserResource({ name: 'User', features: allFeatures })] }), zoo.perms)
    for (const id of ['logoutUser', 'deleteUser', 'deleteUserSession', 'deleteUserApiKey', 'verifyUserEmail', 'deleteUserInvitation']) {
      const { responses = {} } = operation(document, id) ?? {}
      expect(
        Object.keys(responses).filter((status) => status < '300'),
        id,
      ).to.deep.equal(['204'])
    }
  })

  describe('with the mount path in servers', () => {
    const api = () => new Api({ prefix: '/api', resources: [new CrudResource({ model: Critter, methods: ['list'] })] })
    const listening = async (listener: RequestListener): Promise<{ url: string; close: () => void }> => {
      const server = createServer(listener)
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => server.close() }
    }
    const urlsAt = async (url: string) =>
      ((await (await fetch(url)).json()) as { servers: { url: string }[] }).servers.map((server) => server.url)

    it('for express', async () => {
      const { authenticate, router } = expressAdapter(zoo.perms)
      const app = express().use(authenticate()).use('/v1', router(api())).use('/v2/zoo', router(api())).use(router(api()))
      const { url, close } = await listening(app as RequestListener)
      try {
        expect(await urlsAt(`${url}/v1/openapi.json`)).to.deep.equal(['/v1'])
        expect(await urlsAt(`${url}/v2/zoo/openapi.json/?x=1`)).to.deep.equal(['/v2/zoo'])
        expect(await urlsAt(`${url}/openapi.json`)).to.deep.equal(['/'])
        expect(await urlsAt(`${url}/v1/openapi.json`)).to.deep.equal(['/v1'])
      } finally {
        close()
      }
    })

    it('for fastify', async () => {
      const app = fastify()
      const { router } = fastifyAdapter(zoo.perms)
      await app.register(router(api()), { prefix: '/v1' })
      try {
        const { servers } = (await app.inject('/v1/openapi.json')).json() as { servers: object[] }
        expect(servers).to.deep.equal([{ url: '/v1', 'x-internal': false }])
      } finally {
        await app.close()
      }
    })

    it('for hono', async () => {
      const { router } = honoAdapter(zoo.perms)
      const app = new Hono().route('/v1', new Hono().use(router(api(), { base: '/v1' })))
      const answer = await app.request('/v1/openapi.json')
      expect(answer.status).to.equal(200)
      expect(((await answer.json()) as { servers: { url: string }[] }).servers[0]?.url).to.equal('/v1')
    })

    it('for node, at the root', async () => {
      const { url, close } = await listening(nodeAdapter(zoo.perms).router(api()))
      try {
        expect(await urlsAt(`${url}/openapi.json`)).to.deep.equal(['/'])
      } finally {
        close()
      }
    })

    it('as a path of this host, unless the application sets servers', async () => {
      const asks = clientOf(api(), zoo.perms)
      expect((await asks('GET', '/openapi.json')).body.servers).to.deep.equal([{ url: '/', 'x-internal': false }])
      expect(openApiDocument(api(), zoo.perms, { mountPath: '/v1' }).servers).to.deep.equal([{ url: '/v1', 'x-internal': false }])
      const servers = [{ url: 'https://api.example.com' }]
      const serversOf = async (given: Api, url: string) => {
        const response = await new MountedApi(given, zoo.perms).handle({ ...neutralRequest('GET', '/openapi.json'), url })
        return (JSON.parse(response?.body as string) as { servers: object[] }).servers
      }
      expect(await serversOf(api(), '//evil.example/openapi.json')).to.deep.equal([{ url: '/evil.example', 'x-internal': false }])
      expect(await serversOf(new Api({ document: { servers } }), '/v1/openapi.json')).to.deep.equal(servers)
    })
  })
})
