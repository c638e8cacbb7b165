/** Extends Objection's QueryBuilder so that every statement carries the policy of its model. */

import type { Knex } from 'knex'
import { QueryBuilder } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import type { NamesContext } from '../database/identifiers.js'
import { clausesOf, methodOf, type OpenKnexBuilder, singlePartsOf } from '../database/knex-internals.js'
import { inRuntimeOf } from '../runtime.js'
import { definitionOf } from '../schema/definition.js'
import { keyOf } from '../schema/ids.js'
import { allowExtraColumns, allowExtraColumnsOfGraph } from '../schema/join-columns.js'
import { retryOnDeadlock } from './deadlock-retry.js'
import { type EnforcingQuery, Handle, runCopy } from './enforcing-query.js'
import { addPolicy, keepKnownIds, noteConflicts } from './enforcing-statements.js'
import { executeCopy, isAsExpected } from './execution.js'
import type { Template } from './fragments.js'
import { joinsManyRows } from './joined-graphs.js'
import { enclosingQueryOf, findOperation, type ObjectionBuilder, type Operation, operationsOf } from './objection-internals.js'
import { inspectsItself } from './plain-classes.js'
import type { Execution, PolicyEnforcer, QueryHandle, WriteOperation } from './policy-enforcer.js'
import { anyEnforcer, enforcerKey } from './protected-tables.js'
import { columnList } from './selected-columns.js'
import { exposeKnexQuery } from './statement.js'
import { namesOf } from './statement-names.js'
import { typedError } from './typed-errors.js'
import { writeOnce, writeRelated } from './write-execution.js'
import { assertHomeOfOwners, isGraphWrite, isOfRelation, isWriting, writeOf } from './write-operation.js'

interface Statics {
  [enforcerKey]?: PolicyEnforcer
}

type Constructor<T> = new (...args: never[]) => T

const enforcingBuilders = new WeakSet<object>()

const noFilters: readonly Template[] = []

/**
 * Adds a condition that the database evaluates only on rows that satisfy the model's rule.
 *
 * @throws ConfigurationError for a query of a plain Objection class
 */
export function filterReadable(query: object, filter: Template): void {
  if (!('filterReadable' in query && typeof query.filterReadable === 'function'))
    throw new ConfigurationError('The model of this query does not extend BaseModel: use ActiveRecordMixin(Model).')
  query.filterReadable(filter)
}

/** Returns whether a QueryBuilder class enforces policies: one made by enforcingQueryBuilder(), or a subclass of one. */
export function isEnforcingBuilder(builder: object): boolean {
  for (let cls: object | null = builder; cls !== null; cls = Object.getPrototypeOf(cls) as object | null) {
    if (enforcingBuilders.has(cls)) return true
  }
  return false
}

/**
 * Extends a QueryBuilder class: properties may be used as identifiers, every statement carries its policy, and errors are typed.
 *
 * @param Base Objection's QueryBuilder, or the application's own subclass of it
 */
