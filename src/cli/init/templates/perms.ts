import { type Choices, type Client, importExtension, sourceExtension } from '../choices.js'

/** Returns the module that connects to the database and sets the library up. */
export function permsModule(choices: Choices): string {
  const extension = sourceExtension(choices)
  // Knex's own list of extensions lacks .mjs.
  const loaded = extension === 'mjs' ? ", loadExtensions: ['.mjs']" : ''
  return `import { existsSync } from 'node:fs'
import Knex from 'knex'
import { initPerms } from 'objection-perms'
import { Account, Note } from './models.${importExtension(choices)}'

// Variables that are set already take precedence over the file.
if (existsSync('.env')) process.loadEnvFile('.env')

const { DATABASE_URL, JWT_SECRET } = process.env
if (!JWT_SECRET) throw new Error('JWT_SECRET is not set. Run \`npx objection-perms secret\`, and put its output into the file .env.')
${requireAddress[choices.client]}
export const knex = Knex({
  client: '${choices.client}',
${connection[choices.client]}
  acquireConnectionTimeout: 5000, // a full pool answers 503 after 5 seconds
  migrations: { directory: 'migrations', extension: '${extension}'${loaded} },
})

export const perms = initPerms({
  knex,
  user: Account,
  models: [Note],
  jwt: { secret: JWT_SECRET },
  checkTables: 'refuse', // no statement runs before the migrations have run
  outsideContext: 'deny', // code outside of requests names its caller: runAs(user, ...) or asSystem(...)
})
`
}

const fileOf = `  connection: { filename: DATABASE_URL || 'app.db' },
  useNullAsDefault: true,`

const connection: Readonly<Record<Client, string>> = {
  sqlite3: fileOf,
  'better-sqlite3': fileOf,
  pg: '  connection: DATABASE_URL,',
  mysql2: '  connection: DATABASE_URL,',
}

const missing = (example: string) =>
  `if (!DATABASE_URL) throw new Error('DATABASE_URL is not set. Write it into the file .env: ${example}')\n`

const requireAddress: Readonly<Record<Client, string>> = {
  sqlite3: '',
  'better-sqlite3': '',
  pg: missing('postgres://USER@127.0.0.1:5432/DATABASE'),
  mysql2: missing('mysql://USER@127.0.0.1:3306/DATABASE'),
}
