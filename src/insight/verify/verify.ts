import type { Model } from 'objection'
import { ConfigurationError } from '../../core/errors.js'
import { assertKnownOptions, type OptionNames } from '../../core/known-options.js'
import { crudActions } from '../../policy/actions.js'
import { modelClass } from '../../schema/model-class.js'
import { policiesOf } from '../leaves.js'
import { counterexampleTest } from './counterexample.js'
import { type Leak, searchAction } from './search.js'
import { tenanciesOf } from './tenants.js'
import { NotCovered } from './trees.js'

export interface VerifyOptions {
  /** No caller of one tenant reads, changes, deletes or creates rows of another one, or moves rows to it. */
  readonly property: 'tenantIsolation'
  /**
   * The column with the tenant of a row, by the name of the model; null: the rows belong to no tenant. Default: the column of
   * HasDomainMixin.
   */
  readonly tenant?: Readonly<Record<string, string | null>> | undefined
  /** Whether the owner is the tenant of rows that have no other one. Callers then have no roles. @defaultValue false */
  readonly ownership?: boolean | undefined
  /** Milliseconds after which actions that were not examined are unknown. @defaultValue 60000 */
  readonly timeout?: number | undefined
  /** The module that exports the models, for the tests that are printed. @defaultValue './models.js' */
  readonly modelsFrom?: string | undefined
}

/** A database and a caller for which the property does not hold. */
export interface Counterexample {
  readonly model: string
  /** The action; 'move' for an update that gives a row to another tenant. */
  readonly action: string
  /** The caller, the row and the related rows, in a sentence. */
  readonly description: string
  /** A module in TypeScript that fails as long as the property does not hold. */
  readonly test: string
}

export interface Verification {
  /** 'unknown' if no counterexample was found, but not all rules could be examined, or no model has a tenant. */
  readonly outcome: 'pass' | 'counterexample' | 'unknown'
  readonly counterexamples: readonly Counterexample[]
  /** Actions that could not be examined, with the reason. */
  readonly unknown: readonly { readonly model: string; readonly action: string; readonly reason: string }[]
  /** The models whose rows belong to a tenant, with the column. */
  readonly tenants: Readonly<Record<string, string>>
}

const optionNames: OptionNames<VerifyOptions> = { property: true, tenant: true, ownership: true, timeout: true, modelsFrom: true }

/**
 * Searches for a caller of one tenant who can reach rows of another tenant: in SQLite in memory, over all values of columns that the rules
 * can tell apart, with up to two related rows per relation, for each role that the rules name. Global admins and code in asSystem() are exempt. The database of the application
 * is not used.
 *
 * @param models the models, and those that their rules refer to
 * @throws ConfigurationError for another property, for a tenant column that does not exist, and without an SQLite driver
 * @example
 * const { outcome, counterexamples } = await verify([Critter, UserDocument], { property: 'tenantIsolation' })
 * for (const { test } of counterexamples) console.log(test)
 */
export async function verify(models: readonly (abstract new (...args: never[]) => Model)[], options: VerifyOptions): Promise<Verification> {
  assertKnownOptions(options, optionNames, 'verify(models, ...)')
  if (options.property !== 'tenantIsolation')
    throw new ConfigurationError(`verify({ property: '${String(options.property)}' }): there is no such property. Use 'tenantIsolation'.`)
  const policies = policiesOf(models)
  const tenancies = tenanciesOf(policies, options.tenant ?? {}, options.ownership ?? false)
  const deadline = Date.now() + (options.timeout ?? 60_000)
  const found: Leak[] = []
  const unknown: Verification['unknown'][number][] = []
  for (const tenancy of tenancies) {
    for (const action of [...crudActions, ...tenancy.policy.named.keys()]) {
      const at = { model: modelClass(tenancy.cls).name, action }
      if (Date.now() >= deadline) unknown.push({ ...at, reason: 'the time was over before this action: pass a longer timeout' })
      else {
        try {
          found.push(...(await searchAction({ policies, tenancies, tenancy, action, deadline })))
        } catch (error) {
          if (!(error instanceof NotCovered)) throw error
          unknown.push({ ...at, reason: error.message })
        }
      }
    }
  }
  const isExamined = tenancies.length > 0 && unknown.length === 0
  return {
    outcome: found.length > 0 ? 'counterexample' : isExamined ? 'pass' : 'unknown',
    counterexamples: found.map((leak) => counterexampleTest(leak, options.modelsFrom ?? './models.js')),
    unknown,
    tenants: Object.fromEntries(tenancies.map(({ cls, column }) => [modelClass(cls).name, column])),
  }
}
