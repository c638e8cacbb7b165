/**
 * What came after the first tables: further tables, and columns that older tables lack.
 *
 * @param {import('knex').Knex} knex
 * @param {{
 *   createFurther(knex: import('knex').Knex): Promise<void>,
 *   dropFurther(knex: import('knex').Knex): Promise<void>,
 *   addColumns(knex: import('knex').Knex, kind: string, properties: readonly string[]): Promise<void>
 * }} tables
 */
export async function up(knex, tables) {
  await tables.addColumns(knex, 'token', ['abilities', 'impersonatorId', 'boundTo'])
  await tables.createFurther(knex)
}

/** @type {typeof up} */
export async function down(knex, tables) {
  await tables.dropFurther(knex)
}
