import type { Dialect } from '../../schema/storage.js'
import { isNameError } from '../named-statements.js'
import { columnsIn, constraintOf, knownTable } from '../tables/constraints.js'
import { columnsOf, readStatement, type Statement } from './failed-statement.js'

export type FailureKind =
  | 'unique'
  | 'missingReference'
  | 'stillReferenced'
  | 'notNull'
  | 'tooLong'
  | 'badValue'
  | 'check'
  | 'missingTable'
  | 'missingColumn'
  | 'tooManyValues'
  | 'retryable'
  | 'unavailable'

/** The information in a driver's error. */
export interface Failure {
  readonly kind: FailureKind
  readonly code: string
  readonly table?: string | undefined
  readonly constraint?: string | undefined
  /** undefined if the error contains only the name of the constraint. */
  readonly columns?: readonly string[] | undefined
}

interface DriverError {
  code: string
  errno: number | undefined
  /** The message without the SQL that Knex puts before it, since values in the SQL could look like a message. */
  message: string
  detail: string
  table: string | undefined
  column: string | undefined
  constraint: string | undefined
  statement: Statement
}

// An error is read before its values are removed, and the result is cached for later calls.
const failures = new WeakMap<object, Failure | null>()

/** Reads an error of sqlite3, better-sqlite3, pg, mysql2, Knex's pool or the network. @returns null for other errors */
export function failureOf(error: unknown, dialect: Dialect): Failure | null {
  if (typeof error !== 'object' || error === null) return null
  const known = failures.get(error)
  if (known !== undefined) return known
  const failure = readFailure(error, dialect)
  failures.set(error, failure)
  return failure
}

function readFailure(error: object, dialect: Dialect): Failure | null {
  const given = error as Record<string, unknown>
  const text = (key: string) => (typeof given[key] === 'string' ? given[key] : '')
  const read: DriverError = {
    code: text('code'),
    errno: typeof given['errno'] === 'number' ? given['errno'] : undefined,
    message: text('message').slice(text('message').lastIndexOf(' - ') + 1),
    detail: text('detail'),
    table: text('table') || undefined,
    column: text('column') || undefined,
    constraint: text('constraint') || undefined,
    // Knex puts the SQL before the driver's message; mysql2 has it in a property.
    statement: readStatement(text('sql') || text('message')),
  }
  if (isConnectionError(text('name'), read)) return { kind: 'unavailable', code: read.code || text('name') || 'unavailable' }
  if (dialect === 'pg') return postgresFailure(read)
  return dialect === 'mysql' ? mysqlFailure(read) : sqliteFailure(read)
}

const networkCodes = new Set(
  [
    'ECONNREFUSED',
    'ECONNRESET',
    'ECONNABORTED',
    'EPIPE',
    'ETIMEDOUT',
    'ENOTFOUND',
    'EHOSTUNREACH',
    'ENETUNREACH',
    'ENETDOWN',
    'ENETRESET',
    'EHOSTDOWN',
    'ENFILE',
    'EAI_AGAIN',
    'EMFILE',
  ].concat([
    'PROTOCOL_CONNECTION_LOST',
    'PROTOCOL_SEQUENCE_TIMEOUT',
    'PROTOCOL_ENQUEUE_AFTER_FATAL_ERROR',
    'PROTOCOL_ENQUEUE_AFTER_QUIT',
    'POOL_CLOSED',
  ]),
)

// Messages of the drivers that have no code.
const connectionMessage =
  /^(?:- )?(?:Connection terminated|Client has encountered a connection error|Client was closed|timeout expired$|timeout exceeded when trying to connect|Query read timeout|Can't add new command when connection is in closed state|Connection lost|Unable to acquire a connection$|Connection ended unexpectedly)/

function isConnectionError(name: string, { code, message }: DriverError): boolean {
  if (name === 'KnexTimeoutError' || networkCodes.has(code)) return true
  return code === '' && connectionMessage.test(message)
}

// ---------------------------------------------------------------------------------------------- PostgreSQL

const retryablePg = new Set(['40001', '40P01', '55P03', '72000'])

const unavailablePg = new Set(['25006', '25P03', '25P04', '40003', '57014'])

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
function postgresFailure(error: DriverError): Failure | null {
  const { code, detail, table, constraint, statement } = error
  const failure = (kind: FailureKind, columns?: readonly string[] | undefined): Failure => ({ kind, code, table, constraint, columns })
  const named = constraint === undefined ? undefined : constraintOf(constraint)?.columns
  switch (code) {
    case '23505':
      return failure('unique', named ?? keyColumns(detail))
    case '23503': {
      // `table` is the referring table in both cases. Messages in other languages do not match, so the statement decides then.
      const isStillReferenced =
        / is still referenced from table "[^"]*"\.$/.test(detail) ||
        /^(?:- )?update or delete on table/.test(error.message) ||
        statement.verb === 'delete'
      return isStillReferenced ? failure('stillReferenced') : failure('missingReference', named ?? keyColumns(detail))
    }
    case '23502':
      return failure('notNull', error.column ? [error.column] : [])
    case '23514':
    case '23P01':
      return failure(code === '23514' ? 'check' : 'unique', named ?? [])
    case '22001': {
      // PostgreSQL names the allowed length, not the column.
      const length = Number(/\((\d+)\)\s*$/.exec(error.message)?.[1])
      return {
        ...failure(
          'tooLong',
          columnsOf(statement, (column) => column.maxLength === length),
        ),
        table: statement.table,
      }
    }
  }
  if (code === '42P01') return { ...failure('missingTable'), table: quotedName(error.message) }
  if (code === '42703') return { ...failure('missingColumn', missingColumnOf(error.message)), table: statement.table }
  // The protocol has 16 bits for the number of values.
  if (code === '08P01' && /^(?:- )?bind message (?:has|supplies) \d+ parameter/.test(error.message)) return failure('tooManyValues')
  if (retryablePg.has(code) || isNameError({ code })) return failure('retryable')
  // The connection is lost or refused, the server shuts down, resources or the disk fail, the server is read-only after a
  // fail-over, or a time limit cancelled the statement.
  if (/^(?:08|53|57P0|58)/.test(code) || unavailablePg.has(code)) return failure('unavailable')
  return code.startsWith('22') ? failure('badValue', []) : null
}

