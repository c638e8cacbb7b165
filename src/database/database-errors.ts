import {
  type FieldError,
  MissingReferenceError,
  PermsError,
  ServiceUnavailableError,
  StillReferencedError,
  TooManyValuesError,
  UniqueViolationError,
  ValidationError,
} from '../core/errors.js'
import { camelCase } from '../core/names.js'
import type { Dialect } from '../schema/storage.js'
import { columnsOfName, type Failure, type FailureKind, failureOf } from './driver-errors.js'
import { type IsDeclared, isLibraryTable, missingColumn, missingTable } from './missing-tables.js'
import { redactError } from './redacted-errors.js'

/** 503 in the end, but worth a further try of the whole transaction first: a deadlock, a lock that did not come, a stale plan. */
export class RetryableDatabaseError extends ServiceUnavailableError {}

/** Which property a column is; undefined for one that is not to be named. The table is not known of every error. */
export type FieldOf = (table: string | undefined, column: string) => string | undefined

const fieldMessages: Partial<Record<FailureKind, string>> = {
  unique: 'is already taken',
  missingReference: 'refers to something that does not exist',
  notNull: 'is required',
  tooLong: 'is too long',
  badValue: 'is not a value that can be stored',
  check: 'is not allowed',
}

const mostValues: Readonly<Record<Dialect, string>> = {
  pg: 'PostgreSQL takes 65535 in one statement',
  mysql: 'MariaDB takes 65535 in one prepared statement, and max_allowed_packet bytes in any',
  sqlite: 'SQLite takes 32766 in one statement',
}

/**
 * Turns what a driver, Knex or Objection threw into an error of the library: without SQL or values in it, and with
 * the fields by the names that clients know.
 *
 * @param error anything that was caught; Objection's wrappers are looked into
 * @param fieldOf the property of a column; its camelCase when not given
 * @param isDeclared whether a missing table or column is one that a model declares; when not given, a table of the library
 * @returns the typed error; errors of the library, and those that are none of a database, as they are, without `sql` and `bindings`
 * @example
 * try { await insert() } catch (error) { throw mapDatabaseError(error, 'pg') } // UniqueViolationError, errors: [{ field: 'email', ... }]
 */
export function mapDatabaseError(
  error: unknown,
  dialect: Dialect,
  fieldOf: FieldOf = (_, column) => camelCase(column),
  isDeclared: IsDeclared = isLibraryTable,
): unknown {
  if (error instanceof PermsError) return error
  const native = nativeOf(error)
  if (native instanceof PermsError) return native
  const failure = failureOf(native, dialect)
  if (!failure) {
    // Nothing is known of the error but that logs will show it.
    redactError(error)
    return error
  }
  // The driver's own error holds SQL and values, password hashes among them: logs print causes, so it does not go along.
  const cause = { code: failure.code, table: failure.table, columns: failure.columns, constraint: failure.constraint }
  const errors = fieldErrors(failure, fieldOf)
  const which = errors.length > 0 ? `: ${errors.map(({ field }) => field).join(', ')}` : ''
  switch (failure.kind) {
    case 'unique':
      return new UniqueViolationError(`This is already taken${which}.`, { errors, cause })
    case 'missingReference':
      return new MissingReferenceError(`This refers to something that does not exist${which}.`, { errors, cause })
    case 'stillReferenced':
      return new StillReferencedError('This is still in use: remove what refers to it first.', { cause })
    case 'notNull':
      return new ValidationError(`A value is missing${which}.`, { errors, cause })
    case 'tooLong':
      return new ValidationError(`A value is too long${which}.`, { errors, cause })
    case 'badValue':
    case 'check':
      return new ValidationError(`A value cannot be stored${which}.`, { errors, cause })
    case 'missingTable':
    case 'missingColumn': {
      const declared = missing(failure, isDeclared, cause)
      if (!declared) redactError(error)
      return declared ?? error
    }
    case 'tooManyValues':
      return new TooManyValuesError(`This statement holds too many values: ${mostValues[dialect]}. Split it into several statements.`, {
        cause,
      })
    case 'retryable':
      return new RetryableDatabaseError(undefined, { cause })
    case 'unavailable':
      return new ServiceUnavailableError(undefined, { cause })
  }
}

/** Returns null for a table or column that no model declares: the application's own SQL names it. */
function missing({ kind, table, columns }: Failure, isDeclared: IsDeclared, cause: object): PermsError | null {
  const column = columns?.[0]
  if (kind === 'missingTable') return table !== undefined && isDeclared(table, undefined) ? missingTable(table, { cause }) : null
  return column !== undefined && isDeclared(table, column) ? missingColumn(table, column, { cause }) : null
}

/** Objection wraps what it knows with db-errors, which keeps the driver's error in `nativeError`. */
export function nativeOf(error: unknown): unknown {
  let native = error
  for (let depth = 0; depth < 5; depth += 1) {
    const inner = (native as { nativeError?: unknown } | null | undefined)?.nativeError
    if (inner === undefined || inner === null) break
    native = inner
  }
  return native
}

function fieldErrors(failure: Failure, fieldOf: FieldOf): FieldError[] {
  const message = fieldMessages[failure.kind]
  if (message === undefined) return []
  const columns = failure.columns ?? columnsOfName(failure, (column) => fieldOf(failure.table, column) !== undefined)
  const fields = columns.map((column) => fieldOf(failure.table, column)).filter((field) => field !== undefined)
  return [...new Set(fields)].map((field) => ({ field, message }))
}
