import { createHash } from 'node:crypto'
import { modelSlot } from '../../runtime.js'
import { columnNameOf } from '../../schema/column.js'
import type { TableSpec } from './tables.js'

export type ConstraintKind = 'pkey' | 'unique' | 'index' | 'foreign' | 'check'

export interface Constraint {
  readonly table: string
  /** Names in the database. */
  readonly columns: readonly string[]
  readonly kind: ConstraintKind
}

// PostgreSQL cuts names after 63 bytes, so they may collide. MariaDB refuses names of more than 64 characters.
const longestName = 60
const known = modelSlot(() => new Map<string, Constraint>())
const tables = modelSlot(() => new Map<string, TableSpec>())

/**
 * Returns the name of an index or constraint: the name that Knex would use, or its beginning and a hash if that is too long.
 * Records the name for `constraintOf`, since errors of MariaDB contain only the name.
 *
 * @example constraintName('user', ['email'], 'unique') // 'user_email_unique'
 */
export function constraintName(table: string, columns: readonly string[], kind: ConstraintKind): string {
  const parts = kind === 'pkey' ? [table, kind] : [table, ...columns, kind]
  let name = parts.join('_').replace(/[.-]/g, '_').toLowerCase()
  if (Buffer.byteLength(name) > longestName) {
    const hash = createHash('sha256').update(parts.join('\0')).digest('hex').slice(0, 10)
    name = `${firstBytes(name, longestName - kind.length - hash.length - 2)}_${hash}_${kind}`
  }
  known.get().set(name, { table, columns: [...columns], kind })
  return name
}

function firstBytes(text: string, count: number): string {
  let cut = text
  while (Buffer.byteLength(cut) > count) cut = cut.slice(0, -1)
  return cut
}

/** Returns the constraint with a name that `constraintName` made in this process. */
export function constraintOf(name: string): Constraint | undefined {
  return known.get().get(name)
}

/**
 * Registers tables that other code created (a migration, another process), so that errors name the fields even if the driver
 * does not.
 */
export function registerTables(specs: readonly TableSpec[]): void {
  for (const spec of specs) {
    tables.get().set(spec.name, spec)
    constraintName(spec.name, columnsIn(spec, [spec.primaryKey].flat()), 'pkey')
    for (const [property, { spec: column }] of Object.entries(spec.columns)) {
      const name = [columnNameOf(property, column)]
      if (column.isUnique) constraintName(spec.name, name, 'unique')
      if (column.reference) constraintName(spec.name, name, 'foreign')
      if (column.type === 'enum') constraintName(spec.name, name, 'check')
    }
    for (const properties of spec.uniques ?? []) constraintName(spec.name, columnsIn(spec, properties), 'unique')
  }
}

/** Returns the database column of a property of a table. */
export function columnIn({ columns }: Pick<TableSpec, 'columns'>, property: string): string {
  return columnNameOf(property, columns[property]?.spec)
}

/** Returns the database columns of properties of a table. */
export function columnsIn(table: Pick<TableSpec, 'columns'>, properties: readonly string[]): string[] {
  return properties.map((property) => columnIn(table, property))
}

/** Returns a table that `registerTables` has registered. */
export function knownTable(name: string): TableSpec | undefined {
  return tables.get().get(name)
}
