import assert from 'node:assert/strict'
import type { Knex } from 'knex'
import { CrudResource } from '../../http/crud/crud-resource.js'
import { Api } from '../../http/serve/api.js'
import { UserResource } from '../../http/users/user-resource.js'
import { recent } from '../../policy/session-rules.js'
import type { Perms } from '../../setup/perms.js'
import type { Case } from './case.js'
import { actionCases } from './cases/action-cases.js'
import { callerCases } from './cases/caller-cases.js'
import { codeCases } from './cases/code-cases.js'
import { factorCases } from './cases/factor-cases.js'
import { itemCases } from './cases/item-cases.js'
import { keyCases } from './cases/key-cases.js'
import { lifecycleCases } from './cases/lifecycle-cases.js'
import { listCases } from './cases/list-cases.js'
import { mailCases } from './cases/mail-cases.js'
import { memberCases } from './cases/member-cases.js'
import { ownRouteCases } from './cases/own-route-cases.js'
import { passkeyCases } from './cases/passkey-cases.js'
import { preconditionCases } from './cases/precondition-cases.js'
import { protocolCases } from './cases/protocol-cases.js'
import { providerCases } from './cases/provider-cases.js'
import { shareCases } from './cases/share-cases.js'
import { signInCases } from './cases/sign-in-cases.js'
import { stepUpCases } from './cases/step-up-cases.js'
import { writeCases } from './cases/write-cases.js'
import { CookieClient, cookieChecks } from './cookie-checks.js'
import { type PopulatedWorld, populate } from './feature-steps.js'
import { type ApplicationRoute, applicationRoutes } from './routes.js'
import { send, transcript } from './send.js'
import { allFeatures, Critter, critterResource, Keeper, Letter, openFullWorld, Treasure, UserDocument } from './world.js'

/** A server that listens on 127.0.0.1. */
export interface ConformanceServer {
  /** Without a path, such as 'http://127.0.0.1:3000'. */
  readonly url: string
  close(): Promise<unknown>
}

/** The adapter under test, in a server of its framework. */
export interface ConformanceTarget {
  /** Returns a Knex instance of an empty database. The suite destroys it. It is called twice. */
  knex(): Knex | Promise<Knex>
  /** Starts a server that serves the API and the routes with the adapter under test. */
  start(perms: Perms, api: Api, routes: readonly ApplicationRoute[]): Promise<ConformanceServer>
  /** Whether a body parser of the framework reads bodies before the adapter. It may answer malformed bodies itself. Default: false. */
  parsesBodies?: boolean | undefined
  /** Whether the framework normalizes paths before it routes requests, as a web standard Request does. Default: false. */
  normalizesPaths?: boolean | undefined
  /** Whether the server supports the method TRACE. Default: true. */
  trace?: boolean | undefined
  /** Whether the server supports request targets with a host (RFC 9112, 3.2.2). Default: true. */
  absoluteTargets?: boolean | undefined
}

/** The responses of a server, by the title of the case. */
export type Responses = ReadonlyMap<string, string>

class Newcomer extends Keeper {
  static override publicRegistration = true
}

const onlyPrivateRegistration = {
  login: false,
  me: false,
  refresh: false,
  logout: false,
  sessions: false,
  privateRegistration: true,
} as const

function fullApi(): Api {
  const treasures = new CrudResource({ model: Treasure, path: 'treasures', methods: { list: { stepUp: recent(300) } } })
  treasures.action('polish', { handler: ({ row }) => row })
  return new Api({
    prefix: '/api',
    resources: [
      new UserResource({ methods: { update: { adminOnly: true }, delete: { adminOnly: true } }, features: allFeatures }),
      new UserResource({ model: Newcomer, path: 'newcomers', methods: ['create'], features: onlyPrivateRegistration }),
      new CrudResource({ model: UserDocument, path: 'documents', include: ['user'] }),
      critterResource({
        path: 'critters',
        methods: { delete: { adminOnly: true }, list: { public: true }, get: { public: true } },
      }),
      treasures,
      new CrudResource({ model: Letter, path: 'letters', shares: true }),
    ],
  })
}

function cookieApi(): Api {
  const documents = new CrudResource({ model: UserDocument, path: 'documents' })
  const critters = new CrudResource({ model: Critter, path: 'critters' })
  return new Api({
    prefix: '/api',
    resources: [new UserResource({ features: { magicLink: true, confirm: true, providers: true } }), documents, critters],
  })
}

/** Every case, in the order in which they run. */
export const allCases: readonly Case[] = [
  ...[signInCases, callerCases, ownRouteCases, listCases, itemCases, writeCases, preconditionCases, protocolCases, actionCases].flat(),
  ...[
    mailCases,
    codeCases,
    factorCases,
    passkeyCases,
    providerCases,
    keyCases,
    memberCases,
    shareCases,
    stepUpCases,
    lifecycleCases,
  ].flat(),
]

