/** What the query builder and the permission engine say to each other. */
import type { Knex } from 'knex'
import type { Model, QueryBuilder } from 'objection'
import type { Condition, Template } from './fragments.js'
import type { Enforcer } from './protected-tables.js'
import type { OpenKnexBuilder } from './statement.js'

export type StatementKind = 'read' | 'insert' | 'update' | 'delete'

/** What one write operation is about. */
export interface WriteOperation {
  readonly kind: 'insert' | 'update' | 'delete'
  /** The rows of an insert, or the one object that holds an update's changes. */
  readonly models: readonly Model[]
  /** The row that `row.$query()` or save() is about. */
  readonly instance: Model | null
  /** The id given to findById, updateAndFetchById and the like; undefined where the write is in bulk. */
  readonly id: unknown
  /** Whether further conditions were written: that no row met them says nothing of the row. */
  readonly isNarrowed: boolean
}

/** Results of beforeWrite() that the later hooks of the same write need. */
export interface WriteSession {
  readonly kind: 'write'
  /** The values that were checked: the rows of an insert, or one row with the changes of an update. */
  models: readonly Model[]
  /** Of an insert: for each row, the condition that must still hold when the statement runs. */
  conditions: Condition[]
  /** Of an update: the rows in which the caller may set these columns. */
  fields: Condition
  /** The ids of the rows that must satisfy the rule after the statement too. */
  recheck: readonly unknown[] | null
}

/** Marks a query for the rows that a write changes. */
export interface AffectedRowsSession {
  readonly kind: 'affected'
  readonly write: WriteOperation
  /** Whether the statement has run and the ids of its rows are known. */
  readonly isKnown: boolean
}

/** Marks a query of the library's own, which finds rows whatever the caller may read. */
export interface UnrestrictedSession {
  readonly kind: 'unrestricted'
}

/** The links that an insert into a join table was checked for: the values of its key columns, row by row. */
export interface LinksSession {
  readonly kind: 'links'
  readonly links: readonly (readonly unknown[])[]
}

export type EnforcerSession = WriteSession | AffectedRowsSession | UnrestrictedSession | LinksSession

/** State of one execution that the enforcer sets before the statement is built. */
export interface Execution {
  /** Only these rows may be touched; undefined where the wheres alone say. */
  ids: readonly unknown[] | undefined
  /** Which action's rule holds instead of what the operation suggests. */
  action: StatementKind | undefined
  /** State that the enforcer keeps between its hooks. */
  session: EnforcerSession | undefined
}

/** The permission engine, as the query builder calls it. A higher floor implements it. */
export interface PolicyEnforcer extends Enforcer {
  /** Whether nothing is to be added to a statement over this class where the code runs now. */
  isFree(cls: typeof Model): boolean
  /** Whoever calls: refuses to empty a table whose rows something else than a policy keeps. */
  checkTruncate(cls: typeof Model): void
  /** Adds the rule and the builder's readableFilters to the statement; `builder.ref` is its alias. */
  restrict(builder: GuardedBuilder, statement: OpenKnexBuilder, kind: StatementKind): void
  /** Whether the write must run in a transaction of its own (a check before or after it takes another statement). */
  needsTransaction(builder: GuardedBuilder, write: WriteOperation | null): boolean
  /** After the before-hooks, before the statement is built. Throws to refuse. */
  beforeWrite(builder: GuardedBuilder, write: WriteOperation): Promise<void> | undefined
  /** For a query of the rows that a write changes: what to put into it while nothing can be awaited. */
  affected(builder: GuardedBuilder, write: WriteOperation, isSent: boolean): Execution
  /** The same once it is run: `execution` of the query gets what takes a statement or code to find out. Never throws a refusal. */
  narrow(execution: Execution, builder: GuardedBuilder, write: WriteOperation): Promise<void>
  /** After the statement, inside its transaction. Throws to undo. */
  afterWrite(builder: GuardedBuilder, write: WriteOperation, result: unknown): Promise<void> | undefined
  /** An error of a statement, in terms of the caller. */
  translate(builder: GuardedBuilder, write: WriteOperation | null, error: unknown): Promise<unknown>
}

/** What the guard may ask of a builder. */
export interface GuardedBuilder {
  readonly cls: typeof Model
  /** Table or alias under which the rows are known in this statement. */
  readonly ref: string
  /** What withSchema() was given: the schema of every table in the statement. */
  readonly schema: string | undefined
  readonly execution: Execution
  readonly db: Knex
  /** Objection's context of the query. */
  readonly context: object
  /** Whether `withDeleted()` was called. */
  readonly withDeleted: boolean
  /** Conditions that the database must evaluate only on rows that satisfy the rule: what filterReadable() was given. */
  readonly readableFilters: readonly Template[]
  /** The rows that this write is about, as a find query under the rule of `action`; `session` is passed on to the query. */
  targets(action: StatementKind, session?: EnforcerSession): QueryBuilder<Model>
  /** Another query in the same transaction and schema. */
  query(cls: typeof Model): QueryBuilder<Model>
}
