import { expect } from 'chai'
import {
  type Actor,
  AuditLog,
  bypassPerms,
  createTables,
  currentUser,
  Domain,
  Invitation,
  type Mail,
  Role,
  runAs,
  SecondFactor,
  Token,
  transaction,
  type User,
  UserRole,
  UserSetting,
} from '../../../src/index.js'
import { asSystem, runAsActor } from '../../../src/policy/context.js'
import { capturedMailer, fakeClock } from '../../../src/testing/index.js'
import { countQueries, eachDatabase } from '../../helpers/databases.js'
import { fieldsOf, rejection } from '../../helpers/errors.js'
import { Member, member, outcome, password, type SetUp, setUp } from '../set-up.js'

eachDatabase('Impersonation', (db) => {
  const mailer = capturedMailer<Mail>()
  const heard: { name: string; payload: Record<string, unknown> }[] = []
  let all: SetUp
  let press: Domain
  let ada: Member
  let root: Member
  before(async () => {
    const mail = { mailer, baseUrl: 'https://app.example.com' }
    all = await setUp(db.knex, { mail }, { mail, throttle: { mail: { account: 1000, address: 1000 } } })
    await createTables(db.knex, [Invitation, SecondFactor, AuditLog, UserSetting] as never)
    for (const name of ['roleGranted', 'roleRevoked', 'passwordChanged'] as const)
      all.perms.on(name, (payload) => heard.push({ name, payload: payload as never }))
    press = await Domain.create({ name: 'press' })
    // One more: else the others would be the last superadmin.
    await holder(Role.SUPERADMIN)
  })
  after(() => all.perms.close())
  beforeEach(async () => {
    ada = await member()
    root = await holder(Role.SUPERADMIN)
    await settled()
    heard.length = 0
    all.events.length = 0
  })

  const start = (...given: Parameters<SetUp['auth']['impersonation']['start']>) => all.auth.impersonation.start(...given)
  async function holder(role: string, domain?: Domain): Promise<Member> {
    const user = await member()
    await user.grantRole(role, domain ? { domain } : {})
    return user
  }
  /** Signed in with the password. */
  async function signedIn(user: Member): Promise<Actor> {
    return await all.auth.authenticate((await all.auth.signIn({ email: user.email, password })).accessToken)
  }
  /** `root` acts in a user's place. */
  async function impersonated(user = ada, by?: Actor): Promise<Actor> {
    const superadmin = by ?? (await signedIn(root))
    return await all.auth.authenticate((await runAsActor(superadmin, () => start(user.id))).accessToken)
  }
  async function settled(): Promise<void> {
    await all.auth.settled()
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  const grantTo = (user: Member, role: string, domain?: Domain) => asSystem(() => user.grantRole(role, domain ? { domain } : {}))

  it('gives a superadmin the rights of a user, and records both', async () => {
    await grantTo(ada, 'editor', press)
    const superadmin = await signedIn(root)
    const { accessToken, expiresIn, user } = await runAsActor(superadmin, () => start(ada as unknown as User, { reason: 'ticket 4711' }))
    expect([expiresIn, user.id]).to.deep.equal([900, ada.id])
    const actor = await all.auth.authenticate(accessToken)
    expect(actor).to.include({ id: ada.id, impersonatorId: root.id, abilities: null })
    expect(actor.grants.map(({ role }) => role)).to.deep.equal(['editor'])
    await runAsActor(actor, async () => {
      expect(currentUser()?.id).to.equal(ada.id)
      expect(await Member.query().resultSize()).to.equal(1)
      expect(await UserSetting.create({ key: 'theme', value: 'dark' })).to.include({ userId: ada.id })
    })
    expect(all.events.at(-1)).to.deep.equal({
      name: 'impersonationStarted',
      payload: { userId: ada.id, by: root.id, sessionId: actor.sessionId, reason: 'ticket 4711' },
    })
    const [session] = await all.auth.sessions(ada.id)
    expect(session).to.include({ id: actor.sessionId, description: 'Impersonation: ticket 4711' })
  })

  it('is available to superadmins with a session only [promise 39]', async () => {
    for (const user of [await member(), await holder(Role.ADMIN), await holder(Role.SUPERADMIN, press), await holder('superadmin2')]) {
      const actor = await signedIn(user)
      expect(await outcome(runAsActor(actor, () => start(ada.id)))).to.equal('ForbiddenError')
    }
    expect(await outcome(runAs(root as unknown as User, () => start(ada.id)))).to.equal('ForbiddenError')
    expect(await outcome(runAsActor(null, () => start(ada.id)))).to.equal('UnauthorizedError')
    expect(await outcome(asSystem(() => start(ada.id)))).to.equal('UnauthorizedError')
    const { plain } = await Token.issue(root as unknown as User, { kind: 'api', abilities: ['*'] })
    const key = await all.auth.authenticate(plain)
    expect(await outcome(runAsActor(key, () => start(ada.id)))).to.equal('ForbiddenError')
    expect(await Token.query().whereNotNull('impersonatorId').where('userId', ada.id)).to.deep.equal([])
  })

  it('may target an admin, but neither a superadmin nor the caller [promise 39]', async () => {
    const superadmin = await signedIn(root)
    for (const user of [await holder(Role.SUPERADMIN), root])
      expect(await outcome(runAsActor(superadmin, () => start(user.id)))).to.equal('ForbiddenError')
    for (const user of [await holder(Role.ADMIN), await holder(Role.ADMIN, press)])
      expect((await impersonated(user, superadmin)).id).to.equal(user.id)
  })

  it('requires an existing and enabled user', async () => {
    const superadmin = await signedIn(root)
    const [disabled, deleted] = [await member(), await member()]
    await disabled.update({ isEnabled: false })
    await deleted.delete()
    for (const id of [disabled.id, deleted.id, '01890000-0000-7000-8000-000000000000', 'x', '', null, undefined, {}, 1])
      expect(await outcome(runAsActor(superadmin, () => start(id as never))), String(id)).to.equal('NotFoundError')
  })

  it('cannot start within another impersonation', async () => {
    const bob = await member()
    const actor = await impersonated()
    expect(await outcome(runAsActor(actor, () => start(bob.id)))).to.equal('ForbiddenError')
    // The impersonation would end if the user became a superadmin.
    await grantTo(ada, Role.SUPERADMIN)
    expect(await outcome(runAsActor(actor, () => start(bob.id)))).to.equal('ForbiddenError')
  })

  it('accepts a duration of one second to one hour', async () => {
    const superadmin = await signedIn(root)
    for (const expiresIn of [0, -1, 3601, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '60', null, {}]) {
      const error = await rejection(runAsActor(superadmin, () => start(ada.id, { expiresIn: expiresIn as never })))
      expect(fieldsOf(error), String(expiresIn)).to.deep.equal(['expiresIn'])
    }
    expect((await runAsActor(superadmin, () => start(ada.id, { expiresIn: 3600 }))).expiresIn).to.equal(3600)
    expect(await outcome(runAsActor(superadmin, () => start(ada.id, { reason: 'a\0b' })))).to.equal('ValidationError')
  })

  it('cannot start inside a transaction [promise 59]', async () => {
    const superadmin = await signedIn(root)
    expect(await outcome(runAsActor(superadmin, () => transaction(() => start(ada.id))))).to.equal('ConfigurationError')
  })

  it('ends when its time is over [promise 22]', async () => {
    const superadmin = await signedIn(root)
    const clock = fakeClock()
    try {
      const { accessToken } = await runAsActor(superadmin, () => start(ada.id, { expiresIn: 60 }))
      clock.advance(55)
      expect(await outcome(all.auth.authenticate(accessToken))).to.equal('fine')
      clock.advance(6)
      expect(await outcome(all.auth.authenticate(accessToken))).to.equal('InvalidTokenError')
    } finally {
      clock.restore()
    }
  })

  it('can neither be refreshed nor start another session [promises 17, 25]', async () => {
    const superadmin = await signedIn(root)
    const given = await runAsActor(superadmin, () => start(ada.id))
    expect(given).not.to.have.property('refreshToken')
    expect(await outcome(all.auth.refresh(given.accessToken))).to.equal('InvalidTokenError')
    const actor = await all.auth.authenticate(given.accessToken)
    const [row] = await db.knex('token').where('id', actor.sessionId as string)
    expect(row.kind).to.equal('access')
    await runAsActor(actor, async () => {
      const user = currentUser() as User
      expect(await outcome(all.auth.createAccessToken(user))).to.equal('ForbiddenError')
      expect(await outcome(all.auth.createRefreshToken(user))).to.equal('ForbiddenError')
      expect(await outcome(runAs(user, () => all.auth.createRefreshToken(user)))).to.equal('ForbiddenError')
    })
    const key = await all.auth.authenticate((await Token.issue(ada as unknown as User, { kind: 'api', abilities: ['*'] })).plain)
    expect(await outcome(runAsActor(key, () => all.auth.createRefreshToken(ada as unknown as User)))).to.equal('ForbiddenError')
  })

  it('ends with the superadmin’s session, role or account, and with the user’s account [promise 22]', async () => {
    const ends: Record<string, (superadmin: Actor, actor: Actor) => PromiseLike<unknown>> = {
      'it is stopped': (_superadmin, actor) => runAsActor(actor, () => all.auth.impersonation.stop()),
      'it is signed out of': (_superadmin, actor) => runAsActor(actor, () => all.auth.signOut()),
      'the superadmin signs out': (superadmin) => runAsActor(superadmin, () => all.auth.signOut()),
      'the superadmin’s sessions are ended': () => all.auth.signOutEverywhere(root as unknown as User),
      'the superadmin has a new password': () => root.update({ password: 'another battery staple' } as never),
      'the superadmin is demoted': () => UserRole.query().delete().where('userId', root.id),
      'the superadmin is an admin now': () => UserRole.query().patch({ role: Role.ADMIN }).where('userId', root.id),
      'the superadmin is disabled': () => root.update({ isEnabled: false }),
      'the superadmin is deleted': () => root.delete(),
      'the superadmin is removed': () => (root as unknown as { hardDelete(): Promise<void> }).hardDelete(),
      'the user is a superadmin now': () => grantTo(ada, Role.SUPERADMIN),
      'the user is disabled': () => ada.update({ isEnabled: false }),
      'the user is deleted': () => ada.delete(),
      'the user has a new password': () => ada.update({ password: 'another battery staple' } as never),
      'the user’s sessions are ended': () => all.auth.signOutEverywhere(ada as unknown as User),
      'the user ends it': (_superadmin, actor) => all.auth.endSession(ada.id, actor.sessionId as string),
    }
    for (const [how, end] of Object.entries(ends)) {
      ada = await member()
      root = await holder(Role.SUPERADMIN)
      const superadmin = await signedIn(root)
      const { accessToken } = await runAsActor(superadmin, () => start(ada.id))
      const actor = await all.auth.authenticate(accessToken)
      await end(superadmin, actor)
      expect(await outcome(all.auth.authenticate(accessToken)), how).to.equal('InvalidTokenError')
      if (how.startsWith('it is'))
        expect(await outcome(runAsActor(actor, () => UserSetting.create({ key: 'x', value: 1 }))), how).to.equal('UnauthorizedError')
    }
  })

  it('ends with the superadmin’s session when that session expires', async () => {
    const superadmin = await signedIn(root)
    const { accessToken } = await runAsActor(superadmin, () => start(ada.id))
    await db
      .knex('token')
      .where('id', superadmin.sessionId as string)
      .update({
        expires_at: (
          await db
            .knex('token')
            .where('id', superadmin.sessionId as string)
            .first()
        ).created_at,
      })
    expect(await outcome(all.auth.authenticate(accessToken))).to.equal('InvalidTokenError')
  })

  it('is stopped by the superadmin who started it; stopping without one is refused', async () => {
    const superadmin = await signedIn(root)
    expect(await outcome(runAsActor(superadmin, () => all.auth.impersonation.stop()))).to.equal('ForbiddenError')
    expect(await outcome(all.auth.impersonation.stop())).to.equal('ForbiddenError')
    const actor = await impersonated(ada, superadmin)
    await runAsActor(actor, () => all.auth.impersonation.stop())
    expect(all.events.at(-1)).to.deep.equal({
      name: 'impersonationStopped',
      payload: { userId: ada.id, by: root.id, sessionId: actor.sessionId, impersonatorId: root.id },
    })
    // The superadmin goes on.
    expect(await outcome(impersonated(ada, superadmin))).to.equal('fine')
  })

  it('ends at once in this process with cacheCallers on too', async () => {
    const cached = all.another({ cacheCallers: 300 })
    const superadmin = await signedIn(root)
    const { accessToken } = await runAsActor(superadmin, () => start(ada.id))
    const actor = await cached.authenticate(accessToken)
    await runAsActor(actor, () => cached.impersonation.stop())
    expect(await outcome(cached.authenticate(accessToken))).to.equal('InvalidTokenError')
    const again = await runAsActor(superadmin, () => start(ada.id))
    await cached.authenticate(again.accessToken)
    await UserRole.query().delete().where('userId', root.id)
    expect(await outcome(cached.authenticate(again.accessToken))).to.equal('InvalidTokenError')
  })

  it('names the superadmin in every event, also of models and background work', async () => {
    const admin = await holder(Role.ADMIN)
    const actor = await impersonated(admin)
    await settled()
    heard.length = 0
    all.events.length = 0
    await runAsActor(actor, async () => {
      await asSystem(() => ada.grantRole('editor', { domain: press }))
      await asSystem(() => ada.revokeRole('editor', { domain: press }))
      await asSystem(() => ada.update({ password: 'another battery staple' } as never))
      await transaction(() => asSystem(() => ada.grantRole('reader')))
      await db.knex.transaction((trx) => asSystem(() => ada.grantRole('writer', {}, trx)))
      await asSystem(() => runAs(root as unknown as User, () => ada.grantRole('author')))
        .then(() => expect.fail('a role was given in another’s place'))
        .catch((error: Error) => expect(error.constructor.name).to.equal('ForbiddenError'))
      await all.auth.checkPassword(ada.email, 'wrong')
      await all.auth.register({ email: `registered-${ada.email}`, password })
      await all.auth.mail.requestPasswordReset(ada.email)
      await all.auth.signOut()
    })
    await settled()
    const names = [...heard, ...all.events].map(({ name }) => name)
    expect(names).to.have.members([
      ...['roleGranted', 'roleRevoked', 'passwordChanged', 'roleGranted', 'roleGranted'],
      ...['signInFailed', 'registered', 'passwordResetRequested', 'signOut'],
    ])
    for (const { name, payload } of [...heard, ...all.events]) expect(payload, name).to.include({ impersonatorId: root.id })
    await grantTo(ada, 'later')
    await settled()
    expect(heard.at(-1)?.payload).not.to.have.property('impersonatorId')
  })

  it('cannot change a password or an address on any path [promise 25]', async () => {
    const before = await db.knex('member').where('id', ada.id).first()
    const patch = (values: object) =>
      Member.query()
        .findById(ada.id)
        .patch(values as never)
    const paths: Record<string, () => PromiseLike<unknown>> = {
      'update, with the old password': async () =>
        (await Member.getOr404(ada.id)).update({ password: 'another battery staple', oldPassword: password } as never),
      'update of the address': async () =>
        (await Member.getOr404(ada.id)).update({ email: 'x@example.com', oldPassword: password } as never),
      updateFrom: async () => (await Member.getOr404(ada.id)).updateFrom({ email: 'x@example.com', oldPassword: password }),
      'setPassword and save': async () => (await (await Member.getOr404(ada.id)).setPassword('another battery staple')).save(),
      'save of a changed address': async () => Object.assign(await Member.getOr404(ada.id), { email: 'x@example.com' }).save(),
      'a proof and save': async () => {
        const row = await Member.getOr404(ada.id)
        await row.isPasswordCorrect(password)
        return await Object.assign(row, { email: 'x@example.com' }).save()
      },
      'patch of the hash': () => patch({ passwordHash: 'x' }),
      'patch of the address': () => patch({ email: 'x@example.com' }),
      'patch with raw SQL': () => patch({ email: db.knex.raw("'x@example.com'") }),
      'patch of all': () => Member.query().patch({ email: 'x@example.com' } as never),
      patchAndFetchById: () => Member.query().patchAndFetchById(ada.id, { passwordHash: null } as never),
      upsertGraph: () => Member.query().upsertGraph({ id: ada.id, email: 'x@example.com' } as never),
      bypassPerms: () => bypassPerms(() => patch({ email: 'x@example.com' })),
      'runAs the same user': () => runAs(ada as unknown as User, () => patch({ email: 'x@example.com' })),
      'runAs a superadmin': () => runAs(root as unknown as User, () => patch({ email: 'x@example.com' })),
      'the mailed change': () =>
        all.auth.mail.requestEmailChange(ada as unknown as User, { email: 'x@example.com', oldPassword: password }),
    }
    const actor = await impersonated()
    for (const [path, fn] of Object.entries(paths)) {
      const error = await runAsActor(actor, async () => await rejection(fn()))
      expect(error.constructor.name, `${path}: ${error.message}`).to.equal('ForbiddenError')
    }
    const after = await db.knex('member').where('id', ada.id).first()
    expect(after).to.deep.equal(before)
    expect(await runAsActor(actor, async () => (await (await Member.getOr404(ada.id)).update({ level: '2' })).level)).to.equal('2.00')
  })

  it('cannot change a role on any path, even as an admin [promise 39]', async () => {
    const admin = await holder(Role.ADMIN)
    await grantTo(ada, 'editor', press)
    const held = (await UserRole.query().findOne({ userId: ada.id } as never)) as unknown as UserRole
    const paths: Record<string, () => PromiseLike<unknown>> = {
      grantRole: () => ada.grantRole('reader'),
      create: () => UserRole.create({ user: ada as unknown as User, role: 'reader', domain: press }),
      insert: () => UserRole.query().insert({ userId: ada.id, role: 'reader', domainId: null } as never),
      insertGraph: () => UserRole.query().insertGraph([{ userId: ada.id, role: 'reader' } as never]),
      'upsertGraph that adds': () => Member.query().upsertGraph({ id: ada.id, roles: [{ id: held.id }, { role: 'reader' }] } as never),
      'upsertGraph that removes': () => Member.query().upsertGraph({ id: ada.id, roles: [] } as never),
      'upsertGraph that changes': () => Member.query().upsertGraph({ id: ada.id, roles: [{ id: held.id, role: 'reader' }] } as never),
      'a relation’s insert': () => ada.$relatedQuery<UserRole>('roles').insert({ role: 'reader' } as never),
      'a relation’s delete': () => ada.$relatedQuery<UserRole>('roles').delete(),
      relate: () => admin.$relatedQuery<UserRole>('roles').relate(held.id as never),
      revokeRole: () => ada.revokeRole('editor', { domain: press }),
      update: async () => (await UserRole.getOr404(held.id)).update({ role: 'reader' }),
      delete: async () => (await UserRole.getOr404(held.id)).delete(),
      'patch of all': () => UserRole.query().patch({ role: 'reader' }),
      'delete of all': () => UserRole.query().delete(),
      bypassPerms: () => bypassPerms(() => UserRole.query().deleteById(held.id)),
      'runAs a superadmin': () => runAs(root as unknown as User, () => UserRole.query().deleteById(held.id)),
      'members.change': () => all.auth.members.change('press', held.id, 'reader'),
      'members.remove': () => all.auth.members.remove('press', held.id),
      'the domain, with its roles': async () => (await Domain.getOr404(press.id)).delete(),
      'the user, with all roles': async () => (await Member.getOr404(ada.id)).delete(),
      'the user for good': async () => ((await Member.getOr404(ada.id)) as unknown as { hardDelete(): Promise<void> }).hardDelete(),
      'users in bulk': () => Member.query().delete().where('id', ada.id),
    }
    const before = await db.knex('user_role').orderBy('id')
    const actor = await impersonated(admin)
    for (const [path, fn] of Object.entries(paths)) {
      const error = await runAsActor(actor, async () => await rejection(fn()))
      expect(error.constructor.name, `${path}: ${error.message}`).to.equal('ForbiddenError')
    }
    expect(await db.knex('user_role').orderBy('id')).to.deep.equal(before)
    expect((await Member.getOr404(ada.id)).isDeleted).to.equal(false)
    // Models that hold no credentials may be read and written with the admin's rights.
    expect((await runAsActor(actor, () => all.auth.members.list('press'))).total).to.be.greaterThan(0)
  })

  it('cannot change a key, token, session, factor or invitation on any path [promise 25]', async () => {
    await grantTo(ada, Role.ADMIN, press)
    const user = ada as unknown as User
    const { key } = await all.auth.apiKeys.issue(user, { abilities: ['*'] })
    const { token } = await Token.issue(user)
    const session = await signedIn(ada)
    await all.auth.secondFactors.begin(user, { password })
    const factor = (await SecondFactor.query().findOne({ userId: ada.id } as never)) as unknown as SecondFactor
    await runAs(user, () => all.auth.invitations.invite({ email: ada.email, role: 'editor', domain: 'press' }))
    await all.auth.mail.requestPasswordReset(ada.email)
    await all.auth.settled()
    const invitation = (await Invitation.query().findOne({ email: ada.email } as never)) as unknown as Invitation
    const [link, reset] = [mailer.tokenFrom(mailer.last('invitation')), mailer.tokenFrom(mailer.last('resetPassword'))]
    const values = { token: 'x'.repeat(64), kind: 'api', userId: ada.id }
    const paths: Record<string, () => PromiseLike<unknown>> = {
      'apiKeys.issue': () => all.auth.apiKeys.issue(user, { abilities: ['*'] }),
      'apiKeys.revoke': () => all.auth.apiKeys.revoke(ada.id, key.id),
      'Token.issue': () => Token.issue(user, { kind: 'api', abilities: ['*'] }),
      'Token.create': () => Token.create(values as never),
      'Token insert': () => Token.query().insert(values as never),
      'Token revoke': async () => (await Token.getOr404(token.id)).revoke(),
      'Token update': async () => (await Token.getOr404(key.id)).update({ description: 'mine' }),
      'Token delete': async () => (await Token.getOr404(token.id)).delete(),
      'Token patch': () => Token.query().patch({ expiresAt: null } as never),
      'Token deleteExpired': () => Token.deleteExpired(),
      'a relation’s delete': () => user.$relatedQuery<Token>('tokens').delete(),
      upsertGraph: () => Member.query().upsertGraph({ id: ada.id, tokens: [] } as never),
      bypassPerms: () => bypassPerms(() => Token.query().deleteById(token.id)),
      'runAs the same user': () => runAs(user, () => Token.query().deleteById(token.id)),
      endSession: () => all.auth.endSession(ada.id, session.sessionId as string),
      signOutEverywhere: () => all.auth.signOutEverywhere(ada.id),
      'secondFactors.begin': () => all.auth.secondFactors.begin(user, { password }),
      'secondFactors.confirm': () => all.auth.secondFactors.confirm(user, '123456'),
      'secondFactors.remove': () => all.auth.secondFactors.remove(user, '123456'),
      'secondFactors.reset': () => all.auth.secondFactors.reset(user),
      'secondFactors.renewRecoveryCodes': () => all.auth.secondFactors.renewRecoveryCodes(user, '123456'),
      'SecondFactor create': () => SecondFactor.create({ userId: ada.id, secret: 'x' } as never),
      'SecondFactor update': async () => (await SecondFactor.getOr404(factor.id)).update({ confirmedAt: new Date() } as never),
      'SecondFactor delete': async () => (await SecondFactor.getOr404(factor.id)).delete(),
      'SecondFactor under a bypass': () => bypassPerms(() => SecondFactor.query().deleteById(factor.id)),
      'SecondFactor patch under a bypass': () => bypassPerms(() => SecondFactor.query().patch({ confirmedAt: new Date() } as never)),
      'invitations.invite': () => all.auth.invitations.invite({ email: 'x@example.com', role: 'editor', domain: 'press' }),
      'invitations.accept': () => all.auth.invitations.accept(link),
      'invitations.acceptNew': () => all.auth.invitations.acceptNew({ token: link, password }),
      'invitations.revoke': () => all.auth.invitations.revoke(invitation.id),
      'Invitation update': async () => (await Invitation.getOr404(invitation.id)).update({ revoked: true }),
      'Invitation under a bypass': () => bypassPerms(() => Invitation.query().patch({ email: 'x@example.com' })),
      'a mailed link': () => all.auth.mail.resetPassword({ token: reset, password: 'another battery staple' }),
      'a magic link': () => all.auth.mail.signInWithMagicLink(reset),
    }
    const rows = async () => [
      await db.knex('token').where('user_id', ada.id).whereNull('impersonator_id').orderBy('id'),
      await db.knex('second_factor').where('user_id', ada.id),
      await db.knex('invitation').where('id', invitation.id),
      await db.knex('user_role').where('user_id', ada.id),
    ]
    const before = await rows()
    const actor = await impersonated()
    for (const [path, fn] of Object.entries(paths)) {
      const error = await runAsActor(actor, async () => await rejection(fn()))
      expect(error.constructor.name, `${path}: ${error.message}`).to.equal('ForbiddenError')
    }
    expect(await rows()).to.deep.equal(before)
    // Code of the application's own is not asked.
    expect(await outcome(runAsActor(actor, () => asSystem(() => Token.query().deleteById(token.id))))).to.equal('fine')
  })

  it('stays restricted in runAs(await perms.authenticate(token), fn), as an API key does [promises 25, 40]', async () => {
    const superadmin = await signedIn(root)
    const { accessToken } = await runAsActor(superadmin, () => start(ada.id))
    await runAs(await all.auth.authenticate(accessToken), async () => {
      expect(currentUser()?.id).to.equal(ada.id)
      expect(await outcome(Token.issue(ada as unknown as User))).to.equal('ForbiddenError')
    })
    await grantTo(ada, Role.ADMIN)
    const { plain } = await Token.issue(ada as unknown as User, { kind: 'api', abilities: ['members:read'] })
    await runAs(await all.auth.authenticate(plain), async () => {
      expect(await Member.query().resultSize()).to.be.greaterThan(1)
      expect(await outcome(UserSetting.create({ key: 'x', value: 1 }))).to.equal('ForbiddenError')
    })
  })

  it('costs one more statement, and none for other callers', async () => {
    const superadmin = await signedIn(root)
    const { accessToken } = await runAsActor(superadmin, () => start(ada.id))
    await all.auth.authenticate(accessToken)
    const mine = await countQueries(db.knex, () => all.auth.authenticate(accessToken))
    expect(mine.statements).to.have.length(2)
    expect(mine.statements[0]).to.equal(mine.statements[1])
    const usual = (await all.auth.signIn({ email: ada.email, password })).accessToken
    expect((await countQueries(db.knex, () => all.auth.authenticate(usual))).statements).to.have.length(1)
  })

  it('is bound to the user model, and to the session that its token names [promise 26]', async () => {
    const actor = await impersonated()
    const bob = await member()
    // The same session under another user's name.
    await db
      .knex('token')
      .where('id', actor.sessionId as string)
      .update({ user_id: bob.id })
    const superadmin = await signedIn(root)
    const { accessToken } = await runAsActor(superadmin, () => start(ada.id))
    const id = (await all.auth.authenticate(accessToken)).sessionId as string
    await db.knex('token').where('id', id).update({ user_id: bob.id })
    expect(await outcome(all.auth.authenticate(accessToken))).to.equal('InvalidTokenError')
    await db.knex('token').where('id', id).update({ user_id: ada.id, bound_to: null })
    expect(await outcome(all.auth.authenticate(accessToken))).to.equal('InvalidTokenError')
    await db
      .knex('token')
      .where('id', id)
      .update({ bound_to: (await signedIn(bob)).sessionId })
    expect(await outcome(all.auth.authenticate(accessToken))).to.equal('InvalidTokenError')
    // Another superadmin's session does not stand in for the one that is gone.
    await db
      .knex('token')
      .where('id', id)
      .update({ bound_to: (await signedIn(await holder(Role.SUPERADMIN))).sessionId })
    expect(await outcome(all.auth.authenticate(accessToken))).to.equal('InvalidTokenError')
    await db.knex('token').where('id', id).update({ bound_to: superadmin.sessionId })
    expect(await outcome(all.auth.authenticate(accessToken))).to.equal('fine')
  })
})