/** Returns the name in `relation "token" does not exist`. Each language has its own quotation marks. */
function quotedName(message: string): string | undefined {
  return /["«»„“]\s?([^"«»„“”]+?)\s?["«»“”]/.exec(message)?.[1]
}

/** Returns the column in `column "x" of relation "t" does not exist` or `column t.x does not exist`. */
function missingColumnOf(message: string): string[] {
  const name = quotedName(message) ?? /^\s?(?:- )?\S+ ([\w.]+) /.exec(message)?.[1]
  return name === undefined ? [] : [name.slice(name.lastIndexOf('.') + 1)]
}

/** Returns the columns in `Key (user_id, role)=(...) already exists.`, in any language. */
function keyColumns(detail: string): string[] {
  const list = /\(((?:[^()]|\([^()]*\))*)\)=\(/.exec(detail)?.[1]
  return list === undefined
    ? []
    : list.split(', ').map((name) => name.replace(/^"(.*)"$/, '$1').replace(/^\w+\((?:\()?"?(\w+)"?.*\)$/, '$1'))
}

// -------------------------------------------------------------------------------------------------- MariaDB

function primaryKeyOf(table: string | undefined): readonly string[] {
  const known = knownTable(table ?? '')
  return known ? columnsIn(known, [known.primaryKey].flat()) : ['id']
}

const unavailableMysql = new Set([
  // A Galera or Group Replication node has no cluster, or the server starts, stops or is offline.
  ...[1047, 1053, 1079, 3032, 3100, 3168],
  // The server is read-only after a fail-over.
  ...[1290, 1792, 1836, 1874],
  // The server has no more connections, threads, memory, disk space or locks.
  ...[1021, 1037, 1038, 1040, 1041, 1114, 1129, 1135, 1203, 1206, 1226, 1637],
  // The server or an operator ended the connection or the statement.
  ...[1152, 1158, 1159, 1160, 1161, 1180, 1184, 1317, 1927, 1969, 2002, 2003, 2006, 2013, 3024, 3169, 4031],
])

/** https://mariadb.com/kb/en/mariadb-error-code-reference/ */
function mysqlFailure(error: DriverError): Failure | null {
  const { code, errno, message, statement } = error
  const failure = (kind: FailureKind, columns?: readonly string[] | undefined, constraint?: string | undefined): Failure => ({
    kind,
    code,
    table: statement.table,
    constraint,
    columns,
  })
  const quoted = (pattern: RegExp) => {
    const column = pattern.exec(message)?.[1]
    return column === undefined ? [] : [column]
  }
  switch (errno) {
    case 1062:
    case 1586: {
      // The value before the key may contain any text, so match at the end. MySQL 8 puts the table before the key.
      const key = /for key '([^']*)'$/.exec(message)?.[1]?.replace(/^.*\./, '')
      if (key === 'PRIMARY') return failure('unique', primaryKeyOf(statement.table), key)
      return failure('unique', constraintOf(key ?? '')?.columns, key)
    }
    case 1216:
    case 1452:
      return failure('missingReference', quoted(/^[\s\S]*FOREIGN KEY \(`([^`]+)`\) REFERENCES/))
    case 1217:
    case 1451:
      return failure('stillReferenced')
    case 1048:
      return failure('notNull', quoted(/Column '([^']+)' cannot be null$/))
    case 1364:
      return failure('notNull', quoted(/Field '([^']+)' doesn't have a default value$/))
    case 1406:
      return failure('tooLong', quoted(/for column '([^']+)' at row \d+$/))
    case 1264:
    case 1265:
    case 1292:
    case 1366:
    case 1411:
      return failure('badValue', quoted(/for column (?:`[^`]*`\.`[^`]*`\.)?[`']([^`']+)[`'] at row \d+$/))
    case 1690:
    case 3140:
    case 3141:
    case 1300:
      return failure('badValue', [])
    case 3819:
    case 4025: {
      const name = /(?:CONSTRAINT|constraint) [`']?(?:[^`'.]*\.)?([^`'.\s]+)[`']?/.exec(message)?.[1]
      return failure(
        'check',
        name === undefined ? [] : (constraintOf(name)?.columns ?? columnsOf(statement, (_, column) => column === name)),
        name,
      )
    }
    case 1146: {
      const table = /Table '([^']+)' doesn't exist/.exec(message)?.[1]
      return { ...failure('missingTable'), table: table?.slice(table.indexOf('.') + 1) }
    }
    case 1054:
      return failure('missingColumn', quoted(/Unknown column '(?:[^']*\.)?([^'.]+)' in /))
    // Too many placeholders, or a statement larger than max_allowed_packet.
    case 1390:
    case 1153:
      return failure('tooManyValues')
    case 1020:
    case 1205:
    case 1213:
    case 1412:
    case 3101:
      return failure('retryable')
  }
  return errno !== undefined && unavailableMysql.has(errno) ? failure('unavailable') : null
}

