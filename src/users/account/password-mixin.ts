import type { Model, Pojo, TransactionOrKnex } from 'objection'
import { ConfigurationError, type FieldProblem, ValidationError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { onRollback } from '../../database/transaction.js'
import { allValuesOf } from '../../query/objection-internals.js'
import type { AbstractConstructor, ActiveRecord } from '../../record/record-types.js'
import type { FromJsonOptions } from '../../record/row-values.js'
import { column } from '../../schema/column.js'
import { declareColumns, markIntermediate } from '../../schema/definition/declarations.js'
import { onDefinition } from '../../schema/definition/definition.js'
import { forbidApiKey } from '../caller/caller-restrictions.js'
import { changedIdentifiers, setsIdentifier } from './identifiers.js'
import { NewPassword } from './new-password.js'
import { assertProof, CREDENTIALS, isCaller, type Proven, proveOldPassword } from './old-password.js'
import { registeredPasswords } from './passwords.js'
import { storedHash } from './stored-password.js'

/** The members that PasswordMixin adds to each row. */
export interface WithPassword {
  /** The stored hash. No response contains it. */
  passwordHash: string | null
  /** Write-only: save() hashes it. Reading it returns undefined. */
  password?: string
  /**
   * Hashes a new password off the event loop. save() waits for the hash and stores it, or rejects when the policy refused the
   * password.
   *
   * @throws ValidationError for a password that is too short, too common, too long, or an identifier of the user
   */
  setPassword(password: string): Promise<this>
  /** Returns whether this is the password. Without a stored password it does the same work and returns false. */
  isPasswordCorrect(password: string): Promise<boolean>
}

const input = { type: 'string', minLength: 1, maxLength: 4096, writeOnly: true }

/**
 * Gives a model a password: `setPassword`, `isPasswordCorrect`, and `password` as input of build, create and update.
 *
 * @param Base a class with ActiveRecordMixin. The policy refuses the user's `email` and other identifiers as passwords.
 * @example class Account extends PasswordMixin(BasePermsModel).withColumns({ login: column.string() }) {}
 */
export function PasswordMixin<T extends AbstractConstructor<Model & ActiveRecord>>(Base: T): T & AbstractConstructor<WithPassword>
export function PasswordMixin(Base: AbstractConstructor<Model & ActiveRecord>): AbstractConstructor<Model & ActiveRecord> {
  abstract class Password extends Base {
    declare passwordHash: string | null
    readonly #next = new NewPassword(this)
    #old: string | undefined
    #isAsked = false
    // The old password that the caller proved to know. It counts only while the stored hash still matches it.
    #proven: Proven | null = null

    get password(): string | undefined {
      return undefined
    }

    set password(value: string | undefined) {
      this.#next.plain = value
    }

    setPassword(password: string): Promise<this> {
      const done = this.#next.begin(password).then(() => this)
      // Avoids an unhandled rejection when setPassword() is not awaited: save() reports the error.
      done.catch(() => {})
      return done
    }

    async isPasswordCorrect(password: string): Promise<boolean> {
      // save() reports a refused password.
      await this.#next.beginWaiting()?.catch(() => {})
      if (typeof password !== 'string') return false
      // Cached callers and rows selected without the column have no hash: read it from the database.
      const hash = this.passwordHash === undefined && !this.isNew ? await storedHash(this) : this.passwordHash
      const isCorrect = await registeredPasswords().hasher.verify(password, hash)
      if (isCorrect) this.#proven = { password, hash }
      return isCorrect
    }

    override async $around(write: () => Promise<void>, changes: object, trx?: TransactionOrKnex): Promise<void> {
      const changed = allValuesOf(changes)
      const proven = this.#proven
      this.#proven = null
      // A deadlock repeats the transaction, which needs the proof again.
      const keep = () => {
        this.#proven ??= proven
      }
      if (proven) onRollback(trx, keep)
      if (setsCredential(this, changed)) {
        forbidApiKey(CREDENTIALS)
        if (isCaller(this)) await assertProof(this, changed, proven, trx)
      }
      await super.$around(write, changes, trx)
    }

    // A column `password` of the table is not a new password.
    override $setDatabaseJson(json: object): this {
      super.$setDatabaseJson(json)
      this.#next.plain = undefined
      return this
    }

    override getClone(): this {
      const copy = super.getClone()
      this.#next.copyTo(copy.#next)
      return copy
    }

    override async $settle(trx?: TransactionOrKnex): Promise<void> {
      await super.$settle(trx)
      const { owner, isWaiting } = this.#next
      if (owner && !this.#isAsked) {
        this.#isAsked = true
        const isChange = isWaiting || changedIdentifiers(owner.constructor, allValuesOf(this), owner).length > 0
        const proven = await proveOldPassword(owner, this.#old, isChange, trx)
        if (proven) (owner as Password).#proven = proven
      }
      await this.#next.settle()
    }

    override $parseJson(json: Pojo, options?: FromJsonOptions): Pojo {
      if (!Object.hasOwn(json, 'password') && !Object.hasOwn(json, 'oldPassword')) return super.$parseJson(json, options)
      const { password, oldPassword, rest } = readPasswords(json, options)
      this.#next.plain = password
      this.#old = oldPassword
      return super.$parseJson(rest, options)
    }

    // Covers every way to write, such as query().patch() and raw expressions.
    override async $beforeUpdate(options: never, context: never): Promise<void> {
      if (setsCredential(this, allValuesOf(this))) forbidApiKey(CREDENTIALS)
      await super.$beforeUpdate(options, context)
    }

    override $setJson(json: object, options?: FromJsonOptions): this {
      if (options?.active && options.patch && options.old) this.#next.owner = options.old as Model
      return super.$setJson(json, options)
    }
  }
  markIntermediate(Password)
  declareColumns(
    Password,
    { passwordHash: column.string({ maxLength: 255 }).nullable().hidden() },
    {
      inputs: { password: { schema: input, on: ['create', 'update'] }, oldPassword: { schema: input, on: ['update'] } },
      secrets: ['passwordHash'],
    },
  )
  return Password
}

interface PasswordInput {
  readonly password: string | undefined
  readonly oldPassword: string | undefined
  /** The other values. */
  readonly rest: Pojo
}

/** Takes the passwords out of the values of a row. @throws ValidationError */
function readPasswords(json: Pojo, options: FromJsonOptions | undefined): PasswordInput {
  const { password, oldPassword, ...rest } = json
  if (!options?.active) {
    throw new ValidationError(message('password.byQuery'), [{ field: 'password', message: message('field.passwordByQuery') }])
  }
  const errors: FieldProblem[] = []
  if (password !== undefined && typeof password !== 'string') errors.push({ field: 'password', message: message('field.string') })
  if (oldPassword !== undefined && typeof oldPassword !== 'string') errors.push({ field: 'oldPassword', message: message('field.string') })
  if (oldPassword !== undefined && !options.patch) errors.push({ field: 'oldPassword', message: message('field.unknown') })
  if (errors[0]) throw new ValidationError(message('input.field', { field: errors[0].field, problem: errors[0].message }), errors)
  return { password: password as string | undefined, oldPassword: oldPassword as string | undefined, rest }
}

/** Returns whether values set the password or an identifier of a row. */
function setsCredential(row: Model, values: Record<string, unknown>): boolean {
  return values.passwordHash !== undefined || setsIdentifier(row.constructor, values)
}

onDefinition((cls, { columnOf }) => {
  if (!columnOf.has('password') || !('setPassword' in cls.prototype)) return
  throw new ConfigurationError(
    `${cls.name} has a column password, which PasswordMixin would take for a new password. If it contains the hash, add ` +
      `"static columnNames = { passwordHash: 'password' }" to ${cls.name}. Else give the property another name.`,
  )
})
