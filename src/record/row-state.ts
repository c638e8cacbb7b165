import { isDeepStrictEqual } from 'node:util'
import type { Knex } from 'knex'
import type { CloneOptions, ModelOptions, QueryBuilderType, QueryContext, SingleQueryBuilder, TransactionOrKnex } from 'objection'
import { RuntimeMismatchError } from '../core/errors.js'
import { onRollback } from '../database/transaction.js'
import { relationNamesOf } from '../query/objection-internals.js'
import { currentRuntime, type Runtime, runtimeOf } from '../runtime.js'
import { markIntermediate } from '../schema/definition/declarations.js'
import { definitionOf } from '../schema/definition/definition.js'
import { detached } from './codec.js'
import type { FindingBase } from './finding.js'
import { type AbstractConstructor, classOf, isIdProperty, valuesOf } from './record-types.js'

type Values = Record<string, unknown>

/** Marks a row as validated by build(). */
export const markBuilt: unique symbol = Symbol('mark built')
/** Returns whether a row is unchanged since build() validated it. */
export const takeBuilt: unique symbol = Symbol('take built')
/** Returns the values that have changed since the row was read or written. */
export const changedValues: unique symbol = Symbol('changed values')
/** Removes a text from a row, and from the values that it was read or written with. */
export const forgetText: unique symbol = Symbol('forget text')

/** The instance members that RowStateMixin adds. */
export interface RowState {
  readonly isNew: boolean
  getClone(): this
  $orAsBefore<R>(write: () => PromiseLike<R>, trx?: TransactionOrKnex): Promise<R>
  $assertHome(knex?: Knex): void
  [markBuilt](): void
  [takeBuilt](): boolean
  [changedValues](): Values
  [forgetText](property: string): void
}

/** A class with the members of RowStateMixin. */
export type StatefulBase = FindingBase & AbstractConstructor<RowState>

/** Adds what a row knows of the database: the values it was read or written with, and the runtime it belongs to. */
export function RowStateMixin(Base: FindingBase): StatefulBase {
  class RowWithState extends Base implements RowState {
    /** The row as the driver returned it; null after a write, and for a new row. */
    #raw: object | null = null
    /** The runtime in which the row was read or written. */
    #home: Runtime | null = null
    /** The values that were last written; null before the first write. */
    #written: Values | null = null
    /** The values that build() validated; null after the first save. */
    #built: Values | null = null

    get isNew(): boolean {
      return this.#raw === null && this.#written === null
    }

    [markBuilt](): void {
      this.#built = { ...valuesOf(this) }
    }

    [takeBuilt](): boolean {
      const built = this.#built
      this.#built = null
      return built !== null && isUnchanged(valuesOf(this), built)
    }

    [changedValues](): Values {
      return changesSince(this, this.#before())
    }

    [forgetText](property: string): void {
      const text = valuesOf(this)[property]
      Reflect.deleteProperty(this, property)
      if (typeof text !== 'string') return
      const without = (row: object) => Object.fromEntries(Object.entries(row).filter(([, value]) => value !== text))
      if (this.#raw !== null) this.#raw = without(this.#raw)
      if (this.#written !== null) this.#written = without(this.#written)
    }

    async $orAsBefore<R>(write: () => PromiseLike<R>, trx?: TransactionOrKnex): Promise<R> {
      const [raw, written, before] = [this.#raw, this.#written, { ...valuesOf(this) }]
      const undo = () => {
        this.#raw = raw
        this.#written = written
        restore(this, before)
      }
      try {
        const result = await write()
        onRollback(trx, undo)
        return result
      } catch (error) {
        undo()
        throw error
      }
    }

    getClone(): this {
      const copy = this.$clone()
      copy.#raw = this.#raw
      copy.#home = this.#home
      copy.#written = this.#written === null ? null : structuredClone(this.#written)
      return copy
    }

    override $clone(options?: CloneOptions): this {
      const copy = super.$clone(options)
      copy.#home = this.#home
      return copy
    }

    override $query(trx?: TransactionOrKnex): SingleQueryBuilder<QueryBuilderType<this>> {
      this.$assertHome(trx)
      return super.$query(trx)
    }

    override $relatedQuery(name: never, trx?: TransactionOrKnex): never {
      this.$assertHome(trx)
      return super.$relatedQuery(name, trx) as never
    }

    /** Throws when the row was read in another runtime than that of `knex`, where another row may have the same id. */
    $assertHome(knex: Knex | undefined = classOf(this).knex()): void {
      const home = this.#home
      if (home !== null && knex && !home.owns(knex) && runtimeOf(knex) !== null) throw new RuntimeMismatchError()
    }

    override $setDatabaseJson(json: object): this {
      this.#raw = json
      this.#home = currentRuntime()
      return super.$setDatabaseJson(json)
    }

    override $afterInsert(context: QueryContext): Promise<void> | undefined {
      this.#recordWritten(this)
      return super.$afterInsert(context) as Promise<void> | undefined
    }

    override $afterUpdate(options: ModelOptions, context: QueryContext): Promise<void> | undefined {
      const { old } = options
      if (old && #written in old) old.#recordWritten(this)
      return super.$afterUpdate(options, context) as Promise<void> | undefined
    }

    // Records the written values. Other changes of this row remain unsaved.
    #recordWritten(values: object): void {
      this.#home = currentRuntime()
      const written = this.isNew || this === values ? {} : { ...this.#before() }
      for (const [name, value] of Object.entries(values)) if (value !== undefined && isSaved(this, name)) written[name] = detached(value)
      this.#raw = null
      this.#written = written
    }

    #before(): Values {
      return this.#written ?? this.$parseDatabaseJson(this.#raw ?? {})
    }
  }
  markIntermediate(RowWithState)
  return RowWithState
}

// Objects count as changed, since their parts may have changed.
function isUnchanged(row: Values, built: Values): boolean {
  return Object.keys(row).every((name) => row[name] === built[name] && (typeof row[name] !== 'object' || row[name] === null))
}

function changesSince(row: object, before: Values): Values {
  const changes: Values = {}
  for (const [name, value] of Object.entries(row)) {
    if (value === undefined || name === 'updatedAt' || isIdProperty(row.constructor, name) || !isSaved(row, name)) continue
    if (!isDeepStrictEqual(value, before[name])) changes[name] = value
  }
  return changes
}

// Gives a row its earlier values. Ids that the database has made stay.
function restore(row: object, before: Values): void {
  const values = valuesOf(row)
  for (const name of Object.keys(values)) if (!Object.hasOwn(before, name) && !isIdProperty(row.constructor, name)) delete values[name]
  Object.assign(values, before)
}

// Returns whether a property is saved: a declared column, or any property of a class without declared columns that is neither a
// relation nor internal.
function isSaved(row: object, name: string): boolean {
  const { columnOf, isStrict } = definitionOf(row.constructor)
  if (columnOf.has(name)) return true
  return !isStrict && !name.startsWith('$') && !relationNamesOf(row.constructor).includes(name)
}
