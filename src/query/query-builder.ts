/** Extends Objection's QueryBuilder so that every statement carries the policy of its model. */

import type { Knex } from 'knex'
import { Model, QueryBuilder } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { inRuntimeOf } from '../runtime.js'
import { BuilderStateMixin } from './builder-state.js'
import { assertMayProve, assertProven } from './caller-proof.js'
import { afterNarrowing, CountMixin } from './counts.js'
import { type EnforcingQuery, runCopy } from './enforcing-query.js'
import { executeCopy, isAsExpected } from './execution/execution.js'
import { afterTableCheck } from './execution/table-check.js'
import { writeOnce, writeRelated } from './execution/write-execution.js'
import { assertHomeOfOwners, isGraphWrite, isWriting, writeOf } from './execution/write-operation.js'
import type { Template } from './fragments.js'
import { IdConditionsMixin } from './id-conditions.js'
import { anyEnforcer } from './inspection/protected-tables.js'
import { type BuilderClass, findOperation, type ObjectionBuilder, operationsOf } from './objection-internals.js'
import { StatementBuildingMixin } from './statement-building.js'
import { typedError } from './typed-errors.js'

const enforcingBuilders = new WeakSet<object>()

/** QueryBuilder classes and query() methods without code of the application. */
const libraryCode = new WeakSet<object>([Model.query])

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

/** Returns whether a query of a model runs no code of the application before its statement. */
export function queriesWithoutCode({ beforeFind, query, QueryBuilder: builder }: typeof Model): boolean {
  return beforeFind === Model.beforeFind && libraryCode.has(query) && libraryCode.has(builder)
}

/** Marks a QueryBuilder class or a query() method that the library derives from another one, if that has no code of the application. */
export function noteDerivedCode(base: object, derived: object): void {
  if (libraryCode.has(base)) libraryCode.add(derived)
}

/**
 * Extends a QueryBuilder class: properties may be used as identifiers, every statement carries its policy, and errors are typed.
 *
 * @param Base Objection's QueryBuilder, or the application's own subclass of it
 */
export function enforcingQueryBuilder(Base: typeof QueryBuilder): typeof QueryBuilder {
  // The enforcer is found by the model class, so one subclass is enough. Two would reject each other's conditions.
  if (isEnforcingBuilder(Base)) return Base
  const Open = CountMixin(StatementBuildingMixin(BuilderStateMixin(IdConditionsMixin(Base as unknown as BuilderClass<ObjectionBuilder>))))
  // executeCopy() is used only for Objection's own execute(): an application's override or another Objection version keeps its own.
  const isStock = Base.prototype.execute === QueryBuilder.prototype.execute && isAsExpected(Base)

  class EnforcingBuilder extends Open implements EnforcingQuery {
    #forCopy: { readonly trx: Knex | undefined; copy?: EnforcingBuilder } | undefined

    override clone(): EnforcingBuilder {
      const copy = super.clone() as EnforcingBuilder
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

    override execute(): Promise<unknown> {
      return isWriting(this) ? this.#write() : this.#read()
    }

    // An async function around another one costs each query several promises.
    #read(): Promise<unknown> {
      try {
        assertProven(this)
        return inRuntimeOf(
          () => this.unsafeKnex(),
          () => afterNarrowing(this, () => this.#find()),
        )
      } catch (error) {
        return Promise.reject(typedError(this.modelClass(), error))
      }
    }

    #find(): Promise<unknown> {
      const convert = (error: unknown) => typedError(this.modelClass(), error)
      if (isStock) return executeCopy(this.clone(), convert)
      return super.execute().catch((error: unknown) => Promise.reject(convert(error)))
    }

    #write(): Promise<unknown> {
      try {
        return inRuntimeOf(
          () => this.unsafeKnex(),
          () => {
            assertMayProve(this)
            const isChecked = this.parentQuery() !== null && anyEnforcer()?.isEnforcedAnywhere()
            return afterTableCheck(
              () => this.unsafeKnex(),
              () => (isChecked ? writeRelated(this) : writeOnce(this)),
            )
          },
        )
      } catch (error) {
        return Promise.reject(error)
      }
    }

    // Objection executes a copy of the builder. State of one execution is kept in that copy.
    [runCopy](trx?: Knex): { copy: EnforcingBuilder; result: Promise<unknown> } {
      assertProven(this)
      assertHomeOfOwners(this, trx)
      this.#forCopy = { trx }
      const result = isStock ? executeCopy(this.clone()) : super.execute()
      const { copy } = this.#forCopy
      this.#forCopy = undefined
      if (!copy) throw new ConfigurationError('This version of Objection executes queries in another way: use 3.1.')
      return { copy, result }
    }
  }
  enforcingBuilders.add(EnforcingBuilder)
  if (isStock && Base === QueryBuilder) libraryCode.add(EnforcingBuilder)
  return EnforcingBuilder as unknown as typeof QueryBuilder
}

// Objection calls this after all before-hooks with the running builder: the enforcing one, or a child that shares its context.
function runEnforcer(result: unknown, builder: ObjectionBuilder): unknown {
  if (!isEnforcing(builder)) return result
  const { enforcer } = builder
  const write = findOperation(operationsOf(builder), isGraphWrite) !== null ? null : writeOf(builder)
  const checked = enforcer && write ? enforcer.beforeWrite(builder.handle, write) : undefined
  const complete = () => {
    if (write?.kind === 'insert') for (const model of write.models) (model as { $complete?(): void }).$complete?.()
    return result
  }
  return checked ? checked.then(complete) : complete()
}

const isEnforcing = (builder: ObjectionBuilder): builder is ObjectionBuilder & EnforcingQuery => runCopy in builder
