import { isDeepStrictEqual } from 'node:util'
import type { Knex } from 'knex'
import {
  Model,
  type QueryBuilder,
  type QueryBuilderType,
  type RelationMappings,
  type SingleQueryBuilder,
  type TransactionOrKnex,
} from 'objection'
import { type FieldError, NotFoundError, PermsError, RuntimeMismatchError, ValidationError } from '../core/errors.js'
import { newId } from '../core/ids.js'
import { thenMaybe } from '../core/maybe-async.js'
import { memoize } from '../core/memoize.js'
import { snakeCase } from '../core/names.js'
import { foldName } from '../database/arriving-names.js'
import { mapDatabaseError } from '../database/database-errors.js'
import { validationErrorOf } from '../database/objection-errors.js'
import { joinAmbient, onRollback, registeredKnex } from '../database/transaction.js'
import { isHiddenElsewhere } from '../query/hidden-elsewhere.js'
import { assertHome } from '../query/home.js'
import { nameLinksExactly } from '../query/links.js'
import {
  forgetRelationsOf,
  forgetTableMetadata,
  isBelongsToOne,
  type ObjectionRelation,
  queryNamesOf,
  queryValuesOf,
  relationCacheOf,
  relationNamesOf,
  relationsOf,
  unwrittenNamesOf,
} from '../query/objection-internals.js'
import { hasModel } from '../query/protected-tables.js'
import { errorsOf, guardedQueryBuilder, isGuardedBuilder } from '../query/query-builder.js'
import { currentRuntime, modelSlot, type Runtime, runtimeOf } from '../runtime.js'
import { withField } from '../schema/canonical.js'
import { mergedList, mergedStatic, tableOf } from '../schema/class-statics.js'
import type { Column, ColumnSpec, Columns, Row } from '../schema/column.js'
import {
  type Definition,
  declareColumns,
  definitionOf,
  idProperties,
  markIntermediate,
  type RecordClass,
  tableNameOf,
} from '../schema/definition.js'
import { assertNoUndefined, fromClient, lookup } from '../schema/input.js'
import { isRequired, type ModelSchemas, recordSchema, schemasOf } from '../schema/json-schemas.js'
import { encode } from '../schema/storage.js'
import { assertNoErrors, RecordValidator } from '../schema/validator.js'
import { codecNow, detached, dialectOfClass, ownKnex, readRow } from './codec.js'
import { mergedRelationMappings } from './relations.js'

export { fromClient } from '../schema/input.js'
export { dialectOfClass } from './codec.js'

// biome-ignore lint/suspicious/noExplicitAny: TypeScript wants any[] in the constructor of a mixin's base
export type AbstractConstructor<T = object> = abstract new (...args: any[]) => T
/** A concrete class: `this` of the static methods. */
export type Constructor<T = object> = new () => T

/** The instance methods of ActiveRecordMixin. */
export interface ActiveRecord {
  /** Inserts a new row, or updates the columns that have changed since the row was read. */
  save(trx?: TransactionOrKnex): Promise<this>
  /** Sets these values and saves them. If this fails, the row keeps its earlier values. */
  update(values: Partial<this>, trx?: TransactionOrKnex): Promise<this>
  /** Like update(), for values from a client: throws for properties that clients may not write. */
  updateFrom(input: unknown, trx?: TransactionOrKnex): Promise<this>
  /** Deletes the row. @throws NotFoundError if the row no longer exists */
  delete(trx?: TransactionOrKnex): Promise<void>
  /** Returns an independent copy of this row. */
  getClone(): this
  /** Whether the row has never been saved. */
  readonly isNew: boolean
  /** Waits for pending values before the row is written, such as a password hash. Mixins extend it. */
  $settle(trx?: TransactionOrKnex): Promise<void>
  /** Runs an update of a saved row. Mixins override it to do more in the same transaction. */
  $around(write: () => Promise<void>, changes: object, trx?: TransactionOrKnex): Promise<void>
  /**
   * Runs a write and restores the row if the write is undone: if a later check fails, or if the transaction is rolled back. Then the
   * row can be saved again.
   */
  $orAsBefore<R>(write: () => PromiseLike<R>, trx?: TransactionOrKnex): Promise<R>
}

