import type { Knex } from 'knex'
import { rawRows } from './raw-rows.js'

/** How often a database compared a column with a pattern since the last look. */
export interface Evaluations {
  /** In rows whose text begins with 'hidden'. */
  readonly hidden: number
  readonly all: number
}

export interface EvaluationCounter {
  take(): Promise<Evaluations>
}

/** Options for the Knex instance: on PostgreSQL the operators of the schema public go before the built-in ones. */
export const countingConfig = { pg: { searchPath: ['public', 'pg_catalog'] }, mysql: { pool: { min: 1, max: 1 } }, sqlite: {} } as const

/**
 * Counts the evaluations of `like`, `ilike` and `glob` over columns, in the database itself.
 *
 * SQLite and PostgreSQL allow their operators to be replaced. MariaDB does not: there each table becomes a view that passes the
 * column through a function that counts, so every use of the column is counted.
 *
 * @param columns as `[table, column]`
 */
export async function countEvaluations(knex: Knex, columns: readonly (readonly [string, string])[]): Promise<EvaluationCounter> {
  const { driverName } = knex.client as { driverName: string }
  if (driverName === 'pg') return countOnPostgres(knex)
  if (driverName === 'mysql2') return await countOnMariadb(knex, columns)
  return await countOnSqlite(knex)
}

async function countOnSqlite(knex: Knex): Promise<EvaluationCounter> {
  let hidden = 0
  let all = 0
  const glob = (pattern: string, value: string | null): number => {
    all += 1
    if (value?.startsWith('hidden')) hidden += 1
    return value !== null && regExpOf(pattern).test(value) ? 1 : 0
  }
  const connection = await knex.client.acquireConnection()
  connection.function('glob', { deterministic: true }, glob)
  await knex.client.releaseConnection(connection)
  return {
    async take() {
      const taken = { hidden, all }
      hidden = 0
      all = 0
      return taken
    },
  }
}

function regExpOf(glob: string): RegExp {
  const source = glob.replace(/\[[^\]]*\]|[*?]|[^*?[]/gu, (part) => {
    if (part === '*') return '[^]*'
    if (part === '?') return '[^]'
    return part.length > 1 ? part : part.replace(/[\\^$.+(){}|/]/, '\\$&')
  })
  return new RegExp(`^${source}$`, 'u')
}

async function countOnPostgres(knex: Knex): Promise<EvaluationCounter> {
  await knex.raw('create sequence all_evaluations')
  await knex.raw('create sequence hidden_evaluations')
  for (const [operator, name] of [
    ['~~', 'counted_like'],
    ['~~*', 'counted_ilike'],
  ]) {
    // Cheaper than any comparison, so that the planner would evaluate it first.
    await knex.raw(`create function ${name}(value text, pattern text) returns boolean language plpgsql immutable cost 0.001 as $$ begin
      perform nextval('all_evaluations');
      if starts_with(value, 'hidden') then perform nextval('hidden_evaluations'); end if;
      return value operator(pg_catalog.${operator}) pattern; end $$`)
    await knex.raw(`create operator ${operator} (leftarg = text, rightarg = text, function = ${name})`)
  }
  return {
    async take() {
      const [row] = rawRows(await knex.raw("select nextval('all_evaluations') as every, nextval('hidden_evaluations') as hidden"))
      await knex.raw("select setval('all_evaluations', 1, false), setval('hidden_evaluations', 1, false)")
      return { hidden: Number(row?.hidden) - 1, all: Number(row?.every) - 1 }
    },
  }
}

async function countOnMariadb(knex: Knex, columns: readonly (readonly [string, string])[]): Promise<EvaluationCounter> {
  await knex.raw(`create function counted(value varchar(200) character set utf8mb4 collate utf8mb4_nopad_bin)
    returns varchar(200) character set utf8mb4 collate utf8mb4_nopad_bin deterministic no sql begin
    set @evaluations = ifnull(@evaluations, 0) + 1;
    if value like 'hidden%' then set @hidden_evaluations = ifnull(@hidden_evaluations, 0) + 1; end if;
    return value; end`)
  for (const [table, column] of columns) {
    const own = Object.keys(await knex(table).columnInfo())
    const shown = own.map((one) => (one === column ? 'counted(??) as ??' : '??'))
    const names = own.flatMap((one) => (one === column ? [one, one] : [one]))
    await knex.schema.renameTable(table, `${table}_rows`)
    await knex.raw(`create algorithm = merge view ?? as select ${shown.join(', ')} from ??`, [table, ...names, `${table}_rows`])
  }
  return {
    async take() {
      const [row] = rawRows(await knex.raw('select ifnull(@evaluations, 0) as every, ifnull(@hidden_evaluations, 0) as hidden'))
      await knex.raw('set @evaluations = 0, @hidden_evaluations = 0')
      return { hidden: Number(row?.hidden), all: Number(row?.every) }
    },
  }
}
