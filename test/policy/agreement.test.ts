import { expect } from 'chai'
import fc from 'fast-check'
import type { Model } from 'objection'
import {
  allOf,
  allowed,
  anyOf,
  asSystem,
  authenticated,
  belongsTo,
  createTables,
  everyone,
  initPerms,
  nobody,
  not,
  owner,
  type Perms,
  related,
  role,
  type SqlRule,
  Token,
  UserRole,
  UserSetting,
  where,
} from '../../src/index.js'
import { compile } from '../../src/policy/compiler/compile.js'
import { holds } from '../../src/policy/compiler/condition.js'
import { scopeOf } from '../../src/policy/compiler/scope.js'
import { type Actor, runAsActor } from '../../src/policy/context.js'
import { countQueries } from '../helpers/databases.js'
import { byText, eachKindOfIds } from '../helpers/id-kinds.js'
import { generatedCases } from '../helpers/repetitions.js'
import { agreementRules, type Described, keyReaches, means, ruleOf } from './agreement-rules.js'
import { agreementWorld, columnNames, kindOf, likes, orders, type Row, seed } from './agreement-world.js'

const allRuns = generatedCases(100, 'AGREEMENT_RUNS')

eachKindOfIds('What a policy says in SQL and in memory', (db, ids) => {
  const world = agreementWorld(ids)
  const numRuns = ids.name === 'uuid' || process.env['FULL'] === '1' ? allRuns : Math.ceil(allRuns / 2)
  const { Account, Place, Item, Part, Group, Tag, items, fill, userIds, domainIds, domainNames } = world
  const { policies, hierarchies, actors, ofTags } = agreementRules(world)

  /** A class of its own for each policy, since what a class says is read once. */
  function under(rule: SqlRule): typeof Item {
    return class extends Item {
      static override tableName = 'agree_item'
      static override policy = { read: rule }
    }
  }

  const plain: Actor = { id: userIds[0] as string, user: {}, grants: [], sessionId: null, abilities: null, impersonatorId: null }
  let perms: Perms
  /** The rows as the application gets them. */
  let loaded: Row[]

  before(async function () {
    this.timeout(30_000)
    perms = initPerms({ knex: db.knex, user: Account, domain: Place as never, models: [Item, Part, Group, Tag], outsideContext: 'deny' })
    await createTables(db.knex, [Account, UserRole, Place, Token, UserSetting, Tag, Group, Item, Part])
    await db.knex.schema.createTable('agree_item_tag', (table) => {
      for (const name of ['item_id', 'tag_id']) ids.inTable(table, name, db.dialect).notNullable()
    })
    await db.knex.schema.createTable('agree_near', (table) => {
      for (const name of ['item_id', 'near_id']) ids.inTable(table, name, db.dialect).notNullable()
    })
    await asSystem(fill)
    loaded = (await asSystem(() => Item.query().orderBy('id'))) as unknown as Row[]
    loaded.sort((a, b) => byText(a.id, b.id))
  })
  after(() => perms.close())

  async function bySql(rule: SqlRule, actor: Actor | null): Promise<string[]> {
    const cls = under(rule)
    const rows = await runAsActor(actor, () => cls.query().select('id'))
    return rows.map((row) => row.id as string).sort(byText)
  }

  async function byFlag(rule: SqlRule, actor: Actor | null): Promise<string[]> {
    const cls = class extends Item {
      static override tableName = 'agree_item'
      static override policy = { read: everyone(), publish: rule }
    }
    const rows = await runAsActor(actor, () => cls.query().select('id').withAllowed('publish'))
    expect(rows.length, 'readable rows').to.equal(items.length)
    return rows.flatMap((row) => (row.allowed.publish ? [row.id as string] : [])).sort(byText)
  }

  /** Asks for each row by its id, which walks in the other direction than a list. */
  async function byId(rule: SqlRule, actor: Actor | null): Promise<string[]> {
    const cls = under(rule)
    const rows = await runAsActor(actor, () => Promise.all(items.map(({ id }) => cls.query().select('id').findById(id))))
    return rows.flatMap((row) => (row ? [row.id as string] : [])).sort(byText)
  }

  async function inMemory(rule: SqlRule, actor: Actor | null): Promise<string[]> {
    const cls = under(rule) as unknown as typeof Model
    const found: string[] = []
    for (const row of loaded) {
      if (await holds(db.knex, compile(rule, scopeOf(cls, actor, { dialect: db.dialect, ref: 'none', row })))) found.push(row.id)
    }
    return found
  }

  async function expectAgreement(described: Described, actor: Actor | null): Promise<void> {
    const rule = ruleOf(described)
    const meant = items.filter((row) => means(described, row, actor, world)).map((row) => row.id)
    expect(await bySql(rule, actor), 'in SQL').to.deep.equal(keyReaches(described, actor) ? meant : [])
    expect(await inMemory(rule, actor), 'in memory').to.deep.equal(meant)
    if (!actor?.abilities) expect(await byFlag(rule, actor), 'as flags').to.deep.equal(meant)
  }

  it(`[promise 30] agrees on ${numRuns} random policies and actors over ${items.length} rows (seed ${seed})`, async function () {
    this.timeout(20_000 + numRuns * 400)
    await fc.assert(fc.asyncProperty(policies, actors, expectAgreement), { numRuns, seed })
  })

  it('[promise 209] agrees on related() with recursive, in trees, cycles and graphs, for random rules and actors', async function () {
    this.timeout(120_000)
    await fc.assert(
      fc.asyncProperty(hierarchies, actors, async (described, given) => {
        const actor = given && { ...given, abilities: null }
        await expectAgreement(described, actor)
        expect(await byId(ruleOf(described), actor), 'by id').to.deep.equal(
          items.filter((row) => means(described, row, actor, world)).map((row) => row.id),
        )
        await expectAgreement({ is: 'not', rule: described }, actor)
      }),
      { numRuns: Math.ceil(numRuns / 3), seed },
    )
  })

  it("[promise 192] agrees on the policy of the related model, which allowed('read') applies, for random policies and actors", async function () {
    this.timeout(60_000)
    await fc.assert(
      fc.asyncProperty(ofTags, actors, async (described, given) => {
        const actor = given && { ...given, abilities: null }
        class Ruled extends Group {
          static override tableName = 'agree_group'
          static override adminBypass = false
          static override policy = { read: ruleOf(described) }
        }
        class Reader extends Item {
          static override tableName = 'agree_item'
          static override policy = { read: related('group', allowed('read')) }
          static override relationMappings = { ...Item.relationMappings, group: belongsTo(() => Ruled as never, 'groupId') }
        }
        const meant = items
          .filter((row) => means({ is: 'related', relation: 'group', rule: described }, row, actor, world))
          .map(({ id }) => id)
        const rows = await runAsActor(actor, () => Reader.query().select('id'))
        expect(rows.map((row) => row.id as string).sort(byText)).to.deep.equal(meant)
      }),
      { numRuns: Math.ceil(numRuns / 4), seed },
    )
  })

  // The same for each kind of ids.
  for (const name of ids.name === 'uuid' ? columnNames : []) {
    const kind = kindOf(name)
    it(`[promise 30] agrees on every comparison of the column ${name} with every value of the table`, async function () {
      this.timeout(60_000)
      const operators = ['eq', 'ne', ...(kind.isLong && db.dialect === 'sqlite' ? [] : orders)]
      const values = [...kind.values, ...(kind.spellings ?? [])]
      const asked = [
        ...operators.flatMap((operator) => values.map((value) => ({ [operator]: value }))),
        ...(kind.hasLike ? likes.map((pattern) => ({ like: pattern })) : []),
      ]
      for (const comparison of asked) {
        const described: Described = { is: 'where', conditions: { [name]: comparison } }
        const meant = items.filter((row) => means(described, row, null, world)).map((row) => row.id)
        const cls = under(everyone()) as unknown as typeof Model
        const scope = scopeOf(cls, null, { dialect: db.dialect, ref: 'agree_item' })
        const text = `${name} ${Object.keys(comparison)} ${JSON.stringify(String(Object.values(comparison)))}`
        expect(await bySql(ruleOf(described), null), `${text} in SQL`).to.deep.equal(meant)
        const held = loaded.filter((row) => compile(ruleOf(described), { ...scope, row }) === true)
        expect(
          held.map((row) => row.id),
          `${text} in memory`,
        ).to.deep.equal(meant)
      }
    })
  }

  it('[promise 30] agrees on every role and place, for the holders of every grant', async function () {
    this.timeout(60_000)
    const places: (readonly [string | null, string | null])[] = [
      [null, null],
      [domainIds[0] as string, domainNames[0] as string],
      [domainIds[1] as string, domainNames[1] as string],
    ]
    const held = ['editor', 'admin', 'superadmin'].flatMap((name) =>
      places.map(([domainId, domainName]): Actor => ({ ...plain, grants: [{ id: 'g', role: name, domainId, domainName }] })),
    )
    for (const name of ['editor', 'admin', 'superadmin']) {
      for (const domain of [
        undefined,
        'any',
        'nowhere',
        domainNames[0],
        domainNames[1],
        String(domainIds[1]).toUpperCase(),
        { id: domainIds[0] as string },
      ]) {
        for (const actor of [null, plain, ...held]) await expectAgreement({ is: 'role', roles: [name], domain }, actor)
      }
    }
  })

  it('[promise 30] agrees on comparisons with null that TypeScript would reject', async () => {
    const untyped = (conditions: object) => where(conditions as never)
    for (const rule of [...orders, 'like'].map((operator) => untyped({ [operator === 'like' ? 'name' : 'count']: { [operator]: null } }))) {
      expect(await bySql(rule, null), 'in SQL').to.deep.equal([])
      expect(await inMemory(rule, null), 'in memory').to.deep.equal([])
    }
    for (const asked of [0, 1]) {
      const rule = untyped({ name: { null: asked } })
      expect(await inMemory(rule, null)).to.deep.equal(await bySql(rule, null))
    }
  })

  const everything = items.map((item) => item.id)
  const inGroup = (rule: SqlRule) => related('group', rule)
  const grouped = items.filter((item) => item['groupId'] !== null).map((item) => item.id)
  const nameless = items.filter((item) => item['name'] === null).map((item) => item.id)
  const named = items.filter((item) => item['name'] !== null).map((item) => item.id)
  const notA = items.filter((item) => item['name'] !== 'a').map((item) => item.id)

  const cases: [string, SqlRule, string[]][] = [
    ['anyOf() of nothing is nobody', anyOf(), []],
    ['allOf() of nothing is everyone', allOf(), everything],
    ['not(anyOf()) is everyone', not(anyOf()), everything],
    ['not(allOf()) is nobody', not(allOf()), []],
    ['anyOf() of nothing stays nobody beside others', allOf(everyone(), anyOf()), []],
    ['where({}) is everyone', where({}), everything],
    ['in: [] is nobody', where({ name: { in: [] } }), []],
    ['an empty list is nobody', where({ name: [] }), []],
    ['not(in: []) is everyone, those with NULL too', not(where({ name: { in: [] } })), everything],
    ['notIn: [] is all that are not NULL', where({ name: { notIn: [] } }), named],
    ['notIn leaves NULL out', where({ name: { notIn: ['no such name'] } }), named],
    ['ne leaves NULL out', where({ name: { ne: 'no such name' } }), named],
    ['not() of a comparison with NULL is true', not(where({ name: 'a' })), notA],
    ['not(not()) of a comparison with NULL is false', not(not(where({ name: { ne: 'no such name' } }))), named],
    ['null is NULL', where({ name: null }), nameless],
    ['related() with nobody is nobody', inGroup(anyOf()), []],
    ['related() with everyone is all that have one', inGroup(allOf()), grouped],
    ['not(related()) holds for rows without any', not(inGroup(allOf())), everything.filter((id) => !grouped.includes(id))],
  ]
  for (const [title, rule, ids] of cases) {
    it(`[promise 30] ${title}`, async () => {
      for (const actor of [null, plain]) {
        expect(await bySql(rule, actor), 'in SQL').to.deep.equal(ids)
        expect(await inMemory(rule, actor), 'in memory').to.deep.equal(ids)
      }
    })
  }

  it('[promise 30] has a WHERE in every statement of a policy that allows no rows or only some rows', async () => {
    const denials = [
      anyOf(),
      nobody(),
      authenticated(),
      owner(),
      role('admin'),
      where({ name: [] }),
      not(allOf()),
      where({ name: 'a' }),
      inGroup(nobody()),
    ]
    for (const rule of denials) {
      const cls = under(rule)
      const { statements } = await countQueries(db.knex, () => runAsActor(null, () => cls.query()))
      expect(statements).to.have.lengthOf(1)
      expect(statements[0]).to.match(/ where /i)
    }
  })

  it('[promise 30] applies rules to superadmins too, who satisfy a rule for admins', async () => {
    const superadmin: Actor = { ...plain, grants: [{ id: 'g', role: 'superadmin', domainId: null, domainName: null }] }
    expect(await bySql(nobody(), superadmin)).to.deep.equal([])
    expect(await bySql(role('admin'), superadmin)).to.deep.equal(everything)
    expect(await bySql(role('editor'), superadmin)).to.deep.equal([])
  })
})
