import { randomBytes } from 'node:crypto'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { expect } from 'chai'
import fc from 'fast-check'
import { type FetchHandler, fetchAdapter } from '../../src/adapters/fetch.js'
import { type OpenApiDocument, openApiDocument } from '../../src/http/openapi/document.js'
import { Api } from '../../src/http/serve/api.js'
import { UserResource } from '../../src/http/users/user-resource.js'
import { asSystem, runAsActor } from '../../src/policy/context.js'
import { createUser, signInAs, testHasher } from '../../src/testing/index.js'
import { runAs } from '../../src/users/caller/actor.js'
import { Domain } from '../../src/users/domain.js'
import { Identity } from '../../src/users/identity.js'
import { Passkey } from '../../src/users/passkey.js'
import { Role } from '../../src/users/roles/roles.js'
import { TrustedDevice } from '../../src/users/trusted-device.js'
import { User } from '../../src/users/user.js'
import { UserRole } from '../../src/users/user-role.js'
import { addFactor, challengeOf, codeOf } from '../auth/flows/second-factor/factor.js'
import { type FullZoo, openFullZoo } from '../conformance/full-zoo.js'
import { Critter, password, UserDocument } from '../conformance/zoo.js'
import { generatedCases } from '../helpers/repetitions.js'
import { type FuzzRequest, type Operation, operationsOf, requestsOf } from './fuzz-requests.js'
import { documentedApi } from './openapi/documented.js'

/** Requests for each resource. */
const runs = generatedCases(10_000, 'FUZZ_RUNS', 50)
/** Stands in whatever is bob's alone; the fuzzer never sends it. */
const marker = 'bobs-own-and-no-one-elses'
const email = 'ada@example.com'
const NO_MODEL = '00000000-0000-0000-0000-000000000000'
const uniqueText = () => randomBytes(16).toString('hex')

/** Operations that ada may not call, or that no random input can call with success: they need input that an authenticator or a provider signed. */
const neverWork = new Set([
  ...['updateUser', 'createUser', 'deleteUser', 'deleteCritter'],
  ...[
    'createUserPasskey',
    'loginUserWithPasskey',
    'finishUserProviderSignIn',
    'postUserProviderSignIn',
    'exchangeUserProviderCode',
    'deleteUserPasskey',
  ],
])

