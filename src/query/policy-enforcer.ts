/** The interfaces between the query builder and the policy enforcer. */
import type { Knex } from 'knex'
import type { Model, QueryBuilder } from 'objection'
import type { OpenKnexBuilder } from '../database/knex-internals.js'
import type { Condition, Template } from './fragments.js'
import type { Enforcer } from './inspection/protected-tables.js'

export type StatementKind = 'read' | 'insert' | 'update' | 'delete'

/** The action whose rule decides about a statement. 'restore' is an update that undoes a soft delete, of a model with this rule. */
export type StatementAction = StatementKind | 'restore'

/** Describes one write operation. */
export interface WriteOperation {
  readonly kind: 'insert' | 'update' | 'delete'
  /** The rows of an insert, or one object with the changes of an update. */
  readonly models: readonly Model[]
  /** The row of `row.$query()` or save(). */
  readonly instance: Model | null
  /** The id given to findById(), updateAndFetchById() and similar methods; undefined for a bulk write. */
  readonly id: unknown
  /** Whether the query has further conditions: if no row matches, the row with this id may still exist. */
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
  /** The results of the before() rules for each row of an update, by the text of its id. */
  before: ReadonlyMap<string, ReadonlyMap<object, boolean>> | null
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
  /** Restricts the statement to rows with these ids; undefined: only its conditions restrict it. */
  ids: readonly unknown[] | undefined
  /** Replaces the action that the operation suggests, for example delete for a soft delete. */
  action: StatementAction | undefined
  /** State that the enforcer keeps between its hooks. */
  session: EnforcerSession | undefined
}

/** Whether the caller may do an action with the rows of a statement. */
export interface AllowedFlag {
  readonly action: string
  /** For which rows the rule holds. */
  readonly condition: Condition
  /** Whether check() decides too, for each row for which the condition holds. */
  readonly usesCheck: boolean
}

/** The hooks that the query builder calls. src/enforce implements them. */
export interface PolicyEnforcer extends Enforcer {
  /** Returns whether no condition applies to statements over this class in the current context. */
  isFree(cls: typeof Model): boolean
  /** Rejects truncate() of a table whose rows a write check protects, for every caller. */
  checkTruncate(cls: typeof Model): void
  /** Adds the rule and the builder's readableFilters to the statement, where `builder.ref` is the alias of the table. */
  restrict(builder: QueryHandle, statement: OpenKnexBuilder, kind: StatementAction): void
  /** Returns whether the write needs its own transaction, because a check before or after it sends another statement. */
  needsTransaction(builder: QueryHandle, write: WriteOperation | null): boolean
  /** Runs after the before-hooks and before the statement is built. Throws to reject the write. */
  beforeWrite(builder: QueryHandle, write: WriteOperation): Promise<void> | undefined
  /** Returns the execution of a query for the rows that a write changes, as far as it is known without awaiting. */
  affected(builder: QueryHandle, write: WriteOperation, isSent: boolean): Execution
  /** Completes `execution` when that query runs: statements and check() may be needed. Never throws for a refused write. */
  narrow(execution: Execution, builder: QueryHandle, write: WriteOperation): Promise<void>
  /** Runs after the statement, inside its transaction. Throws to roll back. */
  afterWrite(builder: QueryHandle, write: WriteOperation, result: unknown): Promise<void> | undefined
  /** Returns the error of a refused write, or one that asks for a fresh session if that would suffice to write so many rows. */
  orStepUp(builder: QueryHandle, write: WriteOperation, error: Error, rows: number): Promise<Error>
  /** @throws ConfigurationError for a name that is not an action on rows of the class */
  assertActions(cls: typeof Model, actions: readonly string[]): void
  /** Returns for which rows of the statement the caller may do each action, where `builder.ref` is the alias of the table. */
  allowedFlags(builder: QueryHandle, actions: readonly string[]): readonly AllowedFlag[]
  /** Calls the check() rules of an action for a row. */
  passesChecks(builder: QueryHandle, action: string, row: Model): Promise<boolean>
  /** Returns the error that the caller sees for an error of the statement. */
  translate(builder: QueryHandle, write: WriteOperation | null, error: unknown): Promise<unknown>
}

/** The members of a query builder that the enforcer uses. */
export interface QueryHandle {
  readonly cls: typeof Model
  /** The table or alias of the rows in this statement. */
  readonly ref: string
  /** The argument of withSchema(): the schema of every table in the statement. */
  readonly schema: string | undefined
  readonly execution: Execution
  readonly db: Knex
  /** Objection's context of the query. */
  readonly context: object
  /** Whether `withDeleted()` was called. */
  readonly withDeleted: boolean
  /** Conditions from filterReadable(): the database evaluates them only on rows that satisfy the rule. */
  readonly readableFilters: readonly Template[]
  /** Returns a find query for the rows of this write under the rule of `action`. `session` is passed on to the query. */
  targets(action: StatementAction, session?: EnforcerSession): QueryBuilder<Model>
  /** Returns another query in the same transaction and schema. */
  query(cls: typeof Model): QueryBuilder<Model>
}
