import { expect } from 'chai'
import {
  allOf,
  allowed,
  anyOf,
  asSystem,
  authenticated,
  BasePermsModel,
  before as beforeRule,
  belongsTo,
  check,
  column,
  createTables,
  explain,
  HasUserMixin,
  hasMany,
  initPerms,
  not,
  owner,
  type Perms,
  type Policy,
  type RelatedOptions,
  related,
  runAs,
  SoftDeleteMixin,
  type User,
  where,
  whoCan,
} from '../../src/index.js'
import { policyOf } from '../../src/policy/policy.js'
import { createUser } from '../../src/testing/index.js'
import { countQueries, eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

const above = anyOf(owner(), related('parent', owner(), { recursive: true, depth: 5 }))

class Folder extends SoftDeleteMixin(HasUserMixin(BasePermsModel)).withColumns({
  name: column.string(),
  parentId: column.uuid().nullable().index().references('folder.id'),
}) {
  static override policy: Policy = { read: above, create: allOf(authenticated(), above), update: above }
  static override relationMappings = {
    parent: belongsTo(() => Folder, 'parentId'),
    children: hasMany(() => Folder, 'parentId'),
  }
}

eachDatabase('related() with recursive', (db) => {
  let perms: Perms
  let [ada, bob]: User[] = []
  /** A chain: ada's root, then folders of bob, each in the one before. */
  let chain: Folder[]
  before(async () => {
    perms = initPerms({ knex: db.knex, models: [Folder], outsideContext: 'deny' })
    await migrateAtOnce(perms)
    await createTables(db.knex, [Folder])
    await asSystem(async () => {
      ;[ada, bob] = [await createUser(), await createUser()]
    })
  })
  beforeEach(async () => {
    chain = []
    await asSystem(async () => {
      await db.knex('folder').update({ parent_id: null })
      await db.knex('folder').delete()
      for (let i = 0; i < 8; i += 1)
        chain.push(await Folder.create({ name: `f${i}`, userId: (i === 0 ? ada : bob)?.id as string, parentId: chain[i - 1]?.id ?? null }))
    })
  })
  after(() => perms.close())

  const asAda = <T>(fn: () => T) => runAs(ada?.id as string, fn)
  const names = async () => (await Folder.query().orderBy('name')).map(({ name }) => name)
  const folder = (i: number) => chain[i] as Folder

  it('[promise 209] allows rows whose ancestor satisfies the rule, up to the depth, in one statement', async () => {
    await asAda(async () => {
      const { result, statements } = await countQueries(db.knex, names)
      expect(result).to.deep.equal(['f0', 'f1', 'f2', 'f3', 'f4', 'f5'])
      expect(statements).to.have.lengthOf(1)
      for (const [i, one] of chain.entries()) {
        expect(await one.canRead(), `f${i}`).to.equal(i <= 5)
        expect((await Folder.query().findById(one.id)) !== undefined, `f${i} by id`).to.equal(i <= 5)
      }
      expect(await Folder.query().findByIds(chain.map(({ id }) => id))).to.have.lengthOf(6)
      const flags = await Folder.query().withAllowed('update').orderBy('name')
      expect(flags.map(({ allowed: flag }) => flag.update)).to.deep.equal(Array(6).fill(true))
    })
  })

  it('[promise 209] leaves the row itself out', async () => {
    class Below extends Folder {
      static override tableName = 'folder'
      static override adminBypass = false
      static override policy: Policy = { read: related('parent', owner(), { recursive: true }) }
    }
    const found = await asAda(() => Below.query().orderBy('name'))
    expect(found.map(({ name }) => name)).to.deep.equal(['f1', 'f2', 'f3', 'f4', 'f5', 'f6', 'f7'])
  })

  it('[promise 209] applies soft deletion at each step', async () => {
    await asSystem(() => folder(2).delete())
    expect(await asAda(names)).to.deep.equal(['f0', 'f1'])
    expect(await asAda(() => folder(3).canRead())).to.equal(false)
    expect(await asAda(() => Folder.canCreate({ name: 'new', userId: ada?.id as string, parentId: folder(3).id }))).to.equal(false)
  })

  it('[promise 209] ends in a cycle', async () => {
    await asSystem(async () => {
      await folder(3).update({ parentId: folder(7).id })
    })
    expect(await asAda(names)).to.deep.equal(['f0', 'f1', 'f2'])
    expect(await runAs(bob?.id as string, () => Folder.query().resultSize())).to.equal(7)
    for (const i of [3, 7]) expect(await asAda(() => folder(i).canRead())).to.equal(false)
  })

  it('[promise 209] decides about new rows by the values of their columns', async () => {
    class Inside extends Folder {
      static override tableName = 'folder'
      static override policy: Policy = { ...Folder.policy, create: related('parent', owner(), { recursive: true, depth: 3 }) }
    }
    await asAda(async () => {
      await Inside.create({ name: 'new', parentId: folder(2).id, userId: ada?.id as string })
      const values = (i: number | null) => ({ name: 'new', parentId: i === null ? null : folder(i).id, userId: ada?.id as string })
      for (const i of [3, 7, null]) expect((await rejection(Inside.create(values(i)))).name, String(i)).to.equal('ForbiddenError')
      expect(await Inside.canCreate(values(2))).to.equal(true)
    })
  })

  it('[promise 209] decides about moved rows before and after', async () => {
    await asAda(async () => {
      await (await Folder.getOr404(folder(4).id)).update({ parentId: folder(1).id })
      expect(await names(), 'moved up').to.deep.equal(['f0', 'f1', 'f2', 'f3', 'f4', 'f5', 'f6', 'f7'])
      // Below its own subtree: nobody's root would be above it.
      const own = await Folder.getOr404(folder(5).id)
      expect((await rejection(own.update({ parentId: folder(7).id }))).name, 'into its subtree').to.equal('ForbiddenError')
      expect((await rejection(own.update({ parentId: null }))).name, 'to the top').to.equal('ForbiddenError')
      expect(await Folder.query().patch({ name: 'renamed' }), 'in bulk').to.equal(8)
    })
    await asSystem(async () => {
      await folder(6).update({ parentId: null })
    })
    expect((await rejection(asAda(() => folder(6).update({ parentId: folder(0).id })))).name, 'into the tree').to.equal('NotFoundError')
    // A statement of MariaDB sees the rows that it has changed already: those below a deleted folder stay.
    expect(await asAda(() => Folder.query().delete()), 'deleted in bulk').to.equal(db.dialect === 'mysql' ? 1 : 6)
  })

  it('[promise 209] compares the row as it was with before()', async () => {
    class Kept extends Folder {
      static override tableName = 'folder'
      static override policy: Policy = {
        ...Folder.policy,
        update: { from: above, to: beforeRule(related('parent', where({ name: 'f0' }), { recursive: true, depth: 2 })) },
      }
    }
    await asAda(async () => {
      expect(await (await Kept.getOr404(folder(2).id)).update({ parentId: null, name: 'free' })).to.include({ name: 'free' })
      expect((await rejection((await Kept.getOr404(folder(0).id)).update({ name: 'x' }))).name).to.equal('ForbiddenError')
    })
  })

  it('[promise 209] follows a relation in the other direction', async () => {
    class Holder extends Folder {
      static override tableName = 'folder'
      static override adminBypass = false
      static override policy: Policy = { read: related('children', where({ name: 'f3' }), { recursive: true }) }
    }
    const found = await asAda(() => Holder.query().orderBy('name'))
    expect(found.map(({ name }) => name)).to.deep.equal(['f0', 'f1', 'f2'])
    class Leaf extends Folder {
      static override tableName = 'folder'
      static override adminBypass = false
      static override policy: Policy = { read: not(related('children', where({}), { recursive: true })) }
    }
    expect((await asAda(() => Leaf.query())).map(({ name }) => name)).to.deep.equal(['f7'])
  })

  it('[promise 209] answers whoCan(), except on MariaDB', async () => {
    await asSystem(async () => {
      const ids = async (i: number) => (await whoCan('read', folder(i))).map(({ id }) => id)
      if (db.dialect === 'mysql') {
        expect((await rejection(Promise.resolve().then(() => ids(2)))).message).to.contain('on MariaDB')
        return
      }
      expect(await ids(0)).to.have.members([ada?.id])
      expect(await ids(5)).to.have.members([ada?.id, bob?.id])
      expect(await ids(7)).to.have.members([bob?.id])
    })
  })

  it('[promise 209] describes the rule in words', async () => {
    const { words } = explain(Folder, 'read', null)
    const text = 'rows with a parent, at up to 5 levels, for which: the owner'
    expect(words).to.contain(text)
    for (const [i, isAllowed] of [true, true, true, true, true, true, false, false].entries()) {
      const { allowed: answer, tree } = await asSystem(() => explain(Folder, 'read', ada as never, folder(i)))
      expect(answer, `f${i}`).to.equal(isAllowed)
      expect(JSON.stringify(tree)).to.contain(text)
    }
  })
})

describe('related() with recursive', () => {
  const refusal = (rule: Policy['read']): string => {
    class Wrong extends HasUserMixin(BasePermsModel).withColumns({ parentId: column.uuid().nullable() }) {
      static override policy: Policy = rule === undefined ? {} : { read: rule }
      static override relationMappings = { parent: belongsTo(() => Wrong, 'parentId'), folder: belongsTo(() => Folder, 'parentId') }
    }
    try {
      policyOf(Wrong as never)
      return 'none'
    } catch (error) {
      return (error as Error).message
    }
  }
  const deep = { recursive: true } as const

  it('[promise 209] is refused where it cannot work, with a message', () => {
    expect(refusal(related('parent', owner(), deep))).to.equal('none')
    expect(refusal(related('folder', owner(), deep))).to.match(/leads to Folder, not to Wrong/)
    expect(refusal(related('parent', allowed('read'), deep))).to.match(/cannot hold allowed\(\)/)
    expect(refusal(related('parent', anyOf(owner(), allowed('read')), deep))).to.match(/cannot hold allowed\(\)/)
    expect(refusal(related('parent', check(() => true) as never, deep))).to.match(/cannot hold check\(\)/)
    expect(refusal(related('parent', beforeRule(owner()), deep))).to.match(/before\(\)/)
    expect(refusal(related('parent', related('parent', owner(), deep), deep))).to.match(/refers to itself/)
  })

  it('[promise 209] takes only a whole number of steps', () => {
    const wrong: [RelatedOptions | object, RegExp][] = [
      [{ depth: 3 }, /depth needs \{ recursive: true \}/],
      [{ recursive: true, depth: 0 }, /from 1 to 1000/],
      [{ recursive: true, depth: 1.5 }, /from 1 to 1000/],
      [{ recursive: true, depth: 1001 }, /from 1 to 1000/],
      [{ recursive: true, depth: '3' }, /from 1 to 1000/],
      [{ recursive: 'yes' }, /recursive is true or false/],
    ]
    for (const [options, message] of wrong) expect(() => related('parent', owner(), options as never)).to.throw(message)
  })
})
