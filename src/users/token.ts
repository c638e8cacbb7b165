import { randomBytes } from 'node:crypto'
import type { Knex } from 'knex'
import type { Model, TransactionOrKnex } from 'objection'
import { ValidationError } from '../core/errors.js'
import { lockRow } from '../database/lock-row.js'
import { transaction } from '../database/transaction.js'
import { BasePermsModel } from '../enforce/base-perms-model.js'
import { HasUserMixin } from '../mixins/has-user.js'
import { UserOwnershipMixin } from '../mixins/user-ownership.js'
import { asSystem, currentActor } from '../policy/context.js'
import { declareWriteLimits } from '../policy/policy.js'
import { OUTRANKS, outranks } from '../policy/rank.js'
import { registeredModel } from '../policy/registered-models.js'
import { column } from '../schema/column.js'
import { hashToken, isApiKey, looksLikeApiKey, newApiKey } from './api-key-format.js'
import { forbidApiKey, WriteGuardMixin } from './caller-restrictions.js'
import { ReplaceableMixin, redirectToRegistered } from './replaceable.js'
import type { User } from './user.js'

export { hashToken } from './api-key-format.js'

/** A new opaque token: 256 bits of the CSPRNG in base64url. */
export function randomToken(): string {
  return randomBytes(32).toString('base64url')
}

/** The kind of the row that says where a registration came from. It is revoked from the start and opens nothing. */
export const REGISTRATION = 'registration'
/** The kind of the row that says, for a user model without `emailVerifiedAt`, that the address `boundTo` was proved. It opens nothing. */
export const PROVEN_ADDRESS = 'proven-address'

export interface IssueOptions {
  /** The token itself, at least 22 characters (128 bits); made at random when not said. */
  token?: string | undefined
  /** What the token is for; `'custom'` when not said, `'api'` for an API key. */
  kind?: string | undefined
  /**
   * Of an API key: what it may do of what its owner may, such as `documents:read`, `documents:*` or `*`; nothing when not said.
   * `documents` is the plural of the model's name, or the path of its resource.
   */
  abilities?: readonly string[] | undefined
  description?: string | null | undefined
  expiresAt?: Date | null | undefined
  /** Seconds from now. */
  expiresIn?: number | undefined
}

const inPerson = () => forbidApiKey('Tokens and sessions')