/** The static methods of ActiveRecordMixin. */
export interface ActiveRecordStatics {
  /** The JSON Schemas of input and output of clients. */
  readonly schema: ModelSchemas
  /** The declared columns, including inherited ones. */
  readonly columnSpecs: Readonly<Record<string, ColumnSpec>>
  /**
   * Returns a subclass with these columns. Types, validation, table and schemas come from this one declaration.
   *
   * @example class Critter extends BasePermsModel.withColumns({ name: column.string({ maxLength: 100 }) }) {}
   */
  withColumns<T extends AbstractConstructor<Model>, C extends Columns>(this: T, columns: C): T & AbstractConstructor<Row<C>>
  /** Creates and validates a row without saving it. @throws ValidationError */
  build<M extends Model>(this: Constructor<M>, values: Partial<M>): M
  /** Creates, validates and saves a row. @throws ValidationError, UniqueViolationError, ForbiddenError */
  create<M extends Model>(this: Constructor<M>, values: Partial<M>, trx?: TransactionOrKnex): Promise<M>
  /** Like create(), for values from a client: throws for properties that clients may not write. */
  createFrom<M extends Model>(this: Constructor<M>, input: unknown, trx?: TransactionOrKnex): Promise<M>
  /** Returns the first row with these values, or null. */
  getBy<M extends Model>(this: Constructor<M>, where: Partial<M>, trx?: TransactionOrKnex): Promise<M | null>
  /** Returns the first row with these values. @throws NotFoundError */
  getByOr404<M extends Model>(this: Constructor<M>, where: Partial<M>, trx?: TransactionOrKnex): Promise<M>
  /** Returns the row with this id, or null. A malformed id also gives null. */
  get<M extends Model>(this: Constructor<M>, id: string, trx?: TransactionOrKnex): Promise<M | null>
  /** Returns the row with this id. @throws NotFoundError */
  getOr404<M extends Model>(this: Constructor<M>, id: string, trx?: TransactionOrKnex): Promise<M>
}

/** The static methods that this library calls on model classes. Users see the interfaces above. */
export interface RecordStatics extends RecordClass {
  query(trx?: TransactionOrKnex): QueryBuilder<Model & ActiveRecord>
  fromJson(json: object, options?: object): Model & ActiveRecord
  /** Loads more data after get(), getBy() and create(). Mixins override it. */
  afterGet(rows: readonly Model[], trx?: TransactionOrKnex): Promise<void>
}

const validator = new RecordValidator((row) => queryValuesOf(row) !== undefined)
const schemas = new WeakMap<object, ModelSchemas>()
const relations = modelSlot(() => new WeakMap<object, RelationMappings>())
const relationNames = new WeakMap<object, string[]>()
const tableNames = new WeakMap<object, string>()
const recordSchemas = new WeakMap<object, object>()
const virtuals = new WeakMap<object, string[]>()

const withMetadata = modelSlot(() => new WeakSet<object>())

// Objection caches table metadata on the class forever. A later runtime may have different tables.
function forgetMetadata(cls: object): void {
  const known = withMetadata.get()
  if (known.has(cls)) return
  known.add(cls)
  forgetTableMetadata(cls)
}

/** Clears the cached relations, after other classes were registered as user model, role model and so on. */
export function forgetRelations(): void {
  relations.set(new WeakMap())
}

function mapErrorOf(error: unknown, cls: typeof Model): unknown {
  if (error instanceof PermsError) return error
  const definition = definitionOf(cls)
  return mapDatabaseError(
    error,
    dialectOfClass(cls),
    (_table, column) => propertyFor(definition, column),
    (_table, column) => column === undefined || propertyFor(definition, column) !== undefined,
  )
}

/**
 * Adds active-record methods to an Objection model class (build, create, get, save, update, delete), declared columns, and
 * property names in queries.
 *
 * @param Base Objection's Model or the application's base class
 * @returns a subclass of Base
 * @example class AppModel extends ActiveRecordMixin(Model) {}
 */
