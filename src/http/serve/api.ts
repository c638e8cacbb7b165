import type { RememberedCaller } from '../../auth/tokens/remembered-callers.js'
import { ConfigurationError } from '../../core/errors.js'
import { assertKnownOptions, type OptionNames } from '../../core/known-options.js'
import { type Actor, currentActor, enterAsActor } from '../../policy/context.js'
import { currentRuntime, runtimeSlot } from '../../runtime.js'
import { authenticatorOf, isInContextOf, type RequestAuthenticator } from '../caller/request-authenticator.js'
import { type BodyLimits, defaultBodyLimits } from '../core/body.js'
import { Endpoint } from '../core/endpoint.js'
import { MethodNotAllowedError } from '../core/errors.js'
import type { PermsPort } from '../core/ports.js'
import type { OnError } from '../core/problems.js'
import { isProving, readsBodyUnproven } from '../core/proving-endpoints.js'
import { entryOf, type HttpRequest, mountPathOf, RereadableRequest } from '../core/request.js'
import type { Resource } from '../core/resource.js'
import { HttpResponse } from '../core/response.js'
import { type Found, joinPath, RouteTable } from '../core/routes.js'
import { readServedTypes } from '../crud/existing/table-types.js'
import { type OpenApiDocument, openApiDocument, serversAt } from '../openapi/document.js'
import { docsEndpoints } from './docs-page.js'
import { Reporter, requestId } from './reporter.js'
import { runEndpoint } from './run.js'

export interface ApiOptions {
  /** The title in the OpenAPI document. Default: 'API'. */
  title?: string | undefined
  version?: string | undefined
  description?: string | undefined
  /** A prefix for the paths of all resources, such as '/api'. Default: none. */
  prefix?: string | undefined
  resources?: readonly Resource[] | undefined
  /** The path of the OpenAPI document, without the prefix. `false` disables it. Default: '/openapi.json'. */
  openapi?: string | false | undefined
  /** The path of the page that shows the document, if swagger-ui-dist is installed. `false` disables it. Default: '/docs'. */
  docs?: string | false | undefined
  /**
   * The path of the public keys of access tokens (RFC 7517), without the prefix. Served only if a key pair signs the tokens.
   * `false` disables it. Default: '/.well-known/jwks.json'.
   */
  jwks?: string | false | undefined
  /** Properties that override those of the OpenAPI document, such as `{ servers: [{ url: 'https://api.example.com' }] }`. */
  document?: object | undefined
  /** The maximum size of a body in bytes. Default: 1 MiB. */
  maxBodyBytes?: number | undefined
  /** The maximum nesting depth of a body. Default: 32. */
  maxBodyDepth?: number | undefined
  /** The maximum number of keys in all objects of a body. Default: 2,000. */
  maxBodyKeys?: number | undefined
  /** The maximum number of values in a body. Default: 50,000. */
  maxBodyValues?: number | undefined
}

const apiOptionNames: OptionNames<ApiOptions> = {
  title: true,
  version: true,
  description: true,
  prefix: true,
  resources: true,
  openapi: true,
  docs: true,
  jwks: true,
  document: true,
  maxBodyBytes: true,
  maxBodyDepth: true,
  maxBodyKeys: true,
  maxBodyValues: true,
}

/** An endpoint with its complete path. */
export interface Route {
  /** The path with the prefix, such as `/api/documents/:id`. */
  readonly path: string
  readonly endpoint: Endpoint
  readonly resource: Resource
}

/**
 * Combines resources under a prefix, with one OpenAPI document. Does not depend on a framework: `router(api)` of an adapter serves it.
 *
 * @example
 * const api = new Api({ title: 'Zoo', version: '1.0.0', prefix: '/api', resources: [new UserResource(), new CrudResource({ model: Critter })] })
 */
export class Api {
  readonly title: string
  readonly version: string
  readonly description: string | undefined
  readonly prefix: string
  readonly limits: BodyLimits
  /** The path of the OpenAPI document, or false. */
  readonly openapi: string | false
  /** The path of the page that shows the OpenAPI document, or false. */
  readonly docs: string | false
  /** The path of the public keys, or false. */
  readonly jwks: string | false
  /** Properties that override those of the OpenAPI document. */
  readonly document: object
  readonly #resources: Resource[] = []

