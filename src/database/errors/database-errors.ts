import {
  type FieldProblem,
  MissingReferenceError,
  PermsError,
  ServiceUnavailableError,
  StillReferencedError,
  TooManyValuesError,
  UniqueViolationError,
  ValidationError,
} from '../../core/errors.js'
import { type Message, message } from '../../core/messages/message.js'
import { camelCase } from '../../core/names.js'
import type { Dialect } from '../../schema/storage.js'
import { columnsOfName, type Failure, type FailureKind, failureOf } from './driver-errors.js'
import { type IsDeclared, isLibraryTable, missingColumn, missingTable } from './missing-tables.js'
import { redactError } from './redacted-errors.js'

/** 503 for an error after which the whole transaction may succeed if it is repeated: a deadlock, a lock timeout, a stale plan. */
export class RetryableDatabaseError extends ServiceUnavailableError {}

/** Returns the property of a column; undefined for a column that must not be named. Some errors do not name their table. */
export type FieldOf = (table: string | undefined, column: string) => string | undefined

const fieldMessages: Partial<Record<FailureKind, Message>> = {
  unique: message('field.taken'),
  missingReference: message('field.missingReference'),
  notNull: message('field.required'),
  tooLong: message('field.tooLong'),
  badValue: message('field.notStorable'),
  check: message('field.notAllowed'),
}

/**
 * Converts an error of a driver, Knex or Objection to an error of the library, without SQL and values, and with the property
 * names that clients know.
 *
 * @param error any caught value; the error inside Objection's wrappers is used
 * @param fieldOf returns the property of a column. Default: its name in camelCase.
 * @param isDeclared returns whether a model declares a missing table or column. Default: whether it is a table of the library.
 * @returns the typed error; errors of the library and errors that are not from a database are returned without `sql` and `bindings`
 * @example
 * try {
 *   await knex('user').insert({ email })
 * } catch (error) {
 *   throw mapDatabaseError(error, 'pg') // UniqueViolationError, errors: [{ field: 'email', ... }]
 * }
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
    // The error is unknown, but logs may print it.
    redactError(error)
    return error
  }
  // Logs print causes, and the driver's error contains SQL and values such as password hashes. So it is not the cause.
  const cause = { code: failure.code, table: failure.table, columns: failure.columns, constraint: failure.constraint }
  const errors = fieldErrors(failure, fieldOf)
  const fields = errors.map(({ field }) => field)
  const named = (id: 'taken' | 'missingReference' | 'missing' | 'tooLong' | 'notStorable') =>
    fields.length > 0 ? message(`value.${id}Fields`, { fields }) : message(`value.${id}`)
  switch (failure.kind) {
    case 'unique':
      return new UniqueViolationError(named('taken'), { errors, cause })
    case 'missingReference':
      return new MissingReferenceError(named('missingReference'), { errors, cause })
    case 'stillReferenced':
      return new StillReferencedError(message('value.stillReferenced'), { cause })
    case 'notNull':
      return new ValidationError(named('missing'), { errors, cause })
    case 'tooLong':
      return new ValidationError(named('tooLong'), { errors, cause })
    case 'badValue':
    case 'check':
      return new ValidationError(named('notStorable'), { errors, cause })
    case 'missingTable':
    case 'missingColumn': {
      const declared = missing(failure, isDeclared, cause)
      if (!declared) redactError(error)
      return declared ?? error
    }
    case 'tooManyValues':
      return new TooManyValuesError(message(`value.tooMany.${dialect}`), { cause })
    case 'retryable':
      return new RetryableDatabaseError(undefined, { cause })
    case 'unavailable':
      return new ServiceUnavailableError(undefined, { cause })
  }
}

/** Returns null for a table or column that no model declares: then the application's own SQL names it. */
function missing({ kind, table, columns }: Failure, isDeclared: IsDeclared, cause: object): PermsError | null {
  const column = columns?.[0]
  if (kind === 'missingTable') return table !== undefined && isDeclared(table, undefined) ? missingTable(table, { cause }) : null
  return column !== undefined && isDeclared(table, column) ? missingColumn(table, column, { cause }) : null
}

/** Returns the driver's error. Objection wraps known errors with db-errors, which stores the original in `nativeError`. */
export function nativeOf(error: unknown): unknown {
  let native = error
  for (let depth = 0; depth < 5; depth += 1) {
    const inner = (native as { nativeError?: unknown } | null | undefined)?.nativeError
    if (inner === undefined || inner === null) break
    native = inner
  }
  return native
}

function fieldErrors(failure: Failure, fieldOf: FieldOf): FieldProblem[] {
  const problem = fieldMessages[failure.kind]
  if (problem === undefined) return []
  const columns = failure.columns ?? columnsOfName(failure, (column) => fieldOf(failure.table, column) !== undefined)
  const fields = columns.map((column) => fieldOf(failure.table, column)).filter((field) => field !== undefined)
  return [...new Set(fields)].map((field) => ({ field, message: problem }))
}
