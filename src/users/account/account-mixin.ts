import type { Knex } from 'knex'
import type { Model, ModelOptions, Pojo, TransactionOrKnex } from 'objection'
import { message } from '../../core/messages/message.js'
import { lockOnAllNodes } from '../../database/cluster-lock.js'
import { nameOfRow } from '../../database/lock-row.js'
import { inTransaction, joinAmbient, transaction } from '../../database/transaction.js'
import { asSystem, currentActor, currentAddress } from '../../policy/context.js'
import { declareWriteLimits, markUserModel } from '../../policy/policy.js'
import { OUTRANKS, outranks } from '../../policy/rank.js'
import { registeredModel } from '../../policy/registered-models.js'
import { holdsUsers } from '../../policy/user-tables.js'
import { allValuesOf } from '../../query/objection-internals.js'
import type { AbstractConstructor, ActiveRecord } from '../../record/record-types.js'
import { markIntermediate } from '../../schema/definition/declarations.js'
import { definitionOf } from '../../schema/definition/definition.js'
import { skipCallerChange } from '../caller/caller-changes.js'
import { forbidImpersonation } from '../caller/caller-restrictions.js'
import { emitAfterCommit } from '../events.js'
import { endLegacyTokens } from '../legacy-tokens.js'
import { hashToken, PROVEN_ADDRESS, REGISTRATION, randomToken, type Token } from '../token.js'
import { reportAccountChange } from './account-changes.js'
import { changedIdentifiers, protectedIdentifiers, setsIdentifier, withCanonicalIdentifiers } from './identifiers.js'

const skipsNote: unique symbol = Symbol('no registration')

/** Marks an insert of users who do not register: the client's address is not recorded. */
export function skipRegistrationNote<Q extends { context(value: object): unknown }>(query: Q): Q {
  return query.context({ [skipsNote]: true }) as Q
}

interface StoredHash {
  readonly passwordHash?: string | null
}

interface BaseStatics {
  beforeDelete(args: never): unknown
  getBy(where: object, trx?: TransactionOrKnex): Promise<unknown>
}

/**
 * Gives a user model the rules for accounts: one form for addresses, sessions that end with the password or an identifier,
 * and limits on changing the accounts of others. HasRolesMixin applies it, so user models need not extend User.
 *
 * @param Base a class with ActiveRecordMixin
 */
