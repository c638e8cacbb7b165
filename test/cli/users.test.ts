import { expect } from 'chai'
import { eachDatabase, sqliteAnd, type TestDatabase } from '../helpers/databases.js'
import { createProject, permsModule, type TestProject } from './helpers/project.js'

const SENT = 'sent.log'

/** Sign-in with a username too, the audit log, and a mailer that writes into a file. */
function application(db: TestDatabase): string {
  return permsModule({
    database: db.name,
    url: db.url(),
    before: `import { appendFileSync } from 'node:fs'
import { column } from 'objection-perms'
class Keeper extends User.withColumns({
  username: column.string({ maxLength: 50 }).nullable().unique(),
  badge: column.integer().nullable(),
  isTrainee: column.boolean().default(false),
}) {
  static identifiers = ['email', 'username']
}
const mailer = { send: async (mail) => {
  if (process.env.MAIL === 'broken') throw new Error('The mail server is down.')
  appendFileSync('${SENT}', JSON.stringify(mail))
} }`,
    options:
      "user: Keeper, passwords: { cost: 10 }, auditLog: true, mail: process.env.MAIL ? { mailer, baseUrl: 'https://zoo.example.com' } : undefined",
  })
}

eachDatabase(
  'objection-perms create-superuser',
  (db) => {
    let project: TestProject
    before(async function () {
      this.timeout(60_000)
      project = createProject({ 'perms.js': application(db) })
      const { code, stderr } = await project.run(['migrate', 'up'])
      expect(code, stderr).to.equal(0)
    })
    after(() => project.remove())

    const create = (args: readonly string[], options = {}) => project.run(['create-superuser', ...args], options)
    const count = async () => Number((await db.knex('keeper').count({ count: '*' }))[0]?.['count'])
    const events = async () => await db.knex('audit_log').orderBy('id').pluck('event')

    it('creates a superadmin with a random password that is printed once, and records the event', async () => {
      const { code, stdout } = await create(['--email', ' Ada@Example.com '], { ownProcess: true })
      expect(code).to.equal(0)
      const [, password = ''] = /^The password is (\S+)$/m.exec(stdout) ?? []
      expect(password).to.have.length(20)
      expect(stdout).to.contain('Created the superadmin ada@example.com.')
      const { json } = await project.run(['users', 'list', '--json'])
      expect(json.users[0]).to.deep.include({ email: 'ada@example.com', roles: [{ role: 'superadmin', domain: null }] })
      expect(await events()).to.include('roleGranted')
      expect(await signIn('ada@example.com', password)).to.equal('signedIn')
    }).timeout(60_000)

    /** Signs in with the application itself. */
    async function signIn(email: string, password: string): Promise<string> {
      project.write({
        'sign-in.js': `import { knex, perms } from './perms.js'
const result = await perms.auth.signIn(JSON.parse(process.argv[2])).catch((error) => ({ status: error.code }))
console.log(result.status)
await perms.close()
await knex.destroy()`,
      })
      return await project.runModule('sign-in.js', [JSON.stringify({ email, password })])
    }

    it('refuses a second user with the same address, in any spelling', async () => {
      const before = await count()
      const { code, stdout } = await create(['--email', 'ADA@example.com'])
      expect([code, stdout]).to.deep.equal([
        1,
        'There is a user ada@example.com already. Choose another address, or grant this user the role with --existing.\n',
      ])
      expect(await count()).to.equal(before)
    })

    it('reads the password from stdin without its line break, and from SUPERUSER_PASSWORD', async () => {
      const bob = await create(['--email', 'bob@example.com', '--password-stdin'], { stdin: ' correct horse battery\n' })
      expect([bob.code, bob.stdout]).to.deep.equal([0, 'Created the superadmin bob@example.com.\n'])
      expect(await signIn('bob@example.com', ' correct horse battery')).to.equal('signedIn')
      const eve = await create(['--email', 'eve@example.com', '--json'], { env: { SUPERUSER_PASSWORD: 'battery horse correct' } })
      expect(Object.keys(eve.json)).to.deep.equal(['isCreated', 'user'])
      expect(await signIn('eve@example.com', 'battery horse correct')).to.equal('signedIn')
    }).timeout(60_000)

    it('takes further identifiers and columns with --set, in the types of the columns', async () => {
      const { code, json, stderr } = await create([
        '--email',
        'cleo@example.com',
        '--set',
        'username=cleo',
        '--set',
        'badge=7',
        '--set',
        'isTrainee=true',
        '--json',
      ])
      expect(code, stderr).to.equal(0)
      const [row] = await db.knex('keeper').where({ username: 'cleo' })
      expect([row.id, row.badge, Boolean(row.is_trainee)]).to.deep.equal([json.user.id, 7, true])
      expect((await create(['--email', 'c2@example.com', '--set', 'username=cleo'])).code).to.equal(1)
    })

    it('grants the role to an existing user with --existing', async () => {
      expect((await create(['--email', 'none@example.com', '--existing'])).code).to.equal(1)
      const { code, stdout } = await create(['--set', 'username=cleo', '--existing'])
      expect([code, stdout]).to.deep.equal([0, 'cleo@example.com is a superadmin now.\n'])
    })

    it('mails a link to choose a password with --invite, and names the user when the mailer fails', async () => {
      const { code, stdout } = await create(['--email', 'dan@example.com', '--invite'], { env: { MAIL: 'on' } })
      expect([code, stdout]).to.deep.equal([
        0,
        'Created the superadmin dan@example.com.\nA link to choose a password was sent to dan@example.com.\n',
      ])
      expect(project.read(SENT)).to.contain('dan@example.com').and.to.contain('https://zoo.example.com')
      const broken = await create(['--email', 'finn@example.com', '--invite'], { env: { MAIL: 'broken' } })
      expect(broken.code).to.equal(2)
      expect(broken.problem).to.match(/^The superadmin finn@example\.com exists, but the mailer could not send the link\./)
    })
  },
  sqliteAnd('mysql2'),
)