/** Returns the cases that a target can answer. */
export function casesFor(target: Pick<ConformanceTarget, 'normalizesPaths' | 'trace' | 'absoluteTargets'>): readonly Case[] {
  const able = {
    trace: target.trace ?? true,
    absoluteTargets: target.absoluteTargets ?? true,
    normalizedPaths: target.normalizesPaths ?? false,
  }
  return allCases.filter(({ needs }) => needs === undefined || able[needs])
}

/** Runs the cases against one server and records its responses. */
export class CaseRun {
  readonly #world: PopulatedWorld
  readonly #server: ConformanceServer
  readonly #parsesBodies: boolean
  readonly responses = new Map<string, string>()

  private constructor(world: PopulatedWorld, server: ConformanceServer, parsesBodies: boolean) {
    this.#world = world
    this.#server = server
    this.#parsesBodies = parsesBodies
  }

  static async start(target: ConformanceTarget): Promise<CaseRun> {
    const world = await populate(await openFullWorld(await target.knex()))
    return new CaseRun(world, await target.start(world.perms, fullApi(), applicationRoutes), target.parsesBodies ?? false)
  }

  async close(): Promise<void> {
    await this.#server.close()
    await this.#world.close()
  }

  /** @throws AssertionError when the response differs from the expected one */
  async check(one: Case): Promise<void> {
    const { method, as } = one
    // The token first: some cases sign in to get it, and the body may depend on that.
    const token = one.token ? await one.token(this.#world) : as && this.#world.tokens[as]
    const body = typeof one.body === 'function' ? await (one.body as (world: PopulatedWorld) => Promise<object>)(this.#world) : one.body
    const path = this.#filled(typeof one.path === 'function' ? await one.path(this.#world) : one.path)
    const answer = await send(this.#server.url, { method, path, token, body, headers: this.#headersOf(one) })
    if (this.#parsesBodies && one.orElse === answer.status) return
    assert.equal(answer.status, one.status, `${method} ${path} gave ${answer.status}: ${answer.body.slice(0, 500)}`)
    for (const [header, value] of Object.entries(one.expect ?? {})) assert.equal(answer.headers[header] ?? null, value, header)
    if (one.method === 'HEAD') assert.equal(answer.body, '')
    if (!(one.own && this.#parsesBodies)) assertProblem(one, answer)
    if (one.caller !== undefined) assert.deepEqual(JSON.parse(answer.body), { id: one.caller && this.#world.ids[one.caller] })
    const compared = isOfFramework(path, answer.status) ? { ...answer, headers: {} } : answer
    if (!one.own) this.responses.set(one.title, transcript(compared))
  }

  #headersOf({ headers = {} }: Case): Record<string, string | readonly string[]> {
    const filled = (value: string | readonly string[]) =>
      typeof value === 'string' ? this.#filled(value) : value.map((line) => this.#filled(line))
    return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, filled(value)]))
  }

  #filled(text: string): string {
    return text.replace(/Bearer \{(\w+)\}|\{(\w+)\}/g, (_all, user: string | undefined, row: string) =>
      user === undefined ? String(this.#world.ids[row as 'ada']) : `Bearer ${this.#world.tokens[user as 'ada']}`,
    )
  }
}

// The framework sends the results of the application's routes, and may add headers.
function isOfFramework(path: string, status: number): boolean {
  return status === 200 && applicationRoutes.some((route) => route.path === path.split('?')[0])
}

function assertProblem({ code, fields, status }: Case, answer: { readonly headers: object; readonly body: string }): void {
  if (code === undefined && fields === undefined) return
  assert.equal((answer.headers as Record<string, unknown>)['content-type'], 'application/problem+json; charset=utf-8')
  const problem = JSON.parse(answer.body) as { code: string; status: number; errors: { field: string }[] }
  assert.equal(problem.status, status)
  if (code !== undefined) assert.equal(problem.code, code)
  if (fields !== undefined) assert.deepEqual(problem.errors.map(({ field }) => field).sort(), [...fields].sort())
}

/** Runs the cookie checks against one server. */
export class CookieRun {
  readonly client: CookieClient
  readonly #server: ConformanceServer

  private constructor(client: CookieClient, server: ConformanceServer) {
    this.client = client
    this.#server = server
  }

  static async start(target: ConformanceTarget): Promise<CookieRun> {
    const world = await openFullWorld(await target.knex(), { cookies: true })
    const server = await target.start(world.perms, cookieApi(), applicationRoutes)
    return new CookieRun(new CookieClient(server.url, world), server)
  }

  async close(): Promise<void> {
    await this.#server.close()
    await this.client.world.close()
  }
}

export { cookieChecks }
