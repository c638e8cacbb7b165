/** The columns and tables that the models of this process name, for identifiers in queries. */
import { modelSlot } from '../../runtime.js'
import type { RecordClass } from './declarations.js'

/** Property → column in snake_case, for the identifiers in queries of models. The same for every model. */
const knownNames = modelSlot(() => new Map<string, string>())
/**
 * The columns that named() set, and those of each property. They differ between models, so the models of a statement decide: see
 * query/statement-names.ts.
 */
const namedColumns = modelSlot(() => ({ columns: new Set<string>(), ofProperty: new Map<string, Set<string>>() }))
/** The first class with declared columns over each table. */
const classesOfTables = modelSlot(() => new Map<string, RecordClass>())
let namesVersion = 0

/** Returns whether any model names a column with named(). */
export function hasNamedColumns(): boolean {
  return namedColumns.get().columns.size > 0
}

/** Returns a model class over a table; undefined for a table without a known model. The name may omit the schema. */
export function classOfTable(table: string): RecordClass | undefined {
  return classesOfTables.get().get(table)
}

/** Returns every identifier that a query may send for an identifier: its column in each model. */
export function possibleColumns(identifier: string): string[] {
  return [columnForIdentifier(identifier), ...(namedColumns.get().ofProperty.get(identifier) ?? [])]
}

/** Returns a number that changes when a new property name becomes known. */
export function versionOfNames(): number {
  return namesVersion
}

/** Returns the database column of a property name in a query; other identifiers unchanged. Columns of named() are not found. */
export function columnForIdentifier(identifier: string): string {
  return knownNames.get().get(identifier) ?? identifier
}

/** Does the same for SQL of the library, which names columns: a name that named() set stays, even if it is also a property elsewhere. */
export function columnForLibrary(identifier: string): string {
  return namedColumns.get().columns.has(identifier) ? identifier : columnForIdentifier(identifier)
}

/** Makes the column of a property known to queries. @param isNamed whether the model names the column: other models may not */
export function noteName(property: string, column: string, isNamed: boolean): void {
  if (addName(property, column, isNamed)) namesVersion += 1
}

// Returns whether this is a new name.
function addName(property: string, column: string, isNamed: boolean): boolean {
  const map = knownNames.get()
  if (isNamed) {
    const { columns, ofProperty } = namedColumns.get()
    ofProperty.set(property, (ofProperty.get(property) ?? new Set()).add(column))
    if (columns.has(column)) return false
    columns.add(column)
    return true
  }
  if (column === property || map.get(property) === column) return false
  map.set(property, column)
  return true
}

/** Makes a class known as the model of its table, unless the table has one. */
export function noteTable(cls: RecordClass): void {
  const table = cls.getTableName()
  for (const name of [table, table.slice(table.lastIndexOf('.') + 1)])
    if (!classesOfTables.get().has(name)) classesOfTables.get().set(name, cls)
}
