/**
 * Extends Objection's QueryBuilder so that every statement carries the policy of its model. Uses undocumented parts of Objection 3.1;
 * statement.ts uses those of Knex. `selfCheck` asserts at initPerms that both still work as expected.
 */

import type { Knex } from 'knex'
import { type Model, QueryBuilder } from 'objection'
import { ConfigurationError, TooManyValuesError } from '../core/errors.js'
import { recordThrownError } from '../database/ended-transactions.js'
import type { NamesContext } from '../database/identifiers.js'
import { clausesOf, methodOf, type OpenKnexBuilder, singlePartsOf } from '../database/knex-internals.js'
import { type FailingClient, redactErrorsOf } from '../database/redacted-errors.js'
import { isTransaction, outsideTransaction, rootOf, transaction, withTransaction } from '../database/transaction.js'
import { inRuntimeOf } from '../runtime.js'
import { tableOf } from '../schema/class-statics.js'
import { definitionOf } from '../schema/definition.js'
import { allowExtraColumns, allowExtraColumnsOfGraph } from '../schema/join-columns.js'
import { dialectOf } from '../schema/storage.js'
import { restorerOf, retryOnDeadlock } from './deadlock-retry.js'
import { executeCopy, isAsExpected } from './execution.js'
import { fragment, type Template } from './fragments.js'
import { assertChanged, assertRemoved, isLinkOfGraph, removalOf } from './graph-writes.js'
import { assertHome } from './home.js'
import { type InsertOperation, inParts, insertIn, joinResults, noteIgnored, rowsPerInsert } from './insert-results.js'
import { joinsManyRows, rejectLimitedGraph } from './joined-graphs.js'
import { enclosingQueryOf, findOperation, type ObjectionBuilder, type Operation, operationsOf } from './objection-internals.js'
import { exemptTables, inspectsItself, rejectProtectedTable } from './plain-classes.js'
import type { EnforcerSession, Execution, GuardedBuilder, PolicyEnforcer, StatementKind, WriteOperation } from './policy-enforcer.js'
import { anyEnforcer, guardOf, protectTable } from './protected-tables.js'
import { columnList } from './selected-columns.js'
import {
  exposeKnexQuery,
  groupWheres,
  inspect,
  isFromGuarded,
  isFromOther,
  isOfKind,
  noteModelQuery,
  rejectStatement,
  type StatementContext,
} from './statement.js'
import { namesOf } from './statement-names.js'
import {
  assertHomeOfOwners,
  idOrNew,
  isGraphWrite,
  isIgnoring,
  isKnownId,
  isOfJoinTable,
  isOfRelation,
  isPlainInsert,
  isReturning,
  isWriting,
  kindOf,
  textId,
  writeOf,
} from './write-operation.js'

export const errorsOf: unique symbol = Symbol.for('objection-perms.errors')

interface Statics {
  [guardOf]?: PolicyEnforcer
  [errorsOf]?: (error: unknown, cls: typeof Model) => unknown
}

function typedError(cls: typeof Model, error: unknown): unknown {
  const toTyped = (cls as Statics)[errorsOf]
  return toTyped ? toTyped(error, cls) : error
}

type Constructor<T> = new (...args: never[]) => T

/** The members of a guarded builder that other functions of this file use. */
interface OpenGuarded extends ObjectionBuilder {
  asFind(): ObjectionBuilder
  execution: Execution | undefined
  deletedToo: boolean
  readableFilters: readonly Template[]
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

  get schema(): string | undefined {
    return this.#builder.internalOptions().schema
  }

  get execution(): Execution {
    this.#builder.execution ??= { ids: undefined, action: undefined, session: undefined }
    return this.#builder.execution
  }

  get db(): Knex {
    return this.#builder.knex()
  }

  get context(): object {
    return this.#builder.context()
  }

  get withDeleted(): boolean {
    return this.#builder.deletedToo
  }

  get readableFilters(): readonly Template[] {
    return this.#builder.readableFilters
  }

  targets(action: StatementKind, session?: EnforcerSession): QueryBuilder<Model> {
    const find = this.#builder.asFind() as OpenGuarded
    find.clear(/^(runBefore|runAfter|onBuild|onBuildKnex|returning|first|eager|range)$/)
    find.execution = { ids: undefined, action, session }
    find.internalContext().runBefore = []
    find.internalContext().runAfter = []
    return find as unknown as QueryBuilder<Model>
  }

