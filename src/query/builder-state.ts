/** Keeps the state of a query that enforces a policy in its builder. */

import type { NamesContext } from '../database/identifiers.js'
import { allowExtraColumns, allowExtraColumnsOfGraph } from '../schema/join-columns.js'
import { dialectOf } from '../schema/storage.js'
import { assertAllowedActions, readFlags } from './allowed-flags.js'
import { type BuilderState, Handle } from './enforcing-query.js'
import { isGraphWrite, writeOf } from './execution/write-operation.js'
import type { Template } from './fragments.js'
import { inspectsItself } from './inspection/plain-classes.js'
import { enforcerKey } from './inspection/protected-tables.js'
import { exactLiterals } from './literals.js'
import type { BuilderClass, ObjectionBuilder, Operation } from './objection-internals.js'
import type { AllowedFlag, Execution, PolicyEnforcer, QueryHandle, WriteOperation } from './policy-enforcer.js'
import { searchOf } from './search.js'

interface Statics {
  [enforcerKey]?: PolicyEnforcer
}

const noFilters: readonly Template[] = []
const noActions: readonly string[] = []
const noFlags: readonly AllowedFlag[] = []

/** Adds the state of a query, its enforcer, and the queries for the rows that a write changes. */
export function BuilderStateMixin(Base: BuilderClass<ObjectionBuilder>): BuilderClass<BuilderState> {
  return class WithState extends Base implements BuilderState {
    get [inspectsItself](): true {
      return true
    }

    execution: Execution | undefined
    isRunning = false
    deletedToo = false
    provesCaller = false
    readableFilters: readonly Template[] = noFilters
    allowedActions: readonly string[] = noActions
    allowedFlags: readonly AllowedFlag[] = noFlags
    /** Whether the statement was built: hooks that run now run after it. */
    isSent = false
    /** The columns of identifiers in the statement that is being built. */
    names: NamesContext | undefined
    /** The write whose rows this query finds. */
    affectedBy: { readonly builder: QueryHandle; readonly write: WriteOperation } | undefined
    #handle: Handle | undefined

    get enforcer(): PolicyEnforcer | undefined {
      return (this.modelClass() as Statics)[enforcerKey]
    }

    get handle(): QueryHandle {
      this.#handle ??= new Handle(this)
      return this.#handle
    }

    override addOperation(op: Operation, args: unknown[]): this {
      allowExtraColumns(op)
      const added = super.addOperation(op, exactLiterals(this, op.name, args))
      if (isGraphWrite(op)) allowExtraColumnsOfGraph(op)
      return added
    }

    override clone(): BuilderState {
      const copy = super.clone() as BuilderState
      copy.execution = this.execution
      copy.isRunning = this.isRunning
      copy.deletedToo = this.deletedToo
      copy.provesCaller = this.provesCaller
      copy.readableFilters = this.readableFilters
      copy.allowedActions = this.allowedActions
      copy.affectedBy = this.affectedBy
      return copy
    }

    /** Returns a find query for the rows that this query names, without a rule. */
    asFind(): ObjectionBuilder {
      return super.toFindQuery()
    }

    // Static hooks call this as asFindQuery(). It finds the rows that the statement changes, not those that the caller may read.
    override toFindQuery(): ObjectionBuilder {
      const find = this.asFind() as BuilderState
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

    /** Finds rows with all words of a text in the searchable columns of the model. */
    search(text: string): this {
      const found = searchOf(this.modelClass(), this.tableRef(), text, dialectOf(this.knex()))
      return found === null ? this : this.filterReadable(found)
    }

    /** Adds `row.allowed` to the rows: for each action, whether the caller may do it. */
    withAllowed(...actions: readonly string[]): this {
      const isFirst = this.allowedActions.length === 0
      this.allowedActions = [...new Set([...this.allowedActions, ...actions])]
      assertAllowedActions(this, this.allowedActions)
      if (isFirst) this.runAfter((result, builder) => readFlags(builder as BuilderState, result))
      return this
    }

    override isSelectAll(): boolean {
      if (this.allowedActions.length > 0) return false
      // Objection joins a subquery, which carries the rule, instead of the bare table.
      if (!super.isSelectAll()) return false
      return !this.enforcer || this.enforcer.isFree(this.modelClass())
    }
  }
}
