/** Finds database objects that read protected tables without a policy: views, functions, procedures, partitions, virtual tables. */
import type { Knex } from 'knex'
import { wholeWordPattern } from '../../core/names.js'
import { dialectOf } from '../../schema/storage.js'
import { send } from '../execution/send.js'

/** A database object that reads a protected table. No policy restricts statements that use it. */
export interface Unguarded {
  readonly kind: 'view' | 'function' | 'procedure' | 'partition' | 'virtual table'
  /** On PostgreSQL with the schema. */
  readonly name: string
  /** The protected tables and listed objects that its definition names; empty if the definition cannot be read. */
  readonly reads: readonly string[]
}

interface Definition {
  readonly kind: Unguarded['kind']
  readonly name: string
  readonly text: string | null
}

const ownSchemas = "n.nspname not in ('pg_catalog', 'information_schema') and n.nspname not like 'pg\\_%'"

const statements = {
  pg: `select 'view' as kind, n.nspname || '.' || c.relname as name, pg_get_viewdef(c.oid) as text
      from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('v', 'm') and ${ownSchemas}
    union all select case p.prokind when 'p' then 'procedure' else 'function' end, n.nspname || '.' || p.proname, pg_get_functiondef(p.oid)
      from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang
      where p.prokind in ('f', 'p') and l.lanname not in ('c', 'internal') and ${ownSchemas}
    union all select 'partition', n.nspname || '.' || c.relname, quote_ident(t.relname)
      from pg_inherits i join pg_class c on c.oid = i.inhrelid join pg_class t on t.oid = i.inhparent
      join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r', 'p', 'f')`,
  mysql: `select 'view' as kind, table_name as name, view_definition as text from information_schema.views where table_schema = database()
    union all select lower(routine_type), routine_name, routine_definition from information_schema.routines where routine_schema = database()`,
  sqlite: `select case type when 'view' then 'view' else 'virtual table' end as kind, name, sql as text
      from (select type, name, sql from sqlite_master union all select type, name, sql from sqlite_temp_master)
      where type = 'view' or (type = 'table' and sql like 'create virtual%')`,
} as const

/**
 * Lists views, functions and other objects that read protected tables, directly or through a listed object, in one statement.
 *
 * @param tables the protected tables
 * @throws the driver's error, for example if the caller may not read the catalogue
 */
export async function findUnguarded(knex: Knex, tables: readonly string[]): Promise<Unguarded[]> {
  const dialect = dialectOf(knex)
  const answer = (await send(knex, statements[dialect], [])) as unknown
  const rows = dialect === 'pg' ? (answer as { rows: unknown[] }).rows : dialect === 'mysql' ? (answer as [unknown[]])[0] : answer
  const open = (rows as Definition[]).map(lowerKeys)
  const found: Unguarded[] = []
  const names = new Set(tables)
  for (let before = -1; before < found.length; ) {
    before = found.length
    for (const one of open.splice(0)) {
      const reads = [...names].filter((name) => name !== one.name && mentions(one.text, name))
      if (reads.length === 0 && one.text) open.push(one)
      else {
        found.push({ kind: one.kind, name: one.name, reads })
        names.add(one.name)
      }
    }
  }
  return found
}

// MySQL returns the column names of its catalogue in capitals.
function lowerKeys(row: Definition): Definition {
  return Object.fromEntries(Object.entries(row).map(([key, value]) => [key.toLowerCase(), value])) as Definition
}

// May match too much, never too little: a name in a comment or a string also counts.
function mentions(text: string | null, name: string): boolean {
  return text !== null && wholeWordPattern(name.slice(name.lastIndexOf('.') + 1), 'iu').test(text)
}

/** Returns a message that lists unrestricted objects and says what to do about them. */
export function describeUnguarded(found: readonly Unguarded[]): string {
  const list = found.map(({ kind, name, reads }) =>
    reads.length > 0 ? `${kind} ${name} (reads ${reads.join(', ')})` : `${kind} ${name} (its definition cannot be read)`,
  )
  return (
    `objection-perms: no policy restricts statements that use these objects, which read protected tables: ${list.join('; ')}. ` +
    'Use them only inside asSystem(), or define a model with a policy for a view.'
  )
}
