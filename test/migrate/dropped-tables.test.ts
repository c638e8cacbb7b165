import { expect } from 'chai'
import { BaseModel, column } from '../../src/index.js'
import { modelClass } from '../../src/schema/model-class.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { Application } from './application.js'

class Kept extends BaseModel.withColumns({ oldId: column.uuid().nullable().references('old.id', { onDelete: 'cascade' }) }) {
  static override tableName = 'kept'
}
class Old extends BaseModel.withColumns({ selfId: column.uuid().nullable().references('old.id', { onDelete: 'restrict' }) }) {
  static override tableName = 'old'
}
class KeptAlone extends BaseModel.withColumns({ oldId: column.uuid().nullable() }) {
  static override tableName = 'kept'
}

eachDatabase('A table that no model declares any more', (db) => {
  it('stays unless it is named, stays in a comment without allowLoss, and goes without the rows of other tables', async function () {
    this.timeout(120_000)
    const app = new Application(db.knex)
    const last = [modelClass(KeptAlone)]
    const [one, two] = ['1', '2'].map((end) => `00000000-0000-4000-8000-00000000000${end}`)
    const time = db.dialect === 'sqlite' ? 1 : '2024-01-01 00:00:00'
    try {
      await app.change([Kept, Old].map(modelClass))
      await db.knex('old').insert({ id: one, created_at: time, updated_at: time })
      await db.knex('old').insert({ id: two, self_id: one, created_at: time, updated_at: time })
      await db.knex('kept').insert({ id: one, old_id: one, created_at: time, updated_at: time })
      const named = await app.change(last, { dropTables: ['old'] })
      expect(named).to.match(/LOSES the table old with its rows/)
      expect(await db.knex('old').pluck('id')).to.have.length(2)
      expect(await app.make(last)).to.equal(null)
      await app.change(last, { name: 'lose', dropTables: ['old'], allowLoss: true })
      expect(await db.knex.schema.hasTable('old')).to.equal(false)
      expect(await db.knex('kept').pluck('old_id')).to.deep.equal([one])
      expect((await rejection(app.down())).message).to.match(/has lost the table old with its rows/)
    } finally {
      app.remove()
    }
  })
})