  query(cls: typeof Model): QueryBuilder<Model> {
    const query = cls.query(this.#builder.internalContext().knex ?? undefined)
    return this.schema === undefined ? query : query.withSchema(this.schema)
  }
}

/**
 * Describes the statement of a guarded builder. It is a class because V8 allocates function-valued properties of object literals in
 * old space, where each keeps its whole query alive until the next full garbage collection.
 */
class GuardedStatementContext implements StatementContext {
  readonly name: string
  readonly isEnforced: boolean
  readonly exempt: ReadonlySet<string> | undefined

  constructor(
    readonly cls: typeof Model,
    readonly enforcer: PolicyEnforcer | undefined,
    readonly table: string | null,
    readonly ref: string,
    readonly caller: unknown,
  ) {
    this.name = cls.name
    this.isEnforced = enforcer?.isEnforced(cls) ?? false
    this.exempt = enforcer ? undefined : exemptTables(cls)
  }

  isFreeNow(): boolean {
    return !this.enforcer?.isEnforced(this.cls)
  }
}

const guardedBuilders = new WeakSet<object>()

const noFilters: readonly Template[] = []

/** The members that a guarded QueryBuilder adds to Objection's. */
export interface FilteringBuilder {
  filterReadable(filter: Template): unknown
}

/** Returns whether a QueryBuilder class enforces policies: one made by guardedQueryBuilder(), or a subclass of one. */
export function isGuardedBuilder(builder: object): boolean {
  for (let cls: object | null = builder; cls !== null; cls = Object.getPrototypeOf(cls) as object | null) {
    if (guardedBuilders.has(cls)) return true
  }
  return false
}

/**
 * Extends a QueryBuilder class: properties may be used as identifiers, every statement carries its policy, and errors are typed.
 *
 * @param Base Objection's QueryBuilder, or the application's own subclass of it
 */
export function guardedQueryBuilder(Base: typeof QueryBuilder): typeof QueryBuilder {
  // The enforcer is found by the model class, so one subclass is enough. Two would reject each other's conditions.
  if (isGuardedBuilder(Base)) return Base
  const Open = Base as unknown as Constructor<ObjectionBuilder>
  // executeCopy() is used only for Objection's own execute(): an application's override or another Objection version keeps its own.
  const isStock = Base.prototype.execute === QueryBuilder.prototype.execute && isAsExpected(Base)

  class Guarded extends Open {
    get [inspectsItself](): true {
      return true
    }

    execution: Execution | undefined
    isRunning = false
    deletedToo = false
    readableFilters: readonly Template[] = noFilters
    /** Whether the statement was built: hooks that run now run after it. */
    isSent = false
    /** The columns of identifiers in the statement that is being built. */
    names: NamesContext | undefined
    /** The write whose rows this query finds. */
    affectedBy: { readonly builder: GuardedBuilder; readonly write: WriteOperation } | undefined
    #listsColumns = false
    #isBuilding = false
    #forCopy: { readonly trx: Knex | undefined; copy?: Guarded } | undefined

    get enforcer(): PolicyEnforcer | undefined {
      return (this.modelClass() as Statics)[guardOf]
    }

    #handle: Handle | undefined

    get handle(): GuardedBuilder {
      this.#handle ??= new Handle(this)
      return this.#handle
    }

    override addOperation(op: Operation, args: unknown[]): this {
      allowExtraColumns(op as object)
      const added = super.addOperation(op, args)
      if (isGraphWrite(op)) allowExtraColumnsOfGraph(op as object)
      return added
    }

    override clone(): ObjectionBuilder {
      const copy = super.clone() as Guarded
      copy.execution = this.execution
      copy.isRunning = this.isRunning
      copy.deletedToo = this.deletedToo
      copy.readableFilters = this.readableFilters
      copy.affectedBy = this.affectedBy
      const forCopy = this.#forCopy
      if (forCopy && !forCopy.copy) {
        forCopy.copy = copy
        copy.isRunning = true
        copy.execution = { ids: undefined, action: this.execution?.action, session: this.execution?.session }
        const context = copy.internalContext()
        const { runBefore } = context
        if (!runBefore.includes(runGuard)) context.runBefore = [...runBefore, runGuard]
        if (forCopy.trx) copy.knex(forCopy.trx)
      }
      return copy
    }

    /** Returns a find query for the rows that this query names, without a rule. */
    asFind(): ObjectionBuilder {
      return super.toFindQuery()
    }

    // Static hooks call this as asFindQuery(). It finds the rows that the statement changes, not those that the caller may read.
    override toFindQuery(): ObjectionBuilder {
      const find = this.asFind() as Guarded
      const write = writeOf(this)
      if (!write) return find
      find.clear(/^(returning|first|range)$/)
      // A find of one row returns undefined if there is none, and Objection would wrap that as [undefined].
      find.runAfter((rows) => rows ?? [])
      if (write.kind === 'insert') {
        const ids = this.isSent ? write.models.map((model) => model.$id()).filter((id) => id !== undefined && id !== null) : []
        find.whereInComposite(find.fullIdColumn(), ids)
      }
      const { enforcer } = this
      if (!enforcer) return find
      find.execution = enforcer.affected(this.handle, write, this.isSent)
      if (write.kind !== 'insert' && !this.isSent) find.affectedBy = { builder: this.handle, write }
      return find
    }

    async #narrow(): Promise<void> {
      const { enforcer, affectedBy } = this
      if (!enforcer || !affectedBy) return
      const execution = { ...(this.execution as Execution) }
      await enforcer.narrow(execution, affectedBy.builder, affectedBy.write)
      this.execution = execution
      this.affectedBy = undefined
    }

    /** Includes soft-deleted rows. The policy still applies. */
    withDeleted(): this {
      this.deletedToo = true
      return this
    }

    /**
     * Adds a condition that the database evaluates only on rows that satisfy the model's rule, so that its running time reveals nothing
     * about other rows.
     */
    filterReadable(filter: Template): this {
      this.readableFilters = [...this.readableFilters, filter]
      return this
    }

    override isSelectAll(): boolean {
      // Objection joins a subquery, which carries the rule, instead of the bare table.
      if (!super.isSelectAll()) return false
      return !this.enforcer || this.enforcer.isFree(this.modelClass())
    }

    // Objection calls this by column name before it adds the columns that a relation needs, and removes added columns from the rows
    // afterwards. The application may have selected the same column by its property name.
    override hasSelectionAs(selection: string, alias: string, explicit?: boolean): boolean {
      if (!super.hasSelects()) return super.hasSelectionAs(selection, alias, explicit)
      const { propertyOf } = definitionOf(this.modelClass())
      const column = selection.slice(selection.lastIndexOf('.') + 1)
      const property = `${selection.slice(0, -column.length)}${propertyOf.get(column) ?? column}`
      const names = [alias, propertyOf.get(alias) ?? alias]
      return names.some((name) => super.hasSelectionAs(selection, name, explicit) || super.hasSelectionAs(property, name, explicit))
    }

    override whereComposite(...args: unknown[]): this {
      return super.whereComposite(...this.#withTextIds(args))
    }

    override whereInComposite(...args: unknown[]): this {
      return super.whereInComposite(...this.#withTextIds(args))
    }

    // MariaDB compares text with a number numerically: 1 equals every UUID that starts with 01 and a letter. Pass ids as text.
    #withTextIds(args: unknown[]): unknown[] {
      const [columns, ...values] = args
      const cls = this.modelClass()
      if (columns !== this.fullIdColumn() || definitionOf(cls).specs[String(cls.idColumn)]?.type !== 'uuid') return args
      return [columns, ...values.map(textId)]
    }

    override execute(): Promise<unknown> {
      return isWriting(this) ? this.#write() : this.#read()
    }

    async #read(): Promise<unknown> {
      try {
        return await inRuntimeOf(this.unsafeKnex(), () => (this.affectedBy ? this.#narrow().then(() => this.#find()) : this.#find()))
      } catch (error) {
        throw typedError(this.modelClass(), error)
      }
    }

    #find(): Promise<unknown> {
      return isStock ? executeCopy(this.clone()) : super.execute()
    }

    // Objection does not call execute() for counts.
    override async resultSize(): Promise<number> {
      try {
        return await inRuntimeOf(this.unsafeKnex(), () => (this.affectedBy ? this.#narrow().then(() => this.#count()) : this.#count()))
      } catch (error) {
        throw typedError(this.modelClass(), error)
      }
    }

    #count(): Promise<number> {
      return joinsManyRows(this) ? this.#countRoots() : super.resultSize()
    }

    // Counts each row of the model once, however many rows are joined to it.
    async #countRoots(): Promise<number> {
      const ids = [this.fullIdColumn()].flat()
      const each = (this.clone() as Guarded).clear(/orderBy|offset|limit/)
      const db = this.knex()
      const roots = db.queryBuilder()
      each.toKnexQuery(roots).clearSelect().distinct(ids).as('temp')
      const [row] = await db.count('* as count').from(roots)
      return Number((row as { count?: unknown } | undefined)?.count ?? 0)
    }

    // An async function around another one costs each write several promises.
    #write(): Promise<unknown> {
      try {
        return inRuntimeOf(this.unsafeKnex(), () => {
          const isChecked = this.parentQuery() !== null && anyEnforcer()?.isEnforcedAnywhere()
          return isChecked ? this.#writeRelated() : this.#writeOnce()
        })
      } catch (error) {
        return Promise.reject(error)
      }
    }

    async #writeRelated(): Promise<unknown> {
      const removal = removalOf(this)
      const result = await this.#writeOnce()
      if (removal) await assertRemoved(removal, result)
      else if (isLinkOfGraph(this)) assertChanged(this, result)
      return result
    }

