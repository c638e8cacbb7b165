import { Model, type ModelOptions, type Pojo, type QueryContext } from 'objection'
import { type FieldProblem, ValidationError } from '../core/errors.js'
import { newId } from '../core/ids.js'
import { thenMaybe } from '../core/maybe-async.js'
import { message } from '../core/messages/message.js'
import { snakeCase } from '../core/names.js'
import { allowedOf } from '../query/allowed-flags.js'
import { assertHome } from '../query/home.js'
import { isHiddenElsewhere } from '../query/inspection/hidden-elsewhere.js'
import { isBelongsToOne, queryValuesOf, relationsOf } from '../query/objection-internals.js'
import { withField } from '../schema/canonical.js'
import { tableOf } from '../schema/class-statics.js'
import type { ColumnSpec } from '../schema/column.js'
import { markIntermediate } from '../schema/definition/declarations.js'
import { definitionOf, makesId } from '../schema/definition/definition.js'
import { idSpecOf } from '../schema/ids.js'
import { isRequired } from '../schema/json-schemas.js'
import { encode } from '../schema/storage.js'
import { assertNoErrors } from '../schema/validator.js'
import { codecNow, dialectOfClass, readRow } from './codec.js'
import { classOf, isIdProperty, type ModelBase, valuesOf } from './record-types.js'
import { writtenNames } from './written-names.js'

/** The options with which this library calls fromJson(). */
export interface FromJsonOptions extends ModelOptions {
  /** Whether the values come from build() or update(), which check more than Objection does. */
  active?: boolean
}

/**
 * Adds the methods that convert the values of a row: from objects given by code, from and to the database, and to JSON. Before a
 * write, they fill in ids, times and defaults.
 */
export function RowValuesMixin(Base: ModelBase): ModelBase {
  class RowValues extends Base {
    // A driver returns the id of a new row as a number also where the column is a bigint, whose values are strings.
    override $id(...given: unknown[]): never {
      const [id] = given
      const isNumber = typeof id === 'number' || typeof id === 'bigint'
      const args = isNumber && idSpecOf(this.constructor)?.type === 'bigint' ? [String(id)] : given
      return Reflect.apply(super.$id, this, args) as never
    }

    // These run on every write, so they return a promise only if they must wait.
    override $beforeInsert(context: QueryContext): Promise<void> | undefined {
      return thenMaybe(super.$beforeInsert(context), () => fillIn(this)) as Promise<void> | undefined
    }

    override $beforeUpdate(options: ModelOptions, context: QueryContext): Promise<void> | undefined {
      return thenMaybe(super.$beforeUpdate(options, context), () => {
        const { specs } = definitionOf(this.constructor)
        if (isOurs(specs.updatedAt) && writtenNames(this).some((name) => !isIdProperty(this.constructor, name)))
          valuesOf(this).updatedAt = new Date()
      }) as Promise<void> | undefined
    }

    /** Checks required columns after the policy has allowed the row: relations and defaults have been applied by then. */
    $complete(): void {
      assertComplete(this)
    }

    override $parseJson(json: Pojo, options?: FromJsonOptions): Pojo {
      return withForeignKeys(this, super.$parseJson(json, options), options)
    }

    override $setDatabaseJson(json: object): this {
      // Unless a subclass overrides $parseDatabaseJson(), set the values directly, without an intermediate object.
      if (this.$parseDatabaseJson !== parseDatabaseJson) return super.$setDatabaseJson(json)
      return readRow(classOf(this), super.$parseDatabaseJson(json), this)
    }

    override $parseDatabaseJson(json: Pojo): Pojo {
      return readRow(classOf(this), super.$parseDatabaseJson(json), {})
    }

    override $formatDatabaseJson(json: Pojo): Pojo {
      return encoded(this, super.$formatDatabaseJson(json))
    }

    override $formatJson(json: Pojo): Pojo {
      return withoutHidden(this, super.$formatJson(json))
    }
  }
  const { $parseDatabaseJson: parseDatabaseJson } = RowValues.prototype
  markIntermediate(RowValues)
  return RowValues
}

// The application, or its database, fills in the columns that only `static jsonSchema` describes.
const isOurs = (spec: ColumnSpec | undefined): spec is ColumnSpec => spec !== undefined && !spec.isExisting

