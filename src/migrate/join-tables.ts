/** Makes the join tables of relations, which no model declares. */
import { type ObjectionRelation, type RelationProp, relationNamesOf, relationOf } from '../query/objection-internals.js'
import { tableOf } from '../schema/class-statics.js'
import { Column, type ColumnSpec, type Columns, column } from '../schema/column.js'
import { structureOf } from '../schema/definition/definition.js'
import { type ModelClass, modelClass } from '../schema/model-class.js'
import { declaresTable, tableSpecOf } from '../users/tables/table-specs.js'
import type { DeclaredTable } from './declared-table.js'

/** Returns the names of a model's relations. */
export function relationNamesIn(model: ModelClass): string[] {
  return 'getRelationMappings' in model ? relationNamesOf(model) : []
}

/**
 * Returns the join tables of a model's relations: with a composite primary key, foreign keys that delete links with their rows, and an
 * index for the way back. A model of the join table that declares its columns is used instead.
 *
 * @throws ConfigurationError for a relation with an error
 */
export function joinTablesOf(model: ModelClass): DeclaredTable[] {
  return relationNamesIn(model).flatMap((name): DeclaredTable[] => {
    const relation = relationOf(model, name)
    const through = relation.joinTableModelClass && modelClass(relation.joinTableModelClass)
    if (!through || !relation.joinTableOwnerProp || !relation.joinTableRelatedProp) return []
    const declaredBy = `${model.name}.${name}`
    const isDeclared = 'columnSpecs' in through && declaresTable(through)
    const common = { declaredBy, isCreatedByLibrary: false, libraryColumns: new Set<string>() }
    if (isDeclared) return [{ ...common, declaredBy: through.name, spec: tableSpecOf(through), isWhole: true, untyped: new Set<string>() }]
    const own = keyColumns(relation.ownerModelClass, relation.ownerProp, relation.joinTableOwnerProp)
    const related = keyColumns(relation.relatedModelClass, relation.relatedProp, relation.joinTableRelatedProp)
    const extras = Object.fromEntries(extraColumnsOf(relation).map((extra) => [extra, column.string().nullable().named(extra)]))
    const keys = { ...own, ...related }
    return [
      {
        ...common,
        spec: {
          name: tableOf(through),
          columns: { ...extras, ...keys },
          primaryKey: Object.keys(keys),
          indexes: [Object.keys(related)],
        },
        isWhole: false,
        untyped: new Set(Object.keys(extras)),
      },
    ]
  })
}

const extraColumnsOf = ({ joinTableExtras = [] }: ObjectionRelation): string[] => joinTableExtras.map(({ joinTableCol }) => joinTableCol)

/** Returns the columns of a join table that refer to the rows of a model, by their names. */
function keyColumns(cls: object, target: RelationProp, link: RelationProp): Columns {
  const { specs } = structureOf(cls)
  const isComposite = target.cols.length > 1
  const columns = link.cols.map((name, i) => {
    const spec = specs[target.props[i] ?? ''] ?? column.integer().spec
    // A foreign key of several columns cannot be declared.
    const reference = { table: tableOf(cls), column: target.cols[i] ?? 'id', onDelete: 'cascade', isResolved: true } as const
    return [name, new Column({ ...keyOf(spec, name), ...(isComposite ? {} : { reference }) })] as const
  })
  return Object.fromEntries(columns)
}

/** Returns a column with the type of the column that it refers to. */
function keyOf(spec: ColumnSpec, columnName: string): ColumnSpec {
  const { type, maxLength, precision, scale, isRowId, isExisting } = spec
  const known = Object.entries({ maxLength, precision, scale, isRowId, isExisting }).filter(([, value]) => value !== undefined)
  return { ...column.text().spec, ...Object.fromEntries(known), type, columnName }
}
