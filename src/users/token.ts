import { randomBytes } from 'node:crypto'
import type { Model, QueryBuilder, TransactionOrKnex } from 'objection'
import { ValidationError } from '../core/errors.js'
import { type Message, message } from '../core/messages/message.js'
import { setClassName } from '../core/names.js'
import { lockRow } from '../database/lock-row.js'
import { transaction } from '../database/transaction.js'
import { BasePermsModel } from '../enforce/base-perms-model.js'
import { HasUserMixin } from '../mixins/has-user.js'
import { UserOwnershipMixin } from '../mixins/user-ownership.js'
import { asSystem, currentActor } from '../policy/context.js'
import { declareWriteLimits } from '../policy/policy.js'
import { OUTRANKS, outranks } from '../policy/rank.js'
import { assertRegisteredUser, registeredModel } from '../policy/registered-models.js'
import { isActiveUser } from '../policy/user-tables.js'
import { assertHome } from '../query/home.js'
import type { Constructor } from '../record/record-types.js'
import { column } from '../schema/column.js'
import { invalidField } from '../schema/text-input.js'
import { hashToken, isApiKey, looksLikeApiKey, newApiKey } from './api-key-format.js'
import type { UserRow } from './caller/actor.js'
import { CheckedWritesMixin, forbidApiKey } from './caller/caller-restrictions.js'
import { endDeletedLegacyTokens, LEGACY, rememberLegacyTokens } from './legacy-tokens.js'
import { ReplaceableMixin, redirectToRegistered } from './replaceable.js'
import type { User } from './user.js'

export { hashToken } from './api-key-format.js'

/** Returns a new opaque token: 256 random bits in base64url. */
export function randomToken(): string {
  return randomBytes(32).toString('base64url')
}

/** The kind of the row that records the client address of a registration. It is created revoked and grants no access. */
export const REGISTRATION = 'registration'
/** The kind of rows that record from where a user signs in. No token has the hash of such a row. */
export const PLACE = 'place'
/** The kind of the row that records a proved address (`boundTo`) for user models without `emailVerifiedAt`. It grants no access. */
export const PROVEN_ADDRESS = 'proven-address'

export interface IssueOptions {
  /**
   * The token itself, at least 22 characters (128 bits).
   *
   * @defaultValue a random token
   */
  token?: string | undefined
  /**
   * The purpose of the token, `'api'` for an API key.
   *
   * @defaultValue 'custom'
   */
  kind?: string | undefined
  /**
   * The part of its owner's rights that an API key has, such as `documents:read`, `documents:*` or `*`. `documents` is the
   * plural of the model's name or the path of its resource.
   *
   * @defaultValue none
   */
  abilities?: readonly string[] | undefined
  description?: string | null | undefined
  expiresAt?: Date | null | undefined
  /** In seconds. */
  expiresIn?: number | undefined
}

const forbidApiKeyForTokens = () => forbidApiKey(message('subject.tokens'))

/**
 * A token of a user. The database stores only its hash; the token itself is shown once.
 *
 * @example const { plain } = await Token.issue(user, { kind: 'cli', expiresIn: 3600 })
 */