    async #writeOnce(): Promise<unknown> {
      const cls = this.modelClass()
      const { enforcer } = this
      const write = enforcer ? writeOf(this) : null
      if (write) for (const row of [write.instance, ...write.models]) assertHome(row, this.knex())
      try {
        const insert = findOperation(operationsOf(this), isPlainInsert) as InsertOperation | null
        const size = insert ? this.#rowsAtOnce(insert) : 0
        if (insert && insert.models.length > size) return await this.#insertInParts(insertIn(insert).models, size)
        const isGraph = findOperation(operationsOf(this), isGraphWrite) !== null
        if (!enforcer && !isGraph) return await this.#run().result
        const isWhole =
          isGraph ||
          this.isRelate() ||
          this.isUnrelate() ||
          (write?.kind === 'insert' && findOperation(operationsOf(this), isOfJoinTable) !== null)
        // A policy may reject a row deeper in a graph even if none applies to its root.
        const needs = isGraph
          ? (anyEnforcer()?.isEnforcedAnywhere() ?? false)
          : isWhole
            ? enforcer?.isEnforced(cls)
            : enforcer?.needsTransaction(this.handle, write)
        const checked = isWhole ? null : write
        if (!needs) return await this.#runChecked(enforcer, checked)
        const db = this.knex()
        if (isTransaction(db))
          return await db.transaction(async (trx) =>
            withTransaction(trx, rootOf(cls.knex()), () => this.#runChecked(enforcer, checked, trx)),
          )
        // A deadlock repeats the transaction, from the values that the rows had before hooks changed them.
        const restoreRows = restorerOf(write?.models ?? [])
        const attempt = (trx: Knex) => {
          restoreRows()
          return this.#runChecked(enforcer, checked, trx)
        }
        return await outsideTransaction(() => transaction(attempt, { knex: db }))
      } catch (error) {
        const answer = typedError(cls, enforcer ? await enforcer.translate(this.handle, write, error) : error)
        recordThrownError(error, answer)
        throw answer
      }
    }

