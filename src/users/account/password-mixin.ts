import type { Model, Pojo, TransactionOrKnex } from 'objection'
import { ConfigurationError, type FieldError, ValidationError } from '../../core/errors.js'
import { asSystem, authorityFor } from '../../policy/context.js'
import { assertHome } from '../../query/home.js'
import { allValuesOf } from '../../query/objection-internals.js'
import type { AbstractConstructor, ActiveRecord } from '../../record/record-types.js'
import type { FromJsonOptions } from '../../record/row-values.js'
import { type Runtime, runtimeSlot } from '../../runtime.js'
import { column } from '../../schema/column.js'
import { declareColumns, markIntermediate } from '../../schema/definition/declarations.js'
import { definitionOf, onDefinition } from '../../schema/definition/definition.js'
import { invalidField } from '../../schema/text-input.js'
import { forbidApiKey } from '../caller/caller-restrictions.js'
import { changedIdentifiers, credentialsInWords, identifierValues, protectedIdentifiers, setsIdentifier } from './identifiers.js'
import type { PasswordHasher } from './password-hasher.js'

/** The hasher and the password policy of a runtime. initPerms sets them. */
export interface Passwords {
  readonly hasher: PasswordHasher
  /** @throws ValidationError for a password that the policy refuses */
  check(password: string, identifiers: Readonly<Record<string, string>>): Promise<void>
}

const passwordsOf = runtimeSlot<Passwords | null>(() => null)

/** Sets the hasher and the password policy of a runtime. */
export function registerPasswords(runtime: Runtime, passwords: Passwords): void {
  passwordsOf.set(runtime, passwords)
}

