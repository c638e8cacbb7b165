/**
 * The undocumented parts of Knex 3 that this library uses: no other file names them, and `npm run check:imports` enforces that.
 *
 * This file lies in database/ rather than beside objection-internals.ts, because connections and transactions need it too and an
 * import may only point down.
 */
import type { Knex } from 'knex'
import { replaceMethod } from './replace-method.js'

// -- builders -------------------------------------------------------------------------------------------------------

/** A clause of a Knex builder, as Knex stores it. */
export interface Clause {
  readonly grouping: string
  readonly type?: string
  readonly bool?: string
  readonly joinType?: string
  readonly [key: string]: unknown
}

/** The parts of a statement that occur once, as Knex stores them. */
export interface SingleParts {
  table?: unknown
  schema?: unknown
  insert?: unknown
  update?: unknown
  onConflict?: unknown
  merge?: unknown
  returning?: unknown
  [key: string]: unknown
}

/** The client of a Knex instance or of a transaction. */
export interface KnexClient extends Knex.Client {
  /** Whether this is the client of a transaction. */
  readonly transacting?: boolean
  raw(sql: string, bindings?: readonly unknown[]): Knex.Raw
}

/** A Knex builder with the members that Knex's types leave out. */
export interface OpenKnexBuilder extends Knex.QueryBuilder {
  listenerCount(event: string): number
  client: KnexClient
}

interface BuilderInternals {
  _statements: Clause[]
  readonly _single: SingleParts
  readonly _method: string
  readonly _options?: readonly unknown[]
  readonly _comments?: unknown
  readonly _connection?: unknown
}

const internals = (statement: object) => statement as BuilderInternals

/** Returns the clauses of a builder: columns, joins, conditions, CTEs and so on, in the order of the calls. */
export function clausesOf(statement: OpenKnexBuilder): readonly Clause[] {
  return internals(statement)._statements
}

/** Replaces the clauses of a builder by an array of their own, to which Knex adds further clauses. */
export function setClauses(statement: OpenKnexBuilder, clauses: Clause[]): void {
  internals(statement)._statements = clauses
}

/** Adds clauses after those of a builder. */
export function addClauses(statement: OpenKnexBuilder, clauses: readonly Clause[]): void {
  internals(statement)._statements.push(...clauses)
}

/** Returns the parts of a statement that occur once: its table, the values of an insert or update, the limit and so on. */
export function singlePartsOf(statement: OpenKnexBuilder): SingleParts {
  return internals(statement)._single
}

/** Returns the kind of a statement: 'select', 'first', 'pluck', 'columnInfo', 'insert', 'update', 'del' or 'truncate'. */
export function methodOf(statement: OpenKnexBuilder): string {
  return internals(statement)._method
}

/** Returns the arguments of the calls of options(). */
export function optionsOf(statement: OpenKnexBuilder): readonly unknown[] {
  return internals(statement)._options ?? []
}

/** Returns the comments of a statement. */
export function commentsOf(statement: OpenKnexBuilder): unknown {
  return internals(statement)._comments
}

/** Returns whether connection() set the connection of a statement. */
export function hasOwnConnection(statement: OpenKnexBuilder): boolean {
  return internals(statement)._connection !== undefined
}

/** Returns whether a value is a Knex query builder. */
export function isKnexBuilder(value: object): value is OpenKnexBuilder {
  const { _statements, _single, _method } = value as Partial<BuilderInternals>
  return Array.isArray(_statements) && (typeof _single === 'object' || typeof _method === 'string')
}

/** Functions that Knex calls on a statement, see intercept(). */
export interface Interceptors {
  /** Called when Knex compiles the statement, alone or inside another one. Returns the comments of the statement. */
  readonly compile: (statement: OpenKnexBuilder) => unknown
  /** Called when the application adds comments. */
  readonly comment: (statement: OpenKnexBuilder, comments: unknown) => void
  /** Called with a copy that clone() made. Returns the copy that the application gets. */
  readonly clone: (copy: OpenKnexBuilder, original: OpenKnexBuilder) => OpenKnexBuilder
}

/**
 * Returns a function that makes statements call these functions.
 *
 * The functions are shared by all statements, because closures kept in objects are costly: see EnforcedStatementContext.
 */
export function interceptorOf({ compile, comment, clone }: Interceptors): (statement: OpenKnexBuilder) => OpenKnexBuilder {
  const properties: PropertyDescriptorMap = {
    // Knex reads the comments first when it compiles a builder, before its clauses and wherever the builder is used.
    _comments: {
      configurable: true,
      get(this: OpenKnexBuilder): unknown {
        return compile(this)
      },
      set(this: OpenKnexBuilder, comments: unknown) {
        comment(this, comments)
      },
    },
    clone: {
      configurable: true,
      value(this: OpenKnexBuilder): OpenKnexBuilder {
        const { clone: copy } = Object.getPrototypeOf(this) as { clone(): OpenKnexBuilder }
        return clone(copy.call(this), this)
      },
    },
  }
  return (statement) => Object.defineProperties(statement, properties)
}

// -- raw expressions ------------------------------------------------------------------------------------------------

/** A raw expression of Knex, as Knex stores it. */
export interface RawSql {
  readonly sql: string
  readonly bindings: unknown
  /** Set by knex.ref('...'). */
  readonly ref?: string
}

/** Returns whether a value is a raw expression, or claims to be one. */
export function isRaw(value: object): value is RawSql {
  return (value as { isRawInstance?: boolean }).isRawInstance === true
}