export class Token extends ReplaceableMixin(
  CheckedWritesMixin(UserOwnershipMixin(HasUserMixin(BasePermsModel)), forbidApiKeyForTokens),
  'token',
).withColumns({
  token: column.string({ maxLength: 64 }).unique().hidden(),
  kind: column.string({ maxLength: 32 }).default('custom').readOnly().index(),
  description: column.string({ maxLength: 255 }).nullable(),
  expiresAt: column.datetime().nullable().index(),
  revoked: column.boolean().default(false),
  revokedAt: column.datetime().nullable().readOnly(),
  /** The last use of an API key, or the last refresh of a session. */
  lastUsedAt: column.datetime().nullable().readOnly(),
  /** When the current refresh token of a session replaced the previous one. */
  rotatedAt: column.datetime().nullable().hidden(),
  /** When a session ends even if it is refreshed. */
  endsAt: column.datetime().nullable().readOnly(),
  /** The client address at sign-in. */
  address: column.string({ maxLength: 64 }).nullable().readOnly(),
  /** The abilities of an API key. */
  abilities: column
    .json<readonly string[]>({ type: 'array', items: { type: 'string' } })
    .nullable()
    .readOnly(),
  /** The superadmin who impersonates the user in this session. */
  impersonatorId: column.uuid().references('user.id', { onDelete: 'cascade' }).nullable().readOnly(),
  /** A further condition of the token: the e-mail address of a mailed token, or the superadmin's own session of an impersonation. */
  boundTo: column.string({ maxLength: 320 }).nullable().hidden(),
  /** When the user of a session last proved to be present. NULL is unknown, and never recent. */
  authTime: column.datetime().nullable().readOnly(),
  /** How the user did that, separated by spaces: names of RFC 8176, 'mail', 'recovery' and 'legacy'. */
  amr: column.string({ maxLength: 255 }).nullable().readOnly(),
}) {
  static {
    setClassName(this, 'Token')
  }

  declare user?: User
  /** API keys cannot reach it, whatever their abilities. */
  static isCredential = true
  // Admins neither read nor create other users' credentials.
  static override adminBypass: boolean | 'read' = false

  /**
   * Creates a token for a user. `plain` is returned once and not stored.
   *
   * @throws ValidationError for a given token of fewer than 22 characters, an expiry in the past, or unknown abilities
   * @example const { plain } = await Token.issue(user, { kind: 'cli', expiresIn: 3600 })
   * @example const { plain } = await Token.issue(user, { kind: 'api', description: 'CI', abilities: ['documents:read'] })
   */
  static issue<M extends Model>(
    this: Constructor<M>,
    user: UserRow,
    options?: IssueOptions,
    trx?: TransactionOrKnex,
  ): Promise<{ token: M; plain: string }>
  static async issue(
    this: typeof Token,
    user: User,
    options: IssueOptions = {},
    trx?: TransactionOrKnex,
  ): Promise<{ token: Token; plain: string }> {
    assertHome(user, trx)
    assertRegisteredUser(user)
    const isKey = options.kind === 'api'
    const plain = options.token ?? (isKey ? newApiKey() : randomToken())
    if (isKey ? !isApiKey(plain) : looksLikeApiKey(plain))
      throw new ValidationError(message('apiKey.generated'), [{ field: 'token', message: message('field.madeByLibrary') }])
    checkAbilities(options.abilities, isKey)
    if (plain.length < 22)
      throw new ValidationError(message('input.fieldSentence', { field: 'token', problem: message('field.tokenBits') }), [
        { field: 'token', message: message('field.minLength', { limit: 22 }) },
      ])
    const expiresAt = options.expiresIn === undefined ? (options.expiresAt ?? null) : new Date(Date.now() + options.expiresIn * 1000)
    if (expiresAt !== null && !(expiresAt.getTime() > Date.now())) throw invalidField('expiresAt', message('field.future'))
    const values = {
      userId: user.id,
      token: hashToken(plain),
      kind: options.kind ?? 'custom',
      description: options.description ?? null,
      expiresAt,
      abilities: isKey ? [...new Set(options.abilities ?? [])] : null,
    }
    const create = (on?: TransactionOrKnex) => this.create(values, on)
    if (currentActor() === null) return { token: await create(trx), plain }
    // Locks the user first: a concurrent sign-out either ends the caller's session before this check, or revokes the new token.
    const token = await transaction(
      async (open) => {
        await lockRow(open, registeredModel('user'), user.id)
        return await create(trx && open)
      },
      trx ? { knex: trx } : {},
    )
    return { token, plain }
  }

  /**
   * Returns the active token with its user, or null when it is unknown, revoked or expired, or its user is disabled. Tokens of the
   * library's own flows, such as password reset links, need their `kind`.
   *
   * @param plain the token as it was handed out
   * @example const token = await Token.verify(plain, { kind: 'cli' })
   */
  static verify<M extends Model>(
    this: Constructor<M>,
    plain: string,
    options?: { kind?: string | undefined },
    trx?: TransactionOrKnex,
  ): Promise<M | null>
  static async verify(
    this: typeof Token,
    plain: string,
    options: { kind?: string | undefined } = {},
    trx?: TransactionOrKnex,
  ): Promise<Token | null> {
    if (typeof plain !== 'string' || plain === '' || plain.length > 4096) return null
    // The checksum rejects mistyped keys without a query.
    if (looksLikeApiKey(plain) && !isApiKey(plain)) return null
    const found = await asSystem(() =>
      this.query(trx).findOne({ token: hashToken(plain), ...(options.kind ? { kind: options.kind } : {}) }),
    )
    if (!found?.isActive) return null
    // A bound token is only for the flow that checks its condition.
    if (found.boundTo !== null && options.kind === undefined) return null
    const user = await asSystem(() => (registeredModel('user') as typeof User).get(found.userId, trx))
    if (!user || !isActiveUser(user)) return null
    found.user = user
    return found
  }

  /** Deletes expired tokens in one statement. `perms.maintain()` does it in batches. @returns the number of deleted tokens */
  static async deleteExpired(trx?: TransactionOrKnex): Promise<number> {
    return await this.query(trx).delete().modify(whereExpired, new Date())
  }

  static override async beforeDelete(args: never): Promise<unknown> {
    const result = await super.beforeDelete(args)
    await rememberLegacyTokens(args)
    return result
  }

  static override async afterDelete(args: never): Promise<unknown> {
    const result = await super.afterDelete(args)
    await endDeletedLegacyTokens(args)
    return result
  }

  /** Whether the token is neither revoked nor expired. */
  get isActive(): boolean {
    return !this.revoked && (this.expiresAt === null || this.expiresAt === undefined || this.expiresAt.getTime() > Date.now())
  }

  /** @deprecated Use isActive. */
  get isLive(): boolean {
    return this.isActive
  }

  /** Revokes the token permanently. */
  async revoke(trx?: TransactionOrKnex): Promise<this> {
    return await this.update({ revoked: true } as Partial<this>, trx)
  }

  override async $beforeUpdate(options: never, context: never): Promise<void> {
    await super.$beforeUpdate(options, context)
    // Revoking twice keeps the first date.
    if (this.revoked === true) this.revokedAt ??= (options as { old?: Token }).old?.revokedAt ?? new Date()
    if (this.revoked === false)
      throw new ValidationError(message('tokens.notRestorable'), [{ field: 'revoked', message: message('field.notTakenBack') }])
  }
}

