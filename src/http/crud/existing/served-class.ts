/** Makes the classes through which resources serve models whose columns are known to the database only. */
import { ConfigurationError } from '../../../core/errors.js'
import { memoize } from '../../../core/memoize.js'
import { setClassName } from '../../../core/names.js'
import { nearestNames } from '../../../core/nearest-names.js'
import type { TableColumn, TableColumns } from '../../../database/catalogue/table-columns.js'
import { readRow } from '../../../record/codec.js'
import { runtimeSlot } from '../../../runtime.js'
import { type ColumnSpec, column as columns } from '../../../schema/column.js'
import { idProperties, structureOf } from '../../../schema/definition/definition.js'
import { existingColumn } from '../../../schema/definition/existing-columns.js'
import { existingColumnName, hasCataloguedColumns, setCataloguedColumns } from '../../../schema/definition/existing-models.js'
import { schemaOf } from '../../../schema/json-schemas.js'
import { valuesByName } from '../../../schema/model-class.js'
import { isServedModel, isServedRow, type ServedModel, type ServedRow } from '../../core/ports.js'
import type { NamedColumn, NamedColumns } from './named-columns.js'
import { columnsKnown, isWithoutSchema, needsTypes } from './table-types.js'

const classes = runtimeSlot(() => new WeakMap<NamedColumns, WeakMap<object, ServedModel>>())

/**
 * Returns the class whose rows a resource reads, writes and shows: the model itself, or, if it does not declare its columns, a subclass
 * that declares the named ones with the types that the database has. Code of the application that queries the model gets the values
 * that Objection returns, as before.
 *
 * @throws ConfigurationError if the columns have not been read yet, or if a name is not a column
 */
export function servedAs(model: ServedModel, named: NamedColumns): ServedModel {
  if (!needsTypes(model)) return model
  const known = columnsKnown(model)
  if (!known)
    throw new ConfigurationError(
      `The columns of ${model.name} are not known yet, because the model does not declare them. Call "await perms.ready()" first.`,
    )
  const ofNames = memoize(classes.get(), named, () => new WeakMap<object, ServedModel>())
  return memoize(ofNames, model, () => make(model, named, known))
}

const nothingNamed: NamedColumns = new Map()

/** Does the same for rows of which only the id is used, such as those of parents in a path. */
export function servedById(model: ServedModel): ServedModel {
  return servedAs(model, nothingNamed)
}

/**
 * Returns a row as an instance of the class that serves it, with the types that the database has. Rows that code of the application
 * has read have the values that Objection returns, such as 0 and 1 for booleans.
 */
export function typedRow(row: ServedRow, served: ServedModel): ServedRow {
  if (row instanceof served || !hasCataloguedColumns(served)) return row
  // Objection stores what $omitFromJson() omits in hidden properties.
  const copy = Object.defineProperties(new served(), Object.getOwnPropertyDescriptors(row))
  return isServedRow(copy) ? readRow(served, valuesByName(row), copy) : row
}

function make(model: ServedModel, named: NamedColumns, table: TableColumns): ServedModel {
  const { specs: declared } = structureOf(model)
  const ids = idProperties(model)
  const specs: Record<string, ColumnSpec> = {}
  const properties: Record<string, object> = {}
  const all = new Map(isWithoutSchema(model) ? named : [])
  if (ids.length === 1) all.set(ids[0] as string, { option: 'idColumn', isOptional: false, schema: undefined })
  for (const [name, column] of all) {
    if (declared[name]) continue
    const found = table.get(existingColumnName(model, name))
    if (!found && column.isOptional) continue
    if (!found) throw unknownColumn(model, name, column, table)
    const isId = ids.includes(name)
    const { spec, schema } = described(found, isId, column.schema) ?? typed(found, isId)
    if (spec) specs[name] = spec
    properties[name] = schema
  }
  return subclassOf(model, specs, properties)
}

function unknownColumn(model: ServedModel, name: string, { option }: NamedColumn, { names }: TableColumns): ConfigurationError {
  return new ConfigurationError(
    `${option}: the table '${model.getTableName()}' of ${model.name} has no column '${name}'. ${nearestNames(name, names, 'Its columns')}`,
  )
}

interface Described {
  readonly spec: ColumnSpec | undefined
  readonly schema: object
}

// The JSON Schema of an option may say more than the type in the database: that a text contains JSON, or a tinyint(1) numbers.
function described({ isNullable, isGenerated }: TableColumn, isId: boolean, schema: object | undefined): Described | undefined {
  const spec = schema && existingColumn(schema, { isRequired: !isNullable, isJson: holdsJson(schema), isId })
  if (!spec || !schema) return undefined
  return isGenerated ? { spec: { ...spec, isReadOnly: true }, schema: { ...schema, readOnly: true } } : { spec, schema }
}

function holdsJson(schema: object): boolean {
  const types = [(schema as { type?: unknown }).type].flat()
  return types.includes('object') || types.includes('array')
}

const base = columns.text().spec

function typed({ type, isNullable, isGenerated }: TableColumn, isId: boolean): Described {
  const readOnly = isGenerated ? { readOnly: true } : {}
  if (!type) return { spec: undefined, schema: readOnly }
  const isComparable = type.type !== 'json'
  const spec = Object.freeze({
    ...base,
    ...type,
    isExisting: true,
    isCatalogued: true,
    isNullable: isNullable && !isId,
    isGenerated,
    isImmutable: isId,
    isFilterable: isComparable,
    isSortable: isComparable,
  })
  return { spec, schema: { ...schemaOf(spec), ...readOnly } }
}

function subclassOf(
  model: ServedModel,
  specs: Readonly<Record<string, ColumnSpec>>,
  properties: Readonly<Record<string, object>>,
): ServedModel {
  class Served extends model {
    static override jsonSchema = { type: 'object', properties }
  }
  setClassName(Served, model.name)
  setCataloguedColumns(Served, specs)
  if (!isServedModel(Served)) throw new ConfigurationError(`${model.name} is not a model of this library.`)
  return Served
}
