import type { Knex } from 'knex'
import Knexes from 'knex'
import { initPerms, permsMigrations } from './src/index.js'

/** For `npx knex migrate:latest`: the library's migrations on the database of DATABASE_URL, an SQLite file by default. */
const url = process.env.DATABASE_URL ?? 'app.db'
const client = /^postgres/.test(url) ? 'pg' : /^(mysql|mariadb)/.test(url) ? 'mysql2' : 'better-sqlite3'

const config: Knex.Config = {
  client,
  connection: client === 'better-sqlite3' ? { filename: url.replace(/^sqlite:(\/\/)?/, '') } : url.replace(/^mariadb:/, 'mysql:'),
  useNullAsDefault: client === 'better-sqlite3',
  migrations: { migrationSource: permsMigrations(), tableName: 'objection_perms_migrations' },
}

// The migrations make what the registered models declare; an application registers its own user model here.
initPerms({ knex: Knexes(config) })

export default config
