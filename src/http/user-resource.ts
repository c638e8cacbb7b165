import { ConfigurationError, type FieldError, ForbiddenError, UnauthorizedError } from '../model/errors.js'
import { refuse } from '../model/validator.js'
import { isStorableText } from '../model/values.js'
import type { Actor } from '../perms/context.js'
import type { CrudMethod, CrudResourceOptions, MethodOptions } from './crud-options.js'
import { CrudResource } from './crud-resource.js'
import { Endpoint, type EndpointContext } from './endpoint.js'
import { objectOf } from './input.js'
import { findRow } from './parents.js'
import type { FactorAsked, IssuedTokens, PermsPort, ResourceModel, ServedModel, ServedRow } from './ports.js'
import { HttpResponse } from './response.js'
import { deleteOtherSessions, deleteSession, listSessions } from './session-endpoints.js'
import { outputFields, shape } from './shape.js'

export type UserFeature = 'login' | 'me' | 'refresh' | 'logout' | 'sessions'

export interface UserResourceOptions<M extends ResourceModel = ResourceModel> extends Omit<CrudResourceOptions<M>, 'model'> {
  /** A user model over the registered one's table; the registered one when not said. */
  model?: M | undefined
  /** Switches single endpoints beside CRUD off; all are on when not said. */
  features?: { readonly [K in UserFeature]?: boolean | undefined } | undefined
}

/**
 * Users over HTTP: CRUD of the user model, and signing in and out. With `static publicRegistration = true` in the model
 * anyone may create a user.
 *
 * @example new UserResource({ skipMethods: ['delete'] })
 */
export class UserResource<M extends ResourceModel = ResourceModel> extends CrudResource<M> {
  readonly #features: { readonly [K in UserFeature]?: boolean | undefined }
  #registered: ServedModel | undefined

  constructor(options: UserResourceOptions<M> = {}) {
    const { features = {}, ...crud } = options
    super({ ...crud, path: crud.path ?? 'users' } as CrudResourceOptions<M>)
    this.#features = features
  }