export function ActiveRecordMixin<T extends AbstractConstructor<Model>>(
  Base: T,
): T & AbstractConstructor<ActiveRecord> & ActiveRecordStatics {
  const OpenBase = Base as unknown as typeof Model & RecordStatics
  abstract class Record extends (OpenBase as unknown as AbstractConstructor<Model> & typeof Model) {
    /** The row as the driver returned it; null after a write, and for a new row. */
    #raw: object | null = null
    /** The runtime in which the row was read or written. */
    #home: Runtime | null = null
    /** The values that were last written; null before the first write. */
    #written: globalThis.Record<string, unknown> | null = null
    /** The values that build() validated; null after the first save. */
    #built: globalThis.Record<string, unknown> | null = null

    static override QueryBuilder = guardedQueryBuilder(OpenBase.QueryBuilder as typeof QueryBuilder)

    static get schema(): ModelSchemas {
      return memoize(schemas, this, () => schemasOf(definitionOf(this)))
    }

    static get columnSpecs(): Readonly<globalThis.Record<string, ColumnSpec>> {
      return definitionOf(this).specs
    }

    static withColumns(columns: Columns): unknown {
      return withColumns(this as unknown as AbstractConstructor<Model>, columns)
    }

    // -- static methods that Objection calls

    static getTableName(): string {
      return memoize(tableNames, this, () => tableNameOf(this as unknown as RecordClass))
    }

    static override createValidator(): RecordValidator {
      return validator
    }

    static getJsonSchema(): object {
      return memoize(recordSchemas, this, () => recordSchema(definitionOf(this)))
    }

    // The codec reads and writes json columns, so Objection must not.
    static getJsonAttributes(): string[] {
      return []
    }

    static getRelationMappings(): RelationMappings {
      return memoize(relations.get(), this, () => {
        // Objection cached the relations of the earlier mappings.
        forgetRelationsOf(this)
        return mergedRelationMappings(this as unknown as RecordClass)
      })
    }

    // Objection caches a relation before its setup is complete. If the setup failed or was re-entered, every later query would use
    // the incomplete relation.
    static getRelationUnsafe(name: string): unknown {
      const mapping = this.getRelationMappings()[name]
      if (!mapping) return null
      const cache = relationCacheOf(this)
      let relation = cache[name]
      if (!relation) {
        const made = new (mapping.relation as unknown as new (name: string, cls: object) => ObjectionRelation)(name, this)
        made.setMapping(mapping)
        relation = cache[name] ??= made
      }
      guardBareEnds(relation)
      nameLinksExactly(relation)
      return relation
    }

    // Objection caches the names forever, but relations may be added later.
    static getRelationNames(): string[] {
      const mappings = this.getRelationMappings()
      return memoize(relationNames, mappings, () => Object.keys(mappings))
    }

    static getModifiers(): object {
      return mergedStatic(this, 'modifiers')
    }

    static getVirtualAttributes(): string[] {
      return memoize(virtuals, this, () => mergedList(this, 'virtualAttributes'))
    }

    static override fetchTableMetadata(options?: object): Promise<never> {
      forgetMetadata(this)
      const metadata = declaredMetadata(this)
      return (metadata ? Promise.resolve(metadata) : super.fetchTableMetadata(options as never)) as Promise<never>
    }

    static override tableMetadata(options?: object): never {
      forgetMetadata(this)
      return (declaredMetadata(this) ?? super.tableMetadata(options as never)) as never
    }

    static [ownKnex](): Knex | null {
      return (super.knex() as Knex | undefined) ?? registeredKnex()
    }

    // Objection calls this for every query, so queries join the current transaction here.
    static override knex(...args: [] | [Knex]): Knex {
      if (args.length > 0) return super.knex(...(args as [Knex])) as Knex
      const own = this[ownKnex]()
      return own ? joinAmbient(own) : (own as unknown as Knex)
    }

    static override createNotFoundError(_context: unknown, props: { message?: string } = {}): NotFoundError {
      return new NotFoundError(props.message)
    }

    static override createValidationError(props: { message?: string; data?: unknown }): ValidationError {
      return validationErrorOf(props)
    }

    // -- rows

    static build(values: object): Model & ActiveRecord {
      assertNoUndefined(values)
      const row = (this as unknown as RecordStatics).fromJson(values, { active: true })
      if (row instanceof Record) row.#built = { ...row }
      return row
    }

    static async create(values: object, trx?: TransactionOrKnex): Promise<Model> {
      const row = await (this.build as (this: unknown, values: object) => Model & ActiveRecord).call(this, values).save(trx)
      await this.afterGet([row], trx)
      return row
    }

    static async createFrom(input: unknown, trx?: TransactionOrKnex): Promise<Model> {
      return await (this as unknown as { create(values: object, trx?: TransactionOrKnex): Promise<Model> }).create(
        fromClient(this, input, 'create'),
        trx,
      )
    }

    static async getBy(where: object, trx?: TransactionOrKnex): Promise<Model | null> {
      const values = lookup(definitionOf(this), where)
      if (values === null) return null
      const row = (await (this as unknown as RecordStatics).query(trx).findOne(values)) as Model | undefined
      if (!row) return null
      await this.afterGet([row], trx)
      return row
    }

    static async getByOr404(where: object, trx?: TransactionOrKnex): Promise<Model> {
      const row = await this.getBy(where, trx)
      if (!row) throw new NotFoundError(`No ${this.name} matches these values.`)
      return row
    }

    static get(id: string, trx?: TransactionOrKnex): Promise<Model | null> {
      const values = [id].flat()
      return this.getBy(Object.fromEntries(idProperties(this).map((name, i) => [name, values[i]])), trx)
    }

    static async getOr404(id: string, trx?: TransactionOrKnex): Promise<Model> {
      const row = await this.get(id, trx)
      if (!row) throw new NotFoundError(`There is no ${this.name} with this id.`)
      return row
    }

    static async afterGet(_rows: readonly Model[], _trx?: TransactionOrKnex): Promise<void> {}

    get isNew(): boolean {
      return this.#raw === null && this.#written === null
    }

    async save(trx?: TransactionOrKnex): Promise<this> {
      const cls = this.constructor as unknown as typeof Record & RecordStatics
      await this.$settle(trx)
      if (this.isNew) {
        if (!this.#isAsBuilt()) this.$validate()
        await this.$orAsBefore(() => cls.query(trx).insert(this as never), trx)
        return this
      }
      const changes = this.#changes()
      if (Object.keys(changes).length > 0) await this.#patch(changes, trx)
      return this
    }

    async update(values: object, trx?: TransactionOrKnex): Promise<this> {
      const cls = this.constructor as unknown as typeof Record
      if (this.isNew) throw new ValidationError('update(): this row has never been saved. Call save() first.')
      assertNoUndefined(values)
      const patch = (cls as unknown as RecordStatics).fromJson(values, { patch: true, active: true, old: this }) as unknown as Record
      await patch.$settle(trx)
      if (Object.keys(patch).length + queryNamesOf(patch).length > 0) await this.#patch(patch, trx)
      return this
    }

    // Values that have not changed since build() need no second validation.
    #isAsBuilt(): boolean {
      const built = this.#built
      this.#built = null
      if (!built) return false
      const row = this as unknown as globalThis.Record<string, unknown>
      return Object.keys(row).every((name) => row[name] === built[name] && (typeof row[name] !== 'object' || row[name] === null))
    }

    async #patch(changes: object, trx?: TransactionOrKnex): Promise<void> {
      await this.$around(
        async () => {
          const count = await this.$orAsBefore(() => this.$query(trx).patch(changes as never), trx)
          if ((count as unknown) === 0) throw notFound(this)
        },
        changes,
        trx,
      )
    }

    async $around(write: () => Promise<void>, _changes: object, _trx?: TransactionOrKnex): Promise<void> {
      await write()
    }

    async $orAsBefore<R>(write: () => PromiseLike<R>, trx?: TransactionOrKnex): Promise<R> {
      const [raw, written, before] = [this.#raw, this.#written, { ...this }]
      const undo = () => {
        this.#raw = raw
        this.#written = written
        const row = this as unknown as globalThis.Record<string, unknown>
        for (const name of Object.keys(row)) if (!Object.hasOwn(before, name) && !isIdProperty(this.constructor, name)) delete row[name]
        Object.assign(row, before)
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

    async updateFrom(input: unknown, trx?: TransactionOrKnex): Promise<this> {
      return await this.update(fromClient(this.constructor as never, input, 'update'), trx)
    }

    async delete(trx?: TransactionOrKnex): Promise<void> {
      if (this.isNew) throw new ValidationError('delete(): this row has never been saved, so it cannot be deleted.')
      const count: unknown = await this.$query(trx).delete()
      if (count === 0) throw notFound(this)
    }

    getClone(): this {
      const copy = this.$clone() as this
      copy.#raw = this.#raw
      copy.#home = this.#home
      copy.#written = this.#written === null ? null : structuredClone(this.#written)
      return copy
    }

    async $settle(_trx?: TransactionOrKnex): Promise<void> {}

    // -- the database that a row belongs to

    override $query(trx?: TransactionOrKnex): SingleQueryBuilder<QueryBuilderType<this>> {
      this.$assertHome(trx as Knex | undefined)
      return super.$query(trx) as SingleQueryBuilder<QueryBuilderType<this>>
    }

    override $relatedQuery(name: never, trx?: TransactionOrKnex): never {
      this.$assertHome(trx as Knex | undefined)
      return super.$relatedQuery(name, trx) as never
    }

    override $clone(options?: { shallow?: boolean }): this {
      const copy = super.$clone(options as never) as unknown as this
      copy.#home = this.#home
      return copy
    }

    /** Throws when the row was read in another runtime than that of `knex`, where another row may have the same id. */
    $assertHome(knex: Knex | undefined = (this.constructor as unknown as typeof Record).knex()): void {
      const home = this.#home
      if (home !== null && knex && !home.owns(knex) && runtimeOf(knex) !== null) throw new RuntimeMismatchError()
    }

    // -- instance methods that Objection calls

    // These run on every write, so they return a promise only if they must wait.
    override $beforeInsert(context: never): Promise<void> | undefined {
      return thenMaybe(super.$beforeInsert(context), () => this.#fillIn()) as Promise<void> | undefined
    }

    #fillIn(): void {
      const { specs } = definitionOf(this.constructor)
      const row = this as unknown as globalThis.Record<string, unknown>
      const now = new Date()
      if (specs.id?.type === 'uuid') row.id ??= newId()
      if (specs.createdAt) row.createdAt ??= now
      if (specs.updatedAt) row.updatedAt ??= now
      for (const name in specs) {
        if (row[name] !== undefined || hasQueryValue(this, name)) continue
        const spec = specs[name] as ColumnSpec
        if (spec.hasDefault) {
          const value =
            typeof spec.defaultValue === 'function' ? (spec.defaultValue as () => unknown)() : structuredClone(spec.defaultValue)
          if (value !== undefined) row[name] = value
        } else if (spec.isNullable) row[name] = null
      }
    }

    /** Checks required columns after the policy has allowed the row: relations and defaults have been applied by then. */
    $complete(): void {
      const { specs } = definitionOf(this.constructor)
      const row = this as unknown as globalThis.Record<string, unknown>
      const errors: FieldError[] = []
      for (const name in specs) {
        if (row[name] !== undefined || hasQueryValue(this, name)) continue
        const spec = specs[name] as ColumnSpec
        if (spec.isNullable) row[name] = null
        else if (spec.hasDefault || isRequired(name, spec)) errors.push({ field: name, message: 'is required' })
      }
      assertNoErrors(errors)
    }

    override $beforeUpdate(options: never, context: never): Promise<void> | undefined {
      return thenMaybe(super.$beforeUpdate(options, context), () => {
        const { specs } = definitionOf(this.constructor)
        if (specs.updatedAt && changesRow(this)) (this as unknown as { updatedAt: Date }).updatedAt = new Date()
      }) as Promise<void> | undefined
    }

    override $afterInsert(context: never): Promise<void> | undefined {
      this.#noteWritten(this)
      return super.$afterInsert(context) as Promise<void> | undefined
    }

    override $afterUpdate(options: never, context: never): Promise<void> | undefined {
      const { old } = options as { old?: unknown }
      if (typeof old === 'object' && old !== null && #written in old) old.#noteWritten(this)
      return super.$afterUpdate(options, context) as Promise<void> | undefined
    }

    // A related row given as an object sets the foreign key column.
    override $parseJson(json: object, options: never): never {
      let values = super.$parseJson(json as never, options) as unknown as globalThis.Record<string, unknown>
      for (const [name, value] of Object.entries(values)) {
        if (!(value instanceof Model)) continue
        assertHome(value)
        const relation = relationsOf(this.constructor)[name]
        if (!relation || !isBelongsToOne(relation)) continue
        relation.ownerProp.props.forEach((property, i) => {
          const id = (value as unknown as globalThis.Record<string, unknown>)[relation.relatedProp.props[i] as string]
          if (id !== undefined) values = { ...values, [property]: id }
          else if ((options as { active?: boolean } | undefined)?.active)
            throw new ValidationError(`${name} has never been saved: save it first.`, [{ field: name, message: 'was never saved' }])
        })
      }
      return values as never
    }

    override $setDatabaseJson(json: object): this {
      this.#raw = json
      this.#home = currentRuntime()
      // Unless a subclass overrides $parseDatabaseJson(), set the values directly, without an intermediate object.
      if (this.$parseDatabaseJson !== parseDatabaseJson) return super.$setDatabaseJson(json) as unknown as this
      return readRow(this.constructor as never, super.$parseDatabaseJson(json as never), this)
    }

    override $parseDatabaseJson(json: object): never {
      return readRow(this.constructor as never, super.$parseDatabaseJson(json as never), {}) as never
    }

    override $formatDatabaseJson(json: object): never {
      const cls = this.constructor as unknown as typeof Record
      const dialect = dialectOfClass(cls as never)
      const { write } = codecNow(cls as never)
      const given = super.$formatDatabaseJson(json as never) as unknown as globalThis.Record<string, unknown>
      const row: globalThis.Record<string, unknown> = {}
      let name = ''
      try {
        for (name of Object.keys(given)) {
          const known = write.get(name)
          if (known) row[known.column] = known.spec ? encode(known.spec, given[name], dialect) : given[name]
          // 'address:city' sets a part of a json column, as in Objection's documentation.
          else row[name.replace(/^[^:]*/, snakeCase)] = given[name]
        }
      } catch (error) {
        throw withField(error, name)
      }
      return row as never
    }

    override $formatJson(json: object): never {
      const { specs } = definitionOf(this.constructor)
      const shown = super.$formatJson(json as never) as unknown as globalThis.Record<string, unknown>
      const ordered: globalThis.Record<string, unknown> = {}
      for (const name of Object.keys(specs)) if (shown[name] !== undefined && !specs[name]?.isHidden) ordered[name] = shown[name]
      for (const name of Object.keys(shown)) if (!specs[name] && !isHiddenElsewhere(this, name)) ordered[name] = shown[name]
      return ordered as never
    }

    // Records the written values. Other changes of this row remain unsaved.
    #noteWritten(values: object): void {
      this.#home = currentRuntime()
      const written = this.isNew || this === values ? {} : { ...this.#before() }
      for (const [name, value] of Object.entries(values)) {
        if (value !== undefined && isSaved(this, name)) written[name] = detached(value)
      }
      this.#raw = null
      this.#written = written
    }

    #before(): globalThis.Record<string, unknown> {
      return this.#written ?? (this.$parseDatabaseJson(this.#raw as object) as globalThis.Record<string, unknown>)
    }

    #changes(): globalThis.Record<string, unknown> {
      const before = this.#before()
      const changes: globalThis.Record<string, unknown> = {}
      for (const [name, value] of Object.entries(this)) {
        if (value === undefined || name === 'updatedAt' || isIdProperty(this.constructor, name) || !isSaved(this, name)) continue
        if (!isDeepStrictEqual(value, before[name])) changes[name] = value
      }
      return changes
    }
  }
  const { $parseDatabaseJson: parseDatabaseJson } = Record.prototype
  Object.defineProperty(Record, errorsOf, { value: mapErrorOf })
  Object.defineProperty(Record, 'tableName', {
    configurable: true,
    get(this: RecordClass) {
      return tableNameOf(this)
    },
    // Supports `Model.tableName = 'x'`, to which TypeScript compiles static fields without useDefineForClassFields.
    set(this: RecordClass, value: string) {
      Object.defineProperty(this, 'tableName', { value, writable: true, enumerable: true, configurable: true })
    },
  })
  markIntermediate(Record)
  return Record as unknown as T & AbstractConstructor<ActiveRecord> & ActiveRecordStatics
}

// The column in a driver's error may differ from the declared column if Knex renames columns.
function propertyFor({ propertyOf }: Definition, column: string): string | undefined {
  const known = propertyOf.get(column)
  if (known !== undefined) return known
  for (const [name, property] of propertyOf) if (foldName(name) === foldName(column)) return property
  return undefined
}

// A plain Objection class over the table of a model with a policy gets a query builder that refuses its queries.
function guardBareEnds(relation: ObjectionRelation): void {
  relation.relatedModelClass = guardedIfBare(relation.relatedModelClass)
  if (relation.joinTableModelClass) relation.joinTableModelClass = guardedIfBare(relation.joinTableModelClass)
}

function guardedIfBare(cls: typeof Model): typeof Model {
  if (isGuardedBuilder(cls.QueryBuilder) || !hasModel(tableOf(cls))) return cls
  const Guarded = class extends (cls as unknown as new () => Model) {}
  for (const [name, value] of Object.entries({ name: cls.name, QueryBuilder: guardedQueryBuilder(cls.QueryBuilder) }))
    Object.defineProperty(Guarded, name, { value, writable: true, configurable: true })
  return Guarded as unknown as typeof Model
}

/** Returns a subclass that declares columns and has no table of its own. */
export function withColumns<T extends AbstractConstructor<Model>, C extends Columns>(Base: T, columns: C): T & AbstractConstructor<Row<C>> {
  abstract class WithColumns extends (Base as unknown as AbstractConstructor<Model>) {}
  markIntermediate(WithColumns)
  declareColumns(WithColumns, columns as globalThis.Record<string, Column<unknown, boolean>>, { isWhole: true })
  return WithColumns as unknown as T & AbstractConstructor<Row<C>>
}

const isIdProperty = (cls: object, name: string) => idProperties(cls).includes(name)

// Returns whether a property is saved: a declared column, or any property of a class without declared columns that is neither a
// relation nor internal.
function isSaved(row: object, name: string): boolean {
  const { columnOf, isStrict } = definitionOf(row.constructor)
  if (columnOf.has(name)) return true
  return !isStrict && !name.startsWith('$') && !relationNamesOf(row.constructor).includes(name)
}

function notFound(row: object): NotFoundError {
  return new NotFoundError(`There is no ${row.constructor.name} with this id.`)
}

function hasQueryValue(row: object, name: string): boolean {
  const values = queryValuesOf(row)
  return values !== undefined && Object.hasOwn(values, name)
}

// Returns whether an update changes more than the id and columns of a join table.
function changesRow(row: object): boolean {
  const unwritten = unwrittenNamesOf(row)
  return [...Object.keys(row), ...queryNamesOf(row)].some((name) => !unwritten.includes(name) && !isIdProperty(row.constructor, name))
}

// Returns the declared columns, so that Objection does not query the database for them.
function declaredMetadata(cls: object): { columns: string[] } | null {
  const { columnOf, isStrict } = definitionOf(cls)
  return isStrict ? { columns: [...columnOf.values()] } : null
}
