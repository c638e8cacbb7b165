import type { Knex } from 'knex'
import type { MaybeCompositeId, Model, QueryBuilder, SingleQueryBuilder, TransactionOrKnex } from 'objection'
import type { FactorName } from '../../auth/auth-types.js'
import type { AuthEventName, AuthEvents } from '../../auth/events.js'
import type { Codes } from '../../auth/flows/codes/codes.js'
import type { ConfirmCredentials, Confirmed } from '../../auth/flows/confirm.js'
import type { Impersonation } from '../../auth/flows/impersonation.js'
import type { Invitations } from '../../auth/flows/invitations/invitations.js'
import type { AccountDeletions } from '../../auth/flows/lifecycle/account-deletion.js'
import type { ExportData } from '../../auth/flows/lifecycle/export-data.js'
import type { MailFlows } from '../../auth/flows/mail/mail-flows.js'
import type { Members } from '../../auth/flows/members.js'
import type { Passkeys } from '../../auth/flows/passkeys/passkeys.js'
import type { Providers } from '../../auth/flows/providers/providers.js'
import type { SecondFactors } from '../../auth/flows/second-factor/second-factor.js'
import type { TrustedDevices } from '../../auth/flows/second-factor/trusted-devices.js'
import type { ApiKeys } from '../../auth/tokens/api-keys.js'
import type { RememberMeOptions } from '../../auth/tokens/session-life.js'
import { ConfigurationError } from '../../core/errors.js'
import type { Languages } from '../../core/messages/languages.js'
import type { Actor } from '../../policy/context.js'
import type { StepUpRule } from '../../policy/fresh-session.js'
import type { UserId } from '../../policy/registered-types.js'
import type { AbstractConstructor, ActiveRecord, ActiveRecordStatics } from '../../record/record-types.js'
import type { ColumnSpec } from '../../schema/column.js'
import type { ModelSchemas } from '../../schema/json-schemas.js'
import type { ModelClass } from '../../schema/model-class.js'
import type { CookieSettings } from '../caller/cookies.js'

/** A model that a resource can serve: a class with ActiveRecordMixin, such as BaseModel, BasePermsModel and their subclasses. */
export type ResourceModel = AbstractConstructor<Model & ActiveRecord> & ActiveRecordStatics

/** The methods of a row that the HTTP layer calls. */
export interface ServedRow {
  $id(): MaybeCompositeId
  $fetchGraph(relations: string): SingleQueryBuilder<QueryBuilder<Model>>
  toJSON(options?: { shallow?: boolean }): object
  update(values: object, trx?: TransactionOrKnex): Promise<unknown>
  updateFrom(input: unknown, trx?: TransactionOrKnex): Promise<unknown>
  delete(trx?: TransactionOrKnex): Promise<void>
  /** Only models with SoftDeleteMixin have these two members. */
  readonly isDeleted?: boolean
  restore?(trx?: TransactionOrKnex): Promise<unknown>
  /** Only models with permissions have these two methods. */
  canWrite?(): Promise<boolean>
  canDelete?(): Promise<boolean>
}

interface ServedStatics {
  readonly schema: ModelSchemas
  readonly columnSpecs: Readonly<Record<string, ColumnSpec>>
  readonly publicRegistration?: boolean
  getRelation(name: string): { readonly relatedModelClass: ServedModel; isOneToOne(): boolean }
  query(trx?: TransactionOrKnex): QueryBuilder<Model & ServedRow>
  create(values: object, trx?: TransactionOrKnex): Promise<ServedRow>
  createFrom(input: object, trx?: TransactionOrKnex): Promise<ServedRow>
  afterGet(rows: readonly Model[], trx?: TransactionOrKnex): Promise<void>
  canCreate?(values: object): Promise<boolean>
}

/** A ResourceModel as the HTTP layer uses it: the rows have one type, whatever the class. */
export type ServedModel = ServedStatics & ModelClass

/** Returns whether a model class is one that a resource can serve. */
export function isServedModel(model: object): model is ServedModel {
  return 'columnSpecs' in model
}

/** Returns whether a row belongs to such a class. */
export function isServedRow(row: object): row is ServedRow {
  return isServedModel(row.constructor)
}