// ---------------------------------------------------------------------------------------------------- SQLite

const sqliteConstraint = /^[\s\S]*(UNIQUE|NOT NULL|CHECK|FOREIGN KEY|PRIMARY KEY) constraint failed(?:: (.*))?$/s

const tooLargeForSqlite =
  /^(?:- )?\s*(?:SQLITE_ERROR: )?(?:too many SQL variables|too many terms in compound SELECT|Expression tree is too large \(maximum depth \d+\))$/

/** https://www.sqlite.org/rescode.html; sqlite3 gives the primary code, better-sqlite3 the extended one. */
function sqliteFailure(error: DriverError): Failure | null {
  const { code, message, statement } = error
  const failure = (kind: FailureKind, columns?: readonly string[], table?: string, constraint?: string): Failure => ({
    kind,
    code,
    table: table ?? statement.table,
    constraint,
    columns,
  })
  if (tooLargeForSqlite.test(message)) return failure('tooManyValues')
  if (/^SQLITE_(?:BUSY|LOCKED|SCHEMA)/.test(code)) return failure('retryable')
  if (/^SQLITE_(?:FULL|IOERR|CANTOPEN|READONLY|NOMEM|INTERRUPT|PROTOCOL)/.test(code)) return failure('unavailable')
  if (/^SQLITE_(?:TOOBIG|MISMATCH|RANGE)/.test(code)) return failure('badValue', [])
  if (code === 'SQLITE_ERROR') {
    const missing = /no such table: (?:main\.)?(\S+)/.exec(message)?.[1]
    if (missing !== undefined) return failure('missingTable', [], missing)
    const [, ofTable, column] = /(?:table (\S+) has no column named|no such column:) (?:\w+\.)?(\w+)/.exec(message) ?? []
    return column === undefined ? null : failure('missingColumn', [column], ofTable)
  }
  if (!code.startsWith('SQLITE_CONSTRAINT')) return null
  const [, kind, what = ''] = sqliteConstraint.exec(message) ?? []
  if (kind === 'FOREIGN KEY') {
    // SQLite does not name the foreign key. Report all foreign keys that the statement sets.
    if (statement.verb === 'delete') return failure('stillReferenced')
    return failure(
      'missingReference',
      columnsOf(statement, (column) => column.reference !== undefined),
    )
  }
  if (kind === 'CHECK')
    return failure(
      'check',
      constraintOf(what)?.columns ?? columnsOf(statement, (_, column) => column === what),
      constraintOf(what)?.table,
      what,
    )
  if (kind === undefined) return null
  const index = /^index '(.*)'$/.exec(what)?.[1]
  if (index !== undefined) return failure('unique', constraintOf(index)?.columns, constraintOf(index)?.table, index)
  const places = what.split(', ').map((place) => place.split('.'))
  const columns = places.map((place) => place.at(-1)).filter((column) => column !== undefined)
  return failure(kind === 'NOT NULL' ? 'notNull' : 'unique', columns, places[0]?.slice(0, -1).join('.'))
}

/**
 * Returns the columns of a unique constraint from its name, `table_a_b_unique`, for a driver that reports only the name.
 * An underscore may belong to a column or separate two columns, so `isColumn` decides.
 */
export function columnsOfName({ table, constraint }: Failure, isColumn: (column: string) => boolean): string[] {
  if (table === undefined || !constraint?.startsWith(`${table}_`) || !constraint.endsWith('_unique')) return []
  return split(constraint.slice(table.length + 1, -'_unique'.length).split('_'), isColumn) ?? []
}

function split(words: readonly string[], isColumn: (column: string) => boolean): string[] | undefined {
  if (words.length === 0) return []
  for (let count = words.length; count > 0; count -= 1) {
    const column = words.slice(0, count).join('_')
    const rest = isColumn(column) ? split(words.slice(count), isColumn) : undefined
    if (rest) return [column, ...rest]
  }
  return undefined
}
