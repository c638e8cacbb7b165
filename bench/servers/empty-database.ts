import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Knex from 'knex'

interface EmptyDatabase {
  readonly knex: Knex.Knex
  /** For other processes: a URL, or the file of SQLite. */
  readonly url: string
  drop(): Promise<void>
}

/** Makes an empty database of this process's own: on the PostgreSQL of POSTGRES_URL or, without it, SQLite in memory. */
export async function emptyDatabase(server = process.env.POSTGRES_URL): Promise<EmptyDatabase> {
  if (server) return await onServer('pg', server)
  const knex = Knex({ client: 'better-sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true })
  return { knex, url: ':memory:', drop: async () => {} }
}

export type Driver = 'sqlite3' | 'better-sqlite3' | 'pg' | 'mysql2'

/** Makes an empty database of this process's own for one driver: a file for SQLite, whose commits reach the disk. */
export async function emptyDatabaseOf(driver: Driver, server: string | undefined): Promise<EmptyDatabase> {
  if (driver === 'pg' || driver === 'mysql2') return await onServer(driver, String(server))
  const folder = mkdtempSync(join(tmpdir(), 'objection-perms-bench-'))
  const url = join(folder, 'bench.db')
  const knex = Knex({ client: driver, connection: { filename: url }, useNullAsDefault: true })
  const drop = async () => {
    await knex.destroy()
    rmSync(folder, { recursive: true, force: true })
  }
  return { knex, url, drop }
}

async function onServer(driver: 'pg' | 'mysql2', server: string): Promise<EmptyDatabase> {
  const admin = Knex({ client: driver, connection: server, pool: { min: 0, max: 1 } })
  const name = `op_bench_${process.pid}`
  await admin.raw(`create database ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  const knex = Knex({ client: driver, connection: url.href })
  const drop = async () => {
    await knex.destroy()
    await admin.raw(`drop database ${name}${driver === 'pg' ? ' with (force)' : ''}`)
    await admin.destroy()
  }
  return { knex, url: url.href, drop }
}

/** Returns the name and version of a database, such as "PostgreSQL 15.8". */
export async function versionOf(knex: Knex.Knex): Promise<string> {
  const { client } = knex.client.config as { client: string }
  const [sql, name] =
    client === 'pg'
      ? ["select current_setting('server_version') as v", 'PostgreSQL']
      : client === 'mysql2'
        ? ['select version() as v', 'MariaDB']
        : ['select sqlite_version() as v', 'SQLite']
  const answer = (await knex.raw(sql)) as { rows?: { v: string }[] } | { v: string }[] | [{ v: string }[]]
  const [first] = 'rows' in answer ? (answer.rows ?? []) : (answer as unknown[]).flat()
  return `${name} ${String((first as { v: string }).v).split(/[\s-]/)[0]}`
}