/** Returns the class of a resource as the HTTP layer uses it. */
export function servedModel(model: ResourceModel): ServedModel {
  const { name } = model
  if (!isServedModel(model))
    throw new ConfigurationError(`${name} is not a model of this library. Extend BaseModel or ActiveRecordMixin(Model).`)
  return model
}

/** The tokens that a sign-in or refresh returns. `expiresIn` is the lifetime of the access token in seconds. */
export interface IssuedTokens {
  readonly status?: 'signedIn'
  readonly accessToken: string
  readonly refreshToken: string
  readonly expiresIn: number
  /** The token of a device that has just become trusted, and its lifetime in seconds. */
  readonly deviceToken?: string | undefined
  readonly deviceExpiresIn?: number | undefined
}

/** The result of a sign-in with a correct password that still needs a second factor. */
export interface FactorAsked {
  readonly status: 'secondFactor'
  readonly challenge: string
  readonly factors: readonly FactorName[]
}

/** The part of the result of initPerms that the HTTP layer uses. */
export interface PermsPort {
  readonly knex: Knex
  readonly models: { readonly user: unknown }
  readonly options: {
    readonly accessDenied: 404 | 403
    /** Settings for tokens in cookies. Undefined if cookies are off. */
    readonly cookies?: CookieSettings | undefined
    /** A rule that the caller's session must satisfy to change credentials, factors, keys, sessions and accounts. */
    readonly stepUp?: StepUpRule | undefined
    /** Whether `initPerms({ passkeys })` is set. */
    readonly passkeys?: boolean | undefined
    /** The bounds of the lifetime that clients choose at sign-in. Undefined if they cannot choose. */
    readonly rememberMe?: RememberMeOptions | undefined
    /** The languages of error responses. Undefined: English. */
    readonly languages?: Languages | undefined
    /** Schemes of the Authorization header that carry tokens, in addition to Bearer. */
    readonly schemes?: readonly string[] | undefined
  }
  readonly auth: {
    signIn(credentials: {
      readonly password: string
      readonly device?: string | undefined
      readonly remember?: boolean | undefined
      readonly sessionExpires?: number | undefined
      readonly deviceToken?: string | undefined
      readonly [identifier: string]: string | boolean | number | undefined
    }): Promise<IssuedTokens | FactorAsked>
    confirm(credentials: ConfirmCredentials): Promise<Confirmed>
    refresh(refreshToken: string): Promise<IssuedTokens>
    signOut(): Promise<unknown>
    signOutEverywhere(userId: UserId, options: { except?: string | null | undefined }): Promise<unknown>
    /** Returns the active sessions of a user, as responses show them. */
    sessions(userId: UserId): Promise<readonly object[]>
    /** Ends a session. Returns false if the user has no such session. */
    endSession(userId: UserId, sessionId: string): Promise<boolean>
    /** Returns the public keys that verify access tokens. Shared secrets are not included. */
    jwks(): { readonly keys: readonly object[] }
    /** Derives a 32-byte key for a purpose. It is the same in all processes of the application. */
    deriveKey(purpose: string): Uint8Array
    readonly apiKeys: ApiKeys
    readonly mail: MailFlows
    readonly codes: Codes
    readonly secondFactors: SecondFactors
    readonly passkeys: Passkeys
    readonly providers: Providers
    readonly devices: TrustedDevices
    readonly invitations: Invitations
    readonly members: Members
    readonly impersonation: Impersonation
    readonly accountDeletion: AccountDeletions
    readonly exportData: ExportData
  }
  /** Returns the caller that a Bearer token identifies. @throws InvalidTokenError */
  authenticate(token: string): Promise<Actor>
  /** Adds a listener of events. @returns a function that removes it */
  on<K extends AuthEventName>(name: K, listener: (payload: AuthEvents[K]) => unknown): () => void
  /** Calls fn synchronously in the runtime of this application. */
  enter<T>(fn: () => T): T
  /** Records that an adapter exists. From then on, code without a context is refused. */
  noteAdapter(): void
  /** Converts a known error of the database or of Objection to an error of the library. Returns other errors unchanged. */
  mapError(error: unknown): unknown
}
