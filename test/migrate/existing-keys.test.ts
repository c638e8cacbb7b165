import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { Model } from 'objection'
import { BaseModel, column, PermsMixin } from '../../src/index.js'
import { modelClass } from '../../src/schema/model-class.js'
import { eachDatabase } from '../helpers/databases.js'
import { Application } from './application.js'

class Author extends PermsMixin(Model) {
  static override tableName = 'author'
  static override jsonSchema = { type: 'object', properties: { id: { type: 'integer' }, code: { type: 'string', maxLength: 20 } } }
}
class Book extends BaseModel.withColumns({
  authorId: column.integer().references('author.id', { onDelete: 'cascade' }),
  authorCode: column.string({ maxLength: 20 }).references('author.code'),
}) {
  static override tableName = 'book'
}
class Review extends BaseModel.withColumns({ title: column.string() }) {
  static override tableName = 'review'
}
class AuthorReview extends BaseModel.withColumns({
  title: column.string(),
  authorId: column.integer().nullable().references('author.id'),
}) {
  static override tableName = 'review'
}

eachDatabase('A migration of references to a table that Knex has made', (db) => {
  it('gives them the type of its keys, so that the foreign keys can be made', async function () {
    this.timeout(120_000)
    const app = new Application(db.knex)
    try {
      writeFileSync(
        join(app.folder, '1_first.js'),
        `exports.up = async (knex) => {
  await knex.schema.createTable('author', (table) => { table.increments(); table.string('code', 20).notNullable().unique() })
}
exports.down = async () => {}
`,
      )
      await app.up()
      await db.knex('author').insert({ code: 'a' })
      await app.change([Author, Review].map(modelClass), { name: 'reviews' })
      const models = [Author, Book, AuthorReview].map(modelClass)
      await app.change(models)
      expect(await app.drift(models)).to.deep.equal([])
      expect(await app.check(models)).to.deep.equal([])
    } finally {
      app.remove()
    }
  })
})
