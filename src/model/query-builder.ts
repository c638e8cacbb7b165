/**
 * The one place that leans on what Objection and Knex do not document: how a builder is executed, how its knex query is
 * built, and where Knex keeps a statement's clauses. `selfCheck` asserts at initPerms that they still work that way.
 */
import type { Knex } from 'knex'
import type { Model, QueryBuilder } from 'objection'
import { columnForIdentifier, type RecordClass } from './definition.js'
import { ConfigurationError } from './errors.js'
import { rootOf, withTransaction } from './transaction.js'

export type StatementKind = 'read' | 'insert' | 'update' | 'delete'

/** A clause of a Knex builder, as Knex keeps it. */
export interface Clause {
  readonly grouping: string
  readonly type?: string
  readonly bool?: string
  readonly joinType?: string
  readonly [key: string]: unknown
}

/** A Knex builder, seen from inside. */
export interface OpenKnexBuilder extends Knex.QueryBuilder {
  _statements: Clause[]
  _single: { table?: unknown; insert?: unknown; update?: unknown; onConflict?: unknown; merge?: unknown; [key: string]: unknown }
  _method: string
  client: Knex.Client
}

/** What one write operation is about. */
export interface WriteOperation {
  readonly kind: 'insert' | 'update' | 'delete'
  /** The rows of an insert, or the one object that holds an update's changes. */
  readonly models: readonly Model[]
  /** The row that `row.$query()` or save() is about. */
  readonly instance: Model | null
  /** The id given to findById, updateAndFetchById and the like; undefined where the write is in bulk. */
  readonly id: unknown
}

/** Per execution: what the guard found out before the statement is built. */
export interface Execution {
  /** Only these rows may be touched; undefined where the wheres alone say. */
  ids: readonly unknown[] | undefined
  /** Which action's rule holds instead of what the operation suggests. */
  action: StatementKind | undefined
  /** The guard's own notes between its hooks. */
  notes: unknown
}

/** The permission engine, as the query builder calls it. A higher floor implements it. */
export interface QueryGuard {
  /** Whether nothing is to be added to a statement over this class where the code runs now. */
  isFree(cls: typeof Model): boolean
  /** Whether the class's policy binds the code that runs now: ways around it are refused. */
  isEnforced(cls: typeof Model): boolean
  /** Puts the rule into the statement; `builder.ref` is its alias. */
  restrict(builder: GuardedBuilder, statement: OpenKnexBuilder, kind: StatementKind): void
  /** Whether the write must run in a transaction of its own (a check before or after it takes another statement). */
  needsTransaction(builder: GuardedBuilder, write: WriteOperation | null): boolean
  /** After the before-hooks, before the statement is built. Throws to refuse. */
  beforeWrite(builder: GuardedBuilder, write: WriteOperation): Promise<void>
  /** After the statement, inside its transaction. Throws to undo. */
  afterWrite(builder: GuardedBuilder, write: WriteOperation, result: unknown): Promise<void>
  /** An error of a statement, in terms of the caller. */
  translate(builder: GuardedBuilder, write: WriteOperation | null, error: unknown): Promise<unknown>
}

/** What the guard may ask of a builder. */
export interface GuardedBuilder {
  readonly cls: typeof Model
  /** Table or alias under which the rows are known in this statement. */
  readonly ref: string
  readonly execution: Execution
  readonly db: Knex
  /** Whether `withDeleted()` was called. */
  readonly withDeleted: boolean
  /** The rows that this write is about, as a find query under the rule of `action`. */
  targets(action: StatementKind): QueryBuilder<Model>
  /** Another query in the same transaction. */
  query(cls: typeof Model): QueryBuilder<Model>
}

export const guardOf: unique symbol = Symbol.for('objection-perms.guard') as never
export const errorsOf: unique symbol = Symbol.for('objection-perms.errors') as never

interface Statics {
  [guardOf]?: QueryGuard
  [errorsOf]?: (error: unknown, cls: typeof Model) => unknown
}

interface Operation {
  readonly name: string
  readonly models?: Model[]
  readonly model?: Model
  readonly instance?: Model
  readonly delegate?: Operation
  readonly relation?: { joinTable?: string | null }
  readonly id?: unknown
  readonly table?: string | null
  readonly args?: unknown[]
  readonly skipIdWhere?: boolean
}

