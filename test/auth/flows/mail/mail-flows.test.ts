import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import { consoleMailer, type Mail, nodemailerMailer, Token, transaction, type User } from '../../../../src/index.js'
import { runAsActor } from '../../../../src/policy/context.js'
import { capturedMailer } from '../../../../src/testing/index.js'
import { hashToken } from '../../../../src/users/api-key-format.js'
import { toActor } from '../../../../src/users/caller/actor.js'
import { countQueries, eachDatabase } from '../../../helpers/databases.js'
import { rejection } from '../../../helpers/errors.js'
import { type Member, member, outcome, password, type SetUp, setUp } from '../../set-up.js'

const baseUrl = 'https://app.example.com/zoo'

eachDatabase('Mail flows', (db) => {
  const mailer = capturedMailer<Mail>()
  let fails: Error | null = null
  let all: SetUp
  let user: Member
  before(async () => {
    const sending = {
      async send(mail: Mail) {
        if (fails) throw fails
        await mailer.send(mail)
      },
    }
    const mail = { mailer: sending, baseUrl }
    const throttle = { mail: { account: 1000, address: 1000 } }
    all = await setUp(db.knex, { mail }, { mail, throttle })
  })
  after(() => all.perms.close())
  beforeEach(async () => {
    await all.auth.settled()
    fails = null
    mailer.clear()
    all.events.length = 0
    user = await member()
  })

  const mails = () => all.auth.mail
  const tokenOf = async (kind: string): Promise<string> => {
    await all.auth.settled()
    return mailer.tokenFrom(mailer.last(kind))
  }
  const fresh = async () => (await all.perms.models.user.query().findById(user.id)) as unknown as Member
  const asked = {
    verifyEmail: () => mails().requestVerification(user.email),
    resetPassword: () => mails().requestPasswordReset(user.email),
    magicLink: () => mails().requestMagicLink(user.email),
    changeEmail: () => mails().requestEmailChange(user as unknown as User, { email: `new-${user.email}`, oldPassword: password }),
  }
  const runAsUser = async (id: string) => (await (all.perms.models.user as unknown as typeof User).get(id)) as User
  const used: Record<string, (token: string) => Promise<unknown>> = {
    verifyEmail: (token: string) => mails().verifyEmail(token),
    resetPassword: (token: string) => mails().resetPassword({ token, password: 'a wholly new password' }),
    magicLink: (token: string) => mails().signInWithMagicLink(token),
    changeEmail: (token: string) => mails().confirmEmailChange(token),
  }
  const use = (kind: keyof typeof asked) => used[kind] as (token: string) => Promise<unknown>
  const kinds = Object.keys(asked) as (keyof typeof asked)[]

  it('verify an e-mail address', async () => {
    await asked.verifyEmail()
    const token = await tokenOf('verifyEmail')
    expect(mailer.last().to).to.equal(user.email)
    await mails().verifyEmail(token)
    expect((await fresh()).emailVerifiedAt).to.be.instanceOf(Date)
    expect(all.events.map(({ name }) => name)).to.include('emailVerified')
    mailer.clear()
    await asked.verifyEmail()
    await all.auth.settled()
    expect(mailer.mails).to.deep.equal([])
  })

  it('reset a password, which ends every session, link and API key [promises 22, 66]', async () => {
    const { refreshToken, accessToken } = await all.auth.signIn({ email: user.email, password })
    const { plain } = await Token.issue(user as unknown as User, { kind: 'api' })
    await asked.resetPassword()
    const token = await tokenOf('resetPassword')
    await asked.magicLink()
    const link = await tokenOf('magicLink')
    await mails().resetPassword({ token, password: 'a wholly new password' })
    expect(await outcome(all.auth.authenticate(accessToken))).to.equal('InvalidTokenError')
    expect(await outcome(all.auth.refresh(refreshToken))).to.equal('InvalidTokenError')
    expect(await outcome(mails().signInWithMagicLink(link))).to.equal('InvalidTokenError')
    expect(await outcome(all.auth.authenticate(plain))).to.equal('InvalidTokenError')
    expect(await outcome(all.auth.signIn({ email: user.email, password }))).to.equal('InvalidCredentialsError')
    expect((await all.auth.signIn({ email: user.email, password: 'a wholly new password' })).status).to.equal('signedIn')
  })

  it('refuse a weak password and keep the token usable', async () => {
    await asked.resetPassword()
    const token = await tokenOf('resetPassword')
    expect(await outcome(mails().resetPassword({ token, password: 'short' }))).to.equal('ValidationError')
    expect(await outcome(mails().resetPassword({ token, password: user.email }))).to.equal('ValidationError')
    expect(await outcome(use('resetPassword')(token))).to.equal('fine')
  })

  it('change an address after the new one confirms; the old one gets a notice, and sessions and reset tokens end [promise 7]', async () => {
    const old = user.email
    const { accessToken } = await all.auth.signIn({ email: old, password })
    await asked.resetPassword()
    const reset = await tokenOf('resetPassword')
    await asked.changeEmail()
    const token = await tokenOf('changeEmail')
    expect(mailer.last('emailChangeRequested').to).to.equal(old)
    expect(mailer.last('changeEmail').to).to.equal(`new-${old}`)
    expect((await fresh()).email).to.equal(old)
    await mails().confirmEmailChange(token)
    await all.auth.settled()
    expect(await fresh()).to.have.property('email', `new-${old}`)
    expect((await fresh()).emailVerifiedAt).to.be.instanceOf(Date)
    expect(mailer.last('emailChanged').to).to.equal(old)
    expect(await outcome(all.auth.authenticate(accessToken))).to.equal('InvalidTokenError')
    expect(await outcome(use('resetPassword')(reset))).to.equal('InvalidTokenError')
  })

  it('require the old password and a session to change an address, and count wrong passwords [promises 7, 12, 25]', async () => {
    const change = (oldPassword: unknown, ...[email = 'x@example.com']: unknown[]) =>
      mails().requestEmailChange(user as unknown as User, { email, oldPassword } as never)
    expect(await outcome(change('wrong'))).to.equal('ValidationError')
    for (const bad of [undefined, null, '', {}, []]) expect(await outcome(change(bad))).to.equal('ValidationError')
    for (const bad of [null, '', ' ', {}, [], 'no-address', 'a\u0000@example.com'])
      expect(await outcome(change(password, bad))).to.equal('ValidationError')
    const loaded = await runAsUser(user.id)
    const key = toActor(loaded, { abilities: ['*'] })
    expect(await outcome(runAsActor(key, () => change(password)))).to.equal('ForbiddenError')
    await all.auth.settled()
    expect(mailer.mails).to.deep.equal([])
    for (let i = 0; i < 12; i += 1) await outcome(change('wrong'))
    expect(await outcome(runAsActor(toActor(loaded), () => change(password), { address: '192.0.2.9' }))).to.equal('fine')
  })

  it('send no link to an address of another user, with the same response', async () => {
    const other = await member()
    await mails().requestEmailChange(user as unknown as User, { email: other.email, oldPassword: password })
    await all.auth.settled()
    expect(mailer.mails.map(({ kind, to }) => [kind, to])).to.deep.equal([['emailChangeRequested', user.email]])
  })

  it('answer 409 and change nothing if another user has taken the new address in the meantime [promise 52]', async () => {
    await asked.changeEmail()
    const token = await tokenOf('changeEmail')
    const { accessToken } = await all.auth.signIn({ email: user.email, password })
    await member({ email: `new-${user.email}` })
    expect(await outcome(use('changeEmail')(token))).to.equal('UniqueViolationError')
    expect((await fresh()).email).to.equal(user.email)
    expect((await all.auth.authenticate(accessToken)).id).to.equal(user.id)
  })

  it('sign in by a magic link and verify the address', async () => {
    await asked.magicLink()
    const result = await mails().signInWithMagicLink(await tokenOf('magicLink'), { device: 'a browser' })
    expect((await all.auth.authenticate(result.accessToken as string)).id).to.equal(user.id)
    expect((await fresh()).emailVerifiedAt).to.be.instanceOf(Date)
    expect((await all.auth.sessions(user.id))[0]?.description).to.equal('a browser')
  })

  for (const kind of kinds) {
    it(`${kind}: the token works once, is stored as a hash, and is replaced by a newer one [promises 20, 23]`, async () => {
      await asked[kind]()
      const first = await tokenOf(kind)
      await asked[kind]()
      const second = await tokenOf(kind)
      expect(first)
        .to.match(/^mt_[\w-]{43}$/)
        .and.not.to.equal(second)
      const rows = (await db.knex('token').where('user_id', user.id)) as { token: string }[]
      expect(rows.map(({ token }) => token)).to.include(hashToken(second))
      expect(JSON.stringify(rows)).not.to.contain(second)
      expect(await outcome(use(kind)(first))).to.equal('InvalidTokenError')
      expect(await outcome(use(kind)(second))).to.equal('fine')
      expect(await outcome(use(kind)(second))).to.equal('InvalidTokenError')
    })

    it(`${kind}: the token is invalid once it expires, its user is disabled or the address changes`, async () => {
      await asked[kind]()
      const over = await tokenOf(kind)
      await db.knex('token').where('token', hashToken(over)).update({ expires_at: '2020-01-01 00:00:00' })
      expect(await outcome(use(kind)(over))).to.equal('InvalidTokenError')
      await asked[kind]()
      const disabled = await tokenOf(kind)
      await db
        .knex('member')
        .where('id', user.id)
        .update({ is_enabled: db.dialect === 'sqlite' ? 0 : false })
      expect(await outcome(use(kind)(disabled))).to.equal('InvalidTokenError')
      await db
        .knex('member')
        .where('id', user.id)
        .update({ is_enabled: db.dialect === 'sqlite' ? 1 : true })
      await asked[kind]()
      const moved = await tokenOf(kind)
      const row = await fresh()
      await row.update({ email: `moved-${user.email}` } as never)
      expect(await outcome(use(kind)(moved))).to.equal('InvalidTokenError')
    })

    it(`${kind}: no other flow accepts the token [promise 17]`, async () => {
      await asked[kind]()
      const token = await tokenOf(kind)
      for (const other of kinds) if (other !== kind) expect(await outcome(use(other)(token)), other).to.equal('InvalidTokenError')
      expect(await outcome(all.auth.authenticate(token))).to.equal('InvalidTokenError')
      expect(await outcome(all.auth.refresh(token))).to.equal('InvalidTokenError')
      expect(await outcome(use(kind)(token))).to.equal('fine')
    })

    it(`${kind}: the flow accepts no other kind of token [promise 17]`, async () => {
      const { accessToken, refreshToken } = await all.auth.signIn({ email: user.email, password })
      const key = await Token.issue(user as unknown as User, { kind: 'api' })
      const custom = await Token.issue(user as unknown as User, { token: `mt_${randomBytes(32).toString('base64url')}` })
      for (const token of [accessToken, refreshToken, key.plain, custom.plain])
        expect(await outcome(use(kind)(token))).to.equal('InvalidTokenError')
    })

    it(`${kind}: blank, null, object and array give 422 without a query [promise 27]`, async () => {
      for (const token of ['', ' ', null, undefined, {}, ['x'], 1]) {
        const { statements } = await countQueries(db.knex, async () =>
          expect(await outcome(use(kind)(token as never))).to.equal('ValidationError'),
        )
        expect(statements).to.deep.equal([])
      }
    })

    it(`${kind}: refuses to run in the application's transaction, whose rollback would restore a used token [promise 59]`, async () => {
      await asked[kind]()
      const token = await tokenOf(kind)
      expect(await outcome(transaction(() => use(kind)(token)))).to.equal('ConfigurationError')
      expect(await outcome(transaction(() => asked[kind]()))).to.equal('ConfigurationError')
      expect(await outcome(use(kind)(token))).to.equal('fine')
    })
  }

  for (const kind of ['verifyEmail', 'resetPassword', 'magicLink'] as const) {
    it(`${kind}: only one of several concurrent requests leaves a valid token, as with consecutive requests`, async function () {
      this.timeout(60_000)
      for (let i = 0; i < (db.dialect === 'sqlite' ? 3 : 20); i += 1) {
        await Promise.all(Array.from({ length: 4 }, asked[kind]))
        await all.auth.settled()
        const rows = await db.knex('token').where({
          user_id: user.id,
          kind: { verifyEmail: 'verify-email', resetPassword: 'reset-password', magicLink: 'magic-link' }[kind],
        })
        expect(rows, String(i)).to.have.length(4 * (i + 1))
        expect(
          rows.filter(({ revoked }) => !revoked),
          String(i),
        ).to.have.length(1)
      }
    })

    const ask = (email: unknown) =>
      ({ verifyEmail: mails().requestVerification, resetPassword: mails().requestPasswordReset, magicLink: mails().requestMagicLink })[
        kind
      ](email as string)

    it(`${kind}: a request gets the same response for known and unknown addresses, even if the mailer fails [promise 10]`, async () => {
      const disabled = await member({ isEnabled: false })
      for (const email of ['nobody@example.com', user.email, disabled.email]) expect(await ask(email)).to.equal(undefined)
      await all.auth.settled()
      expect(mailer.mails.map(({ to }) => to)).to.deep.equal([user.email])
      fails = new Error('secret of the mail server')
      expect(await ask(user.email)).to.equal(undefined)
      await all.auth.settled()
      const failed = all.events.filter(({ name }) => name === 'mailFailed')
      expect(failed).to.deep.equal([{ name: 'mailFailed', payload: { userId: user.id, kind } }])
    })

    it(`${kind}: a request is answered before any query runs [promise 10]`, async () => {
      for (const email of ['nobody@example.com', user.email]) {
        const { statements } = await countQueries(db.knex, async () => {
          await ask(email)
          // As many steps as an adapter may take until the answer is written.
          for (let i = 0; i < 100; i += 1) await undefined
        })
        expect(statements, email).to.deep.equal([])
        await all.auth.settled()
      }
    })

    it(`${kind}: a request with blank, null, object or array gives 422 without a query [promise 27]`, async () => {
      for (const email of ['', ' ', null, undefined, {}, ['x'], 1, 'a'.repeat(400), 'a\u0000b@example.com']) {
        const { statements } = await countQueries(db.knex, async () => {
          expect(await outcome(ask(email))).to.equal('ValidationError')
          await all.auth.settled()
        })
        expect(statements).to.deep.equal([])
      }
    })
  }

  it('link to the configured URL, with the token in the fragment', async () => {
    await asked.resetPassword()
    await tokenOf('resetPassword')
    const link = /https?:\S+/.exec(mailer.last('resetPassword').text)?.[0] ?? ''
    expect(link).to.match(/^https:\/\/app\.example\.com\/zoo\/reset-password#token=mt_/)
  })

  it('register privately: only the mail says whether the address was free [promise 10]', async () => {
    const fresh = { email: 'Private@Example.com', password: 'a good long password' }
    await mails().registerPrivately(fresh)
    await all.auth.settled()
    expect(mailer.mails.map(({ kind, to }) => [kind, to])).to.deep.equal([['verifyEmail', 'private@example.com']])
    mailer.clear()
    await mails().registerPrivately({ ...fresh, email: user.email })
    await all.auth.settled()
    expect(mailer.mails.map(({ kind, to }) => [kind, to])).to.deep.equal([['alreadyRegistered', user.email]])
    expect((await all.auth.signIn({ email: user.email, password })).status).to.equal('signedIn')
    expect(await outcome(mails().registerPrivately({ email: user.email, password: 'short' }))).to.equal('ValidationError')
    expect(await outcome(mails().registerPrivately({ email: user.email, isEnabled: false }))).to.equal('ValidationError')
    await all.perms.models.user.query().delete().where('email', 'private@example.com')
  })

  it('are limited by account and by client address, for known and unknown accounts alike [promise 12]', async () => {
    const limited = all.another({ mail: { mailer, baseUrl }, throttle: { mail: { account: 3 }, mailToken: { address: 5 } } }).mail
    for (const email of [user.email, 'nobody-limited@example.com']) {
      for (let i = 0; i < 3; i += 1) expect(await outcome(limited.requestPasswordReset(email))).to.equal('fine')
      expect(await outcome(limited.requestPasswordReset(email))).to.equal('TooManyAttemptsError')
    }
    const from = (fn: () => Promise<unknown>) => runAsActor(null, () => outcome(fn()), { address: '192.0.2.77' })
    for (let i = 0; i < 5; i += 1) expect(await from(() => limited.verifyEmail(`mt_${'x'.repeat(43)}`))).to.equal('InvalidTokenError')
    expect(await from(() => limited.verifyEmail(`mt_${'x'.repeat(43)}`))).to.equal('TooManyAttemptsError')
  })

  it('need a mailer', async () => {
    const none = all.another().mail
    for (const work of [() => none.requestMagicLink(user.email), () => none.verifyEmail('x'), () => none.registerPrivately({})])
      expect((await rejection(work())).message).to.contain('initPerms({ mail')
  })
})

describe('Mailers', () => {
  const mail: Mail = { kind: 'magicLink', to: 'ada@example.com', subject: 'Sign in', text: 'a link' }

  it('print mails to the console in development', async () => {
    const printed: string[] = []
    await consoleMailer((text) => printed.push(text)).send(mail)
    expect(printed.join()).to.contain('ada@example.com').and.to.contain('a link')
  })

  it('send with nodemailer', async () => {
    const sent = (await nodemailerMailer({ jsonTransport: true }, { from: 'zoo@example.com' }).send(mail)) as { message: string }
    expect(JSON.parse(sent.message)).to.deep.include({ subject: 'Sign in', text: 'a link' })
    const kept: object[] = []
    await nodemailerMailer({ sendMail: async (one: object) => kept.push(one) }, { from: 'zoo@example.com' }).send({ ...mail, html: '<p>' })
    expect(kept).to.deep.equal([{ from: 'zoo@example.com', to: { address: mail.to }, subject: mail.subject, text: mail.text, html: '<p>' }])
  })

  for (const [title, change, part] of [
    ['no address', { baseUrl: 'nonsense' }, 'https address'],
    ['http beyond this machine', { baseUrl: 'http://example.com' }, 'https address'],
    ['a query', { baseUrl: 'https://example.com/?a=1' }, 'https address'],
    ['no mailer', { mailer: {} }, 'consoleMailer'],
    ['a life that is none', { expires: { magicLink: 0 } }, 'whole number of seconds'],
  ] as const) {
    it(`are refused with ${title}`, async () => {
      const { MailService } = await import('../../../../src/auth/flows/mail/mail-service.js')
      expect(() => new MailService({ mailer: consoleMailer(), baseUrl: 'https://example.com', ...change } as never)).to.throw(part)
    })
  }
})
