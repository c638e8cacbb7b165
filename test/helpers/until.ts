import type { Knex } from 'knex'

/** Checks a condition every 150 ms until it holds. @throws Error if it does not hold within `seconds` */
export async function until(what: string, isMet: () => boolean | PromiseLike<boolean>, seconds = 15): Promise<void> {
  const end = Date.now() + seconds * 1000
  while (!(await isMet())) {
    if (Date.now() > end) throw new Error(`Waited ${seconds} seconds in vain: ${what}.`)
    // MariaDB caches innodb_trx, and renews the cache only when it was not read for 100 ms.
    await new Promise((resolve) => setTimeout(resolve, 150))
  }
}

const waiting = {
  pg: "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
  mysql: `select 1 from information_schema.innodb_trx join information_schema.processlist on id = trx_mysql_thread_id
    where db = database() and trx_state = 'LOCK WAIT'`,
}

/** Waits until a statement in the database of `knex` waits for a row that another transaction holds. */
export async function untilSomeoneWaits(knex: Knex): Promise<void> {
  const isPostgres = knex.client.driverName === 'pg'
  await until('a statement that waits for a lock', async () => {
    const answer = await knex.raw(isPostgres ? waiting.pg : waiting.mysql)
    return (isPostgres ? answer.rows : answer[0]).length > 0
  })
}
