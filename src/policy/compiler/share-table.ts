/** SQL over the table of shares. */
import { column } from '../../schema/column.js'
import { columnOf } from '../../schema/definition/definition.js'
import { type Dialect, encode } from '../../schema/storage.js'
import { modelOfTable } from '../registered-models.js'
import { type Sql, sql } from './condition.js'

/** Returns a column of the table of shares under an alias. */
export const shareColumn = (alias: string, property: string): string => `${alias}.${columnOf(modelOfTable('rowShare'), property)}`

/** Returns the condition that a share has not expired. */
export function isUnexpired(alias: string, dialect: Dialect): Sql {
  const expiresAt = shareColumn(alias, 'expiresAt')
  const now = encode(column.datetime().spec, new Date(), dialect)
  return sql('(?? is null or ?? > ?)', expiresAt, expiresAt, now)
}
