import Knex from 'knex'

/** A database of the process's own: on the PostgreSQL of POSTGRES_URL or, without it, SQLite in memory. */
export async function emptyDatabase(server = process.env.POSTGRES_URL): Promise<{ knex: Knex.Knex; drop(): Promise<void> }> {
  if (!server) {
    const knex = Knex({ client: 'better-sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true })
    return { knex, drop: async () => {} }
  }
  const admin = Knex({ client: 'pg', connection: server, pool: { min: 0, max: 1 } })
  const name = `op_bench_${process.pid}`
  await admin.raw(`create database ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  return {
    knex: Knex({ client: 'pg', connection: url.href }),
    drop: async () => {
      await admin.raw(`drop database ${name} with (force)`)
    },
  }
}
