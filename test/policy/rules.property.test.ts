import { expect } from 'chai'
import fc from 'fast-check'
import { allOf, anyOf, asSystem, nobody, not, type Rule, runAs, self, where, whoCan } from '../../src/index.js'
import { compile } from '../../src/policy/compiler/compile.js'
import { holds } from '../../src/policy/compiler/condition.js'
import { type Scope, scopeOf } from '../../src/policy/compiler/scope.js'
import { type Actor, asAnonymous, currentActor } from '../../src/policy/context.js'
import { dialectOfClass } from '../../src/record/codec.js'
import type { TestDatabase } from '../helpers/databases.js'
import { byText, eachKindOfIds, type SuiteIds } from '../helpers/id-kinds.js'
import { generatedCases } from '../helpers/repetitions.js'
import { type Caller, naive, plansOf, type Row, ruleOf, samplesOf } from './rules-plans.js'
import { openRules, type RulesWorld } from './rules-world.js'

const seed = Number(process.env['FAST_CHECK_SEED'] ?? 20260318)
const allRuns = generatedCases(400, 'FAST_CHECK_RUNS')

function rulesSuite(db: TestDatabase, ids: SuiteIds, isLegacy: boolean): void {
  const part = isLegacy || ids.name !== 'uuid' ? (ids.name === 'uuid' ? 2 : 4) : 1
  const runs = process.env['FULL'] === '1' ? allRuns : Math.ceil(allRuns / part)
  const samples = samplesOf(ids, isLegacy)
  let world: RulesWorld
  before(async function () {
    this.timeout(60_000)
    world = await openRules(db.knex, ids, { isLegacy, seed, samples })
  })
  after(() => world?.perms.close())

  it('[promise 30] agree with each other and with a naive evaluation, for random policies, callers and rows', async function () {
    this.timeout(60_000)
    const { Thing, thingWith, press, domainIds, callers, rows } = world
    console.log(`      seed ${seed}, ${runs} policies`)
    const actors = new Map<Caller, Actor | null>()
    for (const caller of callers) if (caller) actors.set(caller, await runAs(caller.id, () => currentActor()))
    const stored = await asSystem(() => Thing.query())
    let some = 0
    await fc.assert(
      fc.asyncProperty(
        plansOf(samples),
        fc.constantFrom(...callers),
        fc.array(fc.nat(rows.length - 1), { minLength: 3, maxLength: 3 }),
        async (plan, caller, picked) => {
          const Class = thingWith(ruleOf(plan, press))
          const as = <T>(fn: () => T) => (caller ? runAs(caller.id, fn) : asAnonymous(fn))
          const inSql = ((await as(() => Class.query().select('id'))) as { id: string }[]).map(({ id }) => id).sort(byText)
          const expected = rows
            .filter((row) => naive(plan, caller, row, domainIds))
            .map(({ id }) => id)
            .sort(byText)
          expect(inSql, 'in SQL').to.deep.equal(expected)
          if (expected.length > 0 && expected.length < rows.length) some += 1
          expect(await as(() => Class.query().resultSize()), 'counted').to.equal(expected.length)
          for (const index of picked) {
            const row = rows[index] as Row
            const dialect = dialectOfClass(Class as never)
            const scope: Scope = {
              ...scopeOf(Class as never, caller ? (actors.get(caller) as Actor) : null, { dialect, ref: 't' }),
              row: stored.find(({ id }) => id === row.id) as never,
            }
            const isHeld = await holds(db.knex, compile(Class.policy.read as Rule, scope))
            expect(isHeld, `in memory, ${row.id}`).to.equal(expected.includes(row.id))
          }
        },
      ),
      { seed, numRuns: runs },
    )
    expect(some, 'policies that tell rows apart').to.be.greaterThan(runs / 6)
  })

  it('[promise 217] name with whoCan() the same users as asking for each, for random policies and rows', async function () {
    this.timeout(60_000)
    const { thingWith, press, domainIds, callers, rows } = world
    const users = callers.flatMap((caller) => (caller ? [caller] : []))
    await fc.assert(
      fc.asyncProperty(plansOf(samples), fc.nat(rows.length - 1), async (plan, index) => {
        const Class = thingWith(ruleOf(plan, press))
        const row = rows[index] as Row
        const expected = users.filter((caller) => naive(plan, caller, row, domainIds)).map(({ id }) => id)
        const stored = (await asSystem(() => Class.query().findById(row.id))) as InstanceType<typeof Class>
        const found = await asSystem(() => whoCan('read', stored))
        expect(found.map(({ id }) => id).sort(byText)).to.deep.equal(expected.sort(byText))
      }),
      { seed, numRuns: Math.ceil(runs / 2) },
    )
  })

  it('[promise 30] match only the row of the caller with self()', async () => {
    const { callers } = world
    class Mine extends world.Account {
      static override tableName = world.Account.tableName
      static override adminBypass = false
      static override policy = { read: anyOf(self(), allOf(not(self()), where({ email: 'u0@example.com' }))) }
    }
    const first = callers[1]?.id as string
    for (const caller of callers) {
      const read = () => Mine.query()
      const found = (await (caller ? runAs(caller.id, read) : asAnonymous(read))).map(({ id }) => id)
      expect(found).to.have.members([...new Set([...(caller ? [caller.id] : []), first])])
    }
  })

  it('[promise 30] match no row with an empty anyOf(), and all rows with an empty allOf() or where({})', async () => {
    for (const [rule, isAll] of [
      [anyOf(), false],
      [allOf(), true],
      [not(anyOf()), true],
      [not(allOf()), false],
      [where({}), true],
      [nobody(), false],
    ] as const) {
      const Class = world.thingWith(rule)
      expect((await asAnonymous(() => Class.query())).length).to.equal(isAll ? world.rows.length : 0)
    }
  })
}

eachKindOfIds('rules in SQL and in memory', (db, ids) => rulesSuite(db, ids, false))
eachKindOfIds('rules of models with only a jsonSchema', (db, ids) => rulesSuite(db, ids, true), [])
