/** Builds the statements of query builders that enforce policies. */
import type { Knex } from 'knex'
import { clausesOf, methodOf, type OpenKnexBuilder, singlePartsOf } from '../database/knex-internals.js'
import { assertRuntimeOf } from '../runtime.js'
import { definitionOf } from '../schema/definition/definition.js'
import { selectFlags } from './allowed-flags.js'
import type { BuilderState } from './enforcing-query.js'
import { addPolicy, keepKnownIds, noteConflicts } from './enforcing-statements.js'
import { retryOnDeadlock } from './execution/deadlock-retry.js'
import { assertHomeOfOwners, isOfRelation } from './execution/write-operation.js'
import { exposeKnexQuery } from './inspection/statement.js'
import { type BuilderClass, enclosingQueryOf, findOperation, operationsOf } from './objection-internals.js'
import { columnList } from './selected-columns.js'
import { namesOf } from './statement-names.js'

/** Adds the policy to each statement, and lists the columns of the model instead of `*`. */
export function StatementBuildingMixin(Base: BuilderClass<BuilderState>): BuilderClass<BuilderState> {
  class Building extends Base {
    #listsColumns = false
    #isBuilding = false

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

    // Returns true while columnList() replaces `t.*`, so that Objection does not add it.
    override hasSelects(): boolean {
      return this.#listsColumns || super.hasSelects()
    }

    override executeOnBuildKnex(knexBuilder: Knex.QueryBuilder): OpenKnexBuilder {
      const built = this.#complete(knexBuilder)
      if (this.allowedActions.length > 0) selectFlags(this, built)
      return built
    }

    #complete(knexBuilder: Knex.QueryBuilder): OpenKnexBuilder {
      // A hook of the query, such as onBuild(), may have set another Knex since.
      assertRuntimeOf(() => this.unsafeKnex())
      if (!this.isRunning) assertHomeOfOwners(this)
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
      return parent instanceof Building && parent.#isBuilding && parent.enforcer !== undefined
    }
  }
  return Building
}
