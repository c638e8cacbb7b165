import type { Knex } from 'knex'
import {
  type CreateNotFoundErrorArgs,
  type CreateValidationErrorArgs,
  Model,
  type QueryContext,
  type TableMetadata,
  type Validator,
} from 'objection'
import { NotFoundError, PermsError } from '../core/errors.js'
import { memoize } from '../core/memoize.js'
import { foldName } from '../database/arriving-names.js'
import { mapDatabaseError } from '../database/errors/database-errors.js'
import { noteValidationError, validationErrorOf } from '../database/errors/objection-errors.js'
import { joinAmbient, registeredKnex } from '../database/transaction.js'
import { noteMissingRow } from '../query/missing-rows.js'
import { forgetTableMetadata, queryValuesOf } from '../query/objection-internals.js'
import { enforcingQueryBuilder } from '../query/query-builder.js'
import { errorsOf } from '../query/typed-errors.js'
import { modelSlot } from '../runtime.js'
import { lineage, mergedList, mergedStatic } from '../schema/class-statics.js'
import type { ColumnSpec, Columns } from '../schema/column.js'
import { declareColumns, isIntermediate, markIntermediate, type RecordClass, type TableKeys } from '../schema/definition/declarations.js'
import { afterDefinition, columnOf, type Definition, definitionOf } from '../schema/definition/definition.js'
import { hasOwnValidator, schemaForOwnValidator } from '../schema/definition/hand-schema.js'
import { tableNameOf } from '../schema/definition/table-names.js'
import { type ModelSchemas, recordSchema, schemasOf } from '../schema/json-schemas.js'
import { RecordValidator } from '../schema/validator.js'
import { dialectOfClass, ownKnex } from './codec.js'
import type { AbstractConstructor, ClassWithColumns, ModelBase } from './record-types.js'

const hasQueryValues = (row: Model) => queryValuesOf(row) !== undefined
const validator = new RecordValidator(hasQueryValues)
const validators = modelSlot(() => new WeakMap<object, Validator>())
const schemas = new WeakMap<object, ModelSchemas>()
const tableNames = modelSlot(() => new WeakMap<object, string>())
const recordSchemas = new WeakMap<object, object>()
const virtuals = new WeakMap<object, string[]>()
const withMetadata = modelSlot(() => new WeakSet<object>())

/** The static members that ModelSetupMixin adds. */
export interface ModelSetupStatics {
  readonly schema: ModelSchemas
  readonly columnSpecs: Readonly<Record<string, ColumnSpec>>
  withColumns(columns: Columns, keys?: TableKeys): unknown
  [ownKnex](): Knex | null
}

/** A class with the static methods of ModelSetupMixin. */
export type SetUpBase = ModelBase & ModelSetupStatics

/** Adds the static methods through which Objection learns the table, the schema and the database of a model class. */
export function ModelSetupMixin(Base: ModelBase): SetUpBase {
  class ModelSetup extends Base {
    static override QueryBuilder = enforcingQueryBuilder(Base.QueryBuilder)

    static get schema(): ModelSchemas {
      const definition = definitionOf(this)
      return memoize(schemas, definition, () => schemasOf(definition))
    }

    static get columnSpecs(): Readonly<Record<string, ColumnSpec>> {
      return definitionOf(this).specs
    }

    static withColumns(columns: Columns, keys?: TableKeys): unknown {
      return withColumns(this, columns, keys)
    }

    // Objection calls this several times per query, so that it creates no closure.
    static override getTableName(): string {
      const names = tableNames.get()
      const known = names.get(this)
      if (known !== undefined) return known
      const name = tableNameOf(this)
      names.set(this, name)
      return name
    }

    // Objection calls this for every validation. createValidator() stays the application's.
    static getValidator(): Validator {
      if (!hasOwnValidator(this)) return validator
      return memoize(validators.get(), this, () => new RecordValidator(hasQueryValues, this.createValidator()))
    }

    static getJsonSchema(): object {
      const definition = definitionOf(this)
      return memoize(recordSchemas, definition, () => {
        const schema = recordSchema(definition)
        return hasOwnValidator(this) ? schemaForOwnValidator(this, schema.properties, (name) => isClaimed(definition, name)) : schema
      })
    }

    // The codec reads and writes json columns, so Objection must not.
    static getJsonAttributes(): string[] {
      return []
    }

    static getModifiers(): object {
      return mergedStatic(this, 'modifiers')
    }

    static getVirtualAttributes(): string[] {
      return memoize(virtuals, this, () => mergedList(this, 'virtualAttributes'))
    }

    static override fetchTableMetadata(...args: Parameters<typeof Model.fetchTableMetadata>): Promise<TableMetadata> {
      forgetMetadata(this)
      const metadata = declaredMetadata(this)
      return metadata ? Promise.resolve(metadata) : super.fetchTableMetadata(...args)
    }

    static override tableMetadata(...args: Parameters<typeof Model.tableMetadata>): TableMetadata {
      forgetMetadata(this)
      return declaredMetadata(this) ?? super.tableMetadata(...args)
    }

    static [ownKnex](): Knex | null {
      return super.knex() ?? registeredKnex()
    }

    // Objection calls this for every query, so queries join the current transaction here.
    static override knex(...args: [] | [Knex]): Knex {
      if (args.length > 0) return super.knex(...args)
      const own = this[ownKnex]()
      return own ? joinAmbient(own) : super.knex()
    }

    // Errors of the application's own class stay.
    static override createNotFoundError(context: QueryContext, props: Partial<CreateNotFoundErrorArgs> = {}): Error {
      const isOwn = Base.createNotFoundError !== Model.createNotFoundError
      return noteMissingRow(isOwn ? super.createNotFoundError(context, props as never) : new NotFoundError(props.message))
    }

    static override createValidationError(props: CreateValidationErrorArgs): Error {
      if (Base.createValidationError === Model.createValidationError) return validationErrorOf(props)
      return noteValidationError(super.createValidationError(props), props)
    }
  }
  Object.defineProperty(ModelSetup, errorsOf, { value: mapErrorOf })
  defineAssignable(ModelSetup, 'tableName', tableNameOf)
  defineAssignable(ModelSetup, 'idColumn', (cls) => (Base.idColumn === 'id' ? columnOf(cls, 'id') : Base.idColumn))
  markIntermediate(ModelSetup)
  return ModelSetup
}

