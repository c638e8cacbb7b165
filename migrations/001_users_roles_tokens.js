/**
 * The library's first tables: domains, users, roles, tokens and settings, as the registered models declare them.
 *
 * @param {import('knex').Knex} knex
 * @param {{ create(knex: import('knex').Knex): Promise<void>, drop(knex: import('knex').Knex): Promise<void> }} tables
 */
export async function up(knex, tables) {
  await tables.create(knex)
}

/** @type {typeof up} */
export async function down(knex, tables) {
  await tables.drop(knex)
}
