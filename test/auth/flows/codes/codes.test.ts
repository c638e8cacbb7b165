import { createHash } from 'node:crypto'
import { expect } from 'chai'
import {
  type CodeMessage,
  createTables,
  InvalidCredentialsError,
  Invitation,
  type Mail,
  SecondFactor,
  TooManyAttemptsError,
  transaction,
  type User,
  ValidationError,
} from '../../../../src/index.js'
import { runAsActor } from '../../../../src/policy/context.js'
import { capturedMailer, fakeClock } from '../../../../src/testing/index.js'
import { countQueries, eachDatabase } from '../../../helpers/databases.js'
import { rejection } from '../../../helpers/errors.js'
import { type Member, member, outcome, password, type SetUp, setUp } from '../../set-up.js'
import { addFactor } from '../second-factor/factor.js'

eachDatabase('Codes', (db) => {
  const mailer = capturedMailer<Mail>()
  const mail = { mailer, baseUrl: 'https://app.example.com' }
  const far = { mail: { account: 1000, address: 1000 } }
  let all: SetUp
  let user: Member
  let clock: ReturnType<typeof fakeClock>
  before(async () => {
    all = await setUp(db.knex, { mail, throttle: far }, { mail, throttle: far })
    await createTables(db.knex, [SecondFactor, Invitation] as never)
  })
  after(() => all.perms.close())
  beforeEach(async () => {
    clock = fakeClock()
    mailer.clear()
    all.events.length = 0
    user = await member({ emailVerifiedAt: new Date() })
  })
  afterEach(async () => {
    await all.auth.settled()
    clock.restore()
  })

  async function codeFor(email = user.email, auth = all.auth): Promise<string> {
    await auth.codes.request(email)
    await auth.settled()
    return mailer.codeFrom(mailer.last(email))
  }
  const other = (code: string, by = 1) => String((Number(code) + by) % 1_000_000).padStart(6, '0')
  const signIn = (code: string, more: object = {}) => all.auth.codes.signIn({ email: user.email, code, ...more })
  const names = () => all.events.map(({ name }) => name)

  it('are mailed, and sign in once, with the method mail [promises 142, 147]', async () => {
    const code = await codeFor()
    expect(code).to.match(/^\d{6}$/)
    expect(mailer.mails).to.have.length(1)
    const result = await signIn(`${code.slice(0, 3)} ${code.slice(3)}`, { device: 'a phone' })
    if (result.status !== 'signedIn') throw new Error('not signed in')
    const actor = await all.auth.authenticate(result.accessToken)
    expect([actor.id, actor.amr]).to.deep.equal([user.id, ['mail']])
    expect((await all.auth.sessions(user.id)).map(({ description }) => description)).to.deep.equal(['a phone'])
    expect(names()).to.include('signIn')
    expect(await rejection(signIn(code))).to.be.instanceOf(InvalidCredentialsError)
  })

  it('are stored as a keyed hash, which nobody can try the codes on who reads the database [promise 141]', async () => {
    const codes = new Set<string>()
    for (let i = 0; i < 5; i += 1) codes.add(await codeFor())
    expect(codes.size).to.be.above(1)
    const rows = await db.knex('token').where({ user_id: user.id, kind: 'code-sign-in' })
    expect(rows).to.have.length(5)
    const plain = (code: string, row: { bound_to: string }) =>
      [code, `${row.bound_to}${code}`, `${row.bound_to} ${code}`].map((text) => createHash('sha256').update(text).digest('hex'))
    for (const row of rows) {
      expect(row.token).to.match(/^[0-9a-f]{64}$/)
      for (const code of codes) {
        expect(JSON.stringify(row)).not.to.contain(code)
        expect(plain(code, row)).not.to.contain(row.token)
      }
    }
    // Another application with the same rows has another key.
    const stranger = all.another({ mail, jwt: { secret: 'the secret of another application, 32 bytes' } })
    const code = await codeFor()
    expect(await outcome(stranger.codes.signIn({ email: user.email, code }))).to.equal('InvalidCredentialsError')
    const [current] = await db.knex('token').where({ user_id: user.id, kind: 'code-sign-in', revoked: false })
    expect(current.bound_to).to.match(/^1 /)
    expect((await signIn(code)).status).to.equal('signedIn')
  })

  it('end after ten minutes, and sooner if the application says so [promise 142]', async () => {
    const code = await codeFor()
    clock.advance(601)
    expect(await rejection(signIn(code))).to.be.instanceOf(InvalidCredentialsError)
    const next = await codeFor()
    clock.advance(590)
    expect((await signIn(next)).status).to.equal('signedIn')
    const quick = all.another({ mail, codes: { expires: 60 } })
    const soon = await codeFor(user.email, quick)
    expect(mailer.last().text).to.contain('for 1 minute')
    clock.advance(61)
    expect(await outcome(quick.codes.signIn({ email: user.email, code: soon }))).to.equal('InvalidCredentialsError')
    for (const expires of [0, 59, 601, 90.5]) expect(() => all.another({ mail, codes: { expires } })).to.throw(/60 to 600/)
  })

  it('end with the next one [promise 142]', async () => {
    const first = await codeFor()
    const second = await codeFor()
    if (first !== second) expect(await rejection(signIn(first))).to.be.instanceOf(InvalidCredentialsError)
    expect((await signIn(second)).status).to.equal('signedIn')
  })

  it('are dead after five wrong attempts, in whatever process [promise 143]', async () => {
    const processes = [all.auth, all.another({ mail })]
    const code = await codeFor()
    for (let i = 1; i <= 4; i += 1) {
      const refused = await rejection(
        (processes[i % 2] as typeof all.auth).codes.signIn({ email: user.email, code: other(code, i) }) as Promise<unknown>,
      )
      expect(refused).to.be.instanceOf(InvalidCredentialsError)
    }
    expect((await signIn(code)).status, 'the fifth attempt').to.equal('signedIn')
    const next = await codeFor()
    for (let i = 1; i <= 5; i += 1)
      await rejection((processes[i % 2] as typeof all.auth).codes.signIn({ email: user.email, code: other(next, i) }) as Promise<unknown>)
    expect(await rejection(signIn(next))).to.be.instanceOf(InvalidCredentialsError)
  })

  it('count like failed sign-ins, and a right one resets only its own pair [promise 143]', async () => {
    const auth = all.another({ mail, throttle: { ...far, signIn: { pair: 6, address: 1000, account: 1000 } } })
    const from = <T>(fn: () => Promise<T>) => runAsActor(null, fn, { address: '192.0.2.7' }) as Promise<T>
    const wrong = async () => await rejection(from(() => auth.codes.signIn({ email: user.email, code: '000000' })))
    const code = await codeFor(user.email, auth)
    for (let i = 0; i < 3; i += 1) expect(await wrong()).to.be.instanceOf(InvalidCredentialsError)
    await from(() => auth.codes.signIn({ email: user.email, code }))
    for (let i = 0; i < 3; i += 1) expect(await wrong()).to.be.instanceOf(InvalidCredentialsError)
    for (let i = 0; i < 3; i += 1)
      expect(await rejection(from(() => auth.signIn({ email: user.email, password: 'wrong' })))).to.be.instanceOf(InvalidCredentialsError)
    expect(await wrong()).to.be.instanceOf(TooManyAttemptsError)
    expect(await rejection(from(() => auth.signIn({ email: user.email, password })))).to.be.instanceOf(TooManyAttemptsError)
  })

  it('are refused for another user, another address and another use [promise 148]', async () => {
    const mine = await codeFor()
    const stranger = await member({ emailVerifiedAt: new Date() })
    const theirs = await codeFor(stranger.email)
    if (mine !== theirs) expect(await outcome(signIn(theirs))).to.equal('InvalidCredentialsError')
    const { accessToken } = await all.auth.signIn({ email: user.email, password })
    const actor = await all.auth.authenticate(accessToken)
    expect(await outcome(runAsActor(actor, () => all.auth.confirm({ sentCode: mine })) as Promise<unknown>)).to.equal(
      'InvalidCredentialsError',
    )
    // The address moves to another mailbox while the code is on its way.
    await db
      .knex('member')
      .where({ id: user.id })
      .update({ email: `moved-${user.email}` })
    expect(await outcome(all.auth.codes.signIn({ email: `moved-${user.email}`, code: mine }))).to.equal('InvalidCredentialsError')
    expect(await outcome(signIn(mine))).to.equal('InvalidCredentialsError')
  })

  it('get the same answer for a wrong code, an unknown address, and a disabled or deleted user [promise 144]', async () => {
    const disabled = await member()
    const code = await codeFor(disabled.email)
    await db.knex('member').where({ id: disabled.id }).update({ is_enabled: false })
    const cases = { [user.email]: '000000', 'nobody@example.com': '000000', [disabled.email]: code }
    const answers = new Set<string>()
    for (const [email, given] of Object.entries(cases)) {
      const error = await rejection(all.auth.codes.signIn({ email, code: given }))
      expect(error).to.be.instanceOf(InvalidCredentialsError)
      answers.add((error as Error).message)
    }
    expect(answers.size).to.equal(1)
    expect(
      all.events.filter(({ name }) => name === 'signInFailed').map(({ payload }) => (payload as { reason: string }).reason),
    ).to.deep.equal(['code', 'code', 'code'])
  })

  it('of another form are refused before any look-up [promise 62]', async () => {
    for (const code of ['12345', '1234567', 'abcdef', '１２３４５６', '1'.repeat(65), '', 7]) {
      const { statements, result } = await countQueries(db.knex, () => rejection(signIn(code as string)))
      expect(result, String(code)).to.be.instanceOf(ValidationError)
      expect(statements).to.deep.equal([])
    }
  })

  it('are not counted or used inside a transaction of the application [promise 59]', async () => {
    const code = await codeFor()
    const calls: (() => Promise<unknown>)[] = [() => signIn(code), () => all.auth.codes.request(user.email)]
    for (const call of calls) expect(((await rejection(transaction(call))) as Error).message).to.match(/outside transaction/)
    expect((await signIn(code)).status).to.equal('signedIn')
  })

  it('prove an address that was never proved, which ends what came before [promises 66, 146]', async () => {
    const squatted = await member()
    const squatter = await all.auth.signIn({ email: squatted.email, password })
    await addFactor(all.perms, squatted as unknown as User, password)
    const result = await all.auth.codes.signIn({ email: squatted.email, code: await codeFor(squatted.email) })
    expect(result.status).to.equal('signedIn')
    expect(await outcome(all.auth.authenticate(squatter.accessToken))).to.equal('InvalidTokenError')
    expect(await outcome(all.auth.signIn({ email: squatted.email, password }))).to.equal('InvalidCredentialsError')
    const revoked = all.events.find(({ name }) => name === 'accessRevoked')?.payload
    expect(revoked).to.deep.include({ userId: squatted.id, by: 'code', isFirstProof: true })
    const row = await db.knex('member').where({ id: squatted.id }).first()
    expect(row.email_verified_at).not.to.equal(null)
  })

  it('are no second factor: a user who has one is asked for it [promise 147]', async () => {
    await addFactor(all.perms, user as unknown as User, password)
    expect((await signIn(await codeFor())).status).to.equal('secondFactor')
  })

  it('end when the password changes [promise 142]', async () => {
    const code = await codeFor()
    await (user as unknown as User).setPassword('another battery staple')
    await (user as unknown as User).save()
    expect(await outcome(signIn(code))).to.equal('InvalidCredentialsError')
  })

  it('choose the lifetime of the session as a password does; links do too [promise 150]', async () => {
    const jwt = { secret: 'a secret of this test, 32 bytes or more', rememberMe: { min: 3600, max: 86_400 } }
    const auth = all.another({ mail, jwt })
    const lasts = async (result: { status: string; accessToken?: string | undefined }) => {
      const { sid } = auth.verifyAccessToken(result.accessToken as string)
      const { ends_at: ends, created_at: created } = await db.knex('token').where({ id: sid }).first()
      return Math.round((new Date(ends).getTime() - new Date(created).getTime()) / 1000)
    }
    const byCode = async (more: object) => auth.codes.signIn({ email: user.email, code: await codeFor(user.email, auth), ...more })
    const byLink = async (more: object) => {
      await auth.mail.requestMagicLink(user.email)
      await auth.settled()
      return await auth.mail.signInWithMagicLink(mailer.tokenFrom(mailer.last('magicLink')), more)
    }
    for (const by of [byCode, byLink]) {
      expect(await lasts(await by({}))).to.equal(3600)
      expect(await lasts(await by({ remember: true }))).to.equal(86_400)
      expect(await lasts(await by({ sessionExpires: 7200 }))).to.equal(7200)
      for (const more of [{ sessionExpires: 86_401 }, { remember: 'yes' }, { remember: true, sessionExpires: 7200 }])
        expect(await rejection(by(more) as Promise<unknown>)).to.be.instanceOf(ValidationError)
    }
    expect(await rejection(signIn('123456', { remember: true }))).to.be.instanceOf(ValidationError)
  })

  describe('that confirm a session', () => {
    const actorOf = async (age = 0) => {
      const { accessToken } = await all.auth.signIn({ email: user.email, password })
      clock.advance(age)
      return await all.auth.authenticate(accessToken)
    }
    type Actor = Awaited<ReturnType<typeof actorOf>>
    const as = <T>(actor: Actor, fn: () => Promise<T>) => runAsActor(actor, fn, { address: '192.0.2.1' }) as Promise<T>
    const sentTo = async (actor: Actor) => {
      await as(actor, () => all.auth.codes.requestConfirmation())
      await all.auth.settled()
      expect(mailer.last().subject).to.match(/confirm/)
      return mailer.codeFrom(mailer.last(user.email))
    }

    it('make it recent, with the method mail, once [promises 147, 149]', async () => {
      const actor = await actorOf(600)
      const sentCode = await sentTo(actor)
      expect(await rejection(as(actor, () => all.auth.confirm({ sentCode: other(sentCode) })))).to.be.instanceOf(InvalidCredentialsError)
      const { amr, authTime } = await as(actor, () => all.auth.confirm({ sentCode }))
      expect(amr).to.deep.equal(['mail'])
      expect(Date.now() - authTime.getTime()).to.be.below(60_000)
      expect(await rejection(as(actor, () => all.auth.confirm({ sentCode })))).to.be.instanceOf(InvalidCredentialsError)
    })

    it('confirm only the session that asked, and do not sign in [promises 148, 149]', async () => {
      const [actor, elsewhere] = [await actorOf(), await actorOf()]
      const sentCode = await sentTo(actor)
      expect(await rejection(as(elsewhere, () => all.auth.confirm({ sentCode })))).to.be.instanceOf(InvalidCredentialsError)
      expect(await outcome(signIn(sentCode))).to.equal('InvalidCredentialsError')
      expect((await as(actor, () => all.auth.confirm({ sentCode }))).amr).to.deep.equal(['mail'])
    })

    it('are sent to signed-in users only, not to API keys, impersonations and code without a session [promise 149]', async () => {
      const actor = await actorOf()
      const ask = () => all.auth.codes.requestConfirmation()
      const kinds = { UnauthorizedError: null, ConfigurationError: { ...actor, sessionId: null } }
      for (const [error, who] of Object.entries(kinds)) expect(await outcome(runAsActor(who, ask) as Promise<unknown>)).to.equal(error)
      for (const who of [
        { ...actor, abilities: ['*'] },
        { ...actor, impersonatorId: actor.id },
      ])
        expect(await outcome(runAsActor(who as Actor, ask) as Promise<unknown>)).to.equal('ForbiddenError')
      await all.auth.settled()
      expect(mailer.mails).to.deep.equal([])
    })
  })

  describe('of the application’s own sender', () => {
    const sent: CodeMessage[] = []
    let numbers: Record<string, string | null> = {}
    let fails = false
    const open = (destination = true) =>
      all.another({
        throttle: { mail: { account: 5, address: 1000 } },
        onEvent: (name, payload) => all.events.push({ name, payload }),
        codes: {
          sender: {
            ...(destination && { destination: async ({ email }: { email: string }) => numbers[email] }),
            async send(message: CodeMessage) {
              if (fails) throw new Error('The gateway is away.')
              sent.push(message)
            },
          } as never,
        },
      })
    beforeEach(() => {
      sent.length = 0
      fails = false
      numbers = { [user.email]: '+15550100' }
    })
    const ask = async (auth: ReturnType<typeof open>, email = user.email) => {
      await auth.codes.request(email)
      await auth.settled()
    }

    it('go to the number that it names, prove no address, and have the method sms [promises 146, 147]', async () => {
      const auth = open()
      const unproved = await member()
      numbers = { [unproved.email]: '+15550100' }
      await ask(auth, unproved.email)
      const [message] = sent as [CodeMessage]
      expect(message).to.deep.include({ to: '+15550100', purpose: 'signIn', expiresIn: 600 })
      expect(message.user.id).to.equal(unproved.id)
      const result = await auth.codes.signIn({ email: unproved.email, code: message.code })
      expect((await auth.authenticate(result.accessToken as string)).amr).to.deep.equal(['sms'])
      expect((await db.knex('member').where({ id: unproved.id }).first()).email_verified_at).to.equal(null)
      expect(mailer.mails).to.deep.equal([])
    })

    it('are refused once the user has another number or none [promise 148]', async () => {
      const auth = open()
      for (const next of ['+15550199', null]) {
        numbers = { [user.email]: '+15550100' }
        await ask(auth)
        numbers = { [user.email]: next }
        const { code } = sent.at(-1) as CodeMessage
        expect(await outcome(auth.codes.signIn({ email: user.email, code }))).to.equal('InvalidCredentialsError')
      }
    })

    it('are not sent to users without a number, and no more to one number than mails to one mailbox [promises 67, 145]', async () => {
      const auth = open()
      numbers = {}
      await ask(auth)
      expect(sent).to.deep.equal([])
      for (let i = 0; i < 7; i += 1) {
        const one = await member()
        numbers[one.email] = '+15550123'
        await ask(auth, one.email)
      }
      expect(sent).to.have.length(5)
    })

    it('that fails emits codeFailed, and the caller does not learn it [promise 144]', async () => {
      fails = true
      await ask(open())
      expect(all.events.find(({ name }) => name === 'codeFailed')?.payload).to.deep.include({ userId: user.id, purpose: 'signIn' })
    })

    it('go to the address without destination(), and prove it like a mail [promise 146]', async () => {
      const auth = open(false)
      const unproved = await member()
      await ask(auth, unproved.email)
      const [{ to, code }] = sent as [CodeMessage]
      expect(to).to.equal(unproved.email)
      const result = await auth.codes.signIn({ email: unproved.email, code })
      expect((await auth.authenticate(result.accessToken as string)).amr).to.deep.equal(['mail'])
      expect((await db.knex('member').where({ id: unproved.id }).first()).email_verified_at).not.to.equal(null)
    })
  })
})
