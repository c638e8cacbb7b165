import type { Model, TransactionOrKnex } from 'objection'
import { type FieldProblem, PermsError, UniqueViolationError } from '../../../core/errors.js'
import { inEnglish } from '../../../core/messages/in-english.js'
import { message } from '../../../core/messages/message.js'
import { transaction } from '../../../database/transaction.js'
import { registeredModel } from '../../../policy/registered-models.js'
import { inParts } from '../../../query/execution/insert-results.js'
import { tableOf } from '../../../schema/class-statics.js'
import { columnOf, definitionOf, makesId } from '../../../schema/definition/definition.js'
import { idSpecOf } from '../../../schema/ids.js'
import { valuesByName } from '../../../schema/model-class.js'
import { dialectOf } from '../../../schema/storage.js'
import { skipRegistrationNote } from '../../../users/account/account-mixin.js'
import { identifiersOf } from '../../../users/account/identifiers.js'
import type { PasswordHasher } from '../../../users/account/password-hasher.js'
import { noPassword } from '../../../users/account/stored-password.js'
import type { AuthCore } from '../../core.js'
import { LegacyHasher } from '../../passwords/legacy/legacy-hasher.js'
import { type GrantValues, ImportedGrants, insertRows } from './import-grants.js'
import type { RefusedUser } from './import-users.js'

/** A user whose values passed the checks of the model. */
interface Candidate {
  readonly index: number
  readonly row: Model
  readonly grants: readonly GrantValues[]
}

interface BatchResult {
  readonly imported: number
  readonly skipped: number
  readonly refused: readonly RefusedUser[]
}

/** Hashes at once with `wrap`: sign-ins still find a place in the queue of the hasher. */
const WRAPPED_AT_ONCE = 8

/** Imports the batches of one iterable, whose users may repeat each other. */
export class UserBatches {
  readonly #core: AuthCore
  readonly #wrap: LegacyHasher | null
  readonly #cls = registeredModel('user')
  readonly #identifiers = identifiersOf(this.#cls).filter((name) => name in definitionOf(this.#cls).specs)
  readonly #grants = new ImportedGrants()
  /** The ids and identifiers of all users before the current one. */
  readonly #seen = new Set<string>()

  constructor(core: AuthCore, wrap: boolean) {
    this.#core = core
    this.#wrap = wrap && core.hasher instanceof LegacyHasher ? core.hasher : null
  }

