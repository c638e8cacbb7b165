import { expect } from 'chai'
import { throttleTable } from '../../../../src/auth/throttle/throttle-store.js'
import { createTablesFromSpecs as createFromSpecs } from '../../../../src/database/tables/tables.js'
import { createTables, Domain, Invitation, type Mail, Role, runAs, type User } from '../../../../src/index.js'
import { runAsActor } from '../../../../src/policy/context.js'
import { capturedMailer } from '../../../../src/testing/index.js'
import { eachDatabase } from '../../../helpers/databases.js'
import { rejection } from '../../../helpers/errors.js'
import { member, type OneFactorAuth, outcome, password, type SetUp, setUp } from '../../set-up.js'

eachDatabase('The limit of mail to one mailbox', (db) => {
  const mailer = capturedMailer<Mail>()
  const mail = { mailer, baseUrl: 'https://app.example.com' }
  let all: SetUp
  let boss: User
  let count = 0
  before(async () => {
    all = await setUp(db.knex, { mail }, { mail })
    await createTables(db.knex, [Invitation] as never)
    await createFromSpecs(db.knex, [throttleTable])
    await Domain.create({ name: 'press' })
    boss = (await member()) as unknown as User
    await boss.grantRole(Role.ADMIN, { domain: 'press' })
  })
  after(() => all.perms.close())
  beforeEach(() => mailer.clear())

  const address = () => {
    count += 1
    return `limited${count}@example.com`
  }
  // Each process counts with the others, and each request comes from another network.
  const processes = (limit: object) =>
    Array.from({ length: 2 }, () => all.another({ mail, throttle: { store: 'database', mail: { address: 1000, ...limit } } }))
  let network = 0
  const from = <T>(fn: () => Promise<T>): Promise<T> => {
    network += 1
    return runAsActor(null, fn, { address: `10.${(network >> 16) & 255}.${(network >> 8) & 255}.${network & 255}` }) as Promise<T>
  }
  const settled = (auths: readonly OneFactorAuth[]) => Promise.all(auths.map((auth) => auth.settled()))

  const flows: Record<string, (auth: OneFactorAuth, email: string, from: User) => Promise<unknown>> = {
    'a password reset': (auth, email) => auth.mail.requestPasswordReset(email),
    'a magic link': (auth, email) => auth.mail.requestMagicLink(email),
    'a code': (auth, email) => auth.codes.request(email),
    'a verification': (auth, email) => auth.mail.requestVerification(email),
    'a private registration': (auth, email) => auth.mail.registerPrivately({ email, password: 'a good long password' }),
    'an invitation': (auth, email) => runAs(boss, () => auth.invitations.invite({ email, role: 'editor', domain: 'press' })),
    'a change to the address': (auth, email, user) => auth.mail.requestEmailChange(user, { email, oldPassword: password }),
  }

  for (const exists of [true, false]) {
    it(`counts every flow together, in all processes, ${exists ? "for a user's address" : 'for an unknown one'} [promise 67]`, async () => {
      const auths = processes({ account: 7 })
      const email = exists ? (await member()).email : address()
      let turn = 0
      let accepted = 0
      for (const name of [...Object.keys(flows), ...Object.keys(flows)]) {
        const auth = auths[turn++ % 2] as OneFactorAuth
        const user = (await member()) as unknown as User
        const ask = flows[name] as (typeof flows)[string]
        const result = await from(() => outcome(ask(auth, email, user)))
        expect(result, `${name}, ${turn}`).to.equal(turn <= 7 ? 'fine' : 'TooManyAttemptsError')
        if (result === 'fine') accepted += 1
        await settled(auths)
      }
      expect(accepted).to.equal(7)
      expect(mailer.mails.filter(({ to }) => to === email).length).to.be.at.most(7)
    })
  }

  it('holds for private registrations of a taken address [promise 67]', async () => {
    const [auth] = processes({ account: 3 })
    const { email } = await member()
    const register = () => from(() => outcome(flows['a private registration']?.(auth as OneFactorAuth, email, boss) as Promise<unknown>))
    for (let i = 0; i < 3; i += 1) expect(await register()).to.equal('fine')
    for (let i = 0; i < 3; i += 1) expect(await register()).to.equal('TooManyAttemptsError')
    await auth?.settled()
    expect(mailer.mails.map(({ kind }) => kind)).to.deep.equal(Array(3).fill('alreadyRegistered'))
  })

  it('holds for all spellings of a mailbox together [promise 67]', async () => {
    const [auth] = processes({ account: 3 })
    const name = address().split('@')[0]
    const spellings = ['', '+1', '+2', '+3'].map((tag) => `${name}${tag}@example.com`)
    const results = []
    for (const email of [...spellings, ` ${name?.toUpperCase()}@EXAMPLE.com `])
      results.push(await from(() => outcome(auth?.mail.requestMagicLink(email) as Promise<unknown>)))
    expect(results).to.deep.equal(['fine', 'fine', 'fine', 'TooManyAttemptsError', 'TooManyAttemptsError'])
  })

  it('a change of address is refused if the old address cannot get its notice [promise 67]', async () => {
    const [auth] = processes({ account: 2 })
    const user = (await member()) as unknown as User
    for (let i = 0; i < 2; i += 1) await from(() => auth?.mail.requestPasswordReset(user.email) as Promise<unknown>)
    await auth?.settled()
    mailer.clear()
    expect(
      await from(() => outcome(flows['a change to the address']?.(auth as OneFactorAuth, address(), user) as Promise<unknown>)),
    ).to.equal('TooManyAttemptsError')
    await auth?.settled()
    expect(mailer.mails).to.deep.equal([])
  })

  it('a signed-in user can send a limited number of invitations, from all client addresses together [promise 67]', async () => {
    const auths = processes({ caller: 3 })
    boss = (await member()) as unknown as User
    await boss.grantRole(Role.ADMIN, { domain: 'press' })
    const results = []
    for (let i = 0; i < 5; i += 1)
      results.push(await from(() => outcome(flows['an invitation']?.(auths[i % 2] as OneFactorAuth, address(), boss) as Promise<unknown>)))
    expect(results).to.deep.equal(['fine', 'fine', 'fine', 'TooManyAttemptsError', 'TooManyAttemptsError'])
  })

  it('every flow refuses text that is not exactly one address, without a query or a mail [promises 27, 67]', async () => {
    const [auth] = processes({}) as [OneFactorAuth, OneFactorAuth]
    const user = (await member()) as unknown as User
    for (const email of [
      'x1,victim@corp.com',
      'attacker@evil.com,.corp.com',
      'a@b.com\r\nBcc: c@d.com',
      '"a,b"@c.com',
      'Ada <a@b.com>',
      'a@b',
      `${'a'.repeat(250)}@b.com`,
    ])
      for (const [name, ask] of Object.entries(flows))
        expect((await rejection(from(() => ask(auth, email, user)))).constructor.name, `${name}: ${email}`).to.equal('ValidationError')
    await auth.settled()
    expect(mailer.mails).to.deep.equal([])
    for (const email of ['x1,victim@corp.com', 'attacker@evil.com,.corp.com']) {
      expect(await outcome(auth.register({ email, password }))).to.equal('ValidationError')
      expect(await outcome(user.update({ email } as never))).to.equal('ValidationError')
    }
  })

  it('an address that was stored before addresses were checked gets no mail [promise 67]', async () => {
    const user = await member()
    await db.knex('member').where('id', user.id).update({ email: 'x1,victim@corp.com' })
    const row = (await all.perms.models.user.query().findById(user.id)) as unknown as User
    await all.auth.mail.requestEmailChange(row, { email: address(), oldPassword: password })
    await all.auth.settled()
    expect(mailer.mails.map(({ kind }) => kind)).to.deep.equal(['changeEmail'])
    expect(all.events.at(-1)).to.deep.equal({ name: 'mailFailed', payload: { userId: user.id, kind: 'emailChangeRequested' } })
    await db.knex('member').where('id', user.id).delete()
  })
})