/**
 * Defines a static property that is computed until a class sets it. It supports `Model.tableName = 'x'`, to which TypeScript compiles
 * static fields without useDefineForClassFields.
 */
function defineAssignable(owner: object, name: string, valueFor: (cls: RecordClass) => unknown): void {
  Object.defineProperty(owner, name, {
    configurable: true,
    get(this: RecordClass) {
      return valueFor(this)
    },
    set(this: RecordClass, value: unknown) {
      Object.defineProperty(this, name, { value, writable: true, enumerable: true, configurable: true })
    },
  })
}

/** Returns a subclass that declares columns and has no table of its own. */
export function withColumns<T extends AbstractConstructor<Model>, C extends Columns>(
  Base: T,
  columns: C,
  keys: TableKeys = {},
): ClassWithColumns<T, C> {
  abstract class WithColumns extends Base {}
  markIntermediate(WithColumns)
  declareColumns(WithColumns, columns, { ...keys, isWhole: true })
  return WithColumns as ClassWithColumns<T, C>
}

// The property that the jsonSchema has for the column of a secret, such as `password` for a hash.
const isClaimed = ({ columnOf: columns, propertyOf, inputs }: Definition, name: string): boolean =>
  !columns.has(name) && (inputs[name] !== undefined || propertyOf.has(name))

// Objection caches table metadata on the class forever. A later runtime may have different tables.
function forgetMetadata(cls: object): void {
  const known = withMetadata.get()
  if (known.has(cls)) return
  known.add(cls)
  forgetTableMetadata(cls)
}

// Returns the declared columns, so that Objection does not query the database for them.
function declaredMetadata(cls: object): { columns: string[] } | null {
  const { columnOf, isStrict } = definitionOf(cls)
  return isStrict ? { columns: [...columnOf.values()] } : null
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

// An application may override createValidationError() above PermsMixin, where ModelSetup calls it, or on a model class itself.
afterDefinition((cls) => {
  for (const c of lineage(cls)) if (Object.hasOwn(c, 'createValidationError') && errorsOf in c && !isIntermediate(c)) noteErrorsOf(c)
})

const noted = new WeakSet<object>()

function noteErrorsOf(cls: object): void {
  const { createValidationError: original } = cls as typeof Model
  if (noted.has(cls) || typeof original !== 'function') return
  noted.add(cls)
  const value = function (this: typeof Model, props: CreateValidationErrorArgs): Error {
    return noteValidationError(original.call(this, props), props)
  }
  Object.defineProperty(cls, 'createValidationError', { value, writable: true, configurable: true })
}

// The column in a driver's error may differ from the declared column if Knex renames columns.
function propertyFor({ propertyOf }: Definition, column: string): string | undefined {
  const known = propertyOf.get(column)
  if (known !== undefined) return known
  for (const [name, property] of propertyOf) if (foldName(name) === foldName(column)) return property
  return undefined
}