/** Returns the argument of withSchema() on knex.ref(). */
export function schemaOfRef(raw: RawSql): string | null | undefined {
  return (raw as { _schema?: string | null })._schema
}

/** Returns the texts that wrap() puts around a raw expression. */
export function wrappingOf(raw: RawSql): { readonly before: string; readonly after: string } {
  const { _wrappedBefore: before = '', _wrappedAfter: after = '' } = raw as { _wrappedBefore?: string; _wrappedAfter?: string }
  return { before, after }
}

// -- connections ----------------------------------------------------------------------------------------------------

/** A statement as Knex hands it to a driver. */
export interface DriverQuery {
  readonly sql: string
  readonly bindings: readonly unknown[]
  readonly method: 'raw'
  readonly response?: unknown
}

type StreamMethod = (this: object, connection: object, query: object, stream: object, options: unknown) => Promise<unknown>

/** Sends a statement on a connection, without an event of Knex and without the checks of a transaction. */
export function sendOn(client: object, connection: object, query: DriverQuery): Promise<DriverQuery> {
  return (client as { _query: SendMethod })._query(connection, query)
}

type SendMethod = (this: object, connection: object, query: DriverQuery) => Promise<DriverQuery>

/**
 * Replaces the method by which a client hands each statement to its driver.
 *
 * @param make gets the original method and returns its replacement
 * @returns a function that restores the original
 */
export function replaceSend(client: object, make: (send: SendMethod) => SendMethod): () => void {
  return replaceMethod(client as { _query: SendMethod }, '_query', make)
}

/**
 * Calls a function before a client streams the rows of a statement.
 *
 * @returns a function that ends that
 */
export function beforeStream(client: object, call: (query: object, stream: object) => void): () => void {
  const streaming = client as { _stream?: StreamMethod }
  if (!streaming._stream) return () => {}
  return replaceMethod(
    streaming as { _stream: StreamMethod },
    '_stream',
    (send) =>
      function (this: object, connection, query, stream, options) {
        call(query, stream)
        return send.call(this, connection, query, stream, options)
      },
  )
}

/** Makes Knex discard a connection instead of reusing it. */
export function markDisposed(connection: object, error: unknown): void {
  Object.assign(connection, { __knex__disposed: error })
}

/** Returns whether a connection belongs to a transaction. */
export function isInTransaction(connection: object): boolean {
  return (connection as { __knexTxId?: string }).__knexTxId !== undefined
}

/** Returns the name of the table that a builder of createTable() or alterTable() describes. */
export function tableNameOfBuilder(table: Knex.CreateTableBuilder): string {
  return String((table as { _tableName?: unknown })._tableName)
}

interface WithUserParams {
  userParams?: Record<string, unknown>
}

/** Marks a Knex instance. Its transactions and the copies that Knex makes for migrations have the mark too. */
export function markKnex(knex: Knex, mark: string): void {
  const marked = knex as WithUserParams
  marked.userParams = { ...marked.userParams, [mark]: true }
}

/** Returns whether a Knex instance or transaction has a mark of `markKnex`. */
export function isMarkedKnex(knex: Knex, mark: string): boolean {
  return (knex as WithUserParams).userParams?.[mark] === true
}

/** The part of a Knex client that connects. */
interface ConnectingClient {
  readonly connectionSettings?: object
  readonly connectionConfigProvider?: () => object | Promise<object>
  readonly pool?: object
}

/** Returns how a Knex instance connects: what its connection function returns, or its settings with the password, which Knex hides. */
export async function connectionSettingsOf(knex: Knex): Promise<object> {
  const { connectionConfigProvider, connectionSettings = {} } = knex.client as ConnectingClient
  if (!connectionConfigProvider) return connectionSettings
  const { expirationChecker: _checker, ...settings } = (await connectionConfigProvider()) as { expirationChecker?: unknown }
  return settings
}

type Acquire = (this: object) => unknown

/**
 * Refuses connections to all Knex instances of the process except one. Transactions that are already open go on.
 *
 * @param allowed the instance that may connect
 * @param others instances whose pools may be of another kind, such as the application's
 * @param refuse throws the error
 * @returns a function that ends that
 */
export function refuseOtherConnections(allowed: Knex, others: readonly Knex[], refuse: () => never): () => void {
  const pool = (knex: Knex) => (knex.client as ConnectingClient).pool
  const own = pool(allowed)
  const holders = new Set([allowed, ...others].flatMap((knex) => holderOf(pool(knex), 'acquire') ?? []))
  // Connection pools share their class, so one method serves all Knex instances, including those of other copies of Knex.
  const undo = [...holders].map((holder) => {
    const before = Object.getOwnPropertyDescriptor(holder, 'acquire') as PropertyDescriptor
    const acquire = before.value as Acquire
    function guarded(this: object): unknown {
      return this === own ? Reflect.apply(acquire, this, []) : refuse()
    }
    Object.defineProperty(holder, 'acquire', { ...before, value: guarded })
    return () => Object.defineProperty(holder, 'acquire', before)
  })
  return () => {
    for (const restore of undo) restore()
  }
}

/** Returns the object that has a method: the given one, or one of its prototypes. */
function holderOf(object: object | undefined, name: string): object | undefined {
  for (let holder = object; holder; holder = Object.getPrototypeOf(holder) as object | undefined)
    if (Object.hasOwn(holder, name)) return holder
  return undefined
}