export function AccountMixin<T extends AbstractConstructor<Model & ActiveRecord>>(Base: T): T
export function AccountMixin(Base: AbstractConstructor<Model & ActiveRecord> & BaseStatics): AbstractConstructor<Model & ActiveRecord> {
  abstract class Account extends Base {
    static override async getBy(where: object, trx?: TransactionOrKnex): Promise<unknown> {
      return await super.getBy(withCanonicalIdentifiers(this, where), trx)
    }

    // Deleting a user deletes roles, tokens, keys and factors.
    static override beforeDelete(args: never): unknown {
      forbidImpersonation(message('subject.accounts'))
      return super.beforeDelete(args)
    }

    override async save(trx?: TransactionOrKnex): Promise<this> {
      canonicalizeIdentifiers(this)
      return await super.save(trx)
    }

    // A changed password or identifier ends the other sessions in the same transaction. The password is hashed before it begins.
    override async $around(write: () => Promise<void>, changes: object, trx?: TransactionOrKnex): Promise<void> {
      const set = allValuesOf(changes)
      const { passwordHash } = set
      const isProtected = passwordHash !== undefined || setsIdentifier(this.constructor, set)
      if (!isProtected || !holdsUsers(this.constructor)) {
        await super.$around(write, changes, trx)
        return
      }
      const run = async () => {
        const Class = this.constructor as typeof Model
        const columns = [...protectedIdentifiers(Class), 'passwordHash'].filter((name) => name in definitionOf(Class).specs)
        // Locks the row: a concurrent password change or sign-out either commits first and is seen here, or waits and ends the new
        // access.
        const before = (await asSystem(() => Class.query(trx).findById(this.$id()).select(columns).forUpdate())) as StoredHash | undefined
        await lockOnAllNodes((trx as Knex | undefined) ?? joinAmbient(Class.knex()), nameOfRow(Class, this.$id() as string))
        await super.$around(write, changes, trx)
        const changed = changedIdentifiers(Class, set, before)
        const changesEmail = changed.includes('email')
        const changesPassword = passwordHash !== undefined && passwordHash !== before?.passwordHash
        if (changed.length > 0 || changesPassword) await endAccess(this, { changesEmail, changesPassword }, trx)
        if (changesPassword && before) emitAfterCommit('passwordChanged', { userId: this.$id() as string }, trx)
        if (before && (changed.length > 0 || changesPassword))
          reportAccountChange({ user: this, before, identifiers: changed, changesPassword }, trx)
      }
      await (trx || inTransaction() ? run() : transaction(run))
    }

    override $parseJson(json: Pojo, options?: ModelOptions): Pojo {
      return super.$parseJson(withCanonicalIdentifiers(this.constructor, json), options)
    }

    override async $beforeInsert(context: never): Promise<void> {
      canonicalizeIdentifiers(this)
      await super.$beforeInsert(context)
    }

    override async $afterInsert(context: object): Promise<void> {
      await super.$afterInsert(context as never)
      if (skipsNote in context) return
      const address = currentAddress()
      // Records the client address of a registration: the verification mail names it.
      if (currentActor() !== null || address === undefined || !holdsUsers(this.constructor)) return
      const userId = this.$id()
      const values = { userId, kind: REGISTRATION, token: hashToken(randomToken()), revoked: true, address: address.slice(0, 64) }
      const TokenClass = registeredModel('token') as typeof Token
      await asSystem(() => TokenClass.create(values, (context as { transaction?: TransactionOrKnex }).transaction))
    }

    override async $beforeUpdate(options: never, context: never): Promise<void> {
      if ((this as { deletedAt?: Date | null }).deletedAt) forbidImpersonation(message('subject.accounts'))
      canonicalizeIdentifiers(this)
      await super.$beforeUpdate(options, context)
    }
  }
  markIntermediate(Account)
  markUserModel(Account)
  // Columns that open the account to others or lock its user out.
  declareWriteLimits(
    Account,
    {
      on: ['update'],
      columns: (cls) => [...protectedIdentifiers(cls), 'passwordHash', 'isEnabled', 'emailVerifiedAt', 'deletedAt'],
      takes: OUTRANKS,
      condition: outranks,
    },
    { on: ['delete'], takes: OUTRANKS, condition: outranks },
  )
  return Account
}

function canonicalizeIdentifiers(row: Model): void {
  const canonical = withCanonicalIdentifiers(row.constructor, row)
  if (canonical !== row) Object.assign(row, canonical)
}

async function endAccess(
  user: Model,
  { changesEmail, changesPassword }: { changesEmail: boolean; changesPassword: boolean },
  trx?: TransactionOrKnex,
): Promise<void> {
  const id = user.$id()
  const actor = currentActor()
  // A password set by another user counts as account recovery, like a reset: it ends API keys too.
  const isRecovery = changesPassword && actor !== null && actor.id !== id
  const keep = actor !== null && actor.id === id ? actor.sessionId : null
  const TokenClass = registeredModel('token') as typeof Token
  const Class = user.constructor as typeof Model
  await asSystem(async () => {
    // The listener already ran for the write of the user.
    const sessions = skipCallerChange(TokenClass.query(trx))
      .patch({ revoked: true, revokedAt: new Date() })
      .where('userId', id)
      .where('revoked', false)
      // Recovery codes stay: they belong to the second factor, and a user without the phone needs them after a new password.
      .whereNotIn('kind', ['custom', 'recovery', ...(isRecovery ? [] : ['api']), ...(changesEmail ? [] : [PROVEN_ADDRESS])])
    await (keep ? sessions.whereNot('id', keep) : sessions)
    await endLegacyTokens(id as string, trx)
    if (changesEmail && 'emailVerifiedAt' in definitionOf(Class).specs) {
      await Class.query(trx).findById(id).patch({ emailVerifiedAt: null })
      Object.assign(user, { emailVerifiedAt: null })
    }
  })
}