/** The parts of Objection's QueryBuilder that its types do not show. */
interface Internals {
  execute(): Promise<unknown>
  clone(): Internals
  executeOnBuildKnex(knexBuilder: Knex.QueryBuilder): OpenKnexBuilder
  isPartial(): boolean
  isSelectAll(): boolean
  hasSelects(): boolean
  isRelate(): boolean
  isUnrelate(): boolean
  modelClass(): typeof Model
  tableRef(): string
  tableName(): string
  knex(knex?: Knex): Knex
  unsafeKnex(): Knex | null
  internalContext(): { runBefore: unknown[]; runAfter: unknown[]; knex: Knex | null }
  toFindQuery(): Internals
  clear(selector: RegExp | ((op: Operation) => boolean)): Internals
  findOperation(selector: (op: Operation) => boolean): Operation | null
  findLastOperation(selector: (op: Operation) => boolean): Operation | null
  forEachOperation(selector: true, callback: (op: Operation) => void): void
  isInsert(): boolean
  isUpdate(): boolean
  isDelete(): boolean
}

/** The rows and the id of a builder's write, or null where it is a find. */
function writeOf(builder: Internals): WriteOperation | null {
  const kind = builder.isInsert() ? 'insert' : builder.isUpdate() ? 'update' : builder.isDelete() ? 'delete' : null
  if (!kind) return null
  let models: readonly Model[] = []
  let instance: Model | null = null
  let id: unknown
  builder.forEachOperation(true, (op) => {
    const inner = op.delegate ?? op
    if (inner.models) models = inner.models
    else if (inner.model && kind === 'update') models = [inner.model]
    if (inner.instance && kind !== 'insert') instance = inner.instance
    if (op.name === 'findById' || ((op.name === 'updateAndFetch' || op.name === 'patchAndFetch') && !op.skipIdWhere)) id = op.id ?? id
  })
  if (instance) id = (instance as Model).$id()
  return { kind, models, instance, id }
}

const writeNames = /^(insert|update|patch|delete|relate|unrelate|upsertGraph)/

function isWriting(builder: Internals): boolean {
  return builder.findOperation((op) => writeNames.test(op.name)) !== null
}

function typed(cls: typeof Model, error: unknown): unknown {
  const toTyped = (cls as unknown as Statics)[errorsOf]
  return toTyped ? toTyped(error, cls) : error
}

function kindOf(builder: Internals): StatementKind {
  if (!isWriting(builder)) return 'read'
  return builder.isInsert() ? 'insert' : builder.isUpdate() ? 'update' : builder.isDelete() ? 'delete' : 'read'
}

const graphOperations = /^(insertGraph|upsertGraph)/

type Constructor<T> = new (...args: never[]) => T

/** A guarded builder, seen from inside. */
interface OpenGuarded extends Internals {
  execution: Execution | undefined
  deletedToo: boolean
}

class Handle implements GuardedBuilder {
  readonly #builder: OpenGuarded

  constructor(builder: OpenGuarded) {
    this.#builder = builder
  }

  get cls(): typeof Model {
    return this.#builder.modelClass()
  }

  get ref(): string {
    return this.#builder.tableRef()
  }

  get execution(): Execution {
    this.#builder.execution ??= { ids: undefined, action: undefined, notes: undefined }
    return this.#builder.execution
  }

  get db(): Knex {
    return this.#builder.knex()
  }

  get withDeleted(): boolean {
    return this.#builder.deletedToo
  }

  targets(action: StatementKind): QueryBuilder<Model> {
    const find = this.#builder.toFindQuery() as OpenGuarded
    find.clear(/^(runBefore|runAfter|onBuild|onBuildKnex|returning|first|eager|range)$/)
    find.execution = { ids: undefined, action, notes: undefined }
    find.internalContext().runBefore = []
    find.internalContext().runAfter = []
    return find as unknown as QueryBuilder<Model>
  }

