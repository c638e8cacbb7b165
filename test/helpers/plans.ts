import type { Knex } from 'knex'
import { rawRows } from './raw-rows.js'

/** A statement as Knex reports it in its 'query' event. */
export interface Sent {
  readonly sql: string
  readonly bindings: readonly unknown[]
}

/** Sends a statement in the driver's own notation, with something before it, and returns the rows. */
async function sendWith(knex: Knex, prefix: string, { sql, bindings }: Sent): Promise<Record<string, unknown>[]> {
  const connection = await knex.client.acquireConnection()
  try {
    const { response } = await knex.client._query(connection, { sql: `${prefix} ${sql}`, bindings, method: 'raw' })
    return rawRows(response)
  } finally {
    await knex.client.releaseConnection(connection)
  }
}

/** How the database would execute a statement, as text: on MariaDB and PostgreSQL JSON, on SQLite one line for each step. */
export async function planOf(knex: Knex, statement: Sent): Promise<string> {
  const { driverName } = knex.client as { driverName: string }
  if (driverName === 'pg') return JSON.stringify(await sendWith(knex, 'explain (format json)', statement))
  if (driverName === 'mysql2') return String((await sendWith(knex, 'explain format=json', statement))[0]?.EXPLAIN)
  return (await sendWith(knex, 'explain query plan', statement)).map(({ detail }) => detail).join('\n')
}

/** How many rows the database reads from tables to execute a statement. Not for SQLite, which does not tell. */
export async function rowsRead(knex: Knex, statement: Sent): Promise<number> {
  if ((knex.client as { driverName: string }).driverName === 'pg') {
    const plan = JSON.stringify(await sendWith(knex, 'explain (analyze, format json)', statement))
    const numbers = (name: string) => [...plan.matchAll(new RegExp(`"${name}":(\\d+)`, 'g'))].map(([, digits]) => Number(digits))
    return Math.max(...numbers('Actual Rows')) + numbers('Rows Removed by Filter').reduce((sum, one) => sum + one, 0)
  }
  const plan = String((await sendWith(knex, 'analyze format=json', statement))[0]?.ANALYZE)
  return Math.max(...[...plan.matchAll(/"r_rows": ([\d.]+)/g)].map(([, digits]) => Number(digits)))
}