    // Returns how many rows one INSERT may hold.
    #rowsAtOnce(insert: InsertOperation): number {
      const { models } = insert
      // insertedOf() finds out by ids which of several rows were inserted, so rows without ids go one by one.
      const isOneByOne =
        findOperation(operationsOf(this), isIgnoring) !== null && !models.every((model) => [idOrNew(model)].flat().every(isKnownId))
      return isOneByOne ? 1 : rowsPerInsert(definitionOf(this.modelClass()).columnOf.size)
    }

    async #insertInParts(models: readonly Model[], most: number): Promise<unknown> {
      const db = this.knex()
      const root = isTransaction(db) ? rootOf(this.modelClass().knex()) : db
      const restoreRows = restorerOf(models)
      for (let size = most; ; size = Math.ceil(size / 8)) {
        const insertAll = async (trx: Knex.Transaction) => {
          restoreRows()
          const results: unknown[] = []
          for (const part of inParts(models, size)) results.push(await this.#ofRows(part, trx).execute())
          return joinResults(results)
        }
        try {
          if (isTransaction(db)) return await db.transaction((trx) => withTransaction(trx, root, () => insertAll(trx)))
          return await outsideTransaction(() => transaction(insertAll, { knex: db }))
        } catch (error) {
          // The conditions of a policy may bind many values for each row: divide further.
          if (!(error instanceof TooManyValuesError) || size === 1) throw error
        }
      }
    }

    #ofRows(models: readonly Model[], trx: Knex): Guarded {
      const part = this.clone() as Guarded
      insertIn(findOperation(operationsOf(part), isPlainInsert) as unknown as InsertOperation).models = models
      part.knex(trx)
      return part
    }

    async #runChecked(enforcer: PolicyEnforcer | undefined, write: WriteOperation | null, trx?: Knex): Promise<unknown> {
      const { copy, result: pending } = this.#run(trx)
      const result = await pending
      const checked = write ? enforcer?.afterWrite(copy.handle, write, result) : undefined
      if (checked) await checked
      return result
    }

    // Objection executes a copy of the builder. State of one execution is kept in that copy.
    #run(trx?: Knex): { copy: Guarded; result: Promise<unknown> } {
      assertHomeOfOwners(this, trx ?? this.knex())
      this.#forCopy = { trx }
      const result = isStock ? executeCopy(this.clone()) : super.execute()
      const { copy } = this.#forCopy as { copy?: Guarded }
      this.#forCopy = undefined
      if (!copy) throw new ConfigurationError('This version of Objection executes queries in another way: use 3.1.')
      return { copy, result }
    }

    // Returns true while columnList() replaces `t.*`, so that Objection does not add it.
    override hasSelects(): boolean {
      return this.#listsColumns || super.hasSelects()
    }

    override executeOnBuildKnex(knexBuilder: Knex.QueryBuilder): OpenKnexBuilder {
      // A hook of the query, such as onBuild(), may have passed another Knex meanwhile.
      inRuntimeOf(this.unsafeKnex(), () => undefined)
      if (!this.isRunning) assertHomeOfOwners(this, this.knex())
      const built = this.#build(knexBuilder)
      this.#listsColumns = false
      if (!this.isPartial() && !this.#isBuiltIn()) retryOnDeadlock(built)
      if (this.isRunning && !this.isPartial()) this.isSent = true
      if (methodOf(built) === 'insert') {
        this.#keepKnownIds(built)
        this.#noteConflicts(built)
      }
      if (this.isPartial() || methodOf(built) !== 'select' || super.hasSelects()) return built
      if (singlePartsOf(built).table !== undefined || clausesOf(built).some(({ grouping }) => grouping === 'columns')) return built
      const { relation } = findOperation(operationsOf(this), isOfRelation) ?? {}
      const columns = columnList(built.client, this.modelClass(), this.tableRef(), relation?.relatedProp?.cols)
      if (!columns) return built
      this.#listsColumns = true
      return built.select(columns) as OpenKnexBuilder
    }

    // Objection adds RETURNING for the id on PostgreSQL. It is not needed when every row has its id.
    #keepKnownIds(built: OpenKnexBuilder): void {
      const { returning, onConflict } = singlePartsOf(built)
      if (returning === undefined || onConflict !== undefined || findOperation(operationsOf(this), isReturning) !== null) return
      const write = writeOf(this)
      if (write?.models.every((model) => isKnownId(model.$id()))) singlePartsOf(built).returning = undefined
    }

    // If another row caused a conflict, the id generated before the statement is not in the table.
    #noteConflicts(built: OpenKnexBuilder): void {
      const { onConflict, ignore, returning } = singlePartsOf(built)
      if (!onConflict || !this.isRunning) return
      const insert = findOperation(operationsOf(this), isPlainInsert) as InsertOperation | null
      if (!insert) return
      const ids = [this.modelClass().idColumn].flat()
      const returned = [returning ?? []].flat() as string[]
      const needsId = ignore ? returned.length > 0 : dialectOf(this.knex()) === 'sqlite'
      if (needsId && !returned.includes('*')) built.returning([...new Set([...returned, ...ids])])
      if (ignore) noteIgnored(built, insert, ids)
    }

    #build(knexBuilder: Knex.QueryBuilder): OpenKnexBuilder {
      const names = namesOf(this, knexBuilder)
      this.names = names
      knexBuilder.queryContext(names)
      this.#isBuilding = true
      let built: OpenKnexBuilder
      try {
        built = super.executeOnBuildKnex(knexBuilder)
      } finally {
        this.#isBuilding = false
      }
      built.queryContext(names)
      // The query may use another Knex instance than initPerms() got.
      redactErrorsOf(built.client as Knex.Client & FailingClient)
      const cls = this.modelClass()
      const { enforcer } = this
      const table = tableOf(cls)
      const activeEnforcer = enforcer ?? anyEnforcer()
      const context = new GuardedStatementContext(cls, enforcer, this.isPartial() ? null : table, this.tableRef(), activeEnforcer?.caller())
      const isBound = activeEnforcer?.isEnforcedAnywhere() ?? false
      if (isBound) {
        const from = this.tableName()
        if (enforcer) protectTable(cls, enforcer)
        else rejectProtectedTable(context, this.isPartial() ? null : from, built)
        inspect(context, built)
      }
      if (this.isPartial()) return built
      if (singlePartsOf(built).limit !== undefined || singlePartsOf(built).offset !== undefined) rejectLimitedGraph(this)
      if (methodOf(built) === 'truncate') enforcer?.checkTruncate(cls)
      const isRestricted = enforcer !== undefined && !enforcer.isFree(cls) && this.#restrict(context, enforcer, built)
      if (!isRestricted && this.readableFilters.length > 0) {
        groupWheres(built, names)
        for (const filter of this.readableFilters) built.whereRaw(fragment(built.client, filter))
      }
      // Other builders carry no rule. They are inspected again inside another statement, because the application may have changed them.
      if (enforcer || (isBound && context.exempt)) noteModelQuery(context, built)
      return built
    }

    /** @returns true if the rule and the readable filters were added; false if the rows come from another query */
    #restrict(context: GuardedStatementContext, enforcer: PolicyEnforcer, built: OpenKnexBuilder): boolean {
      const kind = kindOf(this)
      const isOther = context.isEnforced ? this.#checkSource(context, built, kind) : isFromOther(context, built)
      if (kind !== 'insert') groupWheres(built, this.names as NamesContext)
      if (!isOther) enforcer.restrict(this.handle, built, this.execution?.action ?? kind)
      return !isOther
    }

    override toKnexQuery(knexBuilder?: Knex.QueryBuilder): OpenKnexBuilder {
      const built = knexBuilder ? super.toKnexQuery(knexBuilder) : super.toKnexQuery()
      return this.enforcer && !this.#isBuiltIn() ? exposeKnexQuery(built, this.enforcer) : built
    }

    // Returns whether this builder becomes part of a guarded query that is being built and inspected as a whole.
    #isBuiltIn(): boolean {
      const parent = enclosingQueryOf(this)
      return parent instanceof Guarded && parent.#isBuilding && parent.enforcer !== undefined
    }

    // Returns whether the rows come from a query with its own rule. Rejects every source except that and the model's table.
    #checkSource(context: StatementContext, built: OpenKnexBuilder, kind: StatementKind): boolean {
      const isWrite = kind !== 'read'
      if (!isOfKind(built, kind))
        rejectStatement(context, `a ${kind} that onBuildKnex() makes another statement of`, 'use the methods of query()')
      if (isWrite && !this.isRunning) rejectStatement(context, 'a knex query made of a write', 'await the builder itself')
      if (this.tableRef() !== context.table && /^perms_/.test(this.tableRef()))
        rejectStatement(context, `the alias '${this.tableRef()}'`, 'take one that does not begin with perms_')
      if (singlePartsOf(built).table === undefined && this.tableName() !== context.table)
        rejectStatement(context, `the table '${this.tableName()}'`, 'query the model of that table')
      const isOther = isFromGuarded(context, built)
      if (isOther && isWrite) rejectStatement(context, 'a write to what from() names', 'write to the model')
      return isOther
    }
  }
  guardedBuilders.add(Guarded)
  return Guarded as unknown as typeof QueryBuilder

  // Objection calls this after all before-hooks with the running builder: the guarded one, or a child that shares its context.
  function runGuard(result: unknown, builder: ObjectionBuilder): unknown {
    if (!(builder instanceof Guarded)) return result
    const enforcer = builder.enforcer
    const write = findOperation(operationsOf(builder), isGraphWrite) !== null ? null : writeOf(builder)
    const checked = enforcer && write ? enforcer.beforeWrite(builder.handle, write) : undefined
    const complete = () => {
      if (write?.kind === 'insert') for (const model of write.models) (model as { $complete?(): void }).$complete?.()
      return result
    }
    return checked ? checked.then(complete) : complete()
  }
}
