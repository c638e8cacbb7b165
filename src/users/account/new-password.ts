import type { Model } from 'objection'
import { message } from '../../core/messages/message.js'
import { invalidField } from '../../schema/text-input.js'
import { identifierValues } from './identifiers.js'
import { registeredPasswords } from './passwords.js'

type PasswordRow = Model & { passwordHash: string | null }

/** The new password of a row, from its assignment until its hash is stored. It stays in memory: it is no column. */
export class NewPassword {
  readonly #row: PasswordRow
  #plain: string | undefined
  #hashing: Promise<void> | undefined
  #turn = 0
  /** The row that update() changes: the password must not be one of its identifiers either. */
  owner: Model | undefined

  constructor(row: PasswordRow) {
    this.#row = row
  }

  /** Sets a password that save() hashes; undefined for none. */
  set plain(value: string | undefined) {
    this.#plain = value
  }

  /** Whether a password waits for save(). */
  get isWaiting(): boolean {
    return this.#plain !== undefined
  }

  /** Hashes a password off the event loop, and sets the hash of the row. @throws ValidationError */
  begin(password: string): Promise<void> {
    this.#plain = undefined
    this.#turn += 1
    const hashing = this.#hash(password, this.#turn)
    hashing.catch(() => {})
    this.#hashing = hashing
    return hashing
  }

  /** Hashes a waiting password. @returns the hashing under way */
  beginWaiting(): Promise<void> | undefined {
    if (this.#plain !== undefined) this.begin(this.#plain)
    return this.#hashing
  }

  /** Waits for the hash before the row is written. @throws ValidationError for a refused password */
  async settle(): Promise<void> {
    const hashing = this.beginWaiting()
    this.#hashing = undefined
    await hashing
  }

  /** Gives a copy of the row a password that is still to be hashed. */
  copyTo(copy: NewPassword): void {
    copy.#plain = this.#plain
    if (!this.#hashing) return
    copy.#hashing = this.#hashing.then(() => {
      copy.#row.passwordHash = this.#row.passwordHash
    })
    copy.#hashing.catch(() => {})
  }

  async #hash(password: string, turn: number): Promise<void> {
    const { hasher, check } = registeredPasswords()
    if (typeof password !== 'string') throw invalidField('password', message('field.string'))
    await check(password, { ...(this.owner && identifierValues(this.owner)), ...identifierValues(this.#row) })
    const hash = await hasher.hash(password)
    // The latest call wins, whichever hash finishes first.
    if (turn === this.#turn) this.#row.passwordHash = hash
  }
}
