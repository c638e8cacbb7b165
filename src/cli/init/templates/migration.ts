import { type Choices, type Database, typesOf } from '../choices.js'

interface ColumnTypes {
  readonly id: string
  readonly datetime: string
  readonly text: string
  /** A string of at most `length` characters. */
  string(length: number): string
}

// Compares byte by byte, as the other databases do.
const mariadbText = 'character set utf8mb4 collate utf8mb4_nopad_bin'

const typesIn: Readonly<Record<Database, ColumnTypes>> = {
  sqlite: { id: 'char(36)', datetime: 'datetime', text: 'text', string: (length) => `varchar(${length})` },
  pg: { id: 'uuid', datetime: 'timestamptz(3)', text: 'text', string: (length) => `varchar(${length})` },
  mariadb: {
    id: `char(36) ${mariadbText}`,
    datetime: 'datetime(3)',
    text: `longtext ${mariadbText}`,
    string: (length) => `varchar(${length}) ${mariadbText}`,
  },
}

/** Returns the first migration: the tables and columns that the generated models declare besides the library's own. */
export function firstMigration(choices: Choices): string {
  const ts = typesOf(choices)
  const types = typesIn[choices.database]
  const head = ts("import type { Knex } from 'knex'\n\n")
  const knex = `knex${ts(': Knex')}`
  const done = ts(': Promise<void>')
  return `${head}/** perms.migrate() creates the library's tables first, such as \`account\`. Later migrations: npx objection-perms migrate make NAME */
export async function up(${knex})${done} {
  await knex.schema.createTable('note', (table) => {
    table.specificType('id', '${types.id}').notNullable()
    table.specificType('created_at', '${types.datetime}').notNullable()
    table.specificType('updated_at', '${types.datetime}').notNullable()
    table.specificType('user_id', '${types.id}').notNullable()
    table.specificType('title', '${types.string(200)}').notNullable()
    table.specificType('text', '${types.text}').notNullable()
    table.primary(['id'])
    table.index(['user_id'], 'note_user_id_index')
    table.foreign(['user_id'], 'note_user_id_foreign').references(['id']).inTable('account').onDelete('cascade')
  })

  // A new \`account\` table has all columns of its model already.
  if (!(await knex.schema.hasColumn('account', 'display_name'))) {
    await knex.schema.alterTable('account', (table) => {
      table.specificType('display_name', '${types.string(100)}').nullable()
    })
  }
}

export async function down(${knex})${done} {
  if (await knex.schema.hasColumn('account', 'display_name')) {
${dropColumn[choices.database]}
  }

  await knex.schema.dropTable('note')
}
`
}

const dropByKnex = `    await knex.schema.alterTable('account', (table) => {
      table.dropColumn('display_name')
    })`

// On SQLite, Knex would create the table anew, and drop the rows that refer to it.
const dropColumn: Readonly<Record<Database, string>> = {
  sqlite: `    await knex.raw('alter table "account" drop column "display_name"')`,
  pg: dropByKnex,
  mariadb: dropByKnex,
}
