/** Lists and drops what a database contains. */
import type { Knex } from 'knex'
import { select } from '../../database/tables/existing-tables.js'
import { dialectOf } from '../../schema/storage.js'

// Each query returns a description and the statement that drops the object.
const ofPostgres = [
  `select 'the schema ' || nspname as a, format('drop schema if exists %I cascade', nspname) as b from pg_namespace
    where nspname !~ '^pg_' and nspname not in ('information_schema', 'public')
      and not exists (select 1 from pg_depend d where d.classid = 'pg_namespace'::regclass and d.objid = pg_namespace.oid and d.deptype = 'e')`,
  `select 'the table ' || relname as a, format('drop %s if exists public.%I cascade',
      case relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' when 'f' then 'foreign table' else 'table' end, relname) as b
    from pg_class c where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'S', 'f')
      and not exists (select 1 from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype in ('e', 'a', 'i'))`,
  `select 'the function ' || p.proname as a, format('drop routine if exists %s cascade', p.oid::regprocedure) as b from pg_proc p
    where pronamespace = 'public'::regnamespace
      and not exists (select 1 from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')`,
  `select 'the type ' || typname as a, format('drop type if exists public.%I cascade', typname) as b from pg_type t
    where typnamespace = 'public'::regnamespace and typtype in ('e', 'd', 'c', 'r')
      and not exists (select 1 from pg_class c where c.oid = t.typrelid and c.relkind <> 'c')
      and not exists (select 1 from pg_depend d where d.classid = 'pg_type'::regclass and d.objid = t.oid and d.deptype in ('e', 'i'))`,
]

const identifier = (column: string): string => `concat('\`', replace(${column}, '\`', '\`\`'), '\`')`

const ofMariadb = [
  `select concat('the table ', table_name) as a, concat(if(table_type = 'VIEW', 'drop view if exists ',
      if(table_type = 'SEQUENCE', 'drop sequence if exists ', 'drop table if exists ')), ${identifier('table_name')}) as b
    from information_schema.tables where table_schema = database()`,
  `select concat('the routine ', routine_name) as a, concat('drop ', lower(routine_type), ' if exists ', ${identifier('routine_name')}) as b
    from information_schema.routines where routine_schema = database() and routine_type in ('FUNCTION', 'PROCEDURE')`,
  `select concat('the event ', event_name) as a, concat('drop event if exists ', ${identifier('event_name')}) as b
    from information_schema.events where event_schema = database()`,
]

/** Returns a description of each object. Extensions of PostgreSQL do not count. */
export async function contentsOf(knex: Knex): Promise<string[]> {
  return (await objectsIn(knex)).map(([description]) => description)
}

/** Drops all objects that contentsOf() lists. */
export async function dropContents(knex: Knex): Promise<void> {
  const objects = await objectsIn(knex)
  await knex.transaction(async (trx) => {
    if (dialectOf(knex) === 'mysql') await trx.raw('set foreign_key_checks = 0')
    try {
      for (const [, sql] of objects) await trx.raw(sql)
    } finally {
      if (dialectOf(knex) === 'mysql') await trx.raw('set foreign_key_checks = 1')
    }
  })
}

async function objectsIn(knex: Knex): Promise<(readonly [description: string, sql: string])[]> {
  const found: (readonly [string, string])[] = []
  for (const query of dialectOf(knex) === 'pg' ? ofPostgres : ofMariadb)
    found.push(...(await select(knex, query, [])).map(([description, sql]) => [String(description), String(sql)] as const))
  return found
}
