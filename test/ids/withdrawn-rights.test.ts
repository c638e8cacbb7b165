import { expect } from 'chai'
import type { Knex } from 'knex'
import {
  asSystem,
  BasePermsModel,
  belongsTo,
  column,
  createTables,
  everyone,
  HasUserMixin,
  initPerms,
  owner,
  type Perms,
  related,
  role,
  runAs,
  Token,
  User,
  UserRole,
  UserSetting,
} from '../../src/index.js'
import { availableDatabases, countQueries, eachDatabase } from '../helpers/databases.js'
import { suiteIds } from '../helpers/id-kinds.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

// SQLite has one writer: no other connection changes anything while a transaction is open.
const servers = availableDatabases.filter((name) => name === 'pg' || name === 'mysql2')

for (const ids of suiteIds) {
  eachDatabase(
    `A right that ends between the check and the insert, with ${ids.name} ids`,
    (db) => {
      class Account extends User.withColumns({ id: ids.key() }) {
        static override tableName = 'account'
      }
      class Project extends HasUserMixin(BasePermsModel).withColumns({ id: ids.key(), name: column.string() }) {
        static override policy = { read: everyone(), create: everyone() }
      }
      const columns = { id: ids.key(), title: column.string(), projectId: ids.column().nullable() }
      class ByProject extends BasePermsModel.withColumns(columns) {
        static override tableName = 'by_project'
        static override policy = { read: everyone(), create: related('project', owner()) }
        static override relationMappings = { project: belongsTo(() => Project, 'projectId') }
      }
      class ByRole extends BasePermsModel.withColumns(columns) {
        static override tableName = 'by_role'
        static override policy = { read: everyone(), create: role('editor') }
      }
      let perms: Perms
      let other: Knex
      let beforeSend: (sql: string) => PromiseLike<unknown> | undefined = () => undefined
      /** Lets `beforeSend` delay the statements of a connection, whatever client or transaction sends them. */
      const delaying = {
        afterCreate(connection: { query: (...args: unknown[]) => unknown }, done: (error: null, connection: object) => void) {
          const query = connection.query.bind(connection)
          connection.query = (...args) => {
            const [first] = args
            const sql =
              typeof first === 'string' ? first : ((first as { text?: string; sql?: string }).text ?? (first as { sql: string }).sql)
            const wait = beforeSend(sql)
            if (wait === undefined) return query(...args)
            // Not the returned value: mysql2 warns of awaiting it.
            void Promise.resolve(wait).then(() => void query(...args))
            return undefined
          }
          done(null, connection)
        },
      }
      let ada: User
      let project: Project

      before(async () => {
        const knex = db.connect({ pool: { min: 0, max: 4, ...delaying } })
        perms = initPerms({ knex, user: Account as never, models: [Project, ByProject, ByRole] })
        await migrateAtOnce(perms)
        await createTables(knex, [Account, UserRole, Token, UserSetting, Project, ByProject, ByRole])
        other = db.connect()
        const made = ids.name === 'uuid' || ids.name === 'string' ? {} : { id: ids.nth(1) }
        ada = (await asSystem(() => Account.create({ ...made, email: 'ada@example.com' }))) as never
      })
      after(() => perms.close())
      beforeEach(async () => {
        await asSystem(() => ada.grantRole('editor'))
        project = await asSystem(() => Project.create({ name: 'one', userId: ada.id } as never))
      })
      afterEach(() => other('account').update({ is_enabled: db.dialect === 'pg' ? true : 1 }))

      /** Calls `withdraw` on another connection when everything is checked and only the INSERT is left to be sent. */
      async function insertAfter(withdraw: () => PromiseLike<unknown>, table: string, insert: () => PromiseLike<unknown>) {
        let calls = 0
        beforeSend = (sql) => (sql.startsWith('insert into') && sql.includes(table) && calls++ === 0 ? withdraw() : undefined)
        try {
          const name = await runAs(ada, () => insert()).then(
            () => 'inserted',
            (error: Error) => error.name,
          )
          expect(calls, 'inserts').to.equal(1)
          return [name, Number((await other(table).count({ n: '*' }))[0]?.['n'])]
        } finally {
          beforeSend = () => undefined
          await other(table).delete()
        }
      }

      const rights: Record<string, () => PromiseLike<unknown>> = {
        'the role of the caller': () => other('user_role').where({ role: 'editor' }).delete(),
        'the account of the caller': () => other('account').update({ is_enabled: db.dialect === 'pg' ? false : 0 }),
      }
      for (const [what, withdraw] of Object.entries(rights))
        it(`is ${what}: nothing is inserted [promise 76]`, async () => {
          const create = () => ByRole.create({ title: 'x' })
          expect(await insertAfter(async () => undefined, 'by_role', create)).to.deep.equal(['inserted', 1])
          const [name, rows] = await insertAfter(withdraw, 'by_role', create)
          expect(name).to.match(/^(Forbidden|Unauthorized)Error$/)
          expect(rows).to.equal(0)
        })

      it('is the owner of a related row: nothing is inserted, in a transaction either [promise 76]', async () => {
        const values = { title: 'x', projectId: project.id }
        const give = () => other('project').where({ id: project.id }).delete()
        expect(
          await insertAfter(
            async () => undefined,
            'by_project',
            () => ByProject.create(values),
          ),
        ).to.deep.equal(['inserted', 1])
        expect(await insertAfter(give, 'by_project', () => ByProject.create(values))).to.deep.equal(['ForbiddenError', 0])
      })

      it('has no time to end: the check is part of the statement that inserts [promise 76]', async () => {
        const { statements } = await countQueries(perms.knex, () => runAs(ada, () => ByRole.create({ title: 'x' })))
        const inserts = statements.filter((sql) => /insert into/.test(sql))
        expect(inserts).to.have.length(1)
        expect(inserts[0]).to.match(/case when .*user_role/)
        await other('by_role').delete()
      })
    },
    servers,
  )
}
