const { permsMigrations } = require('objection-perms')
require('../src/perms')

exports.up = async (knex) => {
  await knex.schema.alterTable('users', (table) => table.boolean('is_enabled').notNullable().defaultTo(true))
  await permsMigrations().up(knex)
}

exports.down = async (knex) => {
  await permsMigrations().down(knex)
  await knex.schema.alterTable('users', (table) => table.dropColumn('is_enabled'))
}
