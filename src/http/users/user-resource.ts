import { ConfigurationError, ForbiddenError, NotFoundError, UnauthorizedError } from '../../core/errors.js'
import { assertKnownOptions, type OptionNames } from '../../core/known-options.js'
import { assertPackageInstalled } from '../../core/optional-package.js'
import type { Actor } from '../../policy/context.js'
import { allowsSession } from '../../policy/session-part.js'
import type { ObjectSchema } from '../../schema/json-schemas.js'
import { identifiersOf } from '../../users/account/identifiers.js'
import { tokenOrFactorSchema, tokenSchema } from '../caller/token-response.js'
import { Endpoint, type EndpointContext, type Loaded } from '../core/endpoint.js'
import { type PermsPort, type ResourceModel, type ServedModel, type ServedRow, servedModel } from '../core/ports.js'
import { HttpResponse } from '../core/response.js'
import { type CrudMethod, type CrudResourceOptions, type MethodOptions, methodsOf } from '../crud/crud-options.js'
import { CrudResource } from '../crud/crud-resource.js'
import { narrowedInput, narrowedOutput, objectOf, splitInput } from '../crud/input.js'
import { conditionUnder, findRow, loadParents } from '../crud/parents.js'
import { narrowed, narrowedFields, shape } from '../crud/shape.js'
import { apiKeyEndpoints } from './api-key-endpoints.js'
import { codeEndpoints, confirmCodeEndpoint } from './code-endpoints.js'
import { confirmEndpoint } from './confirm-endpoint.js'
import { deviceEndpoints } from './device-endpoints.js'
import { impersonationEndpoints } from './impersonation-endpoints.js'
import { invitationEndpoints, type Registration } from './invitation-endpoints.js'
import { accountDeletionEndpoints, deletionAtSchema, exportEndpoint } from './lifecycle-endpoints.js'
import {
  accepted,
  acceptedSchema,
  changeEmailEndpoints,
  magicLinkEndpoints,
  resetPasswordEndpoints,
  verifyEmailEndpoints,
} from './mail-endpoints.js'
import { checkMe, checkMeModel, type MeOptions } from './me-options.js'
import { memberEndpoints } from './member-endpoints.js'
import { confirmOptionsEndpoint, passkeyEndpoints } from './passkey-endpoints.js'
import { permissionsEndpoint } from './permissions-endpoint.js'
import { impersonatorSchema, rolesSchema } from './profile-schemas.js'
import { providerEndpoints } from './provider-endpoints.js'
import { secondFactorEndpoints, verifyFactorEndpoints } from './second-factor-endpoints.js'
import { requireRecentSession } from './sensitive-endpoints.js'
import { deleteOtherSessions, deleteSession, listSessions } from './session-endpoints.js'
import { loginEndpoint, logoutEndpoint, refreshEndpoint } from './sign-in-endpoints.js'
import type { UserFeature, UserFeatures, UserResourceOptions } from './user-options.js'
import { assertMailFeatures, assertPasskeyFeature, assertProviders, userOptionNames } from './user-options.js'

/**
 * Serves users over HTTP: CRUD for the user model, sign-in and sign-out. With `static publicRegistration = true` on the model,
 * anonymous callers may create a user.
 *
 * @example new UserResource({ skipMethods: ['delete'] })
 */
export class UserResource<M extends ResourceModel = ResourceModel> extends CrudResource<M> {
  protected readonly features: UserFeatures
  readonly #me: MeOptions
  #registered: ServedModel | undefined
  #takesCookies = false
  #options: PermsPort['options'] | undefined

  constructor(options: UserResourceOptions<M> = {}) {
    assertKnownOptions(options, userOptionNames as OptionNames<typeof options>, 'new UserResource')
    const { features = {}, me = {}, ...crud } = options
    super({ ...crud, path: crud.path ?? 'users' } as CrudResourceOptions<M>)
    this.features = features
    this.#me = me
    const methods = methodsOf(crud as CrudResourceOptions<M>)
    const update = methods.get('update')
    const reads = (['list', 'get'] as const).flatMap((method) => methods.get(method) ?? [])
    checkMe(me, {
      update: update && { ...update, argSchema: update.argSchema ?? crud.argSchema },
      shown: (reads.length > 0 ? reads : [{}]).map(({ schema }: MethodOptions) => schema ?? crud.schema),
    })
  }

