/** How the tables of models are compared with those of a database. */

/**
 * How a column is compared: in all parts; only whether it holds the same kind of values, for columns that only a JSON Schema describes;
 * or only whether it exists.
 */
export type ColumnRule = 'exact' | 'family' | 'presence'

/** How a table is compared. Names are those in the database. */
export interface TableRules {
  /** Whether columns that the models do not declare are dropped. */
  readonly isWhole: boolean
  /** Whether a missing table is left to the packaged migrations. */
  readonly isCreatedByLibrary: boolean
  readonly columns: ReadonlyMap<string, ColumnRule>
  /** The names that a column may have had, by its name. */
  readonly renamedFrom: ReadonlyMap<string, readonly string[]>
}

/** Compares all parts of a table. */
export const exactRules: TableRules = { isWhole: true, isCreatedByLibrary: false, columns: new Map(), renamedFrom: new Map() }
