/** Checks that run at the first use of each model class. */
import { ConfigurationError } from '../../core/errors.js'
import { nearestNames } from '../../core/nearest-names.js'
import { lineage, ownStatic } from '../class-statics.js'
import type { ColumnNames, RecordClass } from './declarations.js'
import type { Definition } from './definition.js'

/** @throws ConfigurationError for an entry of `static columnNames` without a column */
export function assertKnownColumnNames(cls: RecordClass, { columnOf: columns }: Definition): void {
  for (const c of lineage(cls)) {
    const names = ownStatic(c, 'columnNames') as ColumnNames | undefined
    if (names === undefined || typeof names === 'function') continue
    const unknown = Object.keys(names).find((property) => !columns.has(property))
    if (unknown !== undefined)
      throw new ConfigurationError(
        `${(c as RecordClass).name}.columnNames: ${cls.name} has no column ${unknown}. Use names of properties as keys.`,
      )
  }
}

/** @throws ConfigurationError for a key over a column that the class does not have */
export function assertKnownKeyColumns(cls: RecordClass, { columnOf: columns, uniques, indexes }: Definition): void {
  for (const [list, keys] of Object.entries({ uniques, indexes })) {
    const unknown = keys.flat().find((property) => !columns.has(property))
    if (unknown === undefined) continue
    throw new ConfigurationError(
      `${cls.name}.withColumns(..., { ${list} }): there is no column '${unknown}'. ${nearestNames(unknown, [...columns.keys()], 'Its columns')}`,
    )
  }
}

/**
 * Throws when two properties share a column, or when a column has the name of another property, which would be ambiguous in queries.
 *
 * @throws ConfigurationError
 */
export function assertDistinctColumns(cls: RecordClass, { specs, columnOf: columns, tableName }: Definition): void {
  const bareTable = tableName.slice(tableName.lastIndexOf('.') + 1)
  const seen = new Map<string, string>()
  for (const [property, column] of columns) {
    const other = seen.get(column.toLowerCase())
    if (other !== undefined && (specs[property]?.columnName ?? specs[other]?.columnName) !== undefined)
      throw new ConfigurationError(`${cls.name}: ${other} and ${property} have the same column '${column}'. Give one of them another name.`)
    seen.set(column.toLowerCase(), property)
    if (specs[property]?.columnName !== undefined && column !== property && property === bareTable)
      throw new ConfigurationError(`${cls.name}: ${property} has the name of its table. A property with named() needs another name.`)
    if (specs[property]?.columnName !== undefined && column !== property && columns.has(column))
      throw new ConfigurationError(
        `${cls.name}: the column '${column}' of ${property} has the name of another property. Rename the property ${column}.`,
      )
  }
}

const withoutFields = new WeakSet<object>()

/** Marks a class as free of initialised fields, so that no instance is created to look for them. */
export function markWithoutFields(cls: object): void {
  withoutFields.add(cls)
}

/** @throws ConfigurationError for class fields, which would overwrite the values from the database */
export function assertNoInitialisedFields(cls: RecordClass): void {
  if (withoutFields.has(cls)) return
  const fields = Object.keys(new cls()).filter((name) => !name.startsWith('$'))
  if (fields.length === 0) return
  // Fields without a value come from "id!: number", as applications on Objection declare their columns.
  const values: object = new cls()
  const setting = Object.entries(values).every(([name, value]) => name.startsWith('$') || value === undefined)
    ? ' To keep declarations such as "id!: number", set "useDefineForClassFields": false in tsconfig.json.'
    : ''
  throw new ConfigurationError(
    `${cls.name} has class fields (${fields.join(', ')}) that would overwrite the values from the database: write "declare ${fields[0]}: ..." ` +
      `for a column, column.*().default(...) for its default, and a getter for anything derived.${setting}`,
  )
}
