exports.up = async (knex) => {
  const owner = (table) => table.integer('user_id').notNullable().references('users.id').onDelete('CASCADE').index()
  await knex.schema.createTable('customers', (table) => {
    table.increments('id')
    owner(table)
    table.string('name').notNullable()
    table.string('email')
  })
  await knex.schema.createTable('folders', (table) => {
    table.increments('id')
    owner(table)
    table.integer('parent_id').references('folders.id').onDelete('CASCADE').index()
    table.string('name').notNullable()
  })
  await knex.schema.createTable('projects', (table) => {
    table.increments('id')
    owner(table)
    table.integer('customer_id').references('customers.id').onDelete('SET NULL').index()
    table.integer('folder_id').references('folders.id').onDelete('SET NULL').index()
    table.string('title').notNullable()
    table.string('status').notNullable().defaultTo('open')
  })
  await knex.schema.createTable('tasks', (table) => {
    table.increments('id')
    owner(table)
    table.integer('project_id').notNullable().references('projects.id').onDelete('CASCADE').index()
    table.string('title').notNullable()
    table.boolean('done').notNullable().defaultTo(false)
    table.integer('estimate')
    table.date('due_on')
  })
  await knex.schema.createTable('comments', (table) => {
    table.increments('id')
    owner(table)
    table.integer('task_id').notNullable().references('tasks.id').onDelete('CASCADE').index()
    table.text('body').notNullable()
    table.timestamp('created_at').notNullable().defaultTo(knex.fn.now())
  })
  await knex.schema.createTable('tags', (table) => {
    table.increments('id')
    owner(table)
    table.string('name').notNullable()
    table.unique(['user_id', 'name'])
  })
  await knex.schema.createTable('task_tags', (table) => {
    table.integer('task_id').notNullable().references('tasks.id').onDelete('CASCADE')
    table.integer('tag_id').notNullable().references('tags.id').onDelete('CASCADE')
    table.primary(['task_id', 'tag_id'])
  })
  await knex.schema.createTable('attachments', (table) => {
    table.increments('id')
    owner(table)
    table.integer('task_id').notNullable().references('tasks.id').onDelete('CASCADE').index()
    table.string('filename').notNullable()
    table.integer('size').notNullable()
  })
  await knex.schema.createTable('audit_entries', (table) => {
    table.increments('id')
    owner(table)
    table.string('action').notNullable()
    table.string('entity').notNullable()
    table.integer('entity_id').notNullable()
    table.json('details')
    table.timestamp('created_at').notNullable().defaultTo(knex.fn.now())
  })
}

exports.down = async (knex) => {
  for (const table of ['audit_entries', 'attachments', 'task_tags', 'tags', 'comments', 'tasks', 'projects', 'folders', 'customers'])
    await knex.schema.dropTable(table)
}