  override get model(): M {
    const model = this.options.model ?? (this.#registered as unknown as M | undefined)
    if (!model) throw new ConfigurationError('A UserResource without a model has one as soon as its API is mounted.')
    return model
  }

  override bind(perms: PermsPort): void {
    this.#registered = perms.models.user as ServedModel
    const given = this.served.getTableName()
    const registered = this.#registered.getTableName()
    if (given !== registered) {
      throw new ConfigurationError(
        `UserResource serves ${this.model.name} (table '${given}'), and users sign in from '${registered}': register it with initPerms({ user: ${this.model.name} }).`,
      )
    }
    super.bind(perms)
  }

  override endpoints(): Endpoint[] {
    const isOn = (feature: UserFeature) => this.#features[feature] !== false
    return [
      ...(isOn('login') ? [this.loginEndpoint()] : []),
      ...(isOn('refresh') ? [this.refreshEndpoint()] : []),
      ...(isOn('logout') ? [this.logoutEndpoint()] : []),
      ...(isOn('me') ? [this.currentUserEndpoint(), this.updateCurrentUserEndpoint()] : []),
      ...(isOn('sessions') ? [this.listSessionsEndpoint(), this.deleteSessionEndpoint(), this.deleteOtherSessionsEndpoint()] : []),
      ...super.endpoints(),
    ]
  }

  protected override methodOptions(method: CrudMethod): MethodOptions | undefined {
    const said = super.methodOptions(method)
    const isOpen = method === 'create' && said && !said.adminOnly && said.role === undefined && said.public === undefined
    return isOpen && this.served.publicRegistration ? { ...said, public: true } : said
  }

  override createEndpoint(): Endpoint {
    const endpoint = super.createEndpoint()
    return endpoint.options.public ? endpoint.with({ ignoresCredentials: true }) : endpoint
  }

  /** `POST login/` → `{ access_token, refresh_token, token_type, expires_in }` */
  loginEndpoint(): Endpoint {
    return new Endpoint({
      method: 'POST',
      path: 'login',
      name: `login${this.name}`,
      summary: 'Sign in',
      public: true,
      ignoresCredentials: true,
      queryKeys: [],
      handler: async ({ input, perms, request }) => {
        const { email, password } = textsOf(input, ['email', 'password'])
        // How the list of sessions names the place.
        return tokenAnswer(await perms.auth.signIn({ email, password, device: request.header('user-agent') || undefined }))
      },
      description: {
        input: textSchema(['email', 'password'], { email: 320, password: 4096 }),
        output: tokenSchema,
        problems: [401, 403, 413, 415, 422, 429],
      },
    })
  }

  /** `POST refresh/` with `{ refresh_token }` → as login */
  refreshEndpoint(): Endpoint {
    return new Endpoint({
      method: 'POST',
      path: 'refresh',
      name: `refresh${this.name}`,
      summary: 'Get new tokens for a refresh token',
      public: true,
      ignoresCredentials: true,
      queryKeys: [],
      handler: async ({ input, perms }) => tokenAnswer(await perms.auth.refresh(textsOf(input, ['refresh_token']).refresh_token)),
      description: {
        input: textSchema(['refresh_token'], { refresh_token: 4096 }),
        output: tokenSchema,
        problems: [401, 413, 415, 422, 429],
      },
    })
  }

  /** `POST logout/` ends the session of the access token: 204 */
  logoutEndpoint(): Endpoint {
    return new Endpoint({
      method: 'POST',
      path: 'logout',
      name: `logout${this.name}`,
      summary: 'Sign out',
      queryKeys: [],
      readsBody: false,
      handler: async ({ perms }) => {
        await perms.auth.signOut()
        return HttpResponse.empty({ headers: noStore })
      },
      description: { problems: [] },
    })
  }

  /** `GET sessions/` → where one is signed in */
  listSessionsEndpoint(): Endpoint {
    return listSessions(this.name)
  }

  /** `DELETE sessions/:sessionId` ends one of one's own sessions: 204; another's is 404 */
  deleteSessionEndpoint(): Endpoint {
    return deleteSession(this.name)
  }

  /** `DELETE sessions/` ends all of one's own sessions but the present one: 204 */
  deleteOtherSessionsEndpoint(): Endpoint {
    return deleteOtherSessions(this.name)
  }

  /** `GET me/` → the signed-in user, with `roles: [{ role, domain }]` */
  currentUserEndpoint(): Endpoint {
    return new Endpoint({
      method: 'GET',
      path: 'me',
      name: `getCurrent${this.name}`,
      summary: 'The signed-in user',
      queryKeys: [],
      handler: ({ actor }) => HttpResponse.json(this.profile(demand(actor).user as ServedRow, demand(actor))),
      description: { output: this.#profileSchema() },
    })
  }

  /** `PATCH me/`; a new password or e-mail address takes `oldPassword` */
  updateCurrentUserEndpoint(): Endpoint {
    return new Endpoint({
      method: 'PATCH',
      path: 'me',
      name: `updateCurrent${this.name}`,
      summary: 'Change the signed-in user',
      queryKeys: [],
      handler: async (context) => await this.#updateCurrentUser(context),
      description: { input: this.served.schema.update, output: this.#profileSchema(), problems: [409, 413, 415, 422] },
    })
  }

  async #updateCurrentUser({ actor, input }: EndpointContext): Promise<HttpResponse> {
    const caller = demand(actor)
    // A row of its own: the caller's, which the whole request shares, must not hold what was refused.
    const row = await findRow(this.served, 'id', caller.id).catch(() => {
      throw new ForbiddenError()
    })
    await row.updateFrom(objectOf(input))
    return HttpResponse.json(this.profile(row, caller))
  }

  /** What me/ shows. */
  protected profile(user: ServedRow, actor: Actor): Record<string, unknown> {
    const roles = actor.grants.map(({ role, domainId }) => ({ role, domain: domainId }))
    return { ...shape(user, this.served, outputFields(this.served)), roles }
  }

  #profileSchema(): object {
    const { output } = this.served.schema
    return { ...output, properties: { ...output.properties, roles: rolesSchema }, required: [...output.required, 'roles'] }
  }
}

function demand(actor: Actor | null): Actor {
  if (actor === null) throw new UnauthorizedError()
  return actor
}

const noStore = { 'cache-control': 'no-store' }

/** The answer of RFC 6749, 5.1. */
function tokenAnswer(result: IssuedTokens | FactorAsked): HttpResponse {
  const body =
    result.status === 'secondFactor'
      ? { status: 'second_factor', challenge: result.challenge }
      : { access_token: result.accessToken, refresh_token: result.refreshToken, token_type: 'Bearer', expires_in: result.expiresIn }
  return HttpResponse.json(body, { headers: noStore })
}

/** The fields of a body that holds these texts and nothing else. @throws ValidationError naming each that is wrong */
function textsOf<const K extends string>(input: unknown, names: readonly K[]): Record<K, string> {
  const given = objectOf(input)
  const errors: FieldError[] = []
  for (const name of Object.keys(given))
    if (!(names as readonly string[]).includes(name)) errors.push({ field: name, message: 'is not known here' })
  for (const name of names) {
    const value = Object.hasOwn(given, name) ? given[name] : undefined
    if (value === undefined) errors.push({ field: name, message: 'is required' })
    else if (typeof value !== 'string') errors.push({ field: name, message: 'must be a string' })
    else if (value.trim() === '') errors.push({ field: name, message: 'may not be blank' })
    else if (name !== 'password' && !isStorableText(value))
      errors.push({ field: name, message: 'may not hold NUL characters or broken surrogate pairs' })
  }
  refuse(errors)
  return given as Record<K, string>
}

function textSchema(names: readonly string[], lengths: Readonly<Record<string, number>>): object {
  const properties = Object.fromEntries(names.map((name) => [name, { type: 'string', minLength: 1, maxLength: lengths[name] }]))
  return { type: 'object', properties, required: [...names], additionalProperties: false }
}

const tokenSchema = {
  type: 'object',
  properties: {
    access_token: { type: 'string', description: 'A JWT, for the Authorization header.' },
    refresh_token: { type: 'string' },
    token_type: { type: 'string', enum: ['Bearer'] },
    expires_in: { type: 'integer', format: 'int32', description: 'Seconds until the access token expires.' },
  },
  required: ['access_token', 'refresh_token', 'token_type', 'expires_in'],
}

const rolesSchema = {
  type: 'array',
  items: {
    type: 'object',
    properties: { role: { type: 'string' }, domain: { type: ['string', 'null'], description: 'The id of a domain; null for everywhere.' } },
    required: ['role', 'domain'],
  },
}