/** Restricts a query to expired tokens. */
export function whereExpired(query: QueryBuilder<Token, unknown>, now: Date): void {
  query
    .whereNotNull('expiresAt')
    .where('expiresAt', '<=', now)
    // The row of a legacy token stays until no such token is accepted any more: without it, the token would count as unused.
    .where((row) => row.whereNot('kind', LEGACY).orWhere('endsAt', '<=', now))
}

declareWriteLimits(Token, { on: ['create', 'update', 'delete'], reads: ['userId'], takes: OUTRANKS, condition: outranks })

const maxAbilities = 100
const abilityForm = /^(?:\*|[\w-]{1,64}(?::(?:\*|[\w-]{1,64}))?)$/

function checkAbilities(abilities: unknown, isKey: boolean): void {
  const refuse = (problem: Message): never => {
    throw invalidField('abilities', problem)
  }
  if (abilities === undefined || abilities === null) return
  if (!isKey) refuse(message('field.onlyApiKeys'))
  if (!Array.isArray(abilities) || abilities.length > maxAbilities) refuse(message('field.listAtMost', { limit: maxAbilities }))
  if (!(abilities as unknown[]).every((one) => typeof one === 'string' && abilityForm.test(one))) refuse(message('field.abilityForm'))
}
redirectToRegistered(Token, 'token')
