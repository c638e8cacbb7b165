import { ConfigurationError } from '../../core/errors.js'
import type { TableSpec } from '../../database/tables/tables.js'
import { Column, type ColumnSpec, columnNameOf } from '../../schema/column.js'
import { definitionOf, idProperties } from '../../schema/definition/definition.js'
import { classOfTable } from '../../schema/definition/known-names.js'
import { resolveTable } from '../../schema/definition/table-names.js'

/** Returns the table that a model declares. @throws ConfigurationError for a class without declared columns */
export function tableSpecOf(cls: object): TableSpec {
  if (!declaresTable(cls)) {
    throw new ConfigurationError(
      `${(cls as { name: string }).name} declares no table: declare its columns with withColumns({ ... }), including ${idProperties(cls).join(' and ')} (BaseModel declares id).`,
    )
  }
  return specOf(cls, () => true)
}

/** Returns whether a model declares all columns of its table, so that the library can create it. */
export function declaresTable(cls: object): boolean {
  const { specs, isStrict } = definitionOf(cls)
  return isStrict && idProperties(cls).every((name) => specs[name])
}

/** Returns the part of a table that a model declares with column.*(): all of it, unless the model stands over an existing table. */
export function declaredPartOf(cls: object): TableSpec {
  return specOf(cls, (spec) => !spec.isExisting)
}

/** Returns the part of a table that a model describes: its columns of column.*() and those of `static jsonSchema`. */
export function knownPartOf(cls: object): TableSpec {
  return specOf(cls, () => true)
}

function specOf(cls: object, isIncluded: (spec: ColumnSpec) => boolean): TableSpec {
  const { tableName, specs, uniques, indexes } = definitionOf(cls)
  const resolved = Object.entries(specs)
    .filter(([, spec]) => isIncluded(spec))
    .map(([name, spec]) => [name, withResolvedReference(new Column(spec))] as const)
  return { name: tableName, columns: Object.fromEntries(resolved), primaryKey: idProperties(cls), uniques, indexes }
}

/** Replaces the target of a reference by its table and column: 'user.id' means the id of the registered user model, in its table. */
export function withResolvedReference(declared: Column<unknown, boolean>): Column<unknown, boolean> {
  const { reference } = declared.spec
  if (!reference) return declared
  const table = resolveTable(reference.table)
  const target = classOfTable(table)
  const column = target === undefined ? columnNameOf(reference.column) : columnOfReference(target, reference.column)
  return new Column({ ...declared.spec, reference: { ...reference, table, column, isResolved: true } })
}

function columnOfReference(target: object, name: string): string {
  const { columnOf, propertyOf } = definitionOf(target)
  return columnOf.get(name) ?? (propertyOf.has(name) ? name : columnNameOf(name))
}
