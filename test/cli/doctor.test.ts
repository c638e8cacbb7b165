import { mkdirSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { expect } from 'chai'
import { poolerFinding, skewFinding } from '../../src/cli/commands/doctor/database.js'
import { compareVersions } from '../../src/cli/commands/doctor/packages.js'
import { secretFinding } from '../../src/cli/commands/doctor/security.js'
import { availableDatabases, eachDatabase } from '../helpers/databases.js'
import { createProject, permsModule, type TestProject } from './helpers/project.js'

interface Found {
  severity: string
  check: string
  what: string
  advice: string
}

const models = `import { BasePermsModel, belongsTo, column, HasDomainMixin, hasMany, HasUserMixin, owner, related, UserOwnershipMixin } from 'objection-perms'
class Note extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({ title: column.string({ maxLength: 50 }), doneAt: column.datetime().nullable() }) {}
class Task extends HasDomainMixin(BasePermsModel).withColumns({ note: column.string(), keeper: column.uuid().nullable(), listId: column.uuid().nullable() }) {
  static policy = { read: owner('keeper'), create: owner('keeper') }
}
class List extends HasUserMixin(BasePermsModel).withColumns({ name: column.string() }) {
  static relationMappings = () => ({ tasks: hasMany(() => Task, 'listId') })
  static policy = { read: related('tasks', owner('keeper')) }
}`

eachDatabase('objection-perms doctor', (db) => {
  let project: TestProject
  before(async function () {
    this.timeout(120_000)
    project = createProject({
      'perms.js': permsModule({ database: db.name, url: db.url(), before: models, options: 'models: [Note, Task, List]' }),
    })
    for (const args of [['make', 'first'], ['up']]) {
      const { code, stderr } = await project.run(['migrate', ...args])
      expect(code, stderr).to.equal(0)
    }
  })
  after(() => project.remove())

  async function examine(env: NodeJS.ProcessEnv = {}): Promise<{ code: unknown; findings: Found[] }> {
    const { code, json, stderr } = await project.run(['doctor', '--json'], { env })
    expect(json.findings, stderr).to.be.an('array')
    return { code, findings: json.findings }
  }
  const whats = (findings: readonly Found[], check: string) => findings.filter((one) => one.check === check).map(({ what }) => what)

  it('reports the versions, and the columns without an index that policies compare', async () => {
    const { code, stdout } = await project.run(['doctor'], { ownProcess: true })
    expect(code).to.equal(0)
    expect(stdout)
      .to.match(/^node +\d+\./m)
      .and.to.match(/^database +(?:SQLite|PostgreSQL|MariaDB) \d/m)
    const { findings } = await examine()
    expect(whats(findings, 'indexes')).to.deep.equal([
      "No index of 'task' begins with keeper, which owner() of Task compares in each list.",
      "No index of 'task' begins with list_id, which related('tasks') of List compares in each list.",
    ])
    expect(findings).to.have.length(2)
  }).timeout(60_000)

  it('finds nothing more when the columns have indexes', async () => {
    await db.knex.schema.alterTable('task', (table) => {
      table.index(['keeper', 'note'], 'task_keeper')
      table.index(['list_id'], 'task_list')
    })
    const { stdout } = await project.run(['doctor'])
    expect(stdout).to.match(/\nNothing found\.\n$/)
  })

  it('reports a view that reads a protected table', async () => {
    await db.knex.raw('create view titles as select title from note')
    try {
      const { findings } = await examine()
      expect(whats(findings, 'unguarded')).to.have.length(1)
      expect(whats(findings, 'unguarded')[0]).to.match(/^The view (?:public\.)?titles reads note, and no policy restricts it\.$/)
    } finally {
      await db.knex.raw('drop view titles')
    }
  })

  it('reports columns that are missing, and those that make each insert fail, and exits with 1', async () => {
    await db.knex.schema.alterTable('note', (table) => {
      table.dropColumn('done_at')
      table.string('legacy', 10).notNullable().defaultTo('x')
    })
    if (db.dialect === 'pg') await db.knex.raw('alter table note alter legacy drop default')
    if (db.dialect === 'mysql') await db.knex.raw('alter table note modify legacy varchar(10) not null')
    const { code, findings } = await examine()
    expect(code).to.equal(1)
    expect(findings[0]).to.deep.equal({
      severity: 'error',
      check: 'tables',
      what: 'note.done_at: the column does not exist.',
      advice: 'Run `npx objection-perms migrate up`. If no migration does it yet, write one with `npx objection-perms migrate make NAME`.',
    })
    // SQLite can add such a column only with a default.
    expect(whats(findings, 'tables').slice(1)).to.deep.equal(
      db.dialect === 'sqlite' ? [] : ['note.legacy: the column is NOT NULL without a default, and no model declares it.'],
    )
    await db.knex.schema.alterTable('note', (table) => {
      table.dropColumn('legacy')
      table.specificType('done_at', db.dialect === 'pg' ? 'timestamp' : db.dialect === 'mysql' ? 'datetime(3)' : 'datetime')
    })
  })

  it('reports text that the database compares without case, and datetimes without a time zone', async () => {
    if (db.dialect === 'pg') {
      const isCitextThere = (await db.knex.raw("select 1 from pg_available_extensions where name = 'citext'")).rows.length > 0
      if (isCitextThere) await db.knex.raw('create extension citext')
      if (isCitextThere) await db.knex.raw('alter table note alter title type citext')
      const { findings } = await examine()
      expect(whats(findings, 'time zone')).to.deep.equal([
        'note.done_at is a timestamp without time zone: its meaning depends on the time zone of the connection.',
      ])
      expect(whats(findings, 'collation')).to.deep.equal(
        isCitextThere ? ['note.title is compared with the type citext: rules and filters compare exactly.'] : [],
      )
    } else if (db.dialect === 'mysql') {
      await db.knex.raw('alter table user modify email varchar(254) character set utf8mb4 collate utf8mb4_general_ci not null')
      const { findings } = await examine()
      expect(whats(findings, 'collation')).to.deep.equal([
        'user.email is compared with the collation utf8mb4_general_ci: two spellings of one account are the same user in the database only.',
      ])
    } else {
      await db.knex.raw('alter table note add nick varchar(10) collate nocase')
      project.write({ 'perms.js': project.read('perms.js').replace('doneAt:', 'nick: column.string().nullable(), doneAt:') })
      const { findings } = await examine()
      expect(whats(findings, 'collation')).to.deep.equal(['note.nick is compared with COLLATE NOCASE: rules and filters compare exactly.'])
    }
  })

  it('reports a secret that looks like an example, without its value', async () => {
    const secret = 'please-change-me-please-change-me-now'
    const { findings } = await examine({ JWT_SECRET: secret })
    expect(whats(findings, 'secrets')).to.deep.equal(['JWT_SECRET looks like an example: it contains words.'])
    expect(JSON.stringify(findings)).not.to.contain(secret)
  })
})

/** Gives clients another process id than the server's, as PgBouncer does: the message 'K' is 12 bytes long, and the id comes first. */
function poolerLike(host: string, port: number): Server {
  return createServer((client) => {
    const server = connect(port, host)
    client.pipe(server)
    server.on('data', (data) => {
      const at = data.indexOf(Buffer.from([0x4b, 0, 0, 0, 12]))
      if (at >= 0) data.writeInt32BE(1_000_000_007, at + 5)
      client.write(data)
    })
    for (const socket of [client, server])
      socket.on('error', () => undefined).on('close', () => (socket === client ? server : client).destroy())
  })
}

eachDatabase(
  'objection-perms doctor, through a pooler',
  (db) => {
    it('reports the pooler', async () => {
      const url = new URL(db.url())
      const pooler = poolerLike(url.hostname, Number(url.port || 5432)).listen(0, '127.0.0.1')
      await new Promise((done) => pooler.once('listening', done))
      url.hostname = '127.0.0.1'
      url.port = String((pooler.address() as AddressInfo).port)
      const project = createProject({ 'perms.js': permsModule({ database: db.name, url: url.href }) })
      try {
        const { json, stderr } = await project.run(['doctor', '--json'])
        expect(
          json.findings.filter(({ check }: Found) => check === 'pooler'),
          stderr,
        ).to.have.length(1)
      } finally {
        project.remove()
        pooler.close()
      }
    })
  },
  availableDatabases.filter((name) => name === 'pg'),
)

describe('objection-perms doctor', () => {
  let project: TestProject | undefined
  afterEach(() => {
    project?.remove()
    project = undefined
  })

  it('names the missing tables before the migrations have run, and exits with 1', async () => {
    project = createProject({ 'perms.js': permsModule() })
    const { code, stdout } = await project.run(['doctor'])
    expect(code).to.equal(1)
    expect(stdout).to.match(/^error: user: the table does not exist\. \(tables\)\nerror: user_role: /m)
    expect(stdout.match(/migrate up/g)).to.have.length(1)
  })

  it('reports a second copy of a package', async () => {
    project = createProject({ 'perms.js': permsModule() })
    const copy = join(project.folder, 'node_modules/some-plugin/node_modules/objection')
    mkdirSync(copy, { recursive: true })
    writeFileSync(join(copy, 'package.json'), '{ "name": "objection", "version": "3.0.1" }')
    const { json } = await project.run(['doctor', '--json'])
    const found = json.findings.find(({ check }: Found) => check === 'copies')
    expect(found.what).to.match(/^objection is installed 2 times: 3\.1\.\d+ in .*, 3\.0\.1 in .*some-plugin/)
  })

  it('reports cookies for an origin without https, and Express without trust proxy', async () => {
    project = createProject({
      'perms.js': permsModule({
        options: "cookies: { origins: ['http://zoo.example.com', 'http://localhost:3000'] }",
        after: "import express from 'express'\nexport const app = express()",
      }),
    })
    const { json } = await project.run(['doctor', '--json'])
    const found = json.findings.filter(({ check }: Found) => check === 'cookies' || check === 'proxy').map(({ what }: Found) => what)
    expect(found).to.have.length(2)
    expect(found[0]).to.equal('Cookies are for https only, and http://zoo.example.com is http: browsers do not store them.')
    expect(found[1]).to.match(/^Express has no 'trust proxy'/)
  })

  it('reports models whose rows could be restored, but disappear with their user', async () => {
    const before = `import { BasePermsModel, column, HasUserMixin, SoftDeleteMixin } from 'objection-perms'
class Draft extends SoftDeleteMixin(HasUserMixin(BasePermsModel)).withColumns({ title: column.string() }) {}
class Post extends SoftDeleteMixin(HasUserMixin(BasePermsModel)).withColumns({ title: column.string() }) { static onUserDeleted = 'delete' }`
    project = createProject({ 'perms.js': permsModule({ before, options: 'models: [Draft, Post]' }) })
    const { json } = await project.run(['doctor', '--json'])
    const found = json.findings.filter(({ check }: Found) => check === 'user rows')
    expect(found.map(({ severity, what }: Found) => [severity, what])).to.deep.equal([
      [
        'warning',
        'Users who have rows of Draft cannot be deleted: the foreign keys (Draft.user_id) would destroy rows that can be restored.',
      ],
    ])
    expect(found[0].advice).to.contain('static onUserDeleted on Draft')
  })

  it('reports a clock of the database that differs by more than two seconds, and more than thirty as an error', () => {
    expect(skewFinding(10_000, 10_500, 10_600)).to.deep.equal([])
    expect(skewFinding(10_550, 10_500, 10_600)).to.deep.equal([])
    expect(skewFinding(5_000, 10_500, 10_600)).to.have.length(1)
    expect(skewFinding(5_000, 10_500, 10_600)[0]).to.include({ severity: 'warning', check: 'clock' })
    expect(skewFinding(50_600, 10_500, 10_600)[0]).to.include({
      severity: 'error',
      what: 'The clock of the database is 40.0 seconds ahead of that of this machine.',
    })
  })

  it('reports a pooler when the server has another process id than the driver got', () => {
    expect(poolerFinding(4711, 4711)).to.deep.equal([])
    expect(poolerFinding(undefined, 4711)).to.deep.equal([])
    expect(poolerFinding(12, 4711)[0]).to.include({ severity: 'warning', check: 'pooler' })
  })

  it('reports short and simple secrets, and accepts those of objection-perms secret', async () => {
    project = createProject()
    const made = (await project.run(['secret'])).stdout.trim()
    expect(secretFinding('JWT_SECRET', made)).to.deep.equal([])
    expect(secretFinding('JWT_SECRET', 'short')[0]).to.include({ severity: 'error', what: 'JWT_SECRET has 5 bytes: fewer than 32.' })
    expect(secretFinding('JWT_SECRET', 'ab'.repeat(20))[0]).to.include({ severity: 'warning' })
  })

  it('compares versions by number, and a pre-release as its release', () => {
    expect(compareVersions('3.10.0', '3.9.9')).to.be.above(0)
    expect(compareVersions('3.1.5-rc.1', '3.1.5')).to.equal(0)
    expect(compareVersions('2.9', '3.0.0')).to.be.below(0)
  })
})