eachDatabase(
  'objection-perms create-superuser, with bad input',
  (db) => {
    let project: TestProject
    before(async function () {
      this.timeout(60_000)
      project = createProject({ 'perms.js': application(db) })
      await project.run(['migrate', 'up'])
    })
    after(() => project.remove())

    const refused: readonly [title: string, args: readonly string[], problem: RegExp, stdin?: string][] = [
      ['no address', [], /^create-superuser needs --email ADDRESS or --set username=VALUE\.$/],
      ['an invalid address', ['--email', 'nobody'], /e-mail address/],
      [
        'a short password',
        ['--email', 'x@example.com', '--password-stdin'],
        /^The password is too short: use at least 8 characters\.$/,
        'short\n',
      ],
      ['a common password', ['--email', 'x@example.com', '--password-stdin'], /password/i, 'password123\n'],
      ['an empty stdin', ['--email', 'x@example.com', '--password-stdin'], /^stdin has no password\./],
      [
        'an unknown column',
        ['--email', 'x@example.com', '--set', 'color=red'],
        /^Keeper has no column 'color'\. Its columns are .*username/,
      ],
      ['a value of another type', ['--email', 'x@example.com', '--set', 'badge=many'], /badge/],
      ['a column without a value', ['--email', 'x@example.com', '--set', 'color'], /^--set color: write the name and the value/],
      ['a password among the arguments', ['--email', 'x@example.com', '--set', 'password=correct horse'], /use --password-stdin/],
      ['--invite without a mailer', ['--email', 'x@example.com', '--invite'], /^--invite sends a mail, but perms\.js sets no mailer\./],
      ['--invite with a password', ['--email', 'x@example.com', '--invite', '--password-stdin'], /^--invite sets no password/],
      ['--existing with a password', ['--email', 'x@example.com', '--existing', '--password-stdin'], /^--existing changes no password/],
    ]
    for (const [title, args, problem, stdin] of refused) {
      it(`refuses ${title} with one sentence, and creates no user`, async () => {
        const before = Number((await db.knex('keeper').count({ count: '*' }))[0]?.['count'])
        const ran = await project.run(['create-superuser', ...args], stdin === undefined ? {} : { stdin })
        expect([ran.code, ran.stdout]).to.deep.equal([2, ''])
        expect(ran.problem).to.match(problem)
        expect(ran.stderr).not.to.match(/^\s+at /m)
        expect(Number((await db.knex('keeper').count({ count: '*' }))[0]?.['count'])).to.equal(before)
      })
    }
  },
  ['sqlite3'],
)

