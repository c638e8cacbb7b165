/** Collects the tables that the models of an application declare. */
import type { TableSpec } from '../database/tables/tables.js'
import { libraryTable, modelOfTable, tableKinds } from '../policy/registered-models.js'
import { mergedList, tableOf } from '../schema/class-statics.js'
import { Column, column } from '../schema/column.js'
import { definitionOf, idProperties } from '../schema/definition/definition.js'
import { type ModelClass, modelClass } from '../schema/model-class.js'
import type { Perms } from '../setup/perms.js'
import { columnsOfLibrary } from '../users/tables/frozen-tables.js'
import { declaresTable, knownPartOf } from '../users/tables/table-specs.js'
import type { DeclaredTable } from './declared-table.js'
import { joinTablesOf, relationNamesIn } from './join-tables.js'

/**
 * Returns the tables that the models of an application declare: the registered models, those of `initPerms({ models })`, and the join
 * tables of their relations.
 *
 * @throws ConfigurationError for a model or a relation with an error
 * @example declaredTables(perms).map(({ spec }) => spec.name) // ['user', 'user_role', ..., 'post', 'post_tag']
 */
export function declaredTables(perms: Perms): DeclaredTable[] {
  return perms.enter(() => {
    const library = tableKinds().map((kind) => tableOfModel(modelClass(modelOfTable(kind)), new Set(columnsOfLibrary(kind)), true))
    const declared = perms.options.models.map(modelClass)
    const own = declared.filter(declaresColumns).map((model) => tableOfModel(model, new Set(), false))
    const tables = new Map<string, DeclaredTable>()
    for (const table of [...library, ...own]) tables.set(table.spec.name, merged(tables.get(table.spec.name), table))
    const models = [...tableKinds().map((kind) => modelClass(modelOfTable(kind))), ...declared]
    for (const table of models.flatMap(joinTablesOf)) if (!tables.has(table.spec.name)) tables.set(table.spec.name, table)
    return [...tables.values()]
  })
}

/**
 * Returns the tables that the packaged migrations create, with their history. The table of a user model that does not declare all its
 * columns is the application's.
 *
 * In a new database, `perms.migrate()` creates the registered models' present columns, with their indexes and keys, before the
 * application's migrations run. So each statement of such a migration must first look whether the column, index or key exists.
 */
export function libraryTableNames(perms: Perms): string[] {
  return perms.enter(() => {
    const models = tableKinds().map(modelOfTable)
    const history = libraryTable('migrations', 'objection_perms_')
    return [...models.filter(declaresTable).map(tableOf), libraryTable('throttle'), libraryTable('tables'), history, `${history}_lock`]
  })
}

const declaresColumns = (model: ModelClass): boolean => Object.keys(definitionOf(model).specs).length > 0

function tableOfModel(model: ModelClass, libraryColumns: ReadonlySet<string>, isOfLibrary: boolean): DeclaredTable {
  const isWhole = declaresTable(model)
  const known = knownPartOf(model)
  if (isWhole) return { spec: known, declaredBy: model.name, isWhole, isCreatedByLibrary: isOfLibrary, libraryColumns, untyped: new Set() }
  // A JSON Schema also describes values that are no columns.
  const computed = new Set([...mergedList(model, 'virtualAttributes'), ...relationNamesIn(model)])
  const columns = Object.fromEntries(Object.entries(known.columns).filter(([property]) => !computed.has(property)))
  const ids = idProperties(model)
  const untyped = ids.filter((property) => !columns[property])
  // The usual id, if the table has to be created.
  for (const property of untyped) columns[property] = column.integer()
  const spec = { ...known, columns: withGeneratedId(columns, ids) }
  // The application creates the table, so that the library's columns are its own too.
  return { spec, declaredBy: model.name, isWhole, isCreatedByLibrary: false, libraryColumns: new Set(), untyped: new Set(untyped) }
}

function withGeneratedId(columns: TableSpec['columns'], ids: readonly string[]): TableSpec['columns'] {
  const [id, ...further] = ids
  const declared = id === undefined ? undefined : columns[id]
  if (id === undefined || !declared || further.length > 0) return columns
  const { type, hasDefault, reference } = declared.spec
  const isNumber = type === 'integer' || type === 'bigint'
  return isNumber && !hasDefault && !reference ? { ...columns, [id]: new Column({ ...declared.spec, isGenerated: true }) } : columns
}

/** Joins the declarations of two models over one table. The first one wins for a column that both declare. */
function merged(one: DeclaredTable | undefined, other: DeclaredTable): DeclaredTable {
  if (!one) return other
  const lists = (key: 'uniques' | 'indexes') => {
    const all = [...(one.spec[key] ?? []), ...(other.spec[key] ?? [])]
    return all.filter((list, i) => all.findIndex((each) => each.join() === list.join()) === i)
  }
  return {
    ...one,
    spec: {
      ...one.spec,
      columns: { ...other.spec.columns, ...one.spec.columns },
      uniques: lists('uniques'),
      indexes: lists('indexes'),
    },
    isWhole: one.isWhole || other.isWhole,
    untyped: new Set([...one.untyped].filter((property) => !other.spec.columns[property] || other.untyped.has(property))),
  }
}