// Sets the id, the times and the defaults of a new row.
function fillIn(record: object): void {
  const { specs } = definitionOf(record.constructor)
  const row = valuesOf(record)
  const now = new Date()
  if (isOurs(specs.id) && specs.id.type === 'uuid' && !specs.id.hasDefault && makesId(record.constructor)) row.id ??= newId()
  if (isOurs(specs.createdAt)) row.createdAt ??= now
  if (isOurs(specs.updatedAt)) row.updatedAt ??= now
  for (const name in specs) {
    if (row[name] !== undefined || hasQueryValue(row, name)) continue
    const spec = specs[name] as ColumnSpec
    if (spec.isExisting) continue
    if (spec.hasDefault) {
      const value = typeof spec.defaultValue === 'function' ? (spec.defaultValue as () => unknown)() : structuredClone(spec.defaultValue)
      if (value !== undefined) row[name] = value
    } else if (spec.isNullable) row[name] = null
  }
}

function assertComplete(record: object): void {
  const { specs } = definitionOf(record.constructor)
  const row = valuesOf(record)
  const errors: FieldProblem[] = []
  for (const name in specs) {
    if (row[name] !== undefined || hasQueryValue(row, name)) continue
    const spec = specs[name] as ColumnSpec
    if (spec.isExisting) continue
    if (spec.isNullable) row[name] = null
    else if (spec.hasDefault || isRequired(name, spec)) errors.push({ field: name, message: message('field.required') })
  }
  assertNoErrors(errors)
}

// A related row given as an object sets the foreign key column.
function withForeignKeys(row: object, given: Pojo, options: FromJsonOptions | undefined): Pojo {
  let values = given
  for (const [name, value] of Object.entries(values)) {
    if (!(value instanceof Model)) continue
    assertHome(value)
    const relation = relationsOf(row.constructor)[name]
    if (!relation || !isBelongsToOne(relation)) continue
    const { relatedModelClass: Related } = relation
    // Rows of another table may have the same ids.
    if (tableOf(value.constructor) !== tableOf(Related))
      throw new ValidationError(message('row.instanceOf', { name, model: Related.name }), [
        { field: name, message: message('field.instanceOf', { model: Related.name }) },
      ])
    relation.ownerProp.props.forEach((property, i) => {
      const id = valuesOf(value)[relation.relatedProp.props[i] as string]
      if (id !== undefined) values = { ...values, [property]: id }
      else if (options?.active)
        throw new ValidationError(message('row.neverSaved', { name }), [{ field: name, message: message('field.neverSaved') }])
    })
  }
  return values
}

// Returns values by property as values by column, in the storage format of the database.
function encoded(record: object, given: Pojo): Pojo {
  const cls = classOf(record)
  const dialect = dialectOfClass(cls)
  const { write } = codecNow(cls)
  const { columnOf, keepsNames } = definitionOf(record.constructor)
  const row: Pojo = {}
  let name = ''
  try {
    for (name of Object.keys(given)) {
      const known = write.get(name)
      if (known) row[known.column] = known.spec ? encode(known.spec, given[name], dialect) : given[name]
      // 'address:city' sets a part of a json column, as in Objection's documentation.
      else row[name.replace(/^[^:]*/, (property) => columnOf.get(property) ?? (keepsNames ? property : snakeCase(property)))] = given[name]
    }
  } catch (error) {
    throw withField(error, name)
  }
  return row
}

// Returns the values that toJSON() shows: declared columns in their order, then others, without hidden ones.
function withoutHidden(row: object, shown: Pojo): Pojo {
  const { specs } = definitionOf(row.constructor)
  const ordered: Pojo = {}
  for (const name of Object.keys(specs)) if (shown[name] !== undefined && !specs[name]?.isHidden) ordered[name] = shown[name]
  for (const name of Object.keys(shown)) if (!specs[name] && !isHiddenElsewhere(row, name)) ordered[name] = shown[name]
  const allowed = allowedOf(row)
  if (allowed) ordered.allowed = allowed
  return ordered
}

function hasQueryValue(row: object, name: string): boolean {
  const values = queryValuesOf(row)
  return values !== undefined && Object.hasOwn(values, name)
}
