import { expect } from 'chai'
import { createTables, Domain, InvalidCredentialsError, Invitation, type Mail, Role, runAs, type User } from '../../../src/index.js'
import { runAsActor } from '../../../src/policy/context.js'
import { AuditLog } from '../../../src/users/audit-log.js'
import { countQueries, eachDatabase } from '../../helpers/databases.js'
import { member, password, type SetUp, setUp } from '../set-up.js'

interface Work {
  readonly statements: readonly string[]
  readonly hashes: number
  /** Mails that were written, sent or not. */
  readonly written: number
  /** Mails that a mailer composed, sent or not. */
  readonly composed: number
}

eachDatabase('The work behind a response', (db) => {
  let all: SetUp
  let counts = { written: 0, composed: 0, sent: 0 }
  let count = 0
  before(async () => {
    const compose = async () => {
      counts.composed += 1
    }
    const mailer = {
      async send(_mail: Mail) {
        counts.sent += 1
        await compose()
      },
      rehearse: compose,
    }
    const write = () => {
      counts.written += 1
      return undefined
    }
    const mail = { mailer, write, baseUrl: 'https://app.example.com' }
    all = await setUp(db.knex, { mail }, { mail })
    await createTables(db.knex, [Invitation, AuditLog] as never)
    await Domain.create({ name: 'press' })
    // Without any user there is nothing to find out.
    await member()
  })
  after(() => all.perms.close())
  afterEach(() => all.auth.settled())

  // Statements alike, whatever the values in them and their number.
  async function workOf(ask: () => Promise<unknown>): Promise<Work & { sent: number }> {
    await all.auth.settled()
    counts = { written: 0, composed: 0, sent: 0 }
    const hashed = all.hasher.hashed
    const { statements } = await countQueries(db.knex, async () => {
      await runAsActor(null, ask, { address: '203.0.113.7' })
      await all.auth.settled()
    })
    return { statements, hashes: all.hasher.hashed - hashed, ...counts }
  }
  const stranger = () => {
    count += 1
    return `stranger${count}@example.com`
  }

  const kinds: Record<string, () => Promise<string>> = {
    'an unknown address': async () => stranger(),
    'a known one': async () => (await member()).email,
    'a known one that was asked for before': async () => {
      const { email } = await member()
      for (const ask of Object.values(flows)) await ask(email)
      return email
    },
    'a verified one': async () => (await member({ emailVerifiedAt: new Date() })).email,
    "a disabled user's": async () => (await member({ isEnabled: false })).email,
    "a deleted user's": async () => {
      const user = await member()
      await user.delete()
      return user.email
    },
  }
  const flows: Record<string, (email: string) => Promise<unknown>> = {
    requestPasswordReset: (email) => all.auth.mail.requestPasswordReset(email),
    requestMagicLink: (email) => all.auth.mail.requestMagicLink(email),
    requestVerification: (email) => all.auth.mail.requestVerification(email),
    requestCode: (email) => all.auth.codes.request(email),
  }

  for (const [name, ask] of Object.entries(flows)) {
    it(`${name}: every kind of address causes the same statements, hashes and mails [promises 10, 144]`, async () => {
      const { sent: none, ...unknown } = await workOf(() => ask(stranger()))
      expect(unknown.statements.length).to.be.above(4)
      expect(none).to.equal(0)
      for (const [kind, make] of Object.entries(kinds)) {
        const email = await make()
        const { sent: _, ...work } = await workOf(() => ask(email))
        expect(work, kind).to.deep.equal(unknown)
      }
    })

    it(`${name}: leaves no row behind for an unknown address`, async () => {
      const before = await db.knex('token').count({ rows: '*' })
      await ask(stranger())
      await all.auth.settled()
      expect(await db.knex('token').count({ rows: '*' })).to.deep.equal(before)
    })
  }

  it('a wrong code causes the same statements and hashes for every kind of address [promise 144]', async () => {
    const signIn = (email: string) =>
      all.auth.codes.signIn({ email, code: '000000' }).then(
        () => expect.fail('signed in'),
        (error: unknown) => expect(error).to.be.instanceOf(InvalidCredentialsError),
      )
    const unknown = await workOf(() => signIn(stranger()))
    expect(unknown.statements.length).to.be.above(3)
    for (const [kind, make] of Object.entries(kinds)) {
      const email = await make()
      expect(await workOf(() => signIn(email)), kind).to.deep.equal(unknown)
      await all.auth.codes.request(email)
      await all.auth.settled()
      for (let tries = 1; tries <= 6; tries += 1)
        expect(await workOf(() => signIn(email)), `${kind}, attempt ${tries}`).to.deep.equal(unknown)
    }
  })

  for (const address of ['203.0.113.7', undefined]) {
    it(`a private registration${address ? '' : ' without a client address'}: as many statements, hashes and mails for every kind of address [promise 10]`, async () => {
      const register = (email: string) => all.auth.mail.registerPrivately({ email, password: 'a good long password' })
      const work = async (email: string) => {
        await all.auth.settled()
        counts = { written: 0, composed: 0, sent: 0 }
        const hashed = all.hasher.hashed
        const { statements } = await countQueries(db.knex, async () => {
          await runAsActor(null, () => register(email), { address })
          await all.auth.settled()
        })
        const { written, composed } = counts
        return { statements: statements.length, hashes: all.hasher.hashed - hashed, written, composed }
      }
      const unknown = await work(stranger())
      expect(unknown).to.deep.include({ hashes: 1, written: 1, composed: 1 })
      for (const kind of ['a known one', 'a verified one', "a disabled user's"])
        expect(await work(await (kinds[kind] as () => Promise<string>)()), kind).to.deep.equal(unknown)
    })
  }

  it('a change of address does the same work for a taken address [promise 10]', async () => {
    const user = (await member()) as unknown as User
    const change = (email: string) => all.auth.mail.requestEmailChange(user, { email, oldPassword: password })
    const { sent: both, ...free } = await workOf(() => change(stranger()))
    expect(both).to.equal(2)
    for (const kind of ['a known one', 'a verified one', "a disabled user's"]) {
      const email = await (kinds[kind] as () => Promise<string>)()
      const { sent, ...work } = await workOf(() => change(email))
      expect(work, kind).to.deep.equal(free)
      expect(sent).to.equal(1)
    }
  })

  it('an invitation does the same work whether or not the address has an account [promise 10]', async () => {
    const boss = (await member()) as unknown as User
    await boss.grantRole(Role.ADMIN, { domain: 'press' })
    const invite = (email: string) => runAs(boss, () => all.auth.invitations.invite({ email, role: 'editor', domain: 'press' }))
    const unknown = await workOf(() => invite(stranger()))
    expect(unknown.sent).to.equal(1)
    for (const [kind, make] of Object.entries(kinds)) {
      const email = await make()
      expect(await workOf(() => invite(email)), kind).to.deep.equal(unknown)
    }
  })
})