  /** @throws ConfigurationError for an option that does not exist */
  constructor(options: ApiOptions = {}) {
    assertKnownOptions(options, apiOptionNames, 'new Api')
    this.title = options.title ?? 'API'
    this.version = options.version ?? '1.0.0'
    this.description = options.description
    this.prefix = joinPath(options.prefix ?? '')
    this.openapi = options.openapi ?? '/openapi.json'
    this.docs = options.docs ?? '/docs'
    this.jwks = options.jwks ?? '/.well-known/jwks.json'
    this.document = options.document ?? {}
    this.limits = {
      maxBytes: options.maxBodyBytes ?? defaultBodyLimits.maxBytes,
      maxDepth: options.maxBodyDepth ?? defaultBodyLimits.maxDepth,
      maxKeys: options.maxBodyKeys ?? defaultBodyLimits.maxKeys,
      maxValues: options.maxBodyValues ?? defaultBodyLimits.maxValues,
    }
    for (const resource of options.resources ?? []) this.add(resource)
  }

  get resources(): readonly Resource[] {
    return this.#resources
  }

  /** Adds a resource. Works also after the API was mounted. */
  add(resource: Resource): this {
    if (this.#resources.includes(resource))
      throw new ConfigurationError('This resource is already part of the API. Add each resource once.')
    this.#resources.push(resource)
    return this
  }

  /** Returns every endpoint with its path, and binds the resources to the application. */
  routes(perms: PermsPort): Route[] {
    return this.#resources.flatMap((resource) => {
      resource.bind(perms)
      const base = resource.path.startsWith('/') ? resource.path : joinPath(this.prefix, resource.path)
      return resource.endpoints().map((endpoint) => ({ path: joinPath(base, endpoint.options.path), endpoint, resource }))
    })
  }
}

export interface MountOptions {
  /** Receives server errors (500 and 503). Default: console.error. */
  onError?: OnError | undefined
}

const mounted = runtimeSlot<Set<Api>>(() => new Set())

/** Returns the Apis that adapters of the current runtime serve. */
export function mountedApis(): Api[] {
  return [...mounted.get()]
}

type Run = (actor: Actor | null, request?: HttpRequest) => Promise<HttpResponse>

type Match = Found<Endpoint> | readonly string[]

/** An Api that serves one application. The routers of all adapters use it. */
export class MountedApi {
  readonly #api: Api
  readonly #perms: PermsPort
  readonly #authenticator: RequestAuthenticator
  readonly #reporter: Reporter
  #table = new RouteTable<Endpoint>()
  #paths: readonly string[] = []
  #count = -1

  constructor(api: Api, perms: PermsPort, options: MountOptions = {}) {
    this.#api = api
    this.#perms = perms
    this.#authenticator = authenticatorOf(perms)
    this.#reporter = new Reporter(perms, options.onError)
    perms.enter(() => {
      this.#compile()
      const runtime = currentRuntime()
      if (runtime) mounted.of(runtime).add(api)
    })
  }

  /** The paths of all endpoints, with parameters as `:name`. */
  get paths(): readonly string[] {
    return this.#paths
  }