eachDatabase(
  'objection-perms users',
  (db) => {
    let project: TestProject
    before(async function () {
      this.timeout(60_000)
      project = createProject({ 'perms.js': application(db) })
      await project.run(['migrate', 'up'])
      for (const name of ['ada', 'bob']) {
        const { code, stderr } = await project.run(['create-superuser', '--email', `${name}@example.com`, '--set', `username=${name}`])
        expect(code, stderr).to.equal(0)
      }
      project.write({
        'sessions.js': `import { asSystem } from 'objection-perms'
import { knex, perms } from './perms.js'
await asSystem(async () => {
  const user = await perms.models.user.query().findOne({ email: process.argv[2] })
  await perms.auth.createRefreshToken(user)
  await perms.auth.createRefreshToken(user)
})
await perms.close()
await knex.destroy()`,
      })
    })
    after(() => project.remove())

    async function startSessions(email: string): Promise<void> {
      expect(await project.runModule('sessions.js', [email])).to.equal('')
    }

    it('list shows ids, identifiers, state and roles, page by page', async () => {
      const { code, json } = await project.run(['users', 'list', '--json', '--page-size', '1', '--page', '2'], { ownProcess: true })
      expect(code).to.equal(0)
      expect(json.pagination).to.deep.equal({ page: 2, pageSize: 1, total: 2, totalPages: 2 })
      expect(json.users.map(({ email, username, isEnabled }: Record<string, unknown>) => [email, username, isEnabled])).to.deep.equal([
        ['bob@example.com', 'bob', true],
      ])
      const { stdout } = await project.run(['users', 'list'])
      expect(stdout)
        .to.match(/^id +email +username +enabled +roles$/m)
        .and.to.match(/ada@example\.com +ada +yes +superadmin$/m)
      expect(stdout).to.contain('2 users, page 1 of 1.')
      expect(stdout).not.to.match(/\$2[aby]\$/)
    })

    it('list refuses a page that is no number', async () => {
      const { code, problem } = await project.run(['users', 'list', '--page', 'first'])
      expect([code, problem]).to.deep.equal([2, '--page first: must be a whole number from 1.'])
    })

    it('sign-out ends the sessions of a user, found by any identifier or by the id, and records the event', async () => {
      await startSessions('ada@example.com')
      const [{ id }] = await db.knex('keeper').where({ email: 'ada@example.com' })
      expect((await project.run(['users', 'sign-out', 'ada', '--json'], { ownProcess: true })).json).to.deep.equal({
        user: { id },
        endedSessions: 2,
      })
      expect(await db.knex('audit_log').orderBy('id').pluck('event')).to.include('signOut')
      expect((await project.run(['users', 'sign-out', id])).stdout).to.equal('ada@example.com is signed out. Ended sessions: 0.\n')
    })

    it('disable disables a user and ends the sessions, and says when the user was disabled before', async () => {
      await startSessions('bob@example.com')
      const { code, json, stderr } = await project.run(['users', 'disable', 'bob@example.com', '--json'], { ownProcess: true })
      expect(code, stderr).to.equal(0)
      expect(json).to.deep.include({ isChanged: true, endedSessions: 2 })
      const [bob] = await db.knex('keeper').where({ email: 'bob@example.com' })
      expect(Boolean(bob.is_enabled)).to.equal(false)
      expect((await project.run(['users', 'disable', 'bob'])).stdout).to.equal('bob@example.com was disabled already. Ended sessions: 0.\n')
    })

    it('disable changes nothing in an application without a secret, whose sessions it could not end', async () => {
      const text = project.read('perms.js')
      project.write({ 'without.js': text.replace(/jwt: \{[^}]*\}, /, '') })
      const { code, problem } = await project.run(['users', 'disable', 'ada', '--app', 'without.js'])
      expect(code).to.equal(2)
      expect(problem).to.match(/^Signing in needs a secret/)
      const [ada] = await db.knex('keeper').where({ email: 'ada@example.com' })
      expect(Boolean(ada.is_enabled)).to.equal(true)
    })

    it('disable refuses the last superadmin', async () => {
      const { code, problem } = await project.run(['users', 'disable', 'ada@example.com'])
      expect(code).to.equal(2)
      expect(problem).to.match(/last .*superadmin/i)
      const [ada] = await db.knex('keeper').where({ email: 'ada@example.com' })
      expect(Boolean(ada.is_enabled)).to.equal(true)
    })

    it('exits with 1 for a user who does not exist, and with 2 without a user', async () => {
      const missing = await project.run(['users', 'sign-out', 'nobody@example.com', '--json'])
      expect([missing.code, missing.json]).to.deep.equal([1, { user: null }])
      const { code, problem } = await project.run(['users', 'disable'])
      expect(code).to.equal(2)
      expect(problem).to.match(/^users disable needs USER: .*Example: npx objection-perms users disable/)
    })
  },
  sqliteAnd('pg'),
)

describe('objection-perms users, before the migrations have run', () => {
  it('names the command that creates the tables', async () => {
    const project = createProject({ 'perms.js': permsModule() })
    try {
      for (const args of [
        ['users', 'list'],
        ['users', 'disable', 'a@example.com'],
        ['create-superuser', '--email', 'a@example.com'],
      ]) {
        const { code, problem } = await project.run(args)
        expect([code, problem]).to.deep.equal([2, "The database has no table 'user'. Run `npx objection-perms migrate up` to create it."])
      }
    } finally {
      project.remove()
    }
  })
})
