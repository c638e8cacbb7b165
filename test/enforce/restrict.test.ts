import { expect } from 'chai'
import type { QueryBuilder } from 'objection'
import { asSystem, BasePermsModel, column, createTables, initPerms, type Perms, runAs, User, where } from '../../src/index.js'
import { filterReadable } from '../../src/query/query-builder.js'
import { eachDatabase } from '../helpers/databases.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

class Leaf extends BasePermsModel.withColumns({
  title: column.string({ maxLength: 100 }),
  size: column.integer(),
  isPublic: column.boolean().default(false),
}) {
  static override policy = { read: where({ isPublic: true }) }
}

eachDatabase('a filter for readable rows', (db) => {
  let perms: Perms
  let user: User

  before(async () => {
    perms = initPerms({ knex: db.knex })
    await migrateAtOnce(perms)
    await createTables(db.knex, [Leaf])
    user = await User.create({ email: 'ada@example.com' })
    for (const [title, size, isPublic] of [
      ['red', 1, true],
      ['red', 2, true],
      ['green', 1, true],
      ['red', 1, false],
      ['red', 3, true],
    ] as const)
      await Leaf.create({ title, size, isPublic })
  })
  after(() => perms.close())

  const red = (): QueryBuilder<Leaf> => {
    const query = Leaf.query().where('size', 1).orWhere('size', 2)
    filterReadable(query, { sql: '?? = ?', bindings: ['leaf.title', 'red'] })
    return query
  }

  it('narrows every alternative of an or(), together with the rule', async () => {
    const found = await runAs(user, () => red().orderBy('size'))
    expect(found.map(({ title, size, isPublic }) => [title, size, isPublic])).to.deep.equal([
      ['red', 1, true],
      ['red', 2, true],
    ])
  })

  it('narrows every alternative of an or() where no rule applies', async () => {
    expect(await asSystem(() => red().resultSize())).to.equal(3)
  })

  it('is part of clones, counts, pages and subqueries', async () => {
    await runAs(user, async () => {
      expect(await red().clone()).to.have.length(2)
      expect(await red().resultSize()).to.equal(2)
      expect((await red().page(0, 1)).total).to.equal(2)
      expect(await Leaf.query().whereIn('id', red().select('id'))).to.have.length(2)
    })
  })

  it('is evaluated together with others in one condition', async () => {
    await runAs(user, async () => {
      const query = red()
      filterReadable(query, { sql: '?? < ?', bindings: ['leaf.size', 2] })
      expect(await query).to.have.length(1)
    })
  })

  it('does not affect another query of the same model', async () => {
    await runAs(user, async () => {
      await red()
      expect(await Leaf.query()).to.have.length(4)
    })
  })
})
