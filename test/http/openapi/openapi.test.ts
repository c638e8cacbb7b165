import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { register } from 'node:module'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { expect } from 'chai'
import { nodeAdapter } from '../../../src/adapters/node.js'
import { type OpenApiDocument, openApiDocument } from '../../../src/http/openapi/document.js'
import { openFullZoo } from '../../conformance/full-zoo.js'
import { password, type Zoo } from '../../conformance/zoo.js'
import { documentedApi } from './documented.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const run = promisify(execFile)

interface Media {
  readonly schema: object
  readonly example?: unknown
}

/** The parts of a message of redocly that the test reads. */
interface Problem {
  readonly ruleId: string
  readonly severity: string
  readonly location: readonly { readonly pointer?: string }[]
}

describe('The OpenAPI document', function () {
  this.timeout(60_000)
  let zoo: Zoo
  let server: Server
  let url: string
  let document: OpenApiDocument
  let folder: string

  before(async () => {
    zoo = await openFullZoo()
    server = createServer(nodeAdapter(zoo.perms).router(documentedApi()))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    document = (await (await fetch(`${url}/openapi.json`)).json()) as OpenApiDocument
    // Inside the package, so that what is written there finds its modules.
    mkdirSync(join(root, '.tmp'), { recursive: true })
    folder = mkdtempSync(join(root, '.tmp', 'openapi-'))
    writeFileSync(join(folder, 'openapi.json'), JSON.stringify(document, null, 2))
  })
  after(async () => {
    rmSync(folder, { recursive: true, force: true })
    server.closeAllConnections()
    server.close()
    await zoo.close()
  })

  const operations = () => Object.values(document.paths).flatMap((path) => Object.values(path))

  it('is equal to the result of openApiDocument()', () => {
    expect(document).to.deep.equal(JSON.parse(JSON.stringify(openApiDocument(documentedApi(), zoo.perms))))
  })

  it('passes redocly lint with the recommended rules', async () => {
    const cli = join(root, 'node_modules/@redocly/cli/bin/cli.js')
    const env = { ...process.env, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true', CI: 'true' }
    const lint = run(process.execPath, [cli, 'lint', 'openapi.json', '--extends=recommended', '--format=json'], { cwd: folder, env })
    const { stdout } = await lint.catch((error: { stdout: string }) => error)
    const { problems } = JSON.parse(stdout.slice(stdout.indexOf('{'))) as { problems: Problem[] }
    // A warning only: /users/sessions/x and /users/x/documents; fixed segments win, so no request is in doubt.
    // And the callback of a provider, whose answers are redirects.
    const isExpected = ({ ruleId, location }: Problem) =>
      ruleId === 'no-ambiguous-paths' || (ruleId === 'operation-2xx-response' && /providers~1.*callback/.test(location[0]?.pointer ?? ''))
    expect(problems.filter((problem) => !isExpected(problem))).to.deep.equal([])
    expect(problems.filter(({ severity }) => severity === 'error')).to.deep.equal([])
  })

  it("passes OWASP's ruleset of Spectral", async () => {
    const core = await import('@stoplight/spectral-core')
    const parsers = await import('@stoplight/spectral-parsers')
    const { default: ours } = await import(pathToFileURL(join(root, '.spectral.mjs')).href)
    const [whole] = ours.extends as [object]
    const check = async (ruleset: object, text: string) => {
      const spectral = new core.Spectral()
      spectral.setRuleset(ruleset as never)
      return await spectral.run(new core.Document(text, parsers.Json as never, 'openapi.json'))
    }
    const options = { ...zoo.perms.options, cookies: { origins: [], refreshMaxAge: 60 } }
    const withCookies = openApiDocument(documentedApi(), Object.create(zoo.perms, { options: { value: options } }))
    expect(withCookies.components.securitySchemes).to.have.keys('bearer', 'cookieAuth')
    for (const one of [document, withCookies]) {
      const text = JSON.stringify(one)
      expect((await check(ours, text)).map(({ code, path }) => `${code}: ${path.join('.')}`)).to.deep.equal([])
      const unrestricted = await check(whole, text)
      expect(unrestricted.filter(({ severity }) => severity === 0)).to.deep.equal([])
      expect(new Set(unrestricted.map(({ code }) => code))).to.deep.equal(
        new Set(['owasp:api4:2023-string-restricted', 'owasp:api8:2023-define-error-responses-401']),
      )
    }
  })

  it('requires a token for every write except sign-in and mail requests', () => {
    const open = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods)
        .filter(([method, { security }]) => method !== 'get' && !security.some((one) => 'bearer' in one))
        .map(([method]) => `${method} ${path}`),
    )
    const proving = [
      'login',
      'refresh',
      'verify-email',
      'reset-password',
      'change-email',
      'magic-link',
      'codes',
      'second-factor',
      'invitations/register',
      ...['passkeys', 'providers/{provider}/start', 'providers/{provider}/callback', 'providers/exchange'],
    ]
    const requesting = ['verify-email/request', 'reset-password/request', 'magic-link/request', 'codes/request']
    requesting.push('passkeys/options', 'second-factor/options')
    expect(open).to.have.members([...proving, ...requesting].map((path) => `post /api/users/${path}`))
  })

  it('has a unique operation id for each operation', () => {
    const ids = operations().map(({ operationId }) => operationId)
    expect(new Set(ids).size).to.equal(ids.length)
    expect(ids).to.include.members([
      'listUserDocument',
      'getUserDocument',
      'createUserDocument',
      'updateUserDocument',
      'deleteUserDocument',
    ])
    expect(ids).to.include.members(['requestUserPasswordReset', 'createUserApiKey', 'loginUserByMagicLink', 'startUserImpersonation'])
    expect(ids).to.include.members(['loginUser', 'refreshUser', 'logoutUser', 'getCurrentUser', 'updateCurrentUser'])
  })

  it('has examples that match their schemas, for all requests and responses', () => {
    const ajv = new Ajv2020({ code: { optimize: false }, strict: false })
    addFormats.default(ajv)
    ajv.addSchema({ ...document, $id: 'document' })
    const resolve = (one: object): { content?: Record<string, Media> } => {
      const { $ref } = one as { $ref?: string }
      return ($ref ? document.components.responses[$ref.slice($ref.lastIndexOf('/') + 1)] : one) as { content?: Record<string, Media> }
    }
    let count = 0
    for (const { operationId, requestBody, responses } of operations()) {
      for (const part of [requestBody ?? {}, ...Object.values(responses)]) {
        for (const { schema, example } of Object.values(resolve(part).content ?? {})) {
          count += 1
          expect(example, operationId).not.to.equal(undefined)
          const { $ref } = schema as { $ref?: string }
          const validate = ajv.compile($ref ? { $ref: `document${$ref}` } : schema)
          expect(validate(example), `${operationId}: ${JSON.stringify(validate.errors)} in ${JSON.stringify(example)}`).to.equal(true)
        }
      }
    }
    expect(count).to.be.greaterThan(50)
  })

  it('generates a typed client that compiles and works', async () => {
    // openapi-typescript speaks to the compiler of TypeScript 5.
    const hook = "export const resolve = (name, context, next) => next(name === 'typescript' ? 'typescript-5.9' : name, context)"
    register(`data:text/javascript,${encodeURIComponent(hook)}`)
    const { default: openapiTS, astToString } = await import('openapi-typescript')
    writeFileSync(join(folder, 'zoo-api.d.ts'), astToString(await openapiTS(document as never)))
    writeFileSync(join(folder, 'client.ts'), client)
    const options = { strict: true, module: 'NodeNext', target: 'ES2022', skipLibCheck: true, types: ['node'] }
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, files: ['client.ts'] }))
    await run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', folder]).catch(({ stdout }) => {
      throw new Error(stdout)
    })
    const { visit } = (await import(pathToFileURL(join(folder, 'client.js')).href)) as {
      visit(url: string, password: string): Promise<unknown>
    }
    expect(await visit(url, password)).to.deep.equal({
      title: 'Typed',
      total: 2,
      missing: 'not_found',
      fields: ['title'],
      features: [200, 'accepted', 'otpauth://totp/', 0, ['password']],
    })
  })
})

