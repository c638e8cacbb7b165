/** The tables of a database in one form for all dialects: read from its catalogue, or made from models. */

import type { OnDelete } from '../../schema/column.js'
import type { Dialect } from '../../schema/storage.js'

/** A column. */
export interface ColumnSchema {
  /** The name in the database. */
  readonly name: string
  /** The SQL type as the catalogue of the dialect spells it, with length and precision: 'character varying(100)', 'tinyint(1)'. */
  readonly type: string
  readonly isNullable: boolean
  /** The default as an SQL expression of the dialect, or undefined. */
  readonly default?: string | undefined
  /** Whether the database makes the value: identity, serial, auto_increment, or the rowid of SQLite. */
  readonly isGenerated?: boolean | undefined
  /** The expression of a computed column: such a column is never changed, and takes no values. */
  readonly computed?: string | undefined
  /** The collation, where it differs from the table's default. Only on MariaDB. */
  readonly collation?: string | undefined
}

/** An index or a unique constraint. */
export interface IndexSchema {
  readonly name: string
  readonly columns: readonly string[]
  readonly isUnique: boolean
  /** Whether a constraint of the table owns the index: it is dropped with dropUnique(), not with dropIndex(). */
  readonly isConstraint?: boolean | undefined
  /** The CREATE INDEX statement of an index that is more than a list of columns: with DESC, a condition, an expression. Never changed. */
  readonly sql?: string | undefined
  /** Whether the index has a condition, an expression or another method than a B-tree, so that it does not replace a plain index. */
  readonly isPartial?: boolean | undefined
}

/** The action of a foreign key when its target row is deleted, or the key of that row changes. Models can declare the actions of `OnDelete`. */
export type ForeignKeyAction = OnDelete | 'set default'

export interface ForeignKeySchema {
  /** SQLite has no names for foreign keys: undefined there. */
  readonly name: string | undefined
  readonly columns: readonly string[]
  readonly table: string
  readonly targetColumns: readonly string[]
  /** undefined: the database's default, NO ACTION. */
  readonly onDelete?: ForeignKeyAction | undefined
  readonly onUpdate?: ForeignKeyAction | undefined
}

/** A CHECK constraint. `values` is set for `column in ('a', 'b')`, the form of `column.enum()`. */
export interface CheckSchema {
  /** Empty for a check of SQLite without a name. */
  readonly name: string
  readonly sql: string
  readonly column?: string | undefined
  readonly values?: readonly string[] | undefined
}

export interface TableSchema {
  /** The name in the database, with the schema if queries need it: 'auth.user'. */
  readonly name: string
  /** Whether this is a view or a virtual table, of which only the name is known. It is never changed. */
  readonly isView?: boolean | undefined
  readonly columns: ReadonlyMap<string, ColumnSchema>
  readonly primaryKey: readonly string[]
  readonly primaryKeyName?: string | undefined
  readonly indexes: readonly IndexSchema[]
  readonly foreignKeys: readonly ForeignKeySchema[]
  readonly checks: readonly CheckSchema[]
  /** The CREATE TABLE statement of the catalogue. Only on SQLite. */
  readonly sql?: string | undefined
}

export interface DatabaseSchema {
  readonly dialect: Dialect
  readonly tables: ReadonlyMap<string, TableSchema>
}

/** A difference between two schemas: what a migration from the first to the second does. */
export type SchemaChange =
  | { readonly kind: 'createTable'; readonly table: TableSchema }
  | { readonly kind: 'dropTable'; readonly table: TableSchema }
  | { readonly kind: 'addColumn'; readonly table: string; readonly column: ColumnSchema }
  | { readonly kind: 'dropColumn'; readonly table: string; readonly column: ColumnSchema }
  | { readonly kind: 'renameColumn'; readonly table: string; readonly from: string; readonly to: string }
  /** Both have the same name. A rename comes first, as a change of its own. */
  | { readonly kind: 'changeColumn'; readonly table: string; readonly from: ColumnSchema; readonly to: ColumnSchema }
  | { readonly kind: 'changePrimaryKey'; readonly table: string; readonly from: readonly string[]; readonly to: readonly string[] }
  | { readonly kind: 'addIndex' | 'dropIndex'; readonly table: string; readonly index: IndexSchema }
  | { readonly kind: 'addForeignKey' | 'dropForeignKey'; readonly table: string; readonly key: ForeignKeySchema }
  | { readonly kind: 'addCheck' | 'dropCheck'; readonly table: string; readonly check: CheckSchema }
