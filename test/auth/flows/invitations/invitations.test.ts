import { expect } from 'chai'
import {
  asAnonymous,
  createTables,
  Domain,
  Invitation,
  type Mail,
  Role,
  runAs,
  Token,
  transaction,
  User,
  UserRole,
} from '../../../../src/index.js'
import { asSystem, runAsActor } from '../../../../src/policy/context.js'
import { capturedMailer, fakeClock } from '../../../../src/testing/index.js'
import { hashToken } from '../../../../src/users/api-key-format.js'
import { toActor } from '../../../../src/users/caller/actor.js'
import { eachDatabase } from '../../../helpers/databases.js'
import { fieldsOf, rejection } from '../../../helpers/errors.js'
import { repetitions } from '../../../helpers/repetitions.js'
import { Member, member, outcome, password, type SetUp, setUp } from '../../set-up.js'

const RACES = repetitions(50)
const life = 604_800

eachDatabase('Invitations', (db) => {
  const mailer = capturedMailer<Mail>()
  let fails = false
  let all: SetUp
  let press: Domain
  let other: Domain
  let boss: Member
  let count = 0
  before(async () => {
    const sending = {
      async send(mail: Mail) {
        if (fails) throw new Error('no mail today')
        await mailer.send(mail)
      },
    }
    const mail = { mailer: sending, baseUrl: 'https://app.example.com' }
    all = await setUp(db.knex, { mail }, { mail, throttle: { mail: { account: 1000, address: 1000 } } })
    await createTables(db.knex, [Invitation] as never)
    press = await Domain.create({ name: 'press', displayName: 'The Press' })
    other = await Domain.create({ name: 'other' })
  })
  after(() => all.perms.close())
  beforeEach(async () => {
    await all.auth.settled()
    fails = false
    mailer.clear()
    all.events.length = 0
    boss = await holder(Role.ADMIN, press)
  })

  const invitations = () => all.auth.invitations
  const address = () => `guest${++count}@example.com`
  /** Creates a user with a role, in a domain or everywhere. */
  async function holder(role: string, domain?: Domain): Promise<Member> {
    const user = await member()
    await user.grantRole(role, domain ? { domain } : {})
    return user
  }
  const as = <T>(user: Member, fn: () => Promise<T>): Promise<T> => runAs(user as unknown as User, fn) as Promise<T>
  /** Sends an invitation, by default as `boss`. @returns the token in the mail */
  async function invited(given: { email?: string; role?: string; domain?: string } = {}, by = boss): Promise<string> {
    await as(by, () => invitations().invite({ email: address(), role: 'editor', domain: 'press', ...given }))
    await all.auth.settled()
    return mailer.tokenFrom(mailer.last('invitation'))
  }
  const fresh = async (user: { id: string }) => (await Member.get(user.id)) as unknown as Member
  const rolesOf = async (user: { id: string }) => ((await fresh(user)).roles ?? []).map(({ role, domainId }) => [role, domainId])
  const accept = (user: Member, token: string) => as(user, () => invitations().accept(token))
  const register = (token: string, more: object = { password }) => asAnonymous(() => invitations().acceptNew({ token, ...more }))

  it('are sent by mail, and only their hash is stored [promise 20]', async () => {
    const email = address()
    const made = await as(boss, () => invitations().invite({ email: ` ${email.toUpperCase()} `, role: 'editor', domain: press.id }))
    await all.auth.settled()
    const mail = mailer.last()
    expect(mail).to.include({ kind: 'invitation', to: email })
    expect(mail.subject).to.contain('The Press')
    expect(mail.text).to.contain('editor').and.contain('https://app.example.com/invitation#token=in_')
    const token = mailer.tokenFrom(mail)
    const [row] = await db.knex('invitation').where('id', made.id)
    expect(row.token).to.equal(hashToken(token))
    expect(JSON.stringify([row, made, all.events])).not.to.contain(token)
    expect(JSON.stringify(made)).not.to.contain(row.token)
    expect(made).to.include({ email, role: 'editor', domainId: press.id, invitedById: boss.id })
    expect(made.expiresAt.getTime()).to.be.closeTo(Date.now() + life * 1000, 60_000)
    expect(all.events).to.deep.equal([{ name: 'invited', payload: { email, role: 'editor', domainId: press.id, by: boss.id } }])
  })

  it('grant only roles below the inviter’s rank in that domain [promises 38, 39]', async () => {
    const people = {
      editor: await holder('editor', press),
      'domain admin': boss,
      'admin of another': await holder(Role.ADMIN, other),
      'global editor': await holder('editor'),
      admin: await holder(Role.ADMIN),
      superadmin: await holder(Role.SUPERADMIN),
    }
    const allowed: Record<string, string[]> = {
      'domain admin': ['editor', 'user'],
      admin: ['editor', 'user', 'admin'],
      superadmin: ['editor', 'user', 'admin', 'superadmin'],
    }
    for (const [who, user] of Object.entries(people))
      for (const role of ['editor', 'user', 'admin', 'superadmin'])
        expect(
          await outcome(as(user, () => invitations().invite({ email: address(), role, domain: 'press' }))),
          `${who}: ${role}`,
        ).to.equal(allowed[who]?.includes(role) ? 'fine' : 'ForbiddenError')
  })

  it('give the same error for a missing domain, an inactive one and one where the caller may not invite [promise 36]', async () => {
    const messages = []
    for (const domain of ['other', other.id, 'nowhere', '01890000-0000-7000-8000-000000000000'])
      messages.push((await rejection(as(boss, () => invitations().invite({ email: address(), role: 'editor', domain })))).message)
    expect(new Set(messages).size).to.equal(1)
  })

  it('tell a global admin that a domain is missing or inactive', async () => {
    const closed = await Domain.create({ name: `closed${count}`, active: false })
    const people = { admin: await holder(Role.ADMIN), superadmin: await holder(Role.SUPERADMIN) }
    const kinds: Record<string, Record<string, string>> = {
      admin: { editor: 'MissingReferenceError', admin: 'MissingReferenceError', superadmin: 'ForbiddenError' },
      superadmin: { editor: 'MissingReferenceError', admin: 'MissingReferenceError', superadmin: 'MissingReferenceError' },
    }
    for (const [who, user] of Object.entries(people))
      for (const [role, expected] of Object.entries(kinds[who] ?? {}))
        for (const domain of [closed.id, 'nowhere'])
          expect(await outcome(as(user, () => invitations().invite({ email: address(), role, domain }))), `${who} ${role}`).to.equal(
            expected,
          )
  })

  it('accept only strings, and name the invalid field [promise 27]', async () => {
    const sound = { email: 'x@example.com', role: 'editor', domain: 'press' }
    for (const field of ['email', 'role', 'domain'] as const)
      for (const value of [undefined, null, '', ' ', 1, {}, [], 'a\0b']) {
        const error = await rejection(as(boss, () => invitations().invite({ ...sound, [field]: value } as never)))
        expect(error.constructor.name, `${field}: ${JSON.stringify(value)}`).to.equal('ValidationError')
        expect(fieldsOf(error)).to.deep.equal([field])
      }
    for (const email of ['nobody', `${'x'.repeat(250)}@example.com`])
      expect(await outcome(as(boss, () => invitations().invite({ ...sound, email })))).to.equal('ValidationError')
    for (const role of ['ADMIN', 'admin ', 'x'.repeat(101)])
      expect(await outcome(as(boss, () => invitations().invite({ ...sound, role })))).to.equal('ValidationError')
    for (const token of [undefined, null, '', ' ', 1, {}, [], 'a\0b'])
      for (const work of [() => accept(boss, token as never), () => register(token as never)])
        expect(await outcome(work()), JSON.stringify(token)).to.equal('ValidationError')
    expect(mailer.mails).to.deep.equal([])
  })

  it('give the role to the user with the invited address, once, and verify it', async () => {
    const guest = await member()
    const token = await invited({ email: guest.email })
    const grant = await accept(guest, token)
    expect(grant).to.include({ userId: guest.id, role: 'editor', domainId: press.id })
    expect(await rolesOf(guest)).to.deep.equal([['editor', press.id]])
    expect((await fresh(guest)).emailVerifiedAt).to.be.instanceOf(Date)
    expect(all.events.at(-1)).to.deep.equal({
      name: 'invitationAccepted',
      payload: { userId: guest.id, role: 'editor', domainId: press.id },
    })
    expect(await outcome(accept(guest, token))).to.equal('InvalidTokenError')
    expect(await outcome(register(token))).to.equal('InvalidTokenError')
  })

  it('keep the date at which the address was first verified', async () => {
    const emailVerifiedAt = new Date('2026-01-02T03:04:05.006Z')
    const guest = await member({ emailVerifiedAt })
    await accept(guest, await invited({ email: guest.email }))
    expect((await fresh(guest)).emailVerifiedAt).to.deep.equal(emailVerifiedAt)
  })

  it('are used up by a user who already has the role', async () => {
    const guest = await holder('editor', press)
    const token = await invited({ email: guest.email })
    await accept(guest, token)
    expect(await rolesOf(guest)).to.deep.equal([['editor', press.id]])
    expect(await outcome(accept(guest, token))).to.equal('InvalidTokenError')
  })

  it('are refused to a user with another address', async () => {
    const guest = await member()
    const token = await invited({ email: guest.email })
    for (const thief of [await member(), await holder(Role.ADMIN), boss])
      expect(await outcome(accept(thief, token))).to.equal('ForbiddenError')
    expect(await outcome(register(token, { password, email: 'thief@example.com' }))).to.equal('ValidationError')
    // The failed attempts do not use up the link.
    expect(await outcome(accept(guest, token))).to.equal('fine')
  })

  it('are refused to a user whose address has changed since the invitation', async () => {
    const guest = await member()
    const token = await invited({ email: guest.email })
    await guest.update({ email: address() })
    expect(await outcome(accept(guest, token))).to.equal('ForbiddenError')
  })

  it('register a new user with a verified address and the role', async () => {
    const email = address()
    const token = await invited({ email })
    const user = await register(token, { password, joinedAt: '2026-01-01T00:00:00.000Z' })
    expect(user).to.include({ email })
    expect(user.hasRole('editor', { domain: 'press' })).to.equal(true)
    expect(await rolesOf(user)).to.deep.equal([['editor', press.id]])
    expect((await fresh(user)).emailVerifiedAt).to.be.instanceOf(Date)
    expect((await all.auth.signIn({ email, password })).status).to.equal('signedIn')
    expect(all.events.map(({ name }) => name)).to.deep.equal(['invited', 'registered', 'invitationAccepted', 'signIn'])
    expect(await outcome(register(token))).to.equal('InvalidTokenError')
    expect(await outcome(accept(user as unknown as Member, token))).to.equal('InvalidTokenError')
  })

  it('refuse forbidden columns and weak passwords, and stay usable [promise 42]', async () => {
    const email = address()
    const token = await invited({ email })
    for (const more of [
      { password: 'short' },
      { password: email },
      { password, isEnabled: true },
      { password, emailVerifiedAt: '2026-01-01' },
      { password, id: '01890000-0000-7000-8000-000000000000' },
      { password, passwordHash: 'x' },
      { password, roles: [{ role: 'admin' }] },
      { password, nope: 1 },
    ])
      expect(await outcome(register(token, more)), JSON.stringify(more)).to.equal('ValidationError')
    expect(await Member.getBy({ email } as never)).to.equal(null)
    expect(await outcome(register(token))).to.equal('fine')
  })

  it('do not register an address that has an account: its user can accept the invitation instead', async () => {
    const guest = await member()
    const token = await invited({ email: guest.email })
    expect(await outcome(register(token))).to.equal('UniqueViolationError')
    expect(await outcome(accept(guest, token))).to.equal('fine')
  })

  it('end when a newer one is sent, when they expire and when they are revoked', async () => {
    const guest = await member()
    const first = await invited({ email: guest.email })
    const second = await invited({ email: guest.email })
    const asReader = await invited({ email: guest.email, role: 'reader' })
    expect(await outcome(accept(guest, first))).to.equal('InvalidTokenError')
    expect(await outcome(accept(guest, asReader))).to.equal('fine')
    const clock = fakeClock()
    try {
      clock.advance(life - 60)
      expect((await as(boss, () => invitations().list('press'))).some(({ email }) => email === guest.email)).to.equal(true)
      clock.advance(61)
      expect(await outcome(accept(guest, second))).to.equal('InvalidTokenError')
      expect((await as(boss, () => invitations().list('press'))).some(({ email }) => email === guest.email)).to.equal(false)
    } finally {
      clock.restore()
    }
    const third = await invited({ email: guest.email })
    const [open] = (await as(boss, () => invitations().list('press'))) as [Invitation]
    await as(boss, () => invitations().revoke(open.id.toUpperCase()))
    expect(all.events.at(-1)).to.deep.equal({
      name: 'invitationRevoked',
      payload: { email: guest.email, role: 'editor', domainId: press.id },
    })
    expect(await outcome(accept(guest, third))).to.equal('InvalidTokenError')
    expect(await outcome(register(third))).to.equal('InvalidTokenError')
    expect(await outcome(as(boss, () => invitations().revoke(open.id)))).to.equal('NotFoundError')
  })

  it('end when the inviter loses the right to grant the role [promises 22, 35]', async () => {
    const losses: Record<string, (inviter: Member) => PromiseLike<unknown>> = {
      demoted: (inviter) => UserRole.query().delete().where('userId', inviter.id),
      'admin elsewhere now': async (inviter) => {
        await UserRole.query().delete().where('userId', inviter.id)
        await inviter.grantRole(Role.ADMIN, { domain: other })
      },
      disabled: (inviter) => inviter.update({ isEnabled: false }),
      'soft-deleted': (inviter) => inviter.delete(),
    }
    for (const [how, lose] of Object.entries(losses)) {
      const inviter = await holder(Role.ADMIN, press)
      const [guest, email] = [await member(), address()]
      const forGuest = await invited({ email: guest.email }, inviter)
      const forNew = await invited({ email }, inviter)
      await lose(inviter)
      expect(await outcome(accept(guest, forGuest)), how).to.equal('ForbiddenError')
      expect(await outcome(register(forNew)), how).to.equal('ForbiddenError')
      expect(await rolesOf(guest), how).to.deep.equal([])
      expect((await fresh(guest)).emailVerifiedAt, how).to.equal(null)
      expect(await Member.getBy({ email } as never), how).to.equal(null)
    }
    const inviter = await holder(Role.ADMIN, press)
    const guest = await member()
    const token = await invited({ email: guest.email }, inviter)
    await (inviter as unknown as { hardDelete(): Promise<void> }).hardDelete()
    expect(await outcome(accept(guest, token))).to.equal('InvalidTokenError')
  })

  it('end when the inviter loses the rank that the role needs', async () => {
    const inviter = await holder(Role.ADMIN)
    const guest = await member()
    const token = await invited({ email: guest.email, role: Role.ADMIN }, inviter)
    await UserRole.query().delete().where('userId', inviter.id)
    await inviter.grantRole(Role.ADMIN, { domain: press })
    expect(await outcome(accept(guest, token))).to.equal('ForbiddenError')
    expect(await rolesOf(guest)).to.deep.equal([])
  })

  it('are refused while the domain is inactive, and end when it is deleted [promise 38]', async () => {
    for (const by of [Role.ADMIN, Role.SUPERADMIN]) {
      const domain = await Domain.create({ name: `short-lived ${by}` })
      const guest = await member()
      const token = await invited({ email: guest.email, domain: domain.id }, await holder(by))
      await domain.update({ active: false })
      expect(await outcome(accept(guest, token))).to.equal('InvalidTokenError')
      expect(await outcome(register(token))).to.equal('InvalidTokenError')
      await domain.update({ active: true })
      await domain.delete()
      expect(await outcome(accept(guest, token))).to.equal('InvalidTokenError')
      expect(await rolesOf(guest)).to.deep.equal([])
    }
  })

  it('are listed for the inviter and for admins of the domain only [promise 31]', async () => {
    const admin = await holder(Role.ADMIN)
    await invited({ email: 'listed@example.com', role: 'admin' }, admin)
    const seenBy = async (user: Member, domain?: string) => (await as(user, () => invitations().list(domain))).map(({ email }) => email)
    for (const user of [boss, admin, await holder(Role.SUPERADMIN)]) {
      expect(await seenBy(user, 'press')).to.include('listed@example.com')
      expect(await seenBy(user, press.id)).to.include('listed@example.com')
      expect(await seenBy(user)).to.include('listed@example.com')
      expect(await seenBy(user, 'other')).not.to.include('listed@example.com')
    }
    for (const user of [await holder('editor', press), await holder(Role.ADMIN, other), await member()])
      expect(await seenBy(user, 'press')).to.deep.equal([])
    expect(await asAnonymous(() => invitations().list('press'))).to.deep.equal([])
    expect(await seenBy(boss, 'a\0b')).to.deep.equal([])
  })

  it('are revoked by the inviter or by users with the right to invite; for others they do not exist [promises 36, 39]', async () => {
    const admin = await holder(Role.ADMIN)
    const revoke = (user: Member, id: string) => outcome(as(user, () => invitations().revoke(id)))
    const make = async (role: string) => {
      await invited({ role }, admin)
      return ((await as(admin, () => invitations().list('press'))) as [Invitation])[0].id
    }
    const id = await make('editor')
    for (const stranger of [await holder('editor', press), await holder(Role.ADMIN, other), await member()])
      expect(await revoke(stranger, id)).to.equal('NotFoundError')
    for (const unknown of ['x', '', '01890000-0000-7000-8000-000000000000']) expect(await revoke(boss, unknown)).to.equal('NotFoundError')
    expect(await revoke(boss, id)).to.equal('fine')
    const higher = await make('admin')
    expect(await revoke(boss, higher)).to.equal('ForbiddenError')
    await UserRole.query().delete().where('userId', admin.id)
    expect(await revoke(admin, higher)).to.equal('fine')
  })

  it('cannot be changed through the model, whatever the rank [promise 39]', async () => {
    await invited()
    const [row] = (await as(boss, () => invitations().list())) as [Invitation]
    const values = { email: 'x@example.com', role: 'admin', domainId: press.id, token: 'x', expiresAt: new Date('2099-01-01') }
    for (const user of [boss, await holder(Role.ADMIN), await holder(Role.SUPERADMIN)]) {
      await as(user, async () => {
        expect(await outcome(Invitation.create({ ...values, invitedById: user.id }))).to.equal('ForbiddenError')
        const shown = await Invitation.getOr404(row.id)
        expect(JSON.parse(JSON.stringify(shown))).not.to.have.property('token')
        expect(await outcome(shown.update({ role: 'admin' }))).to.equal('ForbiddenError')
        expect(await outcome(shown.delete())).to.equal('ForbiddenError')
        expect(await Invitation.query().patch({ revoked: true })).to.equal(0)
      })
    }
  })

  it('require a session: API keys and anonymous callers are refused [promise 25]', async () => {
    const token = await invited({ email: boss.email })
    const [open] = (await as(boss, () => invitations().list())) as [Invitation]
    const user = (await fresh(boss)) as unknown as User
    const key = toActor(user, { sessionId: null, abilities: ['*'] })
    const work: Record<string, () => Promise<unknown>> = {
      invite: () => invitations().invite({ email: address(), role: 'editor', domain: 'press' }),
      accept: () => invitations().accept(token),
      acceptNew: () => invitations().acceptNew({ token, password }),
      revoke: () => invitations().revoke(open.id),
    }
    for (const [name, fn] of Object.entries(work)) {
      expect(await outcome(runAsActor(key, fn)), name).to.equal('ForbiddenError')
      if (name === 'invite' || name === 'accept') expect(await outcome(asAnonymous(fn)), name).to.equal('UnauthorizedError')
    }
    expect(await runAsActor(key, () => invitations().list())).to.deep.equal([])
    expect(await outcome(accept(boss, token))).to.equal('fine')
  })

  it('require a mailer, and no open transaction [promise 59]', async () => {
    const plain = all.another()
    expect(await outcome(as(boss, () => plain.invitations.invite({ email: address(), role: 'editor', domain: 'press' })))).to.equal(
      'ConfigurationError',
    )
    const token = await invited()
    for (const work of [
      () => invitations().invite({ email: address(), role: 'editor', domain: 'press' }),
      () => invitations().accept(token),
      () => invitations().acceptNew({ token, password }),
      () => invitations().revoke('x'),
    ] as (() => Promise<unknown>)[])
      expect(await outcome(as(boss, () => transaction(work)))).to.equal('ConfigurationError')
  })

  it('are created when the mailer fails, and mailFailed is emitted', async () => {
    fails = true
    await as(boss, () => invitations().invite({ email: address(), role: 'editor', domain: 'press' }))
    await all.auth.settled()
    expect(all.events.at(-1)).to.deep.equal({ name: 'mailFailed', payload: { userId: null, kind: 'invitation' } })
  })

  it('count wrong tokens by client address [promise 12]', async () => {
    const strict = all.another({ throttle: { mailToken: { address: 3 } } }).invitations
    const tries = []
    for (let i = 0; i < 5; i += 1)
      tries.push(
        await outcome(
          runAsActor(toActor((await fresh(boss)) as unknown as User), () => strict.accept(`in_${'A'.repeat(43)}`), {
            address: '192.0.2.9',
          }),
        ),
      )
    expect(tries.slice(0, 3)).to.deep.equal(Array(3).fill('InvalidTokenError'))
    expect(tries.slice(3)).to.deep.equal(Array(2).fill('TooManyAttemptsError'))
  })

  it('are accepted by no other flow, and accept no other token [promise 17]', async () => {
    const guest = await member()
    const token = await invited({ email: guest.email })
    const { mail } = all.auth
    const signedIn = await all.auth.signIn({ email: guest.email, password })
    await mail.requestMagicLink(guest.email)
    await mail.requestPasswordReset(guest.email)
    await mail.requestVerification(guest.email)
    await all.auth.settled()
    const others = [
      signedIn.accessToken,
      signedIn.refreshToken,
      ...['magicLink', 'resetPassword', 'verifyEmail'].map((kind) => mailer.tokenFrom(mailer.last(kind))),
      (await Token.issue(guest as unknown as User, { kind: 'api', abilities: ['*'] })).plain,
      (await Token.issue(guest as unknown as User)).plain,
      hashToken(token),
      token.slice(3),
      `${token}A`,
    ]
    for (const one of others) {
      expect(await outcome(accept(guest, one)), one).to.equal('InvalidTokenError')
      expect(await outcome(register(one)), one).to.equal('InvalidTokenError')
    }
    for (const attempt of [
      () => all.auth.authenticate(token),
      () => all.auth.refresh(token),
      () => mail.verifyEmail(token),
      () => mail.resetPassword({ token, password: 'a wholly new password' }),
      () => mail.confirmEmailChange(token),
      () => mail.signInWithMagicLink(token),
      () => all.auth.secondFactors.verify(token, '123456'),
    ])
      expect(await outcome(attempt())).to.equal('InvalidTokenError')
    expect(await Token.verify(token)).to.equal(null)
    expect(await outcome(accept(guest, token))).to.equal('fine')
  })

  it('succeed for exactly one of several concurrent uses, and give that user the role [promises 52, 59]', async function () {
    this.timeout(120_000)
    const races = db.dialect === 'sqlite' ? 5 : RACES
    for (let i = 0; i < races; i += 1) {
      const email = address()
      const token = await invited({ email })
      const outcomes = await Promise.all(Array.from({ length: 4 }, () => outcome(register(token))))
      expect(
        outcomes.filter((one) => one === 'fine'),
        String(outcomes),
      ).to.have.length(1)
      expect(outcomes.filter((one) => one === 'InvalidTokenError')).to.have.length(3)
      const users = await Member.query().where({ email })
      expect(users).to.have.length(1)
      expect(await rolesOf(users[0] as Member)).to.deep.equal([['editor', press.id]])
      const guest = users[0] as unknown as Member
      const again = await invited({ email, role: 'reader' })
      const accepted = await Promise.all(Array.from({ length: 4 }, () => outcome(accept(guest, again))))
      expect(
        accepted.filter((one) => one === 'fine'),
        String(accepted),
      ).to.have.length(1)
      expect(accepted.filter((one) => one === 'InvalidTokenError')).to.have.length(3)
    }
  })

  it('leave one valid invitation per address when several are created concurrently', async function () {
    this.timeout(120_000)
    const races = db.dialect === 'sqlite' ? 5 : RACES
    for (let i = 0; i < races; i += 1) {
      const email = address()
      const inviters = [boss, boss, await holder(Role.ADMIN), await holder(Role.ADMIN, press)]
      const made = await Promise.all(inviters.map((by) => as(by, () => invitations().invite({ email, role: 'editor', domain: 'press' }))))
      const open = (await Invitation.query().where({ email, revoked: false } as never)) as unknown as Invitation[]
      expect(open, String(i)).to.have.length(1)
      expect(made.map(({ id }) => id)).to.include(open[0]?.id)
      await all.auth.settled()
      const guest = await member({ email })
      const tokens = mailer.mails.filter(({ to }) => to === email).map((mail) => mailer.tokenFrom(mail))
      const outcomes = []
      for (const token of tokens) outcomes.push(await outcome(accept(guest, token)))
      expect(outcomes.sort()).to.deep.equal(['InvalidTokenError', 'InvalidTokenError', 'InvalidTokenError', 'fine'])
    }
  })

  it('that fail half-way create no user and do not use up the link [promise 52]', async () => {
    const email = address()
    const token = await invited({ email })
    const guest = await member()
    const forGuest = await invited({ email: guest.email })
    const { create } = UserRole
    UserRole.create = async () => {
      throw new Error('half-way')
    }
    try {
      expect(await outcome(register(token))).to.equal('Error')
      expect(await outcome(accept(guest, forGuest))).to.equal('Error')
    } finally {
      UserRole.create = create
    }
    expect(await Member.getBy({ email } as never)).to.equal(null)
    expect((await fresh(guest)).emailVerifiedAt).to.equal(null)
    expect(await outcome(register(token))).to.equal('fine')
    expect(await outcome(accept(guest, forGuest))).to.equal('fine')
  })

  it('emit roleGranted with the inviter as its author', async () => {
    const heard: unknown[] = []
    const off = all.perms.on('roleGranted', (payload) => heard.push(payload))
    const guest = await member()
    await accept(guest, await invited({ email: guest.email }))
    await new Promise((resolve) => setTimeout(resolve, 10))
    off()
    expect(heard).to.deep.equal([{ userId: guest.id, role: 'editor', domainId: press.id, by: boss.id }])
  })
})

