exports.up = async (knex) => {
  await knex.schema.createTable('users', (table) => {
    table.increments('id')
    table.string('email').notNullable().unique()
    table.string('password', 60).notNullable()
    table.string('name').notNullable()
    table.boolean('is_admin').notNullable().defaultTo(false)
    table.timestamp('created_at').notNullable().defaultTo(knex.fn.now())
  })
}

exports.down = (knex) => knex.schema.dropTable('users')