  async import(batch: readonly { readonly index: number; readonly user: unknown }[]): Promise<BatchResult> {
    const refused: RefusedUser[] = []
    const candidates: Candidate[] = []
    for (const { index, user } of batch) {
      try {
        candidates.push(await this.#candidate(index, user))
      } catch (error) {
        refused.push(refusal(index, error))
      }
    }
    const { fresh, skipped } = await this.#withoutExisting(candidates, refused)
    await this.#wrapHashes(fresh)
    const inserted = await this.#insert(fresh, refused)
    return { imported: inserted.imported, skipped: skipped + inserted.skipped, refused: refused.sort((a, b) => a.index - b.index) }
  }

  /** @throws ValidationError for values that the model, the hasher or an earlier user of the iterable excludes */
  async #candidate(index: number, user: unknown): Promise<Candidate> {
    if (typeof user !== 'object' || user === null || Array.isArray(user))
      throw new Refused([{ field: '', message: message('field.object') }])
    const { roles, ...values } = user as { roles?: unknown }
    this.#assertPlainValues(values)
    const row = this.#cls.fromJson(values)
    const hash = columnValue(row, 'passwordHash')
    if (hash === undefined || hash === null) valuesByName(row).passwordHash = noPassword(this.#cls)
    if (typeof hash === 'string' && !canVerify(this.#core.hasher, hash)) throw new Refused([passwordProblem(this.#core.hasher, hash)])
    const keys = this.#keysOf(row)
    if (keys.length === 0) throw new Refused([{ field: this.#identifiers[0] ?? 'id', message: message('field.required') }])
    const taken = keys.find(({ key }) => this.#seen.has(key))
    for (const { key } of keys) this.#seen.add(key)
    if (taken) throw new Refused([{ field: taken.name, message: message('field.ofEarlierRow') }])
    return { index, row, grants: await this.#grants.read(roles) }
  }

  /** Refuses raw() and subqueries: Objection would store them unchecked. */
  #assertPlainValues(values: object): void {
    const isPlain = (name: string) => typeof (columnValue(values, name) ?? '') !== 'object'
    const field = ['id', ...this.#identifiers, 'passwordHash'].find((name) => !isPlain(name))
    if (field !== undefined)
      throw new Refused([{ field, message: field === 'id' ? 'must be a string or a number' : message('field.string') }])
  }

  /** Returns the candidates whom the database does not contain. One with the address of another user is refused. */
  async #withoutExisting(candidates: readonly Candidate[], refused: RefusedUser[]): Promise<{ fresh: Candidate[]; skipped: number }> {
    if (candidates.length === 0) return { fresh: [], skipped: 0 }
    const names = ['id', ...this.#identifiers]
    const query = withDeleted(this.#cls.query()).select(names)
    for (const name of names) {
      const values = candidates.map(({ row }) => columnValue(row, name)).filter((value) => value !== undefined && value !== null)
      if (values.length > 0) query.orWhereIn(name, values as string[])
    }
    const known = new Map<string, string>()
    for (const row of await query) for (const { key } of this.#keysOf(row)) known.set(key, String(columnValue(row, 'id')))
    let skipped = 0
    const fresh = candidates.filter(({ index, row }) => {
      const taken = this.#keysOf(row).find(({ key }) => known.has(key))
      if (!taken) return true
      const isSame = columnValue(row, 'id') === undefined || known.get(taken.key) === String(columnValue(row, 'id'))
      if (isSame) skipped += 1
      else refused.push({ index, errors: inEnglish([{ field: taken.name, message: message('field.ofOtherId') }]) })
      return false
    })
    return { fresh, skipped }
  }

  async #wrapHashes(candidates: readonly Candidate[]): Promise<void> {
    const hasher = this.#wrap
    if (!hasher) return
    for (const part of inParts(candidates, WRAPPED_AT_ONCE))
      await Promise.all(
        part.map(async ({ row }) => {
          const hash = columnValue(row, 'passwordHash')
          const wrapped = typeof hash === 'string' ? await hasher.wrap(hash) : null
          if (wrapped !== null) valuesByName(row).passwordHash = wrapped
        }),
      )
  }

  /**
   * Inserts users and their grants in one transaction. When the database or a hook of a model refuses one of them, the halves are tried
   * on their own, until the refused users are found.
   */
  async #insert(candidates: readonly Candidate[], refused: RefusedUser[]): Promise<{ imported: number; skipped: number }> {
    if (candidates.length === 0) return { imported: 0, skipped: 0 }
    try {
      await transaction((trx) => this.#insertAll(candidates, trx), { knex: this.#core.knex })
      return { imported: candidates.length, skipped: 0 }
    } catch (error) {
      assertRefusal(error)
      const [only] = candidates
      if (candidates.length === 1 && only) return { imported: 0, skipped: await this.#skipOrRefuse(only, error, refused) }
    }
    const total = { imported: 0, skipped: 0 }
    for (const half of inParts(candidates, Math.ceil(candidates.length / 2))) {
      const { imported, skipped } = await this.#insert(half, refused)
      total.imported += imported
      total.skipped += skipped
    }
    return total
  }

  /** Returns 1 for a user whom another import has inserted since the look-up, and 0 for a refused user. */
  async #skipOrRefuse(candidate: Candidate, error: unknown, refused: RefusedUser[]): Promise<number> {
    if (error instanceof UniqueViolationError) {
      const { fresh, skipped } = await this.#withoutExisting([candidate], refused)
      if (fresh.length === 0) return skipped
    }
    refused.push(refusal(candidate.index, error))
    return 0
  }

  async #insertAll(candidates: readonly Candidate[], trx: TransactionOrKnex): Promise<void> {
    // Copies, since a deadlock repeats the transaction, and hooks change the rows.
    const rows = candidates.map(({ row }) => row.$clone())
    await insertRows(rows, (some) => skipRegistrationNote(this.#cls.query(trx)).insert(some))
    await this.#advanceSequence(candidates, trx)
    const members = candidates.map(({ grants }, i) => ({ row: rows[i] as Model, grants })).filter(({ grants }) => grants.length > 0)
    if (members.length === 0) return
    await this.#grants.insert(members, trx)
  }

  /** Lets PostgreSQL continue after the given ids: a sequence does not notice them. */
  async #advanceSequence(candidates: readonly Candidate[], trx: TransactionOrKnex): Promise<void> {
    const type = idSpecOf(this.#cls)?.type
    if (makesId(this.#cls) || (type !== 'integer' && type !== 'bigint') || dialectOf(this.#core.knex) !== 'pg') return
    if (candidates.every(({ row }) => columnValue(row, 'id') === undefined)) return
    const [table, column] = [tableOf(this.#cls), columnOf(this.#cls, 'id')]
    const quoted = table
      .split('.')
      .map((part) => `"${part}"`)
      .join('.')
    await trx.raw(
      'select setval(s, greatest(m, pg_sequence_last_value(s::regclass))) from (select pg_get_serial_sequence(?, ?) as s, (select max(??) from ??) as m) as t where s is not null',
      [quoted, column, column, table],
    )
  }

  /** Returns the id and the identifiers of a row, with the names of their fields. */
  #keysOf(row: Model): { readonly name: string; readonly key: string }[] {
    return ['id', ...this.#identifiers].flatMap((name) => {
      const value = columnValue(row, name)
      return value === undefined || value === null ? [] : [{ name, key: `${name} ${String(value)}` }]
    })
  }
}

/** The errors of one user. */
class Refused extends Error {
  constructor(readonly errors: readonly FieldProblem[]) {
    super('This user cannot be imported.')
  }
}

/** @throws the error, unless it says that the values of a user are refused */
function assertRefusal(error: unknown): void {
  if (error instanceof Refused || (error instanceof PermsError && error.status < 500 && error.status !== 401)) return
  throw error
}

function refusal(index: number, error: unknown): RefusedUser {
  assertRefusal(error)
  const { errors, message } = error as Refused | PermsError
  return {
    index,
    errors: errors.length > 0 ? inEnglish(errors) : [{ field: '', message }],
  }
}

const columnValue = (row: object, name: string): unknown => valuesByName(row)[name]

/** A row of a soft-deleted user still has the address. */
function withDeleted<Q extends object>(query: Q): Q {
  return (query as Q & { withDeleted(): Q }).withDeleted()
}

function canVerify(hasher: PasswordHasher, hash: string): boolean {
  return hasher.recognises?.(hash) ?? true
}

function passwordProblem(hasher: PasswordHasher, hash: string): FieldProblem {
  const problem = hasher instanceof LegacyHasher ? hasher.problemOf(hash) : undefined
  const message = problem === undefined ? 'is no hash of a configured scheme' : `exceeds the bounds of its scheme: ${problem}`
  return { field: 'passwordHash', message }
}
