import type { Model, TransactionOrKnex } from 'objection'
import { inTransaction, transaction } from '../database/transaction.js'
import { BasePermsModel } from '../enforce/base-perms-model.js'
import { asSystem, currentActor, currentAddress } from '../policy/context.js'
import { declareWriteLimits, markUserModel } from '../policy/policy.js'
import { OUTRANKS, outranks } from '../policy/rank.js'
import { registeredModel } from '../policy/registered-models.js'
import { nobody, type Policy, role, self } from '../policy/rules.js'
import { column } from '../schema/column.js'
import { canonicalEmail, EMAIL_PATTERN, MAX_EMAIL_LENGTH } from '../schema/email.js'
import { skipCallerChange } from './caller-changes.js'
import { forbidImpersonation } from './caller-restrictions.js'
import { emitAfterCommit } from './events.js'
import { HasRolesMixin } from './has-roles-mixin.js'
import { PasswordMixin } from './password-mixin.js'
import { ReplaceableMixin, redirectToRegistered } from './replaceable.js'
import { Role } from './roles.js'
import { hashToken, PROVEN_ADDRESS, REGISTRATION, randomToken, type Token } from './token.js'

/**
 * A user with an e-mail address, a password and roles. Extend it with mixins and columns of your own.
 *
 * @example class Employee extends ProfileMixin(TimestampMixin(User)).withColumns({ department: column.string() }) {}
 */
export class User extends ReplaceableMixin(HasRolesMixin(PasswordMixin(BasePermsModel)), 'user').withColumns({
  email: column.string({ maxLength: MAX_EMAIL_LENGTH, pattern: EMAIL_PATTERN }).unique(),
  isEnabled: column.boolean().default(true).writableBy(role(Role.ADMIN)),
}) {
  /** Whether an anonymous caller may create a user. */
  static publicRegistration = false
  static override policy: Policy = { read: self(), update: self(), delete: nobody() }

  static override async getBy<M extends Model>(this: new () => M, where: Partial<M>, trx?: TransactionOrKnex): Promise<M | null> {
    const { email } = where as { email?: unknown }
    const canonical = typeof email === 'string' ? { ...where, email: canonicalEmail(email) } : where
    return (await super.getBy.call(this as never, canonical as never, trx)) as M | null
  }

  override async save(trx?: TransactionOrKnex): Promise<this> {
    if (typeof this.email === 'string') this.email = canonicalEmail(this.email)
    return await super.save(trx)
  }

  // A changed password or address ends the other sessions in the same transaction. The password is hashed before it begins.
  override async $around(write: () => Promise<void>, changes: object, trx?: TransactionOrKnex): Promise<void> {
    const { email, passwordHash } = changes as { email?: string; passwordHash?: string | null }
    if (email === undefined && passwordHash === undefined) {
      await super.$around(write, changes, trx)
      return
    }
    const run = async () => {
      const Class = this.constructor as unknown as typeof User
      // Locks the row: a concurrent password change or sign-out either commits first and is seen here, or waits and ends the new
      // access.
      const before = (await asSystem(() => Class.query(trx).findById(this.id).select('email', 'passwordHash').forUpdate())) as unknown as
        | User
        | undefined
      await super.$around(write, changes, trx)
      const changesEmail = email !== undefined && email !== before?.email
      const changesPassword = passwordHash !== undefined && passwordHash !== before?.passwordHash
      if (changesEmail || changesPassword) await this.#afterCredentials({ changesEmail, changesPassword }, trx)
      if (changesPassword && before) emitAfterCommit('passwordChanged', { userId: this.id }, trx)
    }
    await (trx || inTransaction() ? run() : transaction(run))
  }

  async #afterCredentials(changed: { changesEmail: boolean; changesPassword: boolean }, trx?: TransactionOrKnex): Promise<void> {
    const { changesEmail, changesPassword } = changed
    const actor = currentActor()
    // A password set by another user counts as account recovery, like a reset: it ends API keys too.
    const isRecovery = changesPassword && actor !== null && actor.id !== this.id
    const keep = actor?.id === this.id ? actor.sessionId : null
    const TokenClass = registeredModel('token') as unknown as typeof Token
    const Class = this.constructor as unknown as typeof User & { columnSpecs: object }
    await asSystem(async () => {
      // The listener already ran for the write of the user.
      const sessions = skipCallerChange(TokenClass.query(trx))
        .patch({ revoked: true, revokedAt: new Date() } as never)
        .where('userId', this.id)
        .where('revoked', false)
        // Recovery codes stay: they belong to the second factor, and a user without the phone needs them after a new password.
        .whereNotIn('kind', ['custom', 'recovery', ...(isRecovery ? [] : ['api']), ...(changesEmail ? [] : [PROVEN_ADDRESS])])
      await (keep ? sessions.whereNot('id', keep) : sessions)
      if (changesEmail && 'emailVerifiedAt' in Class.columnSpecs) {
        await Class.query(trx)
          .findById(this.id)
          .patch({ emailVerifiedAt: null } as never)
        Object.assign(this, { emailVerifiedAt: null })
      }
    })
  }

  override $parseJson(json: object, options: never): never {
    const { email } = json as { email?: unknown }
    return super.$parseJson((typeof email === 'string' ? { ...json, email: canonicalEmail(email) } : json) as never, options) as never
  }

  // Deleting a user deletes roles, tokens, keys and factors.
  static override beforeDelete(args: never): unknown {
    forbidImpersonation('Accounts')
    return super.beforeDelete(args)
  }

  override async $beforeInsert(context: never): Promise<void> {
    if (typeof this.email === 'string') this.email = canonicalEmail(this.email)
    await super.$beforeInsert(context)
  }

  override async $afterInsert(context: never): Promise<void> {
    await super.$afterInsert(context)
    const address = currentAddress()
    // Records the client address of a registration: the verification mail names it.
    if (currentActor() !== null || address === undefined) return
    const values = { userId: this.id, kind: REGISTRATION, token: hashToken(randomToken()), revoked: true, address: address.slice(0, 64) }
    const TokenClass = registeredModel('token') as unknown as typeof Token
    await asSystem(() => TokenClass.create(values as never, (context as { transaction?: TransactionOrKnex }).transaction))
  }

  override async $beforeUpdate(options: never, context: never): Promise<void> {
    if ((this as { deletedAt?: Date | null }).deletedAt) forbidImpersonation('Accounts')
    if (typeof this.email === 'string') this.email = canonicalEmail(this.email)
    await super.$beforeUpdate(options, context)
  }
}
markUserModel(User)
// Columns that open the account to others or lock its user out.
declareWriteLimits(
  User,
  {
    on: ['update'],
    columns: ['email', 'passwordHash', 'isEnabled', 'emailVerifiedAt', 'deletedAt'],
    takes: OUTRANKS,
    condition: outranks,
  },
  { on: ['delete'], takes: OUTRANKS, condition: outranks },
)
redirectToRegistered(User, 'user')
