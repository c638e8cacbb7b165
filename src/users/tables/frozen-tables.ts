/**
 * Tables of the packaged migrations, which are written down literally: a later change of a model does not change what an earlier
 * migration does. The application's parts of a table come from its registered models.
 */
import type { TableSpec } from '../../database/tables/tables.js'
import { defaultModel, modelOfTable, type TableKind } from '../../policy/registered-models.js'
import { tableOf } from '../../schema/class-statics.js'
import { Column, type ColumnSpec, type ColumnType, column, columnNameOf, type OnDelete } from '../../schema/column.js'
import { type Declaration, declarationOf } from '../../schema/definition/declarations.js'
import { idProperties } from '../../schema/definition/definition.js'
import { idSpecOf } from '../../schema/ids.js'
import type { Dialect } from '../../schema/storage.js'
import { declaredPartOf, withResolvedReference } from './table-specs.js'

/** An SQL type for each database. */
export type FrozenType = { readonly kind: ColumnType } & Readonly<Record<Dialect, string>>

/** A column of a packaged migration. Exactly one of `type`, `isId`, `refersTo` and `hasTypeOf` is set. */
export interface FrozenColumn {
  readonly type?: FrozenType
  /** The id of the table's own rows. */
  readonly isId?: true
  /** A foreign key to the id of this kind of rows. */
  readonly refersTo?: 'user' | 'domain'
  readonly onDelete?: OnDelete
  /** The type of the id of this kind of rows, without a foreign key. */
  readonly hasTypeOf?: 'user' | 'domain'
  /** The column holds ids of this kind of rows as text: `type` grows with them. */
  readonly holdsIdOf?: 'user' | 'domain'
  readonly isNullable?: true
  readonly isUnique?: true
  readonly isIndexed?: true
  readonly default?: string | boolean
}

/** A table of a packaged migration. The keys of `columns` are properties. */
export interface FrozenTable {
  readonly columns: Readonly<Record<string, FrozenColumn>>
  readonly uniques?: readonly (readonly string[])[]
  readonly indexes?: readonly (readonly string[])[]
}

/** The tables of a packaged migration, by the kind of their rows. */
export type FrozenTables = Partial<Readonly<Record<TableKind | 'throttle', FrozenTable>>>

/** Which columns a packaged migration creates. */
export interface MigrationScope {
  readonly dialect: Dialect
  /**
   * Whether to create only the library's columns, with the types and names that they had before the registered models changed them: for a
   * replay of the application's history, whose own migrations create the other columns.
   */
  readonly isReplay: boolean
}

/**
 * Returns the table that a migration creates: the frozen columns, and those that the registered model adds or replaces.
 *
 * @param kind a kind of rows that have a model
 */
export function tableOfMigration(kind: TableKind, frozen: FrozenTable, { dialect, isReplay }: MigrationScope): TableSpec {
  const model = modelOfTable(kind)
  const [own, library] = [declarationOf(model), declarationOf(defaultModel(kind))]
  const declared = declaredPartOf(model)
  const columns: Record<string, Column<unknown, boolean>> = {}
  const types: Record<string, string> = {}
  for (const [property, frozenColumn] of Object.entries(frozen.columns)) {
    if (isRemoved(property, own, library)) continue
    const ofModel = declared.columns[property]
    if (ofModel && (frozenColumn.isId || (!isReplay && isReplaced(property, own, library)))) columns[property] = ofModel
    else {
      columns[property] = columnOfMigration(frozenColumn, isReplay ? earlierName(ofModel?.spec) : ofModel?.spec.columnName)
      if (frozenColumn.type) types[property] = typeOfMigration(frozenColumn, dialect)
    }
  }
  if (!isReplay) {
    for (const [property, ofModel] of Object.entries(declared.columns))
      if (!library.columns[property] && !frozen.columns[property]) columns[property] = ofModel
  }
  const isComplete = (properties: readonly string[]) => properties.every((property) => columns[property])
  const keys = (list: 'uniques' | 'indexes') => {
    const ofModel = isReplay ? [] : added(own[list], [...library[list], ...(frozen[list] ?? [])])
    return [...(frozen[list] ?? []), ...ofModel].filter(isComplete)
  }
  return { name: tableOf(model), columns, types, primaryKey: idProperties(model), uniques: keys('uniques'), indexes: keys('indexes') }
}

