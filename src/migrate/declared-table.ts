import type { TableSpec } from '../database/tables/tables.js'

/** A table that models declare. */
export interface DeclaredTable {
  readonly spec: TableSpec
  /** The name of the model, for messages; the names of the model and its relation for a join table. */
  readonly declaredBy: string
  /** Whether the models declare all columns, so that others are dropped. Otherwise only what they declare is compared. */
  readonly isWhole: boolean
  /** Whether the packaged migrations create the table. */
  readonly isCreatedByLibrary: boolean
  /** The properties whose columns the packaged migrations create and change. */
  readonly libraryColumns: ReadonlySet<string>
  /** The properties whose columns have types that models do not tell. */
  readonly untyped: ReadonlySet<string>
}
