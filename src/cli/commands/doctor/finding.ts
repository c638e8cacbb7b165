import type { DatabaseSchema } from '../../../database/catalogue/schema-types.js'
import type { DeclaredTable } from '../../../migrate/declared-table.js'
import type { Dialect } from '../../../schema/storage.js'
import type { Application } from '../../application/application.js'

/** A fault, or a risk, with what to do about it. */
export interface Finding {
  /** error: the application does not work, or is not safe. warning: it may be. */
  readonly severity: 'error' | 'warning'
  /** The subject, such as 'indexes'. */
  readonly check: string
  /** The problem, in one sentence. */
  readonly what: string
  /** The next step for the reader. */
  readonly advice: string
}

/** The application and its database, as the checks read them. */
export interface Examined {
  readonly app: Application
  readonly dialect: Dialect
  /** The tables that models declare. */
  readonly declared: readonly DeclaredTable[]
  /** These tables as the database has them. */
  readonly schema: DatabaseSchema
}

/** Looks for faults of one kind. An error of a check does not stop the other checks. */
export type Check = (examined: Examined) => Promise<readonly Finding[]> | readonly Finding[]

export const error = (check: string, what: string, advice: string): Finding => ({ severity: 'error', check, what, advice })
export const warning = (check: string, what: string, advice: string): Finding => ({ severity: 'warning', check, what, advice })
