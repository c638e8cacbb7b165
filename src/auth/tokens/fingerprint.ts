/**
 * The SQL that computes the fingerprint of a caller: a text that differs for any two states of the session, its user, the user's
 * grants and their domains. It compares values, so that no granularity of a timestamp can hide a change.
 */
import type { Knex } from 'knex'
import type { Model } from 'objection'
import { dialectOfClass } from '../../record/codec.js'
import { tableOf } from '../../schema/class-statics.js'
import { definitionOf } from '../../schema/definition/definition.js'
import type { Dialect } from '../../schema/storage.js'
import { columnIn, type Part, type Parts } from './caller-tables.js'

type Alias = 'perms_s' | 'perms_u' | 'perms_r' | 'perms_d'

/** Returns SQL for the state of one row, which is NULL or '' for the missing row of an outer join. */
type RowState = (alias: Alias) => string

/**
 * Returns a query for the fingerprint of the caller whose session has the id, or the stored hash, in its only binding.
 *
 * @returns null if the database cannot compute one without showing hidden columns
 */
export function fingerprintSql(knex: Knex, parts: Parts, by: 'id' | 'token'): string | null {
  const { user, token, userRole, domain } = parts
  const dialect = dialectOfClass(user.cls)
  // SQLite has no hash function: the fingerprint is the text of the columns, and must show none that is hidden.
  if (dialect === 'sqlite' && !hidesKnownColumnsOnly(parts)) return null
  const { rowState, ofAll, together } = forms[dialect](knex, parts)
  const grants = knex
    .from({ perms_r: tableOf(userRole.cls) })
    .leftJoin({ perms_d: tableOf(domain.cls) }, columnIn('perms_d', domain.cls, 'id'), columnIn('perms_r', userRole.cls, 'domainId'))
    .whereRaw('?? = ??', [columnIn('perms_r', userRole.cls, 'userId'), columnIn('perms_u', user.cls, 'id')])
    .select(knex.raw(ofAll(rowState('perms_r'), rowState('perms_d'), quoted(knex, columnIn('perms_r', userRole.cls, 'id')))))
  const all = together([rowState('perms_s'), rowState('perms_u'), `(${grants.toSQL().sql})`])
  const query = knex
    .from({ perms_s: tableOf(token.cls) })
    .join({ perms_u: tableOf(user.cls) }, columnIn('perms_u', user.cls, 'id'), columnIn('perms_s', token.cls, 'userId'))
    .where(columnIn('perms_s', token.cls, by), '')
    .select(knex.raw(all))
  return query.toSQL().sql
}

interface Forms {
  readonly rowState: RowState
  /** Returns an aggregate over the grants: the states of the grant and its domain, and the id to sort by. */
  ofAll(grant: string, domain: string, id: string): string
  together(states: readonly string[]): string
}

const forms: Readonly<Record<Dialect, (knex: Knex, parts: Parts) => Forms>> = {
  // A row as text contains all columns, also those that no model declares.
  pg: (knex) => ({
    rowState: (alias) => `${quoted(knex, alias)}::text`,
    ofAll: (grant, domain, id) => `string_agg(concat(${grant}, ${domain}), ',' order by ${id})`,
    together: (states) => `encode(sha256(convert_to(concat(${states.join(', ')}), 'UTF8')), 'hex')`,
  }),
  // Hashes have one character set and one length. A list that group_concat_max_len cuts off gives no fingerprint.
  mysql: (knex, parts) => ({
    rowState: (alias) =>
      `sha2(concat_ws(',', ${columnsOf(parts, alias).map((one) => `coalesce(sha2(${quoted(knex, one)}, 256), '-')`)}), 256)`,
    ofAll: (grant, domain, id) => {
      const list = `group_concat(sha2(concat(${grant}, ${domain}), 256) order by ${id} separator ',')`
      return `case when count(*) = 0 then '' when length(${list}) = 65 * count(*) - 1 then ${list} end`
    },
    together: (states) => `sha2(concat(${states.join(", ',', ")}), 256)`,
  }),
  sqlite: (knex, parts) => ({
    rowState: (alias) =>
      columnsOf(parts, alias)
        .map((one) => `quote(${quoted(knex, one)})`)
        .join(" || ',' || "),
    ofAll: (grant, domain) => `coalesce(group_concat(${grant} || ',' || ${domain}, ';'), '')`,
    together: (states) => states.join(" || ';' || "),
  }),
}

const partOf = { perms_s: 'token', perms_u: 'user', perms_r: 'userRole', perms_d: 'domain' } as const

function columnsOf(parts: Parts, alias: Alias): string[] {
  const { cls, columns } = parts[partOf[alias]]
  return columns.filter(({ column }) => !isLeftOut(cls, column)).map(({ column }) => `${alias}.${column}`)
}

/** Hidden columns that no rule reads, that follow from others, or that do not decide whether a session is active. */
const leftOut = ['token', 'rotatedAt', 'boundTo', 'passwordHash', 'domainKey']

function isLeftOut(cls: typeof Model, column: string): boolean {
  const { propertyOf, specs } = definitionOf(cls)
  const property = propertyOf.get(column) ?? column
  return specs[property]?.isHidden === true && leftOut.includes(property)
}

function hidesKnownColumnsOnly(parts: Parts): boolean {
  return Object.values(parts).every(({ cls, columns }: Part) =>
    columns.every(({ column }) => {
      const { propertyOf, specs } = definitionOf(cls)
      const spec = specs[propertyOf.get(column) ?? column]
      return spec !== undefined && (!spec.isHidden || isLeftOut(cls, column))
    }),
  )
}

function quoted(knex: Knex, name: string): string {
  return knex.raw('??', [name]).toSQL().sql
}