/** Returns the hasher and the password policy of the runtime. @throws ConfigurationError before initPerms */
export function registeredPasswords(): Passwords {
  const passwords = passwordsOf.get()
  if (!passwords) throw new ConfigurationError('Call initPerms({ knex, ... }) before setting or checking passwords.')
  return passwords
}

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
    // The plain password stays in memory until save(): it is no column and no response contains it.
    #plain: string | undefined
    #old: string | undefined
    #of: Model | undefined
    #isAsked = false
    // The old password that the caller proved to know. It counts only while the stored hash still matches it.
    #proven: Proven | null = null
    #hashing: Promise<void> | undefined
    #turn = 0

    get password(): string | undefined {
      return undefined
    }

    set password(value: string | undefined) {
      this.#plain = value
    }

    setPassword(password: string): Promise<this> {
      const done = this.#begin(password).then(() => this)
      // Avoids an unhandled rejection when setPassword() is not awaited: save() reports the error.
      done.catch(() => {})
      return done
    }

    #begin(password: string): Promise<void> {
      this.#plain = undefined
      this.#turn += 1
      const hashing = this.#hash(password, this.#turn)
      hashing.catch(() => {})
      this.#hashing = hashing
      return hashing
    }

    async #hash(password: string, turn: number): Promise<void> {
      const { hasher, check } = registeredPasswords()
      if (typeof password !== 'string') throw invalidField('password', 'must be a string')
      await check(password, { ...(this.#of && identifierValues(this.#of)), ...identifierValues(this) })
      const hash = await hasher.hash(password)
      // The latest call wins, whichever hash finishes first.
      if (turn === this.#turn) this.passwordHash = hash
    }

    async isPasswordCorrect(password: string): Promise<boolean> {
      if (this.#plain !== undefined) this.#begin(this.#plain)
      // save() reports a refused password.
      await this.#hashing?.catch(() => {})
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
      if (changed.passwordHash !== undefined || setsIdentifier(this.constructor, changed)) {
        forbidApiKey(CREDENTIALS)
        if (isCaller(this)) await this.#assertProof(changed, proven, trx)
      }
      await super.$around(write, changes, trx)
    }

    // This row may be stale: compare with the stored values.
    async #assertProof(changed: Record<string, unknown>, proven: Proven | null, trx?: TransactionOrKnex) {
      const stored = await storedCredentials(this, trx)
      if (proven && proven.hash === stored?.passwordHash) return
      if (changed.passwordHash === undefined && changedIdentifiers(this.constructor, changed, stored).length === 0) return
      // A concurrent sign-in may have rehashed the same password.
      if (proven && (await registeredPasswords().hasher.verify(proven.password, stored?.passwordHash))) return
      if (proven) throw wrongOldPassword()
      throw invalidField('oldPassword', `${requiredFor(this)}: update({ ..., oldPassword })`)
    }

    // A column `password` of the table is not a new password.
    override $setDatabaseJson(json: object): this {
      super.$setDatabaseJson(json)
      this.#plain = undefined
      return this
    }

    // The copy keeps a password that is still to be hashed.
    override getClone(): this {
      const copy = super.getClone()
      copy.#plain = this.#plain
      if (this.#hashing) {
        copy.#hashing = this.#hashing.then(() => {
          copy.passwordHash = this.passwordHash
        })
        copy.#hashing.catch(() => {})
      }
      return copy
    }

    override async $settle(trx?: TransactionOrKnex): Promise<void> {
      await super.$settle(trx)
      if (this.#of && !this.#isAsked) {
        this.#isAsked = true
        await this.#proveOwner(this.#of as Password, trx)
      }
      if (this.#plain !== undefined) this.#begin(this.#plain)
      const hashing = this.#hashing
      this.#hashing = undefined
      await hashing
    }

    // A user who changes the own password or identifier must give the old password: the session may be left open on a shared computer.
    async #proveOwner(row: Password, trx?: TransactionOrKnex): Promise<void> {
      if (this.#plain === undefined && changedIdentifiers(row.constructor, allValuesOf(this), row).length === 0) {
        if (this.#old !== undefined) throw invalidField('oldPassword', `is only for a new ${credentialsInWords(row.constructor)}`)
        return
      }
      // Checked before the old password, so that an API key cannot be used to guess it.
      forbidApiKey(CREDENTIALS)
      const old = this.#old
      this.#old = undefined
      if (!isCaller(row)) return
      if (old === undefined) throw invalidField('oldPassword', requiredFor(row))
      const { hasher } = registeredPasswords()
      const hash = await storedHash(row, trx)
      await oldPasswordCheck.get()(row, () => hasher.verify(old, hash))
      row.#proven = { password: old, hash }
    }

    override $parseJson(json: Pojo, options?: FromJsonOptions): Pojo {
      if (!Object.hasOwn(json, 'password') && !Object.hasOwn(json, 'oldPassword')) return super.$parseJson(json, options)
      const { password, oldPassword, ...rest } = json
      if (!options?.active) {
        throw new ValidationError('A query cannot hash a password: use create(), update() or setPassword() and save().', [
          { field: 'password', message: 'cannot be set by a query' },
        ])
      }
      const errors: FieldError[] = []
      if (password !== undefined && typeof password !== 'string') errors.push({ field: 'password', message: 'must be a string' })
      if (oldPassword !== undefined && typeof oldPassword !== 'string') errors.push({ field: 'oldPassword', message: 'must be a string' })
      if (oldPassword !== undefined && !options.patch) errors.push({ field: 'oldPassword', message: 'is not known here' })
      if (errors[0]) throw new ValidationError(`${errors[0].field} ${errors[0].message}`, errors)
      this.#plain = password as string | undefined
      this.#old = oldPassword as string | undefined
      return super.$parseJson(rest, options)
    }

    // Covers every way to write, such as query().patch() and raw expressions.
    override async $beforeUpdate(options: never, context: never): Promise<void> {
      const set = allValuesOf(this)
      if (set.passwordHash !== undefined || setsIdentifier(this.constructor, set)) forbidApiKey(CREDENTIALS)
      await super.$beforeUpdate(options, context)
    }

    override $setJson(json: object, options?: FromJsonOptions): this {
      if (options?.active && options.patch && options.old) this.#of = options.old as Model
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

onDefinition((cls, { columnOf }) => {
  if (!columnOf.has('password') || !('setPassword' in cls.prototype)) return
  throw new ConfigurationError(
    `${cls.name} has a column password, which PasswordMixin would take for a new password. If it contains the hash, add ` +
      `"static columnNames = { passwordHash: 'password' }" to ${cls.name}. Else give the property another name.`,
  )
})

/** The stored value of a user without a password: NULL, or text that is no hash where the column does not allow NULL. */
export function noPassword(cls: object): string | null {
  return definitionOf(cls).specs.passwordHash?.isNullable === false ? NO_HASH : null
}

/** Returns whether a stored hash belongs to a password. */
export function hasPassword(stored: string | null): boolean {
  return stored !== null && stored !== NO_HASH
}

// No hasher reads it, so no password matches.
const NO_HASH = '!'

interface Proven {
  readonly password: string
  readonly hash: string | null
}

interface StoredCredentials {
  readonly passwordHash?: string | null
}

async function storedCredentials(row: Model, trx?: TransactionOrKnex): Promise<StoredCredentials | undefined> {
  assertHome(row, trx)
  const cls = row.constructor as typeof Model
  const columns = ['passwordHash', ...protectedIdentifiers(cls)].filter((name) => name in definitionOf(cls).specs)
  return (await asSystem(() => cls.query(trx).findById(row.$id()).select(columns))) as StoredCredentials | undefined
}

/** Returns the stored hash from the database: the row's own value may be stale. */
export async function storedHash(row: Model, trx?: TransactionOrKnex): Promise<string | null> {
  return (await storedCredentials(row, trx))?.passwordHash ?? null
}

// Returns whether the row is the calling user.
function isCaller(row: Model): boolean {
  const authority = authorityFor(row.constructor)
  return authority !== 'free' && authority !== null && authority.id === row.$id()
}

const CREDENTIALS = 'Passwords, e-mail addresses and other identifiers for sign-in'

const requiredFor = (row: Model): string => `is required to change your own ${credentialsInWords(row.constructor)}`

type OldPasswordCheck = (row: Model, verify: () => Promise<boolean>) => Promise<void>

const oldPasswordCheck = runtimeSlot<OldPasswordCheck>(() => verifyOnly)

async function verifyOnly(_row: Model, verify: () => Promise<boolean>): Promise<void> {
  if (!(await verify())) throw invalidField('oldPassword', 'is wrong')
}

/** Sets the function that checks old passwords, so that the throttle counts wrong ones. */
export function registerOldPasswordCheck(runtime: Runtime, check: OldPasswordCheck): void {
  oldPasswordCheck.set(runtime, check)
}

/** Returns the error for a wrong old password. */
export function wrongOldPassword(): ValidationError {
  return invalidField('oldPassword', 'is wrong')
}
