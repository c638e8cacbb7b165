import { expect } from 'chai'
import { fetchAdapter } from '../../src/adapters/fetch.js'
import {
  Api,
  asSystem,
  BasePermsModel,
  ConfigurationError,
  column,
  createTables,
  initPerms,
  type Perms,
  type PermsOptions,
  ServiceUnavailableError,
  transaction,
  User,
  UserResource,
} from '../../src/index.js'
import { countQueries, createDatabase, eachDatabase, type TestDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { until } from '../helpers/until.js'

class Post extends BasePermsModel.withColumns({
  title: column.string({ maxLength: 100 }),
  views: column.integer().default(0),
  note: column.string().nullable(),
}) {}

/** Collects what console.warn() prints while fn runs. */
async function warnings(fn: (printed: string[]) => Promise<void>): Promise<string[]> {
  const printed: string[] = []
  const { warn } = console
  console.warn = (text: unknown) => void printed.push(String(text))
  try {
    await fn(printed)
  } finally {
    console.warn = warn
  }
  return printed
}

const rest = () => new Promise((resolve) => setImmediate(resolve))

eachDatabase('initPerms({ checkTables })', (db) => {
  let perms: Perms | undefined
  const start = (checkTables: PermsOptions['checkTables']) => {
    perms = initPerms({ knex: db.knex, models: [Post], checkTables })
    return perms
  }
  afterEach(async () => {
    await perms?.close()
    await db.knex.schema.dropTableIfExists('post')
  })
  before(async () => {
    await migrateOnce(db)
  })

  const broken: Record<string, { readonly change: (db: TestDatabase) => PromiseLike<unknown>; readonly names: RegExp }> = {
    'a missing table': { change: ({ knex }) => knex.schema.dropTable('post'), names: /post: the table does not exist\./ },
    'a missing column': {
      change: ({ knex }) => knex.schema.alterTable('post', (table) => table.dropColumn('views')),
      names: /post\.views: the column does not exist\./,
    },
    'a type of another family': {
      change: async ({ knex }) => {
        await knex.schema.alterTable('post', (table) => table.dropColumn('views'))
        await knex.schema.alterTable('post', (table) => table.string('views'))
      },
      names: /post\.views: \S.*255\), the models declare integer\./,
    },
    'a NOT NULL column that the models leave out': {
      change: async ({ knex }) => {
        await knex.schema.dropTable('post')
        await knex.schema.createTable('post', (table) => {
          for (const name of ['id', 'title', 'note', 'extra']) table.string(name).notNullable()
          for (const name of ['created_at', 'updated_at']) table.dateTime(name).notNullable()
          table.integer('views').notNullable()
        })
      },
      names:
        /post\.note: the column is NOT NULL, the models declare it nullable\. post\.extra: the column is NOT NULL without a default, and no model declares it\./,
    },
  }

  for (const [what, { change, names }] of Object.entries(broken)) {
    it(`'refuse' rejects statements of models and requests with a ConfigurationError that names ${what}`, async () => {
      await createTables(db.knex, [Post])
      await change(db)
      start('refuse')
      const statements = [Post.query(), Post.query().resultSize(), Post.create({ title: 'one' }), Post.query().delete(), User.query()]
      for (const statement of statements) {
        const error = await rejection(statement)
        expect(error).to.be.instanceOf(ConfigurationError)
        expect(error.message).to.match(names)
        expect(error.message).to.contain('run `npx objection-perms migrate make NAME`')
      }
    })

    it(`'warn' prints ${what} once, and rejects nothing`, async () => {
      await createTables(db.knex, [Post])
      await change(db)
      const printed = await warnings(async (lines) => {
        start('warn')
        await until('the warning', () => lines.length > 0)
        expect(await User.query()).to.deep.equal([])
        await perms?.migrate()
      })
      expect(printed).to.have.length(1)
      expect(printed[0]).to.match(names)
    })
  }

  it("'refuse' answers requests with 500, reports the differences to onError, and hides them from the client", async () => {
    await createTables(db.knex, [Post])
    perms = initPerms({ knex: db.knex, models: [Post], checkTables: 'refuse', jwt: { secret: 'k'.repeat(48) } })
    const user = await asSystem(() => User.create({ email: `${db.name}@example.com` }))
    const token = await perms.auth.createAccessToken(user)
    await perms.close()
    await db.knex.schema.dropTable('post')
    perms = initPerms({ knex: db.knex, models: [Post], checkTables: 'refuse', jwt: { secret: 'k'.repeat(48) } })
    const reported: unknown[] = []
    const { router } = fetchAdapter(perms, { onError: (error) => void reported.push(error) })
    const answer = router(new Api({ resources: [new UserResource()] }))
    expect((await answer(new Request('http://localhost/users/')))?.status, 'an anonymous caller').to.equal(401)
    const response = await answer(new Request('http://localhost/users/', { headers: { authorization: `Bearer ${token}` } }))
    expect(response?.status).to.equal(500)
    expect(await response?.text()).to.not.contain('post')
    expect(reported).to.have.length(1)
    expect(reported[0]).to.be.instanceOf(ConfigurationError)
  })

  it('takes one statement, and none after it has succeeded', async () => {
    await createTables(db.knex, [Post])
    start('refuse')
    const first = await countQueries(db.knex, () => Promise.all([Post.query(), Post.query(), User.query()]))
    expect(first.statements.filter((sql) => /pg_class|information_schema|sqlite_master/.test(sql))).to.have.length(1)
    const second = await countQueries(db.knex, () => Post.query())
    expect(second.statements).to.have.length(1)
  })

  it('prints nothing and rejects nothing when the tables are as the models declare them', async () => {
    await createTables(db.knex, [Post])
    const printed = await warnings(async () => {
      start('warn')
      await Post.create({ title: 'one' })
      await rest()
      await perms?.close()
      start('refuse')
      expect(await Post.query().resultSize()).to.equal(1)
      await Post.create({ title: 'two' })
    })
    expect(printed).to.deep.equal([])
  })

  it('checks again before each statement until the tables are right', async () => {
    start('refuse')
    await rejection(Post.query())
    await createTables(db.knex, [Post])
    expect(await Post.query()).to.deep.equal([])
  })

  it('checks inside a transaction on its own connection', async () => {
    await createTables(db.knex, [Post])
    start('refuse')
    await transaction(async () => {
      expect(await Post.query()).to.deep.equal([])
    })
  })

  for (const mode of ['warn', 'refuse'] as const) {
    it(`'${mode}' does not count what perms.migrate() creates at start`, async () => {
      const empty = await createDatabase(db.name)
      try {
        const printed = await warnings(async () => {
          perms = initPerms({ knex: empty.knex, checkTables: mode })
          await perms.migrate()
          await rest()
          expect(await User.query()).to.deep.equal([])
        })
        expect(printed).to.deep.equal([])
        await perms?.close()
      } finally {
        await empty.destroy()
      }
    })
  }

  it('names the commands for tables of the library', async () => {
    const empty = await createDatabase(db.name)
    try {
      perms = initPerms({ knex: empty.knex, checkTables: 'refuse' })
      expect((await rejection(User.query())).message).to.match(
        /user: the table does not exist\..* Run `npx objection-perms migrate up`\. .*`await perms\.migrate\(\)`/,
      )
      await perms.close()
    } finally {
      await empty.destroy()
    }
  })

  it('refuses while the tables cannot be read', async () => {
    await createTables(db.knex, [Post])
    const broken = db.connect()
    perms = initPerms({ knex: broken, models: [Post], checkTables: 'refuse' })
    await broken.destroy()
    const error = await rejection(Post.query())
    expect(error).to.be.instanceOf(ServiceUnavailableError)
  })

  it('leaves nothing running after close(), which waits for the check', async () => {
    await createTables(db.knex, [Post])
    const { statements } = await countQueries(db.knex, async () => {
      await start('refuse').close()
      await rest()
      const closing = start('refuse')
      const read = Post.query()
      await Promise.all([closing.close(), read.catch(() => undefined)])
    })
    const before = statements.length
    await rest()
    expect(statements).to.have.length(before)
  })

  it('rejects another value', () => {
    expect(() => initPerms({ knex: db.knex, checkTables: true as never })).to.throw(ConfigurationError, "use 'warn' or 'refuse'")
  })
})

async function migrateOnce({ knex }: TestDatabase): Promise<void> {
  const perms = initPerms({ knex })
  await perms.migrate()
  await perms.close()
}