  override get model(): M {
    const model = this.options.model ?? (this.#registered as M | undefined)
    if (!model)
      throw new ConfigurationError('UserResource has no model before its API is mounted. Mount the API first, or pass the option `model`.')
    return model
  }

  // Sign-in needs the columns of users before any request, so the registered model declares them.
  override get served(): ServedModel {
    return servedModel(this.model)
  }

  override get needsTypes(): boolean {
    return false
  }

  override bind(perms: PermsPort): void {
    this.#registered = perms.models.user as ServedModel
    const given = this.served.getTableName()
    const registered = this.#registered.getTableName()
    if (given !== registered) {
      throw new ConfigurationError(
        `UserResource serves ${this.model.name} (table '${given}'), but users sign in from the table '${registered}'. Register the model with initPerms({ user: ${this.model.name} }).`,
      )
    }
    this.#takesCookies = perms.options.cookies !== undefined
    this.#options = perms.options
    if (this.features.totp) assertPackageInstalled('otpauth', 'UserResource({ features: { totp } })')
    assertMailFeatures(this.features, this.served, perms)
    assertPasskeyFeature(this.features, perms)
    const mailsCodes = this.features.codes && perms.auth.codes.method === 'mail'
    if (this.features.magicLink || mailsCodes) perms.auth.mail.offerSignIn()
    assertProviders(this.features, perms)
    checkMeModel(this.#me, this.served, this.methodOptions('update'))
    super.bind(perms)
  }

  override endpoints(): Endpoint[] {
    const { features } = this
    const isOn = (feature: UserFeature) => features[feature] !== false
    // Adding a passkey or a linked account needs a confirmed session.
    const hasConfirm =
      features.confirm ?? (this.#options?.stepUp !== undefined || features.passkeys === true || features.providers === true)
    const factorOptions = { takesPasskeys: features.passkeys === true, knowsDevices: features.trustedDevices === true }
    const endpoints = [
      ...(isOn('login') ? [this.loginEndpoint()] : []),
      ...(isOn('refresh') ? [this.refreshEndpoint()] : []),
      ...(isOn('logout') ? [this.logoutEndpoint()] : []),
      ...(isOn('me') ? [this.currentUserEndpoint()] : []),
      ...(isOn('me') && this.methodOptions('update') ? [this.updateCurrentUserEndpoint()] : []),
      ...(isOn('me') && isOn('permissions') ? [this.permissionsEndpoint()] : []),
      ...(isOn('sessions') ? [this.listSessionsEndpoint(), this.deleteSessionEndpoint(), this.deleteOtherSessionsEndpoint()] : []),
      ...(features.apiKeys ? this.apiKeyEndpoints() : []),
      ...(features.verifyEmail ? this.verifyEmailEndpoints() : []),
      ...(features.resetPassword ? this.resetPasswordEndpoints() : []),
      ...(features.changeEmail ? this.changeEmailEndpoints() : []),
      ...(features.magicLink ? this.magicLinkEndpoints() : []),
      ...(features.codes ? this.codeEndpoints() : []),
      ...(features.totp || features.passkeys ? verifyFactorEndpoints(this.name, factorOptions) : []),
      ...(features.totp ? this.secondFactorEndpoints() : []),
      ...(features.passkeys ? this.passkeyEndpoints() : []),
      ...(features.providers ? this.providerEndpoints() : []),
      ...(features.trustedDevices ? this.deviceEndpoints() : []),
      ...(hasConfirm ? [this.confirmEndpoint(), ...(features.codes ? [this.confirmCodeEndpoint()] : [])] : []),
      ...(features.export ? [this.exportEndpoint()] : []),
      ...(features.deleteAccount ? this.accountDeletionEndpoints() : []),
      ...(hasConfirm && features.passkeys ? [confirmOptionsEndpoint(this.name)] : []),
      ...(features.invitations ? [...this.invitationEndpoints(), ...this.memberEndpoints()] : []),
      ...(features.impersonation ? this.impersonationEndpoints() : []),
      ...super.endpoints(),
    ]
    const stepUp = this.#options?.stepUp
    return stepUp ? endpoints.map((endpoint) => requireRecentSession(endpoint, stepUp, this.served)) : endpoints
  }

  protected override methodOptions(method: CrudMethod): MethodOptions | undefined {
    const said = super.methodOptions(method)
    const isOpen = method === 'create' && said && !said.adminOnly && said.role === undefined && said.public === undefined
    return isOpen && this.served.publicRegistration ? { ...said, public: true } : said
  }

  protected override isActionOpen(name: string, actor: Actor | null): boolean {
    const stepUp = name === 'delete' ? this.#options?.stepUp : undefined
    return super.isActionOpen(name, actor) && (stepUp === undefined || allowsSession(stepUp, actor))
  }

  override createEndpoint(): Endpoint {
    const endpoint = super.createEndpoint()
    if (!endpoint.options.public) return endpoint
    return this.#sendsMail(endpoint.with({ ignoresCredentials: true }))
  }

  // A private registration gives the same response for free and taken addresses. Other registrations send the verification mail.
  #sendsMail(endpoint: Endpoint): Endpoint {
    const { privateRegistration, verifyEmail } = this.features
    const { handler, description } = endpoint.options
    if (privateRegistration) {
      return endpoint.with({
        handler: async (context) => {
          this.refuseCreate()
          const { values, afterCreate } = await this.prepareCreate(context, context.input)
          const check = async (given: object) => {
            if ((await this.served.canCreate?.(given)) === false) throw this.refusal('create')
          }
          await context.perms.auth.mail.registerPrivately(values, { check, afterCreate })
          return accepted()
        },
        status: 202,
        description: { ...description, output: acceptedSchema, problems: [413, 415, 422, 429] },
      })
    }
    if (!verifyEmail) return endpoint
    return endpoint.with({
      handler: async (context) => {
        const answer = await handler(context)
        const { email } = objectOf(context.input)
        // The account exists: a failed or limited mail must not fail the registration.
        await context.perms.auth.mail.requestVerification(String(email)).catch(() => {})
        return answer
      },
    })
  }

  /** `POST login/` → `{ access_token, refresh_token, token_type, expires_in }`, or `{ status: 'second_factor', challenge }` */
  loginEndpoint(): Endpoint {
    return loginEndpoint(this.name, () => identifiersOf(this.served), this.#signedInSchema(), {
      bounds: this.#options?.rememberMe,
      knowsDevices: this.features.trustedDevices === true,
    })
  }

  /** `POST refresh/` with `{ refresh_token }`, or with a refresh cookie and no body → the response of login */
  refreshEndpoint(): Endpoint {
    return refreshEndpoint(this.name, this.#takesCookies)
  }

  /** `POST logout/` ends the session of the access token: 204 */
  logoutEndpoint(): Endpoint {
    return logoutEndpoint(this.name, this.#takesCookies)
  }

  /** `GET sessions/` → the sessions of the caller */
  listSessionsEndpoint(): Endpoint {
    return listSessions(this.name)
  }

  /** `DELETE sessions/:sessionId` ends a session of the caller: 204, or 404 for a session of another user */
  deleteSessionEndpoint(): Endpoint {
    return deleteSession(this.name)
  }

  /** `DELETE sessions/` ends all sessions of the caller except the current one: 204 */
  deleteOtherSessionsEndpoint(): Endpoint {
    return deleteOtherSessions(this.name)
  }

  /** `POST me/confirm/` with `{ password }`, `{ code }`, `{ sentCode }` or `{ passkey }` → `{ authTime, amr }`: makes the caller's session recent. */
  confirmEndpoint(): Endpoint {
    return confirmEndpoint(this.name, { sentCodes: this.features.codes === true, passkeys: this.features.passkeys === true })
  }

  /** `POST me/confirm/code/` sends the caller a code for `POST me/confirm/`: 202 */
  confirmCodeEndpoint(): Endpoint {
    return confirmCodeEndpoint(this.name)
  }

  /** `POST codes/request/` with `{ email }`: 202; `POST codes/` with `{ email, code }` → the response of login */
  codeEndpoints(): Endpoint[] {
    return codeEndpoints(this.name, this.#signedInSchema(), this.#options?.rememberMe)
  }

  /** `GET me/export/` → the caller's data as JSON lines. */
  exportEndpoint(): Endpoint {
    return exportEndpoint(this.name)
  }

  /** `POST me/deletion/` with `{ password }` → `{ deletionAt }`; `DELETE me/deletion/` undoes it: 204. */
  accountDeletionEndpoints(): Endpoint[] {
    return accountDeletionEndpoints(this.name)
  }

  apiKeyEndpoints(): Endpoint[] {
    return apiKeyEndpoints(this.name)
  }

  verifyEmailEndpoints(): Endpoint[] {
    return verifyEmailEndpoints(this.name)
  }

  resetPasswordEndpoints(): Endpoint[] {
    return resetPasswordEndpoints(this.name)
  }

  changeEmailEndpoints(): Endpoint[] {
    return changeEmailEndpoints(this.name)
  }

  magicLinkEndpoints(): Endpoint[] {
    return magicLinkEndpoints(this.name, this.#signedInSchema(), this.#options?.rememberMe)
  }

  #signedInSchema(): object {
    return this.features.totp || this.features.passkeys ? tokenOrFactorSchema : tokenSchema
  }

  passkeyEndpoints(): Endpoint[] {
    return passkeyEndpoints(this.name, this.#options?.rememberMe)
  }

  /** `providers/` and `me/identities/`. Signing up uses the options of `create`, and is off if `create` is off. */
  providerEndpoints(): Endpoint[] {
    const register = this.#invitedRegistration()
    return providerEndpoints(this.name, register && !register.isRefused ? register.prepare : null, this.#signedInSchema())
  }

  secondFactorEndpoints(): Endpoint[] {
    return secondFactorEndpoints(this.name)
  }

  /** `GET me/devices/`, `DELETE me/devices/:deviceId` and `DELETE me/devices/` */
  deviceEndpoints(): Endpoint[] {
    return deviceEndpoints(this.name)
  }

  /**
   * `invitations/`. Registering with an invitation creates a user: it uses the options of `create`, and is off if `create` is
   * off.
   */
  invitationEndpoints(): Endpoint[] {
    return invitationEndpoints(this.name, this.#invitedRegistration())
  }

  /** Returns how people register who need no public registration; null if `create` is off. */
  #invitedRegistration(): Registration | null {
    const create = this.methodOptions('create')
    if (!create) return null
    return {
      prepare: async (context: EndpointContext, values: object, known: object) => await this.prepareCreate(context, values, known),
      shown: (user: object) => this.shape(user as ServedRow, 'create'),
      input: narrowedInput(this.served.schema.create, create?.argSchema),
      // An invited person has no role yet.
      isRefused: create?.adminOnly === true || create?.role !== undefined,
    }
  }

  memberEndpoints(): Endpoint[] {
    return memberEndpoints(this.name, (user, actor) => this.#shown(user as ServedRow, this.shownTo(actor), 'get'))
  }

  impersonationEndpoints(): Endpoint[] {
    return impersonationEndpoints(this.name)
  }

  /** `GET me/` → the signed-in user, with `roles: [{ role, domain }]` */
  currentUserEndpoint(): Endpoint {
    return new Endpoint({
      method: 'GET',
      path: 'me',
      name: `getCurrent${this.name}`,
      summary: 'The signed-in user',
      // Every API key may read its user.
      abilities: () => [],
      queryKeys: [],
      handler: async ({ actor, perms }) => {
        const profile = this.profile(requireActor(actor).user as ServedRow, requireActor(actor))
        return HttpResponse.json(await this.#withDeletion(profile, requireActor(actor), perms))
      },
      description: { output: this.#profileSchema() },
    })
  }

  /** `GET me/permissions/` → what the policies of the models that the API serves allow the caller */
  permissionsEndpoint(): Endpoint {
    return permissionsEndpoint(this.name)
  }

  /**
   * `PATCH me/` works like `PATCH /:id` for the caller's own row, with the same argSchema, hooks, adminOnly and role. Changing the
   * password, the e-mail address or another identifier requires `oldPassword`.
   */
  updateCurrentUserEndpoint(): Endpoint {
    const update = this.updateEndpoint()
    const { handler, description } = update.options
    return update.with({
      path: 'me',
      item: false,
      public: false,
      name: `updateCurrent${this.name}`,
      summary: 'Change the signed-in user',
      load: async (context) => await this.#loadOwnRow(context),
      handler: async (context) => {
        if (this.#me.argSchema !== undefined) splitInput(this.served, context.input, this.#me.argSchema)
        const answer = await handler(context)
        const headers = answer instanceof HttpResponse ? answer.headers : {}
        const profile = this.profile(context.row as ServedRow, requireActor(context.actor), 'update')
        return HttpResponse.json(await this.#withDeletion(profile, requireActor(context.actor), context.perms), { headers })
      },
      schema: undefined,
      description: {
        ...description,
        input: narrowedInput(description?.input as ObjectSchema, this.#me.argSchema),
        output: this.#profileSchema(),
      },
    })
  }

  // Loads a separate row: the caller's row is shared by the whole request and must not keep refused values.
  async #loadOwnRow({ actor, params }: EndpointContext): Promise<Loaded> {
    const { parent } = this.options
    const parents = await loadParents(parent, params)
    const row = await findRow(this.served, 'id', String(requireActor(actor).id), { more: conditionUnder(parent, parents) }).catch(
      (error: unknown) => {
        throw error instanceof NotFoundError ? new ForbiddenError() : error
      },
    )
    return { row, parents }
  }

  /** Returns what me/ shows: the columns that list and get show to the caller, and the roles. */
  protected profile(user: ServedRow, actor: Actor, method: CrudMethod = 'get'): Record<string, unknown> {
    const roles = actor.grants.map(({ role, domainId }) => ({ role, domain: domainId }))
    const fields = this.#profileFields(actor).filter((name) => method === 'get' || this.fieldsOf(method).includes(name))
    const shown = { ...this.#shown(user, fields, method), roles }
    return actor.impersonatorId === null ? shown : { ...shown, impersonator: { id: actor.impersonatorId } }
  }

  // One more statement, while the feature is on.
  async #withDeletion(profile: Record<string, unknown>, { id }: Actor, { auth }: PermsPort): Promise<Record<string, unknown>> {
    if (!this.features.deleteAccount) return profile
    return { ...profile, deletionAt: (await auth.accountDeletion.status(id))?.deletionAt ?? null }
  }

  #shown(user: ServedRow, fields: readonly string[], method: CrudMethod): Record<string, unknown> {
    return this.hasOwnShape ? narrowed(this.shape(user, method), this.served, fields) : shape(user, this.served, fields)
  }

  #profileFields(actor?: Actor): readonly string[] {
    return this.#me.schema === undefined ? this.shownTo(actor) : narrowedFields(this.served, this.#me.schema)
  }

  #profileSchema(): object {
    const output = narrowedOutput(this.served.schema.output, this.#profileFields())
    return {
      ...output,
      properties: {
        ...output.properties,
        roles: rolesSchema,
        impersonator: impersonatorSchema,
        ...(this.features.deleteAccount ? { deletionAt: deletionAtSchema } : {}),
      },
      required: [...output.required, 'roles'],
    }
  }
}

function requireActor(actor: Actor | null): Actor {
  if (actor === null) throw new UnauthorizedError()
  return actor
}
