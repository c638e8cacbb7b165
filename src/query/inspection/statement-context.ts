/** Describes the statement under inspection, and rejects it. */
import { ConfigurationError } from '../../core/errors.js'
import { methodOf, type OpenKnexBuilder } from '../../database/knex-internals.js'

/** Describes the statement under inspection. */
export interface StatementContext {
  /** The model's name, for messages. */
  readonly name: string
  /** The model's table; null if the statement may use any table without a policy. */
  readonly table: string | null
  /** The alias of that table in the statement. */
  readonly ref: string
  /** Whether the model's own policy applies: clauses that cannot be inspected are then rejected. */
  readonly isEnforced: boolean
  /** Protected tables, in lower case, that a class without a policy may name: see exemptTables(). */
  readonly exempt?: ReadonlySet<string> | undefined
  /** The caller, compared by identity. */
  readonly caller: unknown
  /** Returns whether the model's policy does not apply to the code that runs at the time of the call. */
  isFreeNow(): boolean
}

/** Rejects a statement with a message that names the clause and an alternative. @throws ConfigurationError always */
export function rejectStatement(context: StatementContext, way: string, instead: string): never {
  throw new ConfigurationError(
    `${context.name}: ${way} would bypass the permissions; ${instead}, or use Model.knexQuery() inside asSystem().`,
  )
}

const methods = { read: /^(select|first|pluck|columnInfo)$/, insert: /^insert$/, update: /^update$/, delete: /^del$/ }

/** Returns whether a statement is of the kind of the model's query: onBuildKnex() could turn a find into an update. */
export function isOfKind(statement: OpenKnexBuilder, kind: keyof typeof methods): boolean {
  return methods[kind].test(methodOf(statement))
}