/** A token of a user: only its hash is stored, and it is shown once. */
export class Token extends ReplaceableMixin(
  WriteGuardMixin(UserOwnershipMixin(HasUserMixin(BasePermsModel)), inPerson),
  'token',
).withColumns({
  token: column.string({ maxLength: 64 }).unique().hidden(),
  kind: column.string({ maxLength: 32 }).default('custom').readOnly().index(),
  description: column.string({ maxLength: 255 }).nullable(),
  expiresAt: column.datetime().nullable().index(),
  revoked: column.boolean().default(false),
  revokedAt: column.datetime().nullable().readOnly(),
  /** When it last opened a door; of a session, when it was last refreshed. */
  lastUsedAt: column.datetime().nullable().readOnly(),
  /** Of a session: when the present refresh token took the place of the one before. */
  rotatedAt: column.datetime().nullable().hidden(),
  /** Of a session: when it ends however often it is refreshed. */
  endsAt: column.datetime().nullable().readOnly(),
  /** Of a session: the client's address at sign-in. */
  address: column.string({ maxLength: 64 }).nullable().readOnly(),
  /** Of an API key: what it may do. */
  abilities: column
    .json<readonly string[]>({ type: 'array', items: { type: 'string' } })
    .nullable()
    .readOnly(),
  /** Of a session in a user's place: the superadmin who acts. */
  impersonatorId: column.uuid().references('user.id', { onDelete: 'cascade' }).nullable().readOnly(),
  /** What the token is bound to beside its user: of a mailed one the e-mail address, of a session in a user's place the superadmin's own. */
  boundTo: column.string({ maxLength: 320 }).nullable().hidden(),
}) {
  declare user?: User
  /** Out of reach of API keys, whatever their abilities. */
  static isCredential = true
  // Nobody reads or makes another's credentials.
  static override adminBypass: boolean | 'read' = false

  /**
   * Makes a token for a user. `plain` is never shown again.
   *
   * @example const { plain } = await Token.issue(user, { kind: 'cli', expiresIn: 3600 })
   * @example const { plain } = await Token.issue(user, { kind: 'api', description: 'CI', abilities: ['documents:read'] })
   * @throws ValidationError for a given token of fewer than 22 characters, an expiry in the past, or abilities that are none
   */
  static async issue<M extends Model>(
    this: new () => M,
    user: User,
    options: IssueOptions = {},
    trx?: TransactionOrKnex,
  ): Promise<{ token: M; plain: string }> {
    const isKey = options.kind === 'api'
    const plain = options.token ?? (isKey ? newApiKey() : randomToken())
    if (isKey ? !isApiKey(plain) : looksLikeApiKey(plain))
      throw new ValidationError('An API key has a form of its own: leave token out.', [
        { field: 'token', message: 'is made by the library' },
      ])
    checkAbilities(options.abilities, isKey)
    if (plain.length < 22)
      throw new ValidationError('token must have at least 22 characters (128 bits).', [
        { field: 'token', message: 'must have at least 22 characters' },
      ])
    const expiresAt = options.expiresIn === undefined ? (options.expiresAt ?? null) : new Date(Date.now() + options.expiresIn * 1000)
    if (expiresAt !== null && !(expiresAt.getTime() > Date.now()))
      throw new ValidationError('expiresAt must be in the future.', [{ field: 'expiresAt', message: 'must be in the future' }])
    const values = {
      userId: user.id,
      token: hashToken(plain),
      kind: options.kind ?? 'custom',
      description: options.description ?? null,
      expiresAt,
      abilities: isKey ? [...new Set(options.abilities ?? [])] : null,
    }
    const create = (on?: TransactionOrKnex) => (this as unknown as typeof Token).create(values as never, on)
    if (currentActor() === null) return { token: (await create(trx)) as unknown as M, plain }
    // What ends this user's access at the same time comes before the look at the caller's session, or after the new row.
    const token = await transaction(
      async (open) => {
        await lockRow(open, registeredModel('user'), user.id)
        return await create(trx && open)
      },
      trx ? { knex: trx as Knex } : {},
    )
    return { token: token as unknown as M, plain }
  }

  /**
   * The living token with its user, or null: unknown, revoked, expired, or of a user who is disabled. What the library mails
   * and asks for in its own flows, such as a link to choose a new password, is none unless `kind` names it.
   *
   * @example const token = await Token.verify(plain, { kind: 'cli' })
   */
  static async verify<M extends Model>(
    this: new () => M,
    plain: string,
    options: { kind?: string | undefined } = {},
    trx?: TransactionOrKnex,
  ): Promise<M | null> {
    if (typeof plain !== 'string' || plain === '' || plain.length > 4096) return null
    // A mistyped or made-up key needs no look-up.
    if (looksLikeApiKey(plain) && !isApiKey(plain)) return null
    const found = (await asSystem(() =>
      (this as unknown as typeof Token)
        .query(trx)
        .findOne({ token: hashToken(plain), ...(options.kind ? { kind: options.kind } : {}) } as never),
    )) as Token | undefined
    if (!found?.isLive) return null
    // Bound to more than its user, it is for the flow that bound it.
    if (found.boundTo !== null && options.kind === undefined) return null
    const user = await asSystem(() => (registeredModel('user') as unknown as typeof User).get(found.userId, trx))
    if (!user?.isEnabled) return null
    found.user = user
    return found as unknown as M
  }

  /** Removes tokens that have expired. @returns how many */
  static async deleteExpired(trx?: TransactionOrKnex): Promise<number> {
    return await this.query(trx).delete().whereNotNull('expiresAt').where('expiresAt', '<=', new Date())
  }

  /** Neither revoked nor expired. */
  get isLive(): boolean {
    return !this.revoked && (this.expiresAt === null || this.expiresAt === undefined || this.expiresAt.getTime() > Date.now())
  }

  /** Ends the token for good. */
  async revoke(trx?: TransactionOrKnex): Promise<this> {
    return await this.update({ revoked: true } as Partial<this>, trx)
  }

  override async $beforeUpdate(options: never, context: never): Promise<void> {
    await super.$beforeUpdate(options, context)
    // Revoked again, it is revoked since the first time.
    if (this.revoked === true) this.revokedAt ??= (options as { old?: Token }).old?.revokedAt ?? new Date()
    if (this.revoked === false)
      throw new ValidationError('A revoked token stays revoked: issue a new one.', [{ field: 'revoked', message: 'cannot be taken back' }])
  }
}

declareWriteLimits(Token, { on: ['create', 'update', 'delete'], reads: ['userId'], takes: OUTRANKS, condition: outranks })

const mostAbilities = 100
const abilityForm = /^(?:\*|[\w-]{1,64}(?::(?:\*|[\w-]{1,64}))?)$/

function checkAbilities(abilities: unknown, isKey: boolean): void {
  const refuse = (message: string): never => {
    throw new ValidationError(`abilities ${message}.`, [{ field: 'abilities', message }])
  }
  if (abilities === undefined || abilities === null) return
  if (!isKey) refuse("are for API keys: kind: 'api'")
  if (!Array.isArray(abilities) || abilities.length > mostAbilities) refuse(`must be a list of ${mostAbilities} at most`)
  if (!(abilities as unknown[]).every((one) => typeof one === 'string' && abilityForm.test(one)))
    refuse("must be of the form 'documents:read', 'documents:*' or '*'")
}
redirectToRegistered(Token, 'token')