describe('Invitations without TimestampMixin', () => {
  eachDatabase('have no column for a verified address', (db) => {
    it('are accepted', async () => {
      const mailer = capturedMailer<Mail>()
      const mail = { mailer, baseUrl: 'https://app.example.com' }
      const { perms, auth } = await setUp(db.knex, { mail, user: User }, { mail })
      await createTables(db.knex, [Invitation] as never)
      await asSystem(() => Domain.create({ name: 'press' }))
      const boss = await User.create({ email: 'boss@example.com' })
      await boss.grantRole(Role.ADMIN)
      const guest = await User.create({ email: 'guest@example.com' })
      for (const email of ['guest@example.com', 'new@example.com']) {
        await runAs(boss, () => auth.invitations.invite({ email, role: 'editor', domain: 'press' }))
        await auth.settled()
      }
      const [first, second] = mailer.mails.map((one) => mailer.tokenFrom(one)) as [string, string]
      await runAs(guest, () => auth.invitations.accept(first))
      const user = await asAnonymous(() => auth.invitations.acceptNew({ token: second, password }))
      expect(user.hasRole('editor', { domain: 'press' })).to.equal(true)
      expect((await User.getOr404(guest.id)).hasRole('editor', { domain: 'press' })).to.equal(true)
      await perms.close()
    })
  })
})