  query(cls: typeof Model): QueryBuilder<Model> {
    return cls.query(this.#builder.internalContext().knex ?? undefined)
  }
}

/**
 * Adds to a QueryBuilder class: property names as identifiers, the guard on every statement, and typed errors.
 *
 * @param Base Objection's QueryBuilder, or the application's own subclass of it
 */
export function guardedQueryBuilder(Base: typeof QueryBuilder): typeof QueryBuilder {
  const Open = Base as unknown as Constructor<Internals>

  class Guarded extends Open {
    execution: Execution | undefined
    deletedToo = false

    get guard(): QueryGuard | undefined {
      return (this.modelClass() as unknown as Statics)[guardOf]
    }

    #handle: Handle | undefined

    get handle(): GuardedBuilder {
      this.#handle ??= new Handle(this)
      return this.#handle
    }

    override clone(): Internals {
      const copy = super.clone() as Guarded
      copy.execution = this.execution
      copy.deletedToo = this.deletedToo
      return copy
    }

    /** Soft-deleted rows too; the policy stays. */
    withDeleted(): this {
      this.deletedToo = true
      return this
    }

    override isSelectAll(): boolean {
      // A join then takes the subquery, which carries the rule, rather than the bare table.
      if (!super.isSelectAll()) return false
      return !this.guard || this.guard.isFree(this.modelClass())
    }

    override async execute(): Promise<unknown> {
      const cls = this.modelClass()
      if (!isWriting(this)) {
        try {
          return await super.execute()
        } catch (error) {
          throw typed(cls, error)
        }
      }
      const guard = this.guard
      const run = this.clone() as Guarded
      run.execution = { ids: undefined, action: this.execution?.action, notes: this.execution?.notes }
      const before = run.internalContext()
      if (!before.runBefore.includes(runGuard)) before.runBefore = [...before.runBefore, runGuard]
      const executeBase = () => super.execute.call(run)
      try {
        if (!guard) return await executeBase()
        const write = writeOf(run)
        const isWhole =
          run.isRelate() ||
          run.isUnrelate() ||
          run.findOperation((op) => graphOperations.test(op.name)) !== null ||
          (write?.kind === 'insert' && run.findOperation((op) => Boolean(op.relation?.joinTable)) !== null)
        const needs = isWhole ? guard.isEnforced(cls) : guard.needsTransaction(run.handle, write)
        const whole = async () => {
          const result = await executeBase()
          if (write && !isWhole) await guard.afterWrite(run.handle, write, result)
          return result
        }
        if (!needs) return await whole()
        return await run.knex().transaction(async (trx) =>
          withTransaction(trx, rootOf(cls.knex()), async () => {
            run.knex(trx)
            return await whole()
          }),
        )
      } catch (error) {
        throw typed(cls, guard ? await guard.translate(this.handle, writeOf(run), error) : error)
      }
    }

    override executeOnBuildKnex(knexBuilder: Knex.QueryBuilder): OpenKnexBuilder {
      knexBuilder.queryContext(namesContext)
      const built = super.executeOnBuildKnex(knexBuilder)
      built.queryContext(namesContext)
      const guard = this.guard
      if (!guard) return built
      const isEnforced = guard.isEnforced(this.modelClass())
      if (isEnforced) inspect(this, built)
      if (this.isPartial() || guard.isFree(this.modelClass())) return built
      const kind = this.execution?.action ?? kindOf(this)
      if (isEnforced && kindOf(this) !== 'read' && !this.execution) {
        throw new ConfigurationError(
          `${this.modelClass().name}: a write under permissions cannot be turned into a knex query; await the builder itself, or use Model.knexQuery() inside asSystem().`,
        )
      }
      if (kindOf(this) !== 'insert') groupWheres(built)
      if (!isOverSubquery(this)) guard.restrict(this.handle, built, kind)
      return built
    }
  }
  return Guarded as unknown as typeof QueryBuilder

  // Objection calls this after all before-hooks, with the builder that runs: ours, or a child that shares its context.
  async function runGuard(result: unknown, builder: Internals): Promise<unknown> {
    if (!(builder instanceof Guarded)) return result
    const guard = builder.guard
    const write = builder.findOperation((op) => graphOperations.test(op.name)) ? null : writeOf(builder)
    if (guard && write) await guard.beforeWrite(builder.handle, write)
    if (write?.kind === 'insert') for (const model of write.models) (model as { $complete?(): void }).$complete?.()
    return result
  }
}

// -- names ---------------------------------------------------------------------------------------------------------

const namesContext = Object.freeze({ objectionPermsNames: true })

type WrapIdentifier = NonNullable<Knex.Config['wrapIdentifier']>

/**
 * Lets identifiers in queries of models be property names. Other queries on the same Knex instance are not touched.
 *
 * @returns undoes it
 */
export function mapIdentifiers(knex: Knex): () => void {
  const { config } = (knex as unknown as { client: { config: Knex.Config } }).client
  const before = config.wrapIdentifier
  const wrap: WrapIdentifier = (value, origImpl, queryContext) => {
    const name = (queryContext as { objectionPermsNames?: boolean } | undefined)?.objectionPermsNames ? columnForIdentifier(value) : value
    return before ? before(name, origImpl, queryContext) : origImpl(name)
  }
  config.wrapIdentifier = wrap
  return () => {
    if (config.wrapIdentifier !== wrap) return
    if (before) config.wrapIdentifier = before
    else delete config.wrapIdentifier
  }
}

// -- where-clauses -------------------------------------------------------------------------------------------------

// What was written becomes one term, so that no or() and no raw text reaches past the rule that is ANDed to it.
function groupWheres(statement: OpenKnexBuilder): void {
  const wheres = statement._statements.filter((clause) => clause.grouping === 'where')
  if (wheres.length === 0 || wheres.every((clause) => clause.bool !== 'or' && clause.type !== 'whereRaw')) return
  statement._statements = statement._statements.filter((clause) => clause.grouping !== 'where')
  statement.where((group) => {
    const open = group as OpenKnexBuilder
    open.queryContext(namesContext)
    open._statements.push(...wheres)
  })
}

// `from(Model.query().as('t'))`: the inner query carries the rule; its alias may not even have the columns.
function isOverSubquery(builder: Internals): boolean {
  const from = builder.findLastOperation((op) => /^(from|fromRaw|into|table)$/.test(op.name))
  if (!from || from.table) return false
  const [source] = from.args ?? []
  return (
    typeof source === 'object' &&
    source !== null &&
    (source as { isObjectionQueryBuilderBase?: boolean }).isObjectionQueryBuilderBase === true
  )
}

// -- ways around the guard -----------------------------------------------------------------------------------------

const protectedTables = new Map<string, { cls: typeof Model; guard: QueryGuard }>()

/** For perms.close(): the next application has other tables. */
export function forgetTables(): void {
  protectedTables.clear()
}

/** Tables whose rows have a policy: naming one in raw SQL or in a bare join is refused. */
export function protectTable(table: string, cls: typeof Model, guard: QueryGuard): void {
  if (!protectedTables.has(table)) protectedTables.set(table, { cls, guard })
}

function isForbiddenTable(table: string): boolean {
  const known = protectedTables.get(table)
  return known?.guard.isEnforced(known.cls) === true
}

function refuseWay(builder: Internals, way: string, instead: string): never {
  throw new ConfigurationError(
    `${builder.modelClass().name}: ${way} would go around the permissions; ${instead}, or use Model.knexQuery() inside asSystem().`,
  )
}

function inspect(builder: Internals, statement: OpenKnexBuilder): void {
  if (statement._method === 'truncate') refuseWay(builder, 'truncate()', 'use query().delete()')
  if (statement._single.onConflict !== undefined && statement._single.merge !== undefined) {
    refuseWay(builder, 'onConflict().merge()', 'look the row up and call update()')
  }
  const { table, insert } = statement._single
  if (insert && !Array.isArray(insert) && isKnexValue(insert)) refuseWay(builder, 'insert from a query', 'insert rows')
  if (table !== undefined && !builder.isPartial()) inspectSource(builder, table)
  for (const clause of statement._statements) {
    if (clause.grouping === 'join') {
      if (clause.joinType === 'raw') refuseWay(builder, 'joinRaw()', 'use joinRelated()')
      inspectTable(builder, clause.table)
      inspectValue(builder, (clause as { clauses?: unknown }).clauses, 0)
    } else {
      inspectValue(builder, clause, 0)
    }
  }
}

function inspectSource(builder: Internals, table: unknown): void {
  if (typeof table === 'string') {
    const name = bareName(table)
    const own = (builder.modelClass() as unknown as RecordClass).getTableName()
    if (name !== own && name !== builder.tableRef()) inspectTable(builder, table)
    if (name !== own && name !== builder.tableRef()) refuseWay(builder, `from('${name}')`, 'query the model of that table')
  } else if (isOverSubquery(builder)) {
    inspectValue(builder, table, 0)
  } else if (typeof table === 'object' && table !== null && !isKnexValue(table)) {
    for (const name of Object.values(table)) inspectSource(builder, name)
  } else {
    refuseWay(builder, 'from() with a raw expression or a function', 'pass an Objection query with as()')
  }
}

function bareName(table: string): string {
  return (table.split(/\s+as\s+/i)[0] ?? table).trim().replaceAll('"', '').replaceAll('`', '')
}

function inspectTable(builder: Internals, table: unknown): void {
  if (typeof table === 'string') {
    const name = bareName(table)
    if (isForbiddenTable(name) || isForbiddenTable(name.slice(name.lastIndexOf('.') + 1))) {
      refuseWay(
        builder,
        `the table '${name}' without its model`,
        'use joinRelated(), whereExists(Model.relatedQuery(...)) or the query of its model',
      )
    }
  } else if (typeof table === 'object' && table !== null && !isKnexValue(table)) {
    for (const name of Object.values(table)) inspectTable(builder, name)
  } else {
    inspectValue(builder, table, 0)
  }
}

function isKnexValue(value: object): boolean {
  return isRaw(value) || isKnexBuilder(value)
}

function isRaw(value: object): value is { sql: string; bindings: unknown } {
  return (value as { isRawInstance?: boolean }).isRawInstance === true
}

function isKnexBuilder(value: object): value is OpenKnexBuilder {
  return Array.isArray((value as Partial<OpenKnexBuilder>)._statements) && typeof (value as Partial<OpenKnexBuilder>)._single === 'object'
}

const deepest = 12

// A statement's parts: another Knex builder or raw text inside it may name only tables without a policy.
// Builders that came from our own models passed through here already; what they name is their own table.
function inspectValue(builder: Internals, value: unknown, depth: number): void {
  if (typeof value !== 'object' || value === null || depth > deepest) return
  if (value instanceof Date || Buffer.isBuffer(value)) return
  if (isRaw(value)) {
    inspectRaw(builder, value, depth)
    return
  }
  if (isKnexBuilder(value)) {
    if (value.queryContext?.() === namesContext) return
    inspectTable(builder, value._single.table)
    for (const clause of value._statements) {
      if (clause.grouping === 'join') inspectTable(builder, clause.table)
      inspectValue(builder, clause, depth + 1)
    }
    return
  }
  const items = Array.isArray(value)
    ? value
    : Object.getPrototypeOf(value) === Object.prototype || 'grouping' in value || 'type' in value
      ? Object.values(value)
      : []
  for (const item of items) inspectValue(builder, item, depth + 1)
}

function inspectRaw(builder: Internals, raw: { sql: string; bindings: unknown }, depth: number): void {
  const sql = String(raw.sql)
  const text = sql.replace(/'(?:[^']|'')*'/g, "''")
  if (!isBalanced(text))
    refuseWay(builder, 'raw SQL with unbalanced parentheses, a comment or several statements', 'write one complete expression')
  const bindings = Array.isArray(raw.bindings)
    ? raw.bindings
    : typeof raw.bindings === 'object' && raw.bindings !== null
      ? Object.values(raw.bindings)
      : [raw.bindings]
  if (/\b(from|join|into|update|table|only)\b/i.test(text)) {
    for (const word of text.match(/[\p{L}_][\p{L}\p{N}_$]*/gu) ?? []) inspectTable(builder, word)
    for (const binding of bindings) if (typeof binding === 'string') inspectTable(builder, binding)
  }
  for (const binding of bindings) inspectValue(builder, binding, depth + 1)
}

function isBalanced(text: string): boolean {
  if (/--|\/\*|;|#(?![>-])/.test(text)) return false
  let open = 0
  for (const character of text) {
    if (character === '(') open += 1
    if (character === ')') open -= 1
    if (open < 0) return false
  }
  return open === 0
}