const client = `import createClient from 'openapi-fetch'
import type { components, paths } from './zoo-api.js'

export async function visit(baseUrl: string, password: string) {
  const api = createClient<paths>({ baseUrl })
  const signedIn = await api.POST('/api/users/login', { body: { email: 'ada@example.com', password } })
  if (!signedIn.data) throw new Error(signedIn.error.detail)
  if ('challenge' in signedIn.data) throw new Error('A second factor, for ' + signedIn.data.status)
  const headers = { authorization: \`Bearer \${signedIn.data.access_token}\` }
  const made = await api.POST('/api/documents', { headers, body: { title: 'Typed', content: 'By a typed client.' } })
  const document: components['schemas']['UserDocument'] | undefined = made.data
  const id: string = document?.id ?? ''
  const list = await api.GET('/api/documents', { headers, params: { query: { pageSize: 1, title__ne: 'none' } } })
  const total: number | null | undefined = list.data?.pagination.total
  const missing = await api.GET('/api/documents/{id}', { headers, params: { path: { id: id.replace(/.$/, 'x') } } })
  // @ts-expect-error content is missing
  const refused = await api.POST('/api/documents', { headers, body: { content: 'x' } })
  const key = await api.POST('/api/users/api-keys', { headers, body: { abilities: ['documents:read'] } })
  const byKey = await api.GET('/api/documents', { headers: { authorization: \`Bearer \${key.data?.key}\` } })
  const asked: 'accepted' | undefined = (await api.POST('/api/users/reset-password/request', { body: { email: 'ada@example.com' } })).data?.status
  const begun = await api.POST('/api/users/me/second-factor', { headers, body: { password } })
  const left: number | undefined = (await api.GET('/api/users/me/second-factor', { headers })).data?.recoveryCodesLeft
  // @ts-expect-error a token and a password are needed
  const unreset = await api.POST('/api/users/reset-password', { body: { token: 'x' } })
  const features = [byKey.response.status, asked, begun.data?.uri?.slice(0, 15), left, unreset.error?.errors.map(({ field }) => field)]
  // @ts-expect-error there is no such filter
  await api.GET('/api/documents', { headers, params: { query: { secret: 'x' } } })
  // @ts-expect-error rating is a number
  const wrong: string | null | undefined = document?.rating
  void wrong
  return { title: document?.title, total, missing: missing.error?.code, fields: refused.error?.errors.map(({ field }) => field), features }
}
`
