/** The members that an enforcing QueryBuilder adds to Objection's, and the part of it that the enforcer sees. */
import type { Knex } from 'knex'
import type { Model, QueryBuilder } from 'objection'
import type { NamesContext } from '../database/identifiers.js'
import type { Template } from './fragments.js'
import type { ObjectionBuilder } from './objection-internals.js'
import type {
  AllowedFlag,
  EnforcerSession,
  Execution,
  PolicyEnforcer,
  QueryHandle,
  StatementAction,
  WriteOperation,
} from './policy-enforcer.js'

/** Executes a copy of the builder, as Objection does. Applications may give their own methods any name. */
export const runCopy: unique symbol = Symbol('run a copy')

/** The state of a query that enforces a policy. */
export interface BuilderState extends ObjectionBuilder {
  /** The enforcer of the model; undefined for a model without a policy. */
  readonly enforcer: PolicyEnforcer | undefined
  readonly handle: QueryHandle
  execution: Execution | undefined
  /** Whether this is the copy that is executed. */
  isRunning: boolean
  deletedToo: boolean
  /** Whether the rows of this query prove the caller of the request. */
  provesCaller: boolean
  readableFilters: readonly Template[]
  /** The actions of withAllowed(). */
  allowedActions: readonly string[]
  /** The flags in the statement, once it was built. */
  allowedFlags: readonly AllowedFlag[]
  /** Whether the statement was built: hooks that run now run after it. */
  isSent: boolean
  /** The columns of identifiers in the statement that is being built. */
  names: NamesContext | undefined
  /** The write whose rows this query finds. */
  affectedBy: { readonly builder: QueryHandle; readonly write: WriteOperation } | undefined
  /** Returns a find query for the rows that this query names, without a rule. */
  asFind(): ObjectionBuilder
}

/** A query builder that enforces policies. */
export interface EnforcingQuery extends BuilderState {
  clone(): EnforcingQuery
  /** State of one execution is kept in the copy. */
  [runCopy](trx?: Knex): { readonly copy: EnforcingQuery; readonly result: Promise<unknown> }
}

/** The members of a builder that the enforcer uses. */
export class Handle implements QueryHandle {
  readonly #builder: BuilderState

  constructor(builder: BuilderState) {
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

  targets(action: StatementAction, session?: EnforcerSession): QueryBuilder<Model> {
    const find = this.#builder.asFind() as BuilderState
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
