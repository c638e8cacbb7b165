import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { expect } from 'chai'
import fc from 'fast-check'
import { type FetchHandler, fetchAdapter } from '../../src/adapters/fetch.js'
import { type OpenApiDocument, openApiDocument } from '../../src/http/openapi.js'
import { asSystem } from '../../src/perms/context.js'
import { User } from '../../src/users/user.js'
import { Critter, openZoo, UserDocument, type Zoo } from '../conformance/zoo.js'
import { documentedApi } from './documented.js'
import { type FuzzRequest, type Operation, operationsOf, requestsOf } from './fuzz-requests.js'

/** Requests for each resource. */
const runs = Number(process.env['FUZZ_RUNS'] ?? 10_000)
/** Stands in whatever is bob's alone; the fuzzer never sends it. */
const marker = 'bobs-own-and-no-one-elses'

/** Nobody here knows a password or a refresh token, and ada may not do the others. */
const neverWork = new Set(['loginUser', 'refreshUser', 'updateCurrentUser', 'updateUser', 'createUser', 'deleteUser', 'deleteCritter'])

describe(`requests made from the OpenAPI document, ${runs} for each resource`, function () {
  this.timeout(600_000)
  let zoo: Zoo
  let handler: FetchHandler
  let document: OpenApiDocument
  const tokens: Record<string, string> = {}
  const failures: unknown[] = []
  const schemas = new Map<string, ValidateFunction>()
  const ajv = new Ajv2020({ strict: false })
  addFormats.default(ajv)

  before(async () => {
    zoo = await openZoo('better-sqlite3', { throttle: false })
    handler = fetchAdapter(zoo.perms, { onError: (error) => failures.push(error) }).router(documentedApi())
    document = openApiDocument(documentedApi(), zoo.perms)
    ajv.addSchema({ ...document, $id: 'document' })
    await asSystem(async () => {
      const user = await User.create({ email: `${marker}@example.com` })
      const owned = await UserDocument.create({ title: marker, content: marker, userId: user.id })
      const shy = await Critter.create({ name: marker, species: marker, isAdoptable: false, userId: user.id })
      tokens.bob = await zoo.perms.auth.createAccessToken(user)
      const [elsewhere] = await zoo.perms.auth.sessions(user)
      Object.assign(ids, { ada: zoo.ids.ada, bob: user.id, foreign: owned.id, shy: shy.id, elsewhere: elsewhere?.id })
    })
    tokens.bad = 'bad.token.x'
    const asBob = new Request('http://zoo.test/api/documents', { headers: { authorization: `Bearer ${tokens.bob}` } })
    expect(await (await handler(asBob)).text()).to.include(marker)
  })
  after(() => zoo.close())

  /** What '@own' and the like stand for at the moment. */
  const ids: Record<string, string> = {}
  let isUnsettled = true

  // What the fuzzer did may have ended ada's sessions or deleted her rows: she comes back to work.
  async function settle(): Promise<void> {
    isUnsettled = false
    await asSystem(async () => {
      const userId = zoo.ids.ada
      tokens.ada = await zoo.perms.auth.createAccessToken(await User.getOr404(userId))
      await UserDocument.query().delete().where({ userId })
      await Critter.query().delete().where({ userId })
      ids.document = (await UserDocument.create({ title: 'mine', content: 'x', userId })).id
      ids.critter = (await Critter.create({ name: 'mine', species: 'cat', userId })).id
      ids.session = (await zoo.perms.auth.sessions(userId))[0]?.id ?? ''
    })
  }

  function responseOf(operation: Operation, status: number): { content?: Record<string, { schema: { $ref?: string } }> } {
    const said = operation.responses[String(status)] as { $ref?: string } | undefined
    expect(said, `${operation.operationId} does not document ${status}`).not.to.equal(undefined)
    return (said?.$ref ? document.components.responses[said.$ref.replace(/.*\//, '')] : said) as never
  }

  function validator(operation: Operation, status: number, type: string): ValidateFunction | undefined {
    const { content } = responseOf(operation, status)
    if (!content) return undefined
    const schema = content[type]?.schema
    expect(schema, `${operation.operationId} ${status} does not document ${type}`).not.to.equal(undefined)
    const key = schema?.$ref ?? `${operation.operationId} ${status}`
    let validate = schemas.get(key)
    if (!validate) {
      validate = ajv.compile(schema?.$ref ? { $ref: `document${schema.$ref}` } : (schema as object))
      schemas.set(key, validate)
    }
    return validate
  }

  /** How often each operation gave each class of answers. */
  const seen = new Map<string, Record<string, number>>()

  async function check({ operation, target: said, body: sent, headers, caller }: FuzzRequest): Promise<void> {
    const named = (text: string) => text.replace(/@(\w+)/g, (whole, name: string) => ids[name] ?? whole)
    const target = named(said)
    const body = typeof sent === 'string' ? named(sent) : sent
    const token = tokens[caller]
    const init: RequestInit = {
      method: operation.method,
      headers: { ...headers, ...(token !== undefined && { authorization: `Bearer ${token}` }) },
    }
    if (body !== undefined && operation.method !== 'GET') init.body = body as string
    const request = new Request(`http://zoo.test${target}`, init)
    const answer = await handler(request)
    const text = await answer.text()
    const what = `${operation.method} ${target} ${typeof body === 'string' ? body : ''} as ${caller}: ${answer.status} ${text.slice(0, 500)}`
    expect(answer.status, what).to.be.lessThan(500)
    if ((answer.status === 401 && caller === 'ada') || answer.status === 204) isUnsettled = true
    const counts = seen.get(operation.operationId) ?? {}
    const kind = `${Math.floor(answer.status / 100)}xx`
    counts[kind] = (counts[kind] ?? 0) + 1
    seen.set(operation.operationId, counts)
    expect(text, what).not.to.include(marker)
    if (text === '') return void expect([204, 304], what).to.include(answer.status)
    const type = (answer.headers.get('content-type') ?? '').split(';')[0] as string
    const value: unknown = JSON.parse(text)
    // `..` and an empty id make it another address, which the operation does not speak of.
    const { pathname } = new URL(request.url)
    const isElsewhere = pathname !== target.split('?')[0] || pathname.slice(1).split('/').includes('')
    const validate = isElsewhere ? undefined : validator(operation, answer.status, type)
    expect(validate === undefined || validate(value), `${what} ${JSON.stringify(validate?.errors)}`).to.equal(true)
  }

  const kinds: readonly [string, readonly string[]][] = [
    ['User', ['anonymous', 'ada', 'ada', 'bad']],
    ['UserDocument', ['anonymous', 'ada', 'ada', 'ada', 'bad']],
    ['OwnDocument', ['anonymous', 'ada', 'ada', 'ada']],
    ['Critter', ['anonymous', 'ada', 'ada', 'ada', 'bad']],
  ]
  for (const [tag, callers] of kinds) {
    it(`make no 5xx at ${tag}, are answered as documented, and show nothing of another user's [promise 47]`, async () => {
      const operations = operationsOf(document, tag)
      expect(operations.length).to.be.greaterThan(4)
      const own =
        tag === 'User'
          ? ['@ada', '@ada', '@bob']
          : tag === 'Critter'
            ? ['@critter', '@critter', '@shy']
            : ['@document', '@document', '@foreign']
      const named = { id: own, userId: ['@ada', '@ada', '@ada', '@bob'], sessionId: ['@session', '@session', '@elsewhere'] }
      let count = 0
      await fc.assert(
        fc.asyncProperty(requestsOf(operations, named, callers), async (request) => {
          if (isUnsettled || count % 500 === 0) await settle()
          count += 1
          await check(request)
        }),
        { numRuns: runs, endOnFailure: true, ...(process.env['FUZZ_SEED'] && { seed: Number(process.env['FUZZ_SEED']) }) },
      )
      expect(failures).to.deep.equal([])
      expect(count).to.be.at.least(runs)
      for (const { operationId } of operations) {
        if (runs < 1000 || neverWork.has(operationId)) continue
        expect(seen.get(operationId)?.['2xx'], `${operationId} never worked: ${JSON.stringify(seen.get(operationId))}`).to.be.greaterThan(0)
      }
    })
  }
})