  #compile(): void {
    const paths: string[] = []
    const table = new RouteTable<Endpoint>()
    const { openapi, docs, title, jwks } = this.#api
    if (openapi !== false) {
      const pages = docs === false ? [] : docsEndpoints(docs, openapi, title)
      for (const { path, endpoint } of [{ path: openapi, endpoint: this.#documentEndpoint() }, ...pages]) {
        table.add('GET', path, endpoint)
        paths.push(path)
        this.#authenticator.addLenientRoute(this, 'GET', path)
      }
    }
    if (jwks !== false && this.#perms.auth.jwks().keys.length > 0) {
      table.add('GET', jwks, this.#jwksEndpoint())
      paths.push(jwks)
      this.#authenticator.addLenientRoute(this, 'GET', jwks)
    }
    for (const { path, endpoint } of this.#api.routes(this.#perms)) {
      const { method, ignoresCredentials, forgivesCookies } = endpoint.options
      table.add(method, path, endpoint)
      paths.push(path)
      if (ignoresCredentials || forgivesCookies) this.#authenticator.addLenientRoute(this, method, path)
    }
    this.#table = table
    this.#paths = paths
    this.#count = this.#api.resources.length
  }

  #documentEndpoint(): Endpoint {
    let document: OpenApiDocument | undefined
    let last: { readonly mountPath: string; readonly text: string } | undefined
    return new Endpoint({
      method: 'GET',
      path: '',
      public: true,
      forgivesCookies: true,
      handler: async ({ request }) => {
        const mountPath = mountPathOf(request)
        if (!document) await readServedTypes()
        document ??= openApiDocument(this.#api, this.#perms)
        if (last?.mountPath !== mountPath)
          last = { mountPath, text: JSON.stringify({ ...document, servers: serversAt(mountPath), ...this.#api.document }) }
        return new HttpResponse(
          200,
          { 'content-type': 'application/json; charset=utf-8', 'cache-control': 'no-cache', 'x-content-type-options': 'nosniff' },
          last.text,
        )
      },
    })
  }

  // For other services that verify our tokens. A short max-age lets them notice a key rotation within minutes.
  #jwksEndpoint(): Endpoint {
    return new Endpoint({
      method: 'GET',
      path: '',
      public: true,
      forgivesCookies: true,
      anyFormat: true,
      handler: () => HttpResponse.json(this.#perms.auth.jwks(), { headers: { 'cache-control': 'public, max-age=300' } }),
    })
  }

  /**
   * Returns the response to a request, or null if no endpoint of this API has its path. The promise never rejects.
   */
  handle(request: HttpRequest): Promise<HttpResponse> | null {
    if (this.#count !== this.#api.resources.length) this.#perms.enter(() => this.#compile())
    const match = this.#table.find(request.method, request.path)
    if (match !== null) return this.#perms.enter(() => this.#answer(match, request))
    const refused = this.#authenticator.unclaimedRefusal(request, this)
    return refused ? Promise.resolve(this.#reporter.answer(refused.error, request)) : null
  }

  provesCallerOf(request: HttpRequest): boolean {
    if (this.#count !== this.#api.resources.length) return false
    const match = this.#table.find(request.method, request.path)
    if (match === null || Array.isArray(match) || !isProving((match as Found<Endpoint>).target)) return false
    return this.#perms.enter(() => {
      if (this.#authenticator.recall(request) !== null) return true
      this.#authenticator.remember(request)
      return false
    })
  }

  async #answer(match: Match, request: HttpRequest): Promise<HttpResponse> {
    let response: HttpResponse
    try {
      if (!Array.isArray(match)) response = await this.#run(match as Found<Endpoint>, request)
      else if (request.method === 'OPTIONS') response = HttpResponse.empty({ headers: { allow: match.join(', ') } })
      else throw new MethodNotAllowedError(match)
    } catch (error) {
      response = this.#authenticator.inCallerContext(request, () => this.#reporter.answer(error, request))
    }
    const id = requestId(request)
    if (id !== undefined) response = response.with({ 'x-request-id': id })
    if (request.method === 'HEAD') return response.withoutBody()
    return response.reportingErrors((error) => this.#reporter.report(error, request))
  }

  #run(found: Found<Endpoint>, request: HttpRequest): Promise<HttpResponse> {
    const run: Run = (actor, given = request) => runEndpoint(found, given, actor, this.#perms, this.#api.limits, this.#api.resources)
    if (found.target.options.ignoresCredentials) {
      this.#authenticator.lift(request)
      this.#authenticator.assertOwnOrigin(request)
      return enterAsActor(null, () => run(null), entryOf(request))
    }
    const known = this.#authenticator.known(request)
    if (known !== undefined && isInContextOf(request)) return run(currentActor())
    if (isProving(found.target)) {
      const remembered = this.#authenticator.recall(request)
      if (remembered && !remembered.pausesAt(found.target)) return this.#runProving(remembered, found.target, request, run)
    }
    return this.#identifyAndRun(found.target, request, run)
  }

  // Runs for the caller as last seen. Without a proof, nothing has left or changed: the request starts over with a look-up.
  async #runProving(remembered: RememberedCaller, endpoint: Endpoint, request: HttpRequest, run: Run): Promise<HttpResponse> {
    const [actor, proof] = [remembered.actor(), remembered.proof()]
    const given = readsBodyUnproven(endpoint) ? new RereadableRequest(request) : request
    const answer = enterAsActor(actor, () => run(actor, given), { ...entryOf(request), proof })
    const settled = await answer.then(
      (response) => () => response,
      (error: unknown) => () => {
        throw error
      },
    )
    // After an INSERT with an unknown outcome, the row may be there: it must not be inserted again.
    if (proof.isInserting && !proof.isGiven) return settled()
    remembered.note(endpoint, proof.isGiven)
    if (!proof.isGiven) return await this.#identifyAndRun(endpoint, request, (loaded) => run(loaded, given))
    this.#authenticator.keep(request, actor)
    return settled()
  }

  #identifyAndRun(endpoint: Endpoint, request: HttpRequest, run: Run): Promise<HttpResponse> {
    const entry = entryOf(request)
    const { forgivesCookies } = endpoint.options
    const known = this.#authenticator.known(request)
    if (isProving(endpoint)) this.#authenticator.remember(request)
    const identified = known !== undefined ? known : this.#authenticator.identify(request, { forgivesCookies })
    if (identified instanceof Promise) return identified.then((actor) => enterAsActor(actor, () => run(actor), entry))
    return enterAsActor(identified, () => run(identified), entry)
  }
}
