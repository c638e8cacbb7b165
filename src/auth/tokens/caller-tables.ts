import type { Model } from 'objection'
import { columnOf } from '../../schema/definition/definition.js'

/** One table of the statement that loads a caller: `as` is the column's name there, `alias` its name in result rows. */
export interface Part {
  readonly cls: typeof Model
  readonly columns: readonly { readonly as: string; readonly alias: string; readonly column: string }[]
}

/** The tables that a caller comes from. */
export type Parts = Readonly<Record<'user' | 'token' | 'userRole' | 'domain', Part>>

/** Returns the column of a property, behind the alias of its table. */
export const columnIn = (alias: string, cls: typeof Model, property: string): string => `${alias}.${columnOf(cls, property)}`
