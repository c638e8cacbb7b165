/** Compares the columns of two tables. */
import type { ColumnSchema, TableSchema } from '../../database/catalogue/schema-types.js'
import type { Dialect } from '../../schema/storage.js'
import type { ColumnRule } from './rules.js'
import { isSameFamily } from './type-families.js'

/** Two tables to compare, and the column of each. */
export interface ColumnPair {
  readonly dialect: Dialect
  readonly from: TableSchema
  readonly to: TableSchema
}

/** Returns whether a column has to be changed to what the models declare. */
export function isChanged(pair: ColumnPair, from: ColumnSchema, to: ColumnSchema, rule: ColumnRule): boolean {
  if (rule === 'presence' || from.computed !== undefined) return false
  if (rule === 'family') return !isSameFamily(from.type, to.type, pair.dialect)
  const isKey = pair.to.primaryKey.includes(to.name)
  return (
    typeOf(pair, from) !== typeOf(pair, to) ||
    from.collation !== to.collation ||
    // SQLite allows NULL in most primary keys that are declared without NOT NULL.
    (!isKey && from.isNullable !== to.isNullable) ||
    (from.isGenerated ?? false) !== (to.isGenerated ?? false) ||
    isOtherDefault(pair.dialect, from.default, to.default)
  )
}

function typeOf({ dialect, from, to }: ColumnPair, { name, type }: ColumnSchema): string {
  if (dialect !== 'mysql') return type
  // Knex's increments() is unsigned, and columns that refer to it must be so too.
  const isKey = (table: TableSchema) => table.primaryKey.includes(name) || table.foreignKeys.some(({ columns }) => columns.includes(name))
  return isKey(from) || isKey(to) ? type.replace(/\(\d+\)| unsigned/g, (part) => (/int/.test(type) ? '' : part)) : type
}

// Models declare literal defaults only: an expression such as now() is the application's.
function isOtherDefault(dialect: Dialect, from: string | undefined, to: string | undefined): boolean {
  const [one, other] = [literalIn(dialect, from), literalIn(dialect, to)]
  if (one === other) return false
  return to !== undefined || isLiteral(one)
}

/** Returns a default without the parts that dialects and Knex add to it. */
function literalIn(dialect: Dialect, value: string | undefined): string | undefined {
  if (value === undefined || /^\(?null\)?(?:::.*)?$/i.test(value)) return undefined
  if (dialect === 'pg') return value.replace(/::[\w ."[\]]+(?:\(\d+(?:,\d+)?\))?$/, '').replace(/^'(-?\d+(?:\.\d+)?)'$/, '$1')
  // Knex writes numbers and booleans of SQLite as text.
  return dialect === 'sqlite'
    ? value
        .replace(/^(['"])(-?\d+(?:\.\d+)?)\1$/, '$2')
        .replace(/^true$/i, '1')
        .replace(/^false$/i, '0')
    : value
}

const isLiteral = (value: string | undefined): boolean => value !== undefined && /^(?:'[\s\S]*'|-?[\d.]+|true|false)$/i.test(value)
