import { expect } from 'chai'
import type { QueryBuilder } from 'objection'
import {
  BasePermsModel,
  column,
  createTables,
  HasUserMixin,
  initPerms,
  type Perms,
  runAs,
  User,
  UserOwnershipMixin,
} from '../../src/index.js'
import { availableDatabases, createDatabase, type OwnDatabase } from '../helpers/databases.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

class ManyDocument extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
  title: column.string({ maxLength: 200 }),
  content: column.text(),
}) {}

interface Plan {
  readonly 'Node Type': string
  readonly 'Total Cost': number
  readonly Plans?: readonly Plan[]
}

function* nodes(plan: Plan): Generator<Plan> {
  yield plan
  for (const part of plan.Plans ?? []) yield* nodes(part)
}

if (availableDatabases.includes('pg')) {
  describe('A user’s documents among 1,000,000 of 100,000 users on PostgreSQL', function () {
    this.timeout(180_000)
    let own: OwnDatabase
    let perms: Perms
    let me: User

    before(async () => {
      own = await createDatabase('pg')
      const { knex } = own
      perms = initPerms({ knex })
      await migrateAtOnce(perms)
      await createTables(knex, [ManyDocument])
      me = await User.create({ email: 'me@example.com' })
      await knex.raw(`insert into "user" (id, email, is_enabled, created_at, updated_at)
        select gen_random_uuid(), 'user' || n || '@example.com', true, now(), now() from generate_series(1, 99999) n`)
      await knex.raw(`insert into many_document (id, user_id, title, content, created_at, updated_at)
        select gen_random_uuid(), u.id, 'Document ' || n, 'text', now() - n * interval '1 minute', now()
        from (select id from "user") u cross join generate_series(1, 10) n`)
      await knex.raw('analyze')
    })
    after(async () => {
      await perms.close()
      await own.destroy()
    })

    async function planOf(sql: string, bindings: readonly unknown[]): Promise<Plan> {
      const { rows } = (await own.knex.raw(`explain (format json) ${sql}`, bindings as never)) as {
        rows: { 'QUERY PLAN': { Plan: Plan }[] }[]
      }
      const plan = rows[0]?.['QUERY PLAN'][0]?.Plan
      if (!plan) throw new Error('PostgreSQL explained nothing.')
      return plan
    }

    // The statement as the caller's query sends it.
    async function ours(build: () => QueryBuilder<ManyDocument>): Promise<Plan> {
      const { sql, bindings } = await runAs(me, () =>
        Promise.resolve((build() as unknown as { toKnexQuery(): { toSQL(): { sql: string; bindings: unknown[] } } }).toKnexQuery().toSQL()),
      )
      return planOf(sql, bindings)
    }

    const expectAhead = (mine: Plan, byHand: Plan): void => {
      expect([...nodes(mine)].map((node) => node['Node Type'])).not.to.include('Seq Scan')
      expect([...nodes(mine)].some((node) => node['Node Type'].includes('Index'))).to.equal(true)
      expect(mine['Total Cost']).to.be.at.most(byHand['Total Cost'] * 1.3)
    }

    it('are listed by an index, at the cost of hand-written SQL', async () => {
      const mine = await ours(() => ManyDocument.query().orderBy('createdAt', 'desc').limit(20))
      const byHand = await planOf('select * from many_document where user_id = ? order by created_at desc limit 20', [me.id])
      expectAhead(mine, byHand)
    })

    it('are counted by an index, at the cost of hand-written SQL', async () => {
      const mine = await ours(() => ManyDocument.query().count('* as count'))
      const byHand = await planOf('select count(*) from many_document where user_id = ?', [me.id])
      expectAhead(mine, byHand)
    })

    it('are the user’s own', async () => {
      expect(await runAs(me, () => ManyDocument.query().resultSize())).to.equal(10)
    })
  })
}