describe(`Requests generated from the OpenAPI document, ${runs} for each resource`, function () {
  this.timeout(600_000)
  let zoo: FullZoo
  let handler: FetchHandler
  /** Loads the caller before the router. */
  let loading: FetchHandler
  let document: OpenApiDocument
  const tokens: Record<string, string> = {}
  const failures: unknown[] = []
  const schemas = new Map<string, ValidateFunction>()
  const ajv = new Ajv2020({ code: { optimize: false }, strict: false })
  addFormats.default(ajv)

  before(async () => {
    zoo = await openFullZoo()
    const adapter = fetchAdapter(zoo.perms, { onError: (error) => failures.push(error) })
    const router = adapter.router(documentedApi())
    handler = router
    loading = adapter.authenticate((request) => router(request))
    document = openApiDocument(documentedApi(), zoo.perms)
    ajv.addSchema({ ...document, $id: 'document' })
    await asSystem(async () => {
      const user = await User.create({ email: `${marker}@example.com` })
      const owned = await UserDocument.create({ title: marker, content: marker, userId: user.id })
      const shy = await Critter.create({ name: marker, species: marker, isAdoptable: false, userId: user.id })
      tokens.bob = await zoo.perms.auth.createAccessToken(user)
      const [elsewhere] = await zoo.perms.auth.sessions(user)
      const domain = (await Domain.create({ name: 'press' })).id
      const { key } = await zoo.perms.auth.apiKeys.issue(user, { abilities: ['*'] })
      superadmin = await createUser({ password }, { role: Role.SUPERADMIN })
      Object.assign(ids, { ada: zoo.ids.ada, bob: user.id, foreign: owned.id, shy: shy.id, elsewhere: elsewhere?.id, domain })
      Object.assign(ids, { email, password, foreignKey: key.id })
    })
    tokens.bad = 'bad.token.x'
    const asBob = new Request('http://zoo.test/api/documents', { headers: { authorization: `Bearer ${tokens.bob}` } })
    expect(await (await handler(asBob)).text()).to.include(marker)
  })
  after(() => zoo.close())

  /** The current ids for '@own' and similar names. */
  const ids: Record<string, string> = {}
  let superadmin: User
  let isUnsettled = true

  // Earlier requests may have ended ada's sessions, changed her password or deleted her rows: restore them.
  async function settle(): Promise<void> {
    isUnsettled = false
    await zoo.perms.auth.settled()
    zoo.mailer.clear()
    for (const name of Object.keys(makers)) {
      delete ids[name]
      delete tokens[name]
    }
    const { knex } = zoo.perms
    const userId = zoo.ids.ada
    await knex('user')
      .where('id', userId)
      .update({ email, password_hash: await testHasher().hash(password), email_verified_at: null })
    for (const table of ['second_factor', 'passkey', 'identity', 'trusted_device', 'account_deletion']) await knex(table).delete()
    await knex('token').whereIn('user_id', [userId, superadmin.id]).delete()
    await knex('user_role').whereNot('user_id', superadmin.id).delete()
    await knex('user_document').where('user_id', userId).delete()
    await knex('critter').where('user_id', userId).delete()
    await signIn(await ada())
  }

  const ada = () => asSystem(() => User.getOr404(zoo.ids.ada))
  /** Rows that are created again for the first request that names them or is sent by them. */
  const makers: Readonly<Record<string, () => Promise<unknown>>> = {
    document: async () => {
      ids.document = (await asSystem(() => UserDocument.create({ title: 'mine', content: 'x', userId: zoo.ids.ada }))).id
    },
    critter: async () => {
      ids.critter = (await asSystem(() => Critter.create({ name: 'mine', species: 'cat', userId: zoo.ids.ada }))).id
    },
    session: async () => {
      ids.session = (await zoo.perms.auth.sessions(zoo.ids.ada))[0]?.id ?? ''
    },
    key: async () => {
      const { key, plain } = await zoo.perms.auth.apiKeys.issue(await ada(), { abilities: ['*'] })
      ids.key = key.id
      tokens.key = plain
    },
    grant: async () => {
      ids.grant = (await asSystem(async () => UserRole.create({ user: await createUser(), role: 'editor', domain: 'press' }))).id
    },
    invitation: async () => {
      ids.invitation = (await invite('somebody@example.com')).id
    },
    passkey: async () => {
      const key = { publicKey: 'x', counter: '0', deviceType: 'singleDevice', backedUp: false, name: 'Phone', aaguid: NO_MODEL }
      const values = { ...key, credentialId: 'x', credentialHash: uniqueText(), userHandle: 'x', userId: zoo.ids.ada }
      ids.passkey = (await asSystem(() => Passkey.create(values))).id
    },
    identity: async () => {
      const values = { provider: 'query', issuer: 'https://provider.example.com', subject: uniqueText(), userId: zoo.ids.ada }
      ids.identity = (await asSystem(() => Identity.create(values))).id
    },
    device: async () => {
      const values = { token: uniqueText(), passwordMark: 'x', expiresAt: new Date(Date.now() + 86_400_000), userId: zoo.ids.ada }
      ids.device = (await asSystem(() => TrustedDevice.create(values))).id
    },
    inPlace: async () => {
      const actor = await zoo.perms.auth.authenticate((await signInAs(superadmin)).accessToken)
      tokens.inPlace = (await runAsActor(actor, () => zoo.perms.auth.impersonation.start(zoo.ids.ada))).accessToken
    },
    superadmin: async () => {
      tokens.superadmin = (await signInAs(superadmin)).accessToken
    },
  }

  async function makeWhatIsNamed({ target, body, caller }: FuzzRequest): Promise<void> {
    for (const [name, make] of Object.entries(makers)) {
      const isNamed = target.includes(`@${name}`) || (typeof body === 'string' && body.includes(`"@${name}"`))
      if ((isNamed || caller === name) && ids[name] === undefined && tokens[name] === undefined) await make()
    }
  }

  async function signIn(user: User): Promise<void> {
    const { accessToken, refreshToken } = await signInAs(user)
    tokens.ada = accessToken
    ids.refresh = refreshToken
  }

  const invite = (to: string) => runAs(superadmin, () => zoo.perms.auth.invitations.invite({ email: to, role: 'editor', domain: 'press' }))
  let invited = 0

  /** Makes what '@token', '@challenge' and '@code' stand for where this operation is asked by ada. */
  async function prepare(operationId: string): Promise<void> {
    isUnsettled = true
    const { auth } = zoo.perms
    const { mail } = auth
    const user = await ada()
    const mails: Readonly<Record<string, () => Promise<unknown>>> = {
      verifyUserEmail: () => mail.requestVerification(email),
      resetUserPassword: () => mail.requestPasswordReset(email),
      confirmUserEmailChange: () => asSystem(() => mail.requestEmailChange(user, { email: 'other@example.com', oldPassword: password })),
      loginUserByMagicLink: () => mail.requestMagicLink(email),
      acceptUserInvitation: () => invite(email),
      registerUserByInvitation: () => {
        invited += 1
        return invite(`invited-${invited}@example.com`)
      },
    }
    if (mails[operationId]) {
      await mails[operationId]()
      await auth.settled()
      ids.token = zoo.mailer.tokenFrom(zoo.mailer.last())
    } else if (operationId === 'loginUserByCode') {
      await auth.codes.request(email)
      await auth.settled()
      ids.code = zoo.mailer.codeFrom(zoo.mailer.last())
    } else if (operationId === 'confirmUserSecondFactor') {
      ids.code = codeOf((await asSystem(() => auth.secondFactors.begin(user, { password }))).secret)
    } else {
      ids.code = codeOf((await addFactor(zoo.perms, user, password)).secret)
      ids.challenge = await challengeOf(zoo.perms, email, password)
      await signIn(user)
    }
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

  /** A cursor is encrypted with a random nonce, so the same page has another text each time. */
  const withoutCursor = (body: string) => body.replace(/"nextCursor":"[\w-]+"/, '"nextCursor":"..."')

  /** How often each operation gave each class of answers. */
  const seen = new Map<string, Record<string, number>>()

  async function check(one: FuzzRequest): Promise<void> {
    const { operation, target: said, body: sent, headers, caller } = one
    if (typeof sent === 'string' && /"@(token|code|challenge)"/.test(sent)) {
      await settle()
      await prepare(operation.operationId)
    }
    await makeWhatIsNamed(one)
    if (operation.operationId === 'undoUserDeletion') {
      // Ends the sessions.
      await zoo.perms.auth.accountDeletion.schedule(await ada())
      await signIn(await ada())
    }
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
    const isRead = operation.method === 'GET'
    if (
      (answer.status === 401 && caller !== 'bad' && caller !== 'anonymous') ||
      (answer.status < 300 && !isRead && operation.tags.includes('User')) ||
      answer.status === 204
    )
      isUnsettled = true
    const counts = seen.get(operation.operationId) ?? {}
    const kind = `${Math.floor(answer.status / 100)}xx`
    counts[kind] = (counts[kind] ?? 0) + 1
    seen.set(operation.operationId, counts)
    expect(text, what).not.to.include(marker)
    if (isRead && !operation.tags.includes('User')) {
      // A read that proves a remembered caller answers as one that loads the caller first.
      const again = await loading(new Request(request.url, init))
      expect([again.status, withoutCursor(await again.text()), again.headers.get('etag')], what).to.deep.equal([
        answer.status,
        withoutCursor(text),
        answer.headers.get('etag'),
      ])
    }
    if (text === '') return void expect([204, 304], what).to.include(answer.status)
    const type = (answer.headers.get('content-type') ?? '').split(';')[0] as string
    const values: unknown[] =
      type === 'application/x-ndjson'
        ? text
            .trim()
            .split('\n')
            .map((line) => JSON.parse(line))
        : [JSON.parse(text)]
    // `..` and an empty id make it another address, which the operation does not speak of.
    const { pathname } = new URL(request.url)
    const isElsewhere = pathname !== target.split('?')[0] || pathname.slice(1).split('/').includes('')
    const validate = isElsewhere ? undefined : validator(operation, answer.status, type)
    for (const value of values)
      expect(validate === undefined || validate(value), `${what} ${JSON.stringify(validate?.errors)}`).to.equal(true)
  }

  const kinds: readonly [string, readonly string[]][] = [
    ['User', ['anonymous', 'ada', 'ada', 'bad']],
    ['User, by its features', ['anonymous', 'ada', 'ada', 'ada', 'superadmin', 'superadmin', 'inPlace', 'key', 'bad']],
    ['UserDocument', ['anonymous', 'ada', 'ada', 'ada', 'bad']],
    ['OwnDocument', ['anonymous', 'ada', 'ada', 'ada']],
    ['Critter', ['anonymous', 'ada', 'ada', 'ada', 'bad']],
  ]
  const rows: Readonly<Record<string, readonly string[]>> = {
    User: ['@ada', '@ada', '@bob'],
    Critter: ['@critter', '@critter', '@shy'],
    UserDocument: ['@document', '@document', '@foreign'],
    OwnDocument: ['@document', '@document', '@foreign'],
  }
  const others = {
    userId: ['@ada', '@ada', '@ada', '@bob'],
    sessionId: ['@session', '@session', '@elsewhere'],
    keyId: ['@key', '@key', '@foreignKey'],
    invitationId: ['@invitation'],
    domainId: ['@domain'],
    grantId: ['@grant'],
    passkeyId: ['@passkey'],
    identityId: ['@identity'],
    deviceId: ['@device'],
    provider: ['query', 'posting', 'elsewhere'],
  }
  for (const [title, callers] of kinds) {
    it(`cause no 5xx for ${title}, get documented responses, and reveal nothing of another user [promise 47]`, async () => {
      const tag = title.split(',')[0] as string
      const plain = openApiDocument(new Api({ resources: [new UserResource({ name: 'User' })] }), zoo.perms)
      const known = new Set(operationsOf(plain, 'User').map(({ operationId }) => operationId))
      const operations = operationsOf(document, tag).filter(
        ({ operationId }) => tag !== 'User' || known.has(operationId) === (title === tag),
      )
      expect(operations.length).to.be.greaterThan(4)
      const named = { id: rows[tag] as readonly string[], ...others }
      let count = 0
      const send = async (request: FuzzRequest) => {
        if (isUnsettled || count % 500 === 0) await settle()
        count += 1
        await check(request)
      }
      await fc.assert(fc.asyncProperty(requestsOf(operations, named, callers), send), {
        numRuns: runs,
        endOnFailure: true,
        ...(process.env['FUZZ_SEED'] && { seed: Number(process.env['FUZZ_SEED']) }),
      })
      expect(failures).to.deep.equal([])
      expect(count).to.be.at.least(runs)
      for (const operation of operations) {
        const { operationId } = operation
        if (runs < 400 || neverWork.has(operationId)) continue
        // Four hundred requests are some twelve for each operation, which may all be malformed by chance.
        const more = fc.sample(requestsOf([operation], named, callers), 1000)
        while (!seen.get(operationId)?.['2xx'] && more.length > 0) await send(more.pop() as FuzzRequest)
        expect(seen.get(operationId)?.['2xx'], `${operationId} never worked: ${JSON.stringify(seen.get(operationId))}`).to.be.greaterThan(0)
      }
    })
  }
})
