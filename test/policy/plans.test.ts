import { expect } from 'chai'
import {
  allowed,
  asSystem,
  BasePermsModel,
  colleague,
  column,
  createTables,
  Domain,
  before as earlier,
  initPerms,
  member,
  owner,
  type Perms,
  type Policy,
  related,
  User,
  where,
} from '../../src/index.js'
import { type Actor, runAsActor } from '../../src/policy/context.js'
import { eachDatabase } from '../helpers/databases.js'

const DOMAINS = 200
const ROWS = 20_000

class Project extends BasePermsModel.withColumns({ domainId: column.uuid().index(), title: column.string() }) {
  static override tableName = 'plan_project'
  static override policy: Policy = { read: member() }
}

class Ticket extends BasePermsModel.withColumns({
  projectId: column.uuid().references('plan_project.id').index(),
  userId: column.uuid().nullable().index(),
  status: column.string({ maxLength: 20 }),
}) {
  static override tableName = 'plan_ticket'
  static userField = 'userId'
  static override relationMappings = () => ({
    project: {
      relation: BasePermsModel.BelongsToOneRelation,
      modelClass: Project,
      join: { from: 'plan_ticket.projectId', to: 'plan_project.id' },
    },
  })
  static override policy: Policy = {
    read: related('project', allowed('read')),
    update: { from: owner(), to: earlier(where({ status: 'open' })) },
  }
}

class Colleague extends User {
  static override tableName = 'user'
  static override policy: Policy = { read: colleague() }
}

const at = (prefix: number, i: number) => `${prefix}0000000-0000-4000-8000-${String(i).padStart(12, '0')}`

eachDatabase('The plans of rules', (db) => {
  let perms: Perms
  let caller: Actor
  before(async function () {
    this.timeout(240_000)
    perms = initPerms({ knex: db.knex, user: Colleague, models: [Project, Ticket] })
    await perms.migrate()
    await createTables(db.knex, [Project, Ticket])
    const now = db.dialect === 'sqlite' ? 0 : new Date()
    const times = { created_at: now, updated_at: now }
    const insert = async (table: string, count: number, row: (i: number) => object) => {
      const rows = Array.from({ length: count }, (_, i) => ({ ...row(i), ...times }))
      await db.knex.batchInsert(table, rows, 200)
    }
    const domains = await asSystem(async () => {
      const made: Domain[] = []
      for (let i = 0; i < DOMAINS; i += 1) made.push(await Domain.create({ name: `domain-${i}` }))
      return made
    })
    await insert('user', ROWS / 10, (i) => ({ id: at(1, i), email: `u${i}@example.com`, is_enabled: true }))
    const domainOf = (i: number) => domains[i % DOMAINS]?.id as string
    await insert('user_role', ROWS / 10, (i) => ({
      id: at(2, i),
      user_id: at(1, i),
      role: 'agent',
      domain_id: domainOf(i),
      domain_key: domainOf(i),
    }))
    await insert('plan_project', ROWS, (i) => ({ id: at(3, i), domain_id: domainOf(i), title: 'x' }))
    await insert('plan_ticket', ROWS, (i) => ({ id: at(4, i), project_id: at(3, i), user_id: at(1, i % (ROWS / 10)), status: 'open' }))
    const tables = ['user', 'user_role', 'plan_project', 'plan_ticket']
    if (db.dialect === 'mysql') await db.knex.raw('analyze table ??, ??, ??, ??', tables)
    else await db.knex.raw('analyze')
    const grant = { id: at(2, 7), role: 'agent', domainId: domainOf(7) as never, domainName: 'domain-7' }
    caller = { id: at(1, 7) as never, user: {}, grants: [grant], sessionId: null, abilities: null, impersonatorId: null }
  })
  after(() => perms.close())

  async function planOf(build: () => { toKnexQuery(): { toSQL(): { sql: string; bindings: readonly unknown[] } } }): Promise<string> {
    const { sql, bindings } = await runAsActor(caller, async () => build().toKnexQuery().toSQL())
    const explained: unknown = await db.knex.raw(`${db.dialect === 'sqlite' ? 'explain query plan' : 'explain'} ${sql}`, bindings as never)
    return JSON.stringify(db.dialect === 'mysql' ? (explained as unknown[])[0] : explained)
  }

  /** Fails for a plan that reads one of the tables from its beginning to its end. */
  function expectNoScan(plan: string, ...tables: readonly string[]): void {
    for (const table of tables) {
      if (db.dialect === 'pg') expect(plan).not.to.match(new RegExp(`Seq Scan on \\W*${table}\\b`))
      else if (db.dialect === 'sqlite') expect(plan).not.to.match(new RegExp(`SCAN ${table}\\b`))
      else expect(plan).not.to.match(new RegExp(`"table":"${table}"(?:,"partitions":null)?,"type":"ALL"`))
    }
    expect(plan).to.match(db.dialect === 'pg' ? /Index/ : db.dialect === 'sqlite' ? /USING/ : /"key":"/)
  }

  it('read lists of member() by the index of the domain', async () => {
    expectNoScan(await planOf(() => Project.query()), 'plan_project')
    expect(await runAsActor(caller, () => Project.query().resultSize())).to.equal(ROWS / DOMAINS)
  })

  it('look up the related row of allowed() by its key', async () => {
    expectNoScan(await planOf(() => Ticket.query().findById(at(4, 207))), 'plan_ticket', 'plan_project', 'perms_1')
    // SQLite reads the outer rows of a list of related() in their order.
    expectNoScan(await planOf(() => Ticket.query().where('userId', at(1, 7))), 'plan_ticket', 'plan_project', 'perms_1')
    expect(await runAsActor(caller, () => Ticket.query().findById(at(4, 207)))).to.be.an('object')
    expect(await runAsActor(caller, () => Ticket.query().findById(at(4, 208)))).to.equal(undefined)
    expect(await runAsActor(caller, () => Ticket.query().resultSize())).to.equal(ROWS / DOMAINS)
  })

  it('look up the roles of a colleague by the user', async () => {
    expectNoScan(await planOf(() => Colleague.query().findById(at(1, 207))), 'user', 'user_role', 'perms_c0')
    expect(await runAsActor(caller, () => Colleague.query().findById(at(1, 207)))).to.be.an('object')
    expect(await runAsActor(caller, () => Colleague.query().findById(at(1, 208)))).to.equal(undefined)
  })

  it('find the row of before() by its id', async () => {
    const statements: string[] = []
    const note = ({ sql }: { sql: string }) => statements.push(sql)
    db.knex.on('query', note)
    const changed = await runAsActor(caller, () => Ticket.query().findById(at(4, 7)).patch({ status: 'closed' }))
    db.knex.off('query', note)
    expect(changed).to.equal(1)
    const reads = statements.filter((sql) => /^select .*plan_ticket/.test(sql))
    expect(reads).to.not.have.length(0)
    for (const sql of reads) expect(sql).to.match(/plan_ticket.{1,3}\.?.{0,3}id.{1,3} (?:=|in) ?\(?(?:\?|\$\d)/)
  })
})