// A migration of the application renames the column.
const earlierName = (spec: ColumnSpec | undefined): string | undefined =>
  spec?.renamedFrom === undefined ? spec?.columnName : columnNameOf(spec.renamedFrom)

/** Returns the table of the throttle, which has no model. */
export function throttleTableOfMigration(name: string, frozen: FrozenTable, dialect: Dialect): TableSpec {
  const entries = Object.entries(frozen.columns)
  const types = entries.map(([property, frozenColumn]) => [property, typeOfMigration(frozenColumn, dialect)])
  return {
    name,
    columns: Object.fromEntries(entries.map(([property, frozenColumn]) => [property, columnOfMigration(frozenColumn)])),
    types: Object.fromEntries(types),
    primaryKey: 'name',
  }
}

/** Returns columns of a packaged migration that adds them to a table which an earlier one created. */
export function columnsOfMigration(kind: TableKind, columns: FrozenTable['columns'], scope: MigrationScope): TableSpec {
  const { name, columns: all, types, primaryKey } = tableOfMigration(kind, { columns }, scope)
  const isAdded = ([property]: [string, unknown]) => columns[property] !== undefined
  return { name, columns: Object.fromEntries(Object.entries(all).filter(isAdded)), types: types ?? {}, primaryKey }
}

// The application's user model may do without a column of the library's, such as isEnabled.
const isRemoved = (property: string, own: Declaration, library: Declaration): boolean =>
  library.columns[property] !== undefined && own.columns[property] === undefined

/**
 * Returns the properties of the library's columns that a registered model leaves as they are. The packaged migrations create and change
 * these columns.
 *
 * @param kind a kind of rows that have a model
 */
export function columnsOfLibrary(kind: TableKind): string[] {
  const [own, library] = [declarationOf(modelOfTable(kind)), declarationOf(defaultModel(kind))]
  return Object.keys(library.columns).filter((property) => !isRemoved(property, own, library) && !isReplaced(property, own, library))
}

function isReplaced(property: string, own: Declaration, library: Declaration): boolean {
  const [declared, original] = [own.columns[property], library.columns[property]]
  return declared !== undefined && original !== undefined && describe(declared.spec) !== describe(original.spec)
}

// The parts of a declaration that its column in the table shows, apart from the name.
function describe({ type, maxLength, precision, scale, isNullable, isUnique, isIndexed, reference, ...more }: ColumnSpec): string {
  const literal = typeof more.defaultValue === 'function' ? undefined : more.defaultValue
  return JSON.stringify([type, maxLength, precision, scale, isNullable, isUnique, isIndexed, reference, literal])
}

type Keys = readonly (readonly string[])[]

function added(own: Keys, known: Keys): Keys {
  const seen = new Set(known.map((properties) => properties.join()))
  return own.filter((properties) => !seen.has(properties.join()))
}

function columnOfMigration(frozen: FrozenColumn, columnName?: string | undefined): Column<unknown, boolean> {
  const { type, refersTo, hasTypeOf, onDelete } = frozen
  const target = refersTo ?? hasTypeOf
  const spec: ColumnSpec = {
    ...(target ? { ...column.uuid().spec, ...keyTypeOf(target) } : { ...column.text().spec, type: (type as FrozenType).kind }),
    isNullable: frozen.isNullable === true,
    isUnique: frozen.isUnique === true,
    isIndexed: frozen.isIndexed === true,
    hasDefault: frozen.default !== undefined,
    defaultValue: frozen.default,
    ...(columnName === undefined ? {} : { columnName }),
    ...(refersTo ? { reference: { table: refersTo, column: 'id', onDelete } } : {}),
  }
  return withResolvedReference(new Column(spec))
}

// The column of an id has the type that the registered model gives it. Only the database numbers ids, not the rows that refer to them.
function keyTypeOf(kind: 'user' | 'domain'): Partial<ColumnSpec> {
  const spec = idSpecOf(modelOfTable(kind))
  if (!spec) return {}
  const { type, maxLength, isRowId, isKey } = spec
  return { type, ...(maxLength === undefined ? {} : { maxLength }), ...(isRowId ? { isRowId } : {}), ...(isKey ? { isKey } : {}) }
}

function typeOfMigration({ type, holdsIdOf }: FrozenColumn, dialect: Dialect): string {
  const length = holdsIdOf && keyTypeOf(holdsIdOf).maxLength
  const literal = (type as FrozenType)[dialect]
  return length === undefined ? literal : literal.replace(/\d+/, (least) => String(Math.max(Number(least), length)))
}
