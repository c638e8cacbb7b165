/** Lets the coverage of policies see the questions that are asked outside of statements. */
import type { Knex } from 'knex'
import type { Model } from 'objection'
import type { ActionName } from '../policy/actions.js'
import type { Actor } from '../policy/context.js'

/** A question whether a caller may do an action. */
export interface ObservedQuestion {
  readonly cls: typeof Model
  readonly action: ActionName
  readonly actor: Actor | null
  /** The connection on which the question is decided. */
  readonly db?: Knex | undefined
  /** The id of the saved row, or the values of the row. Neither: no row was looked at. */
  readonly id?: unknown
  readonly values?: Readonly<Record<string, unknown>> | undefined
}

/** The observer of this process. It is set only while the coverage of policies is measured. */
export const policyObserver: { asked: ((question: ObservedQuestion) => Promise<void>) | undefined } = { asked: undefined }
