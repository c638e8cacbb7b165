import { type DatabaseSync, loadNodeSqlite, type SqliteRow, type SqliteValue, type StatementSync } from './module.js'
import { nameOfResultCode } from './result-codes.js'

/** How long a statement waits for a locked file, in milliseconds. better-sqlite3 has the same default. */
const BUSY_TIMEOUT = 5000

/** The result of a statement that returns no rows. */
export interface RunResult {
  readonly changes: number
  readonly lastInsertRowid: number | bigint
}

/**
 * A connection to SQLite through `node:sqlite`, with the members of a better-sqlite3 connection that Knex and this library use.
 * `database` is the DatabaseSync of Node, for its other functions.
 */
export class NodeSqliteConnection {
  readonly database: DatabaseSync
  #safeIntegers = false

  constructor(filename: string, options: { readonly readonly?: boolean } = {}) {
    const { DatabaseSync } = loadNodeSqlite()
    // Knex alters tables by writing to sqlite_master, which the defensive mode of Node 26 forbids.
    this.database = translated(() => new DatabaseSync(filename, { readOnly: options.readonly === true, defensive: false }))
    this.exec(`pragma busy_timeout = ${BUSY_TIMEOUT}`)
  }

  prepare(sql: string): NodeSqliteStatement {
    return new NodeSqliteStatement(
      sql,
      translated(() => this.database.prepare(sql)),
      this.#safeIntegers,
    )
  }

  /** Sets whether statements that are prepared from now on return integers as bigint. */
  defaultSafeIntegers(enabled = true): this {
    this.#safeIntegers = enabled
    return this
  }

  exec(sql: string): this {
    translated(() => this.database.exec(sql))
    return this
  }

  /** Runs `PRAGMA text` and returns its rows. */
  pragma(text: string): SqliteRow[] {
    const statement = this.prepare(`pragma ${text}`)
    if (statement.reader) return statement.all()
    statement.run()
    return []
  }

  /** Defines a function for statements. */
  function(name: string, options: object, fn: (...values: never[]) => unknown): this {
    translated(() => this.database.function(name, options, fn))
    return this
  }

  close(): this {
    translated(() => this.database.close())
    return this
  }
}

/** A prepared statement, with the members of a better-sqlite3 statement that Knex and this library use. */
export class NodeSqliteStatement {
  /** Whether the statement returns rows. */
  readonly reader: boolean
  /** Node returns all rows at once, so a statement is never left in the middle of its rows. */
  readonly busy = false
  readonly #sql: string
  readonly #statement: StatementSync
  #parameters: number | undefined
  #safeIntegers: boolean
  #readsBigInts = false

  constructor(sql: string, statement: StatementSync, safeIntegers: boolean) {
    this.#sql = sql
    this.#statement = statement
    this.#safeIntegers = safeIntegers
    this.reader = statement.columns ? statement.columns().length > 0 : seemsToReturnRows(sql)
  }

  safeIntegers(enabled = true): this {
    this.#safeIntegers = enabled
    return this
  }

  /** Runs the statement and returns its rows. */
  all(bindings: readonly unknown[] = []): SqliteRow[] {
    const values = this.#bindable(bindings)
    const read = () => translated(() => this.#statement.all(...values))
    // Node throws for an integer beyond 2^53. A statement that writes cannot be repeated, so it reads bigints from the start.
    const mayRepeat = !this.#safeIntegers && !writes.test(this.#sql)
    this.#setReadBigInts(!mayRepeat)
    let rows: SqliteRow[]
    try {
      rows = read()
    } catch (error) {
      if (!mayRepeat || !isOutOfRange(error)) throw error
      this.#setReadBigInts(true)
      rows = read()
    }
    return usualRows(rows, this.#readsBigInts && !this.#safeIntegers)
  }

  /** Runs a statement that returns no rows. */
  run(bindings: readonly unknown[] = []): RunResult {
    const values = this.#bindable(bindings)
    // Node 26 throws for a row id beyond 2^53, after the statement has run.
    this.#setReadBigInts(true)
    const { changes, lastInsertRowid } = translated(() => this.#statement.run(...values))
    return { changes: Number(changes), lastInsertRowid: this.#safeIntegers ? lastInsertRowid : Number(lastInsertRowid) }
  }

  #setReadBigInts(enabled: boolean): void {
    if (enabled === this.#readsBigInts) return
    this.#statement.setReadBigInts(enabled)
    this.#readsBigInts = enabled
  }

  /** Checks what Node would bind differently: it reads an object as named values, and binds NULL to a missing value. */
  #bindable(bindings: readonly unknown[]): readonly SqliteValue[] {
    this.#parameters ??= countParameters(this.#sql)
    if (bindings.length < this.#parameters) throw new RangeError('Too few parameter values were provided')
    for (const value of bindings)
      if (!isBindable(value)) throw new TypeError('SQLite3 can only bind numbers, strings, bigints, buffers, and null')
    return bindings as readonly SqliteValue[]
  }
}

function isBindable(value: unknown): value is SqliteValue {
  if (value === null || ArrayBuffer.isView(value)) return true
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint'
}

const writes = /\b(?:insert|update|delete|replace)\b/i

/** Tells whether a statement returns rows where Node cannot: before 22.16. */
function seemsToReturnRows(sql: string): boolean {
  const words = sql.replace(literals, ' ')
  return /\breturning\b/i.test(words) || (/^\s*(?:select|values|explain|with|pragma)\b/i.test(words) && !writes.test(words))
}

/** Strings, quoted names and comments. */
const literals = /'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|--[^\n]*|\/\*[\s\S]*?(?:\*\/|$)/g

/** Returns the number of `?` outside of literals. Numbered and named parameters are not counted. */
function countParameters(sql: string): number {
  if (!sql.includes('?')) return 0
  return sql.replace(literals, ' ').match(/\?(?!\d)/g)?.length ?? 0
}

/** Converts rows of Node to rows as better-sqlite3 returns them: ordinary objects, with a Buffer for a blob. */
function usualRows(rows: readonly SqliteRow[], toNumbers: boolean): SqliteRow[] {
  const names = Object.keys(rows[0] ?? {})
  return rows.map((row) => {
    const usual = { ...row }
    for (const name of names) {
      const value = row[name]
      if (value instanceof Uint8Array) usual[name] = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
      else if (toNumbers && typeof value === 'bigint') usual[name] = Number(value)
    }
    return usual
  })
}

function isOutOfRange(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ERR_OUT_OF_RANGE'
}

/** Gives an error of SQLite the `code` that it has in the other drivers, such as 'SQLITE_CONSTRAINT_UNIQUE'. */
function translated<T>(run: () => T): T {
  try {
    return run()
  } catch (error) {
    if (error instanceof Error && 'errcode' in error && typeof error.errcode === 'number')
      Object.assign(error, { code: nameOfResultCode(error.errcode) })
    throw error
  }
}
