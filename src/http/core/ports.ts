import type { Knex } from 'knex'
import type { Model, QueryBuilder, TransactionOrKnex } from 'objection'
import type { Impersonation } from '../../auth/flows/impersonation.js'
import type { Invitations } from '../../auth/flows/invitations.js'
import type { MailFlows } from '../../auth/flows/mail-flows.js'
import type { Members } from '../../auth/flows/members.js'
import type { SecondFactors } from '../../auth/flows/second-factor.js'
import type { ApiKeys } from '../../auth/tokens/api-keys.js'
import type { Actor } from '../../policy/context.js'
import type { AbstractConstructor, ActiveRecord, ActiveRecordStatics } from '../../record/active-record.js'
import type { ColumnSpec } from '../../schema/column.js'
import type { ModelSchemas } from '../../schema/json-schemas.js'
import type { CookieSettings } from '../caller/cookies.js'

/** A model that can be served: any class made with ActiveRecordMixin, so BaseModel, BasePermsModel and their subclasses. */
export type ResourceModel = AbstractConstructor<Model & ActiveRecord> & ActiveRecordStatics

/** A row, as the HTTP floor uses it. */
export interface ServedRow {
  updateFrom(input: unknown, trx?: TransactionOrKnex): Promise<unknown>
  delete(trx?: TransactionOrKnex): Promise<void>
  toJSON(options?: { shallow?: boolean }): object
  /** Of models with permissions. */
  canWrite?(): Promise<boolean>
  canDelete?(): Promise<boolean>
}

/** A model, as the HTTP floor uses it: the same class as ResourceModel, without the generics. */
export interface ServedModel {
  readonly name: string
  readonly schema: ModelSchemas
  readonly columnSpecs: Readonly<Record<string, ColumnSpec>>
  readonly publicRegistration?: boolean
  getTableName(): string
  getRelationNames(): string[]
  getRelation(name: string): { readonly relatedModelClass: ServedModel; isOneToOne(): boolean }
  knex(): Knex
  query(trx?: TransactionOrKnex): QueryBuilder<Model>
  createFrom(input: object, trx?: TransactionOrKnex): Promise<ServedRow>
  afterGet(rows: readonly Model[], trx?: TransactionOrKnex): Promise<void>
  canCreate?(values: object): Promise<boolean>
}

/** What a successful sign-in or refresh hands out; `expiresIn` is the access token's life in seconds. */
export interface IssuedTokens {
  readonly status?: 'signedIn'
  readonly accessToken: string
  readonly refreshToken: string
  readonly expiresIn: number
}

/** The password was right and a second factor is asked for. */
export interface FactorAsked {
  readonly status: 'secondFactor'
  readonly challenge: string
}

/** What the HTTP floor needs of what initPerms returns. */
export interface PermsPort {
  readonly knex: Knex
  readonly models: { readonly user: unknown }
  /** `cookies`: tokens may come and go in cookies too. */
  readonly options: { readonly accessDenied: 404 | 403; readonly cookies?: CookieSettings | undefined }
  readonly auth: {
    signIn(credentials: { email: string; password: string; device?: string | undefined }): Promise<IssuedTokens | FactorAsked>
    refresh(refreshToken: string): Promise<IssuedTokens>
    signOut(): Promise<unknown>
    signOutEverywhere(userId: string, options: { except?: string | null | undefined }): Promise<unknown>
    /** The living sessions of a user, as they are shown. */
    sessions(userId: string): Promise<readonly object[]>
    /** Whether there was such a session of this user. */
    endSession(userId: string, sessionId: string): Promise<boolean>
    /** The public halves of the keys that sign access tokens; none of shared secrets. */
    jwks(): { readonly keys: readonly object[] }
    /** 32 bytes for one purpose, the same in every process of the application. */
    deriveKey(purpose: string): Uint8Array
    readonly apiKeys: ApiKeys
    readonly mail: MailFlows
    readonly secondFactors: SecondFactors
    readonly invitations: Invitations
    readonly members: Members
    readonly impersonation: Impersonation
  }
  /** The caller behind a Bearer token. @throws InvalidTokenError */
  authenticate(token: string): Promise<Actor>
  /** Calls fn at once with the database of this application. */
  enter<T>(fn: () => T): T
  /** From now on code without a context is refused. */
  noteAdapter(): void
  /** An error of the database or of Objection as one of the library's, where it is known. */
  mapError(error: unknown): unknown
}