export function enforcingQueryBuilder(Base: typeof QueryBuilder): typeof QueryBuilder {
  // The enforcer is found by the model class, so one subclass is enough. Two would reject each other's conditions.
  if (isEnforcingBuilder(Base)) return Base
  const Open = Base as unknown as Constructor<ObjectionBuilder>
  // executeCopy() is used only for Objection's own execute(): an application's override or another Objection version keeps its own.
  const isStock = Base.prototype.execute === QueryBuilder.prototype.execute && isAsExpected(Base)

  class EnforcingBuilder extends Open implements EnforcingQuery {
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
    affectedBy: { readonly builder: QueryHandle; readonly write: WriteOperation } | undefined
    #listsColumns = false
    #isBuilding = false
    #forCopy: { readonly trx: Knex | undefined; copy?: EnforcingBuilder } | undefined

    get enforcer(): PolicyEnforcer | undefined {
      return (this.modelClass() as Statics)[enforcerKey]
    }

    #handle: Handle | undefined

    get handle(): QueryHandle {
      this.#handle ??= new Handle(this)
      return this.#handle
    }

    override addOperation(op: Operation, args: unknown[]): this {
      allowExtraColumns(op)
      const added = super.addOperation(op, args)
      if (isGraphWrite(op)) allowExtraColumnsOfGraph(op)
      return added
    }

    override clone(): EnforcingBuilder {
      const copy = super.clone() as EnforcingBuilder
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
        if (!runBefore.includes(runEnforcer)) context.runBefore = [...runBefore, runEnforcer]
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
      const find = this.asFind() as EnforcingBuilder
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
      const [columns, ...further] = args
      if (further.length === 0 || !this.#isIdColumn(columns)) return super.whereComposite(...args)
      const id = keyOf(this.modelClass(), further.pop())
      return id === undefined ? this.#matchNothing() : super.whereComposite(columns, ...further, id)
    }

    override whereInComposite(...args: unknown[]): this {
      const [columns, ids] = args
      if (!Array.isArray(ids) || !this.#isIdColumn(columns)) return super.whereInComposite(...args)
      const known = ids.map((id) => keyOf(this.modelClass(), id)).filter((id) => id !== undefined)
      return super.whereInComposite(columns, known)
    }

    #isIdColumn(columns: unknown): boolean {
      return [columns].flat().join() === [this.fullIdColumn()].flat().join()
    }

    // For a value that is no id. MariaDB would equate '7abc' with 7, and PostgreSQL would refuse the statement.
    #matchNothing(): this {
      return (this as unknown as QueryBuilder<never>).whereRaw('1 = 0') as unknown as this
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
      const each = this.clone().clear(/orderBy|offset|limit/)
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
          return isChecked ? writeRelated(this) : writeOnce(this)
        })
      } catch (error) {
        return Promise.reject(error)
      }
    }

    // Objection executes a copy of the builder. State of one execution is kept in that copy.
    [runCopy](trx?: Knex): { copy: EnforcingBuilder; result: Promise<unknown> } {
      assertHomeOfOwners(this, trx ?? this.knex())
      this.#forCopy = { trx }
      const result = isStock ? executeCopy(this.clone()) : super.execute()
      const { copy } = this.#forCopy
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
        keepKnownIds(this, built)
        noteConflicts(this, built)
      }
      if (this.isPartial() || methodOf(built) !== 'select' || super.hasSelects()) return built
      if (singlePartsOf(built).table !== undefined || clausesOf(built).some(({ grouping }) => grouping === 'columns')) return built
      const { relation } = findOperation(operationsOf(this), isOfRelation) ?? {}
      const columns = columnList(built.client, this.modelClass(), this.tableRef(), relation?.relatedProp?.cols)
      if (!columns) return built
      this.#listsColumns = true
      return built.select(columns) as OpenKnexBuilder
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
      addPolicy(this, built)
      return built
    }

    override toKnexQuery(knexBuilder?: Knex.QueryBuilder): OpenKnexBuilder {
      const built = knexBuilder ? super.toKnexQuery(knexBuilder) : super.toKnexQuery()
      return this.enforcer && !this.#isBuiltIn() ? exposeKnexQuery(built, this.enforcer) : built
    }

    // Returns whether this builder becomes part of an enforcing query that is being built and inspected as a whole.
    #isBuiltIn(): boolean {
      const parent = enclosingQueryOf(this)
      return parent instanceof EnforcingBuilder && parent.#isBuilding && parent.enforcer !== undefined
    }
  }
  enforcingBuilders.add(EnforcingBuilder)
  return EnforcingBuilder as unknown as typeof QueryBuilder

  // Objection calls this after all before-hooks with the running builder: the enforcing one, or a child that shares its context.
  function runEnforcer(result: unknown, builder: ObjectionBuilder): unknown {
    if (!(builder instanceof EnforcingBuilder)) return result
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
