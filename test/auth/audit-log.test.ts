import { expect } from 'chai'
import { AuditTrail } from '../../src/auth/audit-trail.js'
import {
  AuditLog,
  asAnonymous,
  column,
  createTables,
  Domain,
  Invitation,
  initPerms,
  type Mail,
  Role,
  runAs,
  SecondFactor,
  transaction,
  type User,
} from '../../src/index.js'
import { asSystem, runAsActor } from '../../src/policy/context.js'
import { capturedMailer } from '../../src/testing/index.js'
import { toActor } from '../../src/users/caller/actor.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { Member, member, outcome, password, type SetUp, secret, setUp } from './set-up.js'

eachDatabase('The audit log', (db) => {
  const mailer = capturedMailer<Mail>()
  let all: SetUp
  let auth: SetUp['perms']['auth']
  let press: Domain
  const start = async () => {
    const mail = { mailer, baseUrl: 'https://app.example.com' }
    all = await setUp(db.knex, { auditLog: true, mail, throttle: false })
    auth = all.perms.auth
  }
  before(async () => {
    await start()
    await createTables(db.knex, [Invitation, SecondFactor, AuditLog] as never)
    press = await Domain.create({ name: 'press' })
  })
  after(() => all.perms.close())

  async function settled(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 10))
    await auth.settled()
  }
  const rows = async (where: object = {}) => (await AuditLog.query().where(where).orderBy(['createdAt', 'id'])) as unknown as AuditLog[]
  /** Returns the rows that were written while `fn` ran. */
  async function noted(fn: () => PromiseLike<unknown>): Promise<AuditLog[]> {
    await settled()
    const before = new Set((await rows()).map(({ id }) => id))
    await fn()
    await settled()
    return (await rows()).filter(({ id }) => !before.has(id))
  }
  const named = (found: readonly AuditLog[]) => found.map(({ event }) => event)
  const as = <T>(user: Member, fn: () => PromiseLike<T>): Promise<T> => runAs(user as unknown as User, fn) as Promise<T>
  async function holder(role: string, domain?: Domain): Promise<Member> {
    const user = await member()
    await user.grantRole(role, domain ? { domain } : {})
    return user
  }
  const signedIn = async (user: Member) => {
    const { accessToken } = (await auth.signIn({ email: user.email, password })) as { accessToken: string }
    return await auth.authenticate(accessToken)
  }

  it('records the actor, the event, the subject, the domain and the address', async () => {
    const [boss, editor] = [await holder(Role.ADMIN), await member()]
    const actor = toActor((await Member.get(boss.id)) as unknown as User)
    const [granted] = await noted(() => runAsActor(actor, () => editor.grantRole('editor', { domain: press }), { address: '192.0.2.7' }))
    expect(granted).to.deep.include({
      event: 'roleGranted',
      actorId: boss.id,
      impersonatorId: null,
      subjectId: editor.id,
      domainId: press.id,
      address: '192.0.2.7',
      details: { role: 'editor' },
    })
    expect(granted?.createdAt).to.be.instanceOf(Date)
    const [byCode] = await noted(() => editor.grantRole('reader'))
    expect(byCode).to.deep.include({ actorId: null, subjectId: editor.id, domainId: null, details: { role: 'reader' } })
    const [own] = await noted(() => as(editor, () => editor.update({ password: 'another battery staple', oldPassword: password } as never)))
    expect(own).to.deep.include({ event: 'passwordChanged', actorId: editor.id, subjectId: editor.id, details: null })
  })

  it('holds events that name a cause instead of an actor, with the cause as a detail', async () => {
    const user = await member()
    await auth.signIn({ email: user.email, password })
    const events = await noted(async () => {
      await auth.mail.requestMagicLink(user.email)
      await auth.settled()
      await auth.mail.signInWithMagicLink(mailer.tokenFrom(mailer.last('magicLink')))
    })
    const revoked = events.find(({ event }) => event === 'accessRevoked')
    expect(revoked).to.deep.include({ actorId: user.id, subjectId: user.id })
    expect(revoked?.details).to.deep.include({ by: 'magicLink', isFirstProof: true })

    const lost: unknown[] = []
    const trail = new AuditTrail(AuditLog, (error) => lost.push(error))
    const payload = { action: 'signIn', by: 'pair', account: user.email, address: '192.0.2.7' }
    const [locked] = await noted(async () => {
      trail.record('locked', payload)
      await trail.settled()
    })
    expect(lost).to.deep.equal([])
    expect(locked).to.deep.include({ event: 'locked', actorId: null, subjectId: null, address: '192.0.2.7' })
    expect(locked?.details).to.deep.equal({ action: 'signIn', by: 'pair', account: user.email })
  })

  it('records every kind of event', async () => {
    const user = await member()
    const boss = await holder(Role.ADMIN, press)
    const superadmin = await holder(Role.SUPERADMIN)
    const guest = await member()
    const events = await noted(async () => {
      const actor = await signedIn(user)
      const { refreshToken } = (await auth.signIn({ email: user.email, password })) as { refreshToken: string }
      await auth.refresh(refreshToken)
      await rejection(auth.signIn({ email: user.email, password: 'wrong' }))
      await auth.register({ email: `registered-${user.email}`, password })
      const { key } = await auth.apiKeys.issue(user as unknown as User, { abilities: ['*'] })
      await auth.apiKeys.revoke(user.id, key.id)
      await runAsActor(actor, () => auth.signOut())
      await auth.mail.requestVerification(user.email)
      await auth.settled()
      await auth.mail.verifyEmail(mailer.tokenFrom(mailer.last('verifyEmail')))
      await auth.mail.requestPasswordReset(user.email)
      await auth.settled()
      await auth.mail.resetPassword({ token: mailer.tokenFrom(mailer.last('resetPassword')), password: 'another battery staple' })
      await as(boss, () => auth.invitations.invite({ email: guest.email, role: 'editor', domain: 'press' }))
      await as(boss, () => auth.invitations.invite({ email: 'x@example.com', role: 'editor', domain: 'press' }))
      await auth.settled()
      await as(guest, () => auth.invitations.accept(mailer.tokenFrom(mailer.last(guest.email))))
      const [open] = (await as(boss, () => auth.invitations.list('press'))) as [Invitation]
      await as(boss, () => auth.invitations.revoke(open.id))
      const root = await signedIn(superadmin)
      const { accessToken } = await runAsActor(root, () => auth.impersonation.start(user.id, { reason: 'ticket 4711' }))
      const inPlace = await auth.authenticate(accessToken)
      await runAsActor(inPlace, () => auth.impersonation.stop())
    })
    expect([...new Set(named(events))]).to.have.members([
      ...['signIn', 'refresh', 'signInFailed', 'registered', 'apiKeyCreated', 'apiKeyRevoked', 'signOut', 'emailVerified'],
      ...['passwordResetRequested', 'passwordChanged', 'passwordReset', 'accessRevoked', 'invited', 'invitationAccepted', 'roleGranted'],
      ...['invitationRevoked', 'impersonationStarted', 'impersonationStopped'],
    ])
    const one = (event: string) => events.find((row) => row.event === event)
    expect(one('signIn')).to.include({ actorId: user.id, subjectId: user.id })
    // The actor is unknown. The subject is the user whose address was used.
    expect(one('signInFailed')).to.include({ actorId: null, subjectId: user.id })
    expect(one('passwordResetRequested')).to.include({ actorId: null, subjectId: user.id })
    for (const event of ['invited', 'invitationRevoked']) expect(one(event), event).to.include({ actorId: boss.id, domainId: press.id })
    expect(one('invitationAccepted')).to.include({ actorId: guest.id, subjectId: guest.id, domainId: press.id })
    expect(one('roleGranted')).to.include({ actorId: boss.id, subjectId: guest.id, domainId: press.id })
    expect(one('impersonationStarted')).to.deep.include({ actorId: superadmin.id, subjectId: user.id, impersonatorId: null })
    expect(one('impersonationStarted')?.details).to.include({ reason: 'ticket 4711' })
    expect(one('impersonationStopped')).to.include({ actorId: superadmin.id, subjectId: user.id, impersonatorId: superadmin.id })
  })

  it('names the impersonating superadmin next to the user', async () => {
    const [root, user, other] = [await holder(Role.SUPERADMIN), await member(), await member()]
    const superadmin = await signedIn(root)
    const actor = await auth.authenticate((await runAsActor(superadmin, () => auth.impersonation.start(user.id))).accessToken)
    const events = await noted(() =>
      runAsActor(actor, async () => {
        await asSystem(() => other.grantRole('reader'))
        await auth.mail.requestPasswordReset(user.email)
        await auth.signOut()
      }),
    )
    expect(named(events)).to.have.members(['roleGranted', 'passwordResetRequested', 'signOut'])
    for (const { event, impersonatorId } of events) expect(impersonatorId, event).to.equal(root.id)
    expect(events.find(({ event }) => event === 'signOut')).to.include({ actorId: user.id, subjectId: user.id })
  })

  it('holds no secrets and nothing that may be one [promises 20, 43]', async () => {
    const user = await member()
    const secrets: string[] = [password, 'a mistyped password', 'another battery staple']
    await noted(async () => {
      const signed = (await auth.signIn({ email: user.email, password })) as { accessToken: string; refreshToken: string }
      await rejection(auth.signIn({ email: 'a mistyped password', password: 'user@example.com' }))
      await rejection(auth.signIn({ email: user.email, password: 'another battery staple' }))
      const { plain } = await auth.apiKeys.issue(user as unknown as User, { abilities: ['*'] })
      await auth.mail.requestMagicLink(user.email)
      await auth.settled()
      const link = mailer.tokenFrom(mailer.last('magicLink'))
      await auth.mail.signInWithMagicLink(link)
      await auth.signOutEverywhere(user.id)
      secrets.push(signed.accessToken, signed.refreshToken, plain, link)
    })
    const hashes = (await db.knex('token').select('token')).map(({ token }) => token as string)
    const stored = (await db.knex('member').select('password_hash')).map(({ password_hash: hash }) => hash as string)
    const text = JSON.stringify(await db.knex('audit_log'))
    for (const one of [...secrets, ...hashes, ...stored].filter(Boolean)) expect(text).not.to.contain(one)
    expect((await rows({ event: 'signInFailed' })).map(({ details }) => details)).to.deep.include({ reason: 'credentials' })
    expect(text).to.contain(user.email)
  })

  it('is append-only, even for the application itself', async () => {
    await noted(() => holder('reader'))
    const [row] = (await rows()) as [AuditLog]
    const before = await db.knex('audit_log').orderBy('id')
    const patch = { event: 'nothing' }
    const paths: Record<string, () => PromiseLike<unknown>> = {
      'update of a row': async () => (await AuditLog.getOr404(row.id)).update(patch),
      'save of a row': async () => Object.assign(await AuditLog.getOr404(row.id), patch).save(),
      updateFrom: async () => (await AuditLog.getOr404(row.id)).updateFrom(patch),
      'delete of a row': async () => (await AuditLog.getOr404(row.id)).delete(),
      patch: () => AuditLog.query().patch(patch),
      'patch with raw SQL': () => AuditLog.query().patch({ event: db.knex.raw("'nothing'") } as never),
      update: () =>
        AuditLog.query()
          .findById(row.id)
          .update({ ...row, ...patch } as never),
      patchAndFetchById: () => AuditLog.query().patchAndFetchById(row.id, patch),
      upsertGraph: () => AuditLog.query().upsertGraph({ id: row.id, ...patch } as never),
      'upsertGraph that removes': () => AuditLog.query().upsertGraph([{ id: row.id, event: 'nothing' }] as never),
      delete: () => AuditLog.query().delete(),
      deleteById: () => AuditLog.query().deleteById(row.id),
      truncate: async () => await AuditLog.query().truncate(),
    }
    const callers: Record<string, <T>(fn: () => PromiseLike<T>) => Promise<T>> = {
      'the application': (fn) => asSystem(fn) as never,
    }
    for (const role of [Role.ADMIN, Role.SUPERADMIN]) {
      const user = await holder(role)
      callers[role] = (fn) => as(user, fn)
    }
    await settled()
    const now = await db.knex('audit_log').orderBy('id')
    for (const [who, call] of Object.entries(callers))
      for (const [path, fn] of Object.entries(paths)) {
        const error = await rejection(call(async () => await fn()))
        expect(error.constructor.name, `${who}: ${path}: ${error.message}`).to.equal('ForbiddenError')
      }
    expect(await db.knex('audit_log').orderBy('id')).to.deep.equal(now)
    expect(now).to.have.length.of.at.least(before.length)
    // An inserted row gets a new id, so it cannot replace an existing row.
    await asSystem(() =>
      AuditLog.query()
        .insert({ id: row.id, ...patch } as never)
        .onConflict('id')
        .merge(),
    )
    expect(await db.knex('audit_log').where('id', row.id).first()).to.deep.equal(before.find(({ id }) => id === row.id))
  })

  it('is written only by the application [promise 39]', async () => {
    for (const role of [Role.ADMIN, Role.SUPERADMIN]) {
      const user = await holder(role)
      expect(await outcome(as(user, () => AuditLog.create({ event: 'roleGranted', subjectId: user.id })))).to.equal('ForbiddenError')
    }
    expect(await outcome(asAnonymous(() => AuditLog.create({ event: 'x' })))).to.be.oneOf(['ForbiddenError', 'UnauthorizedError'])
  })

  it('is read only by global admins and, for their domain, by admins of a domain [promises 31, 38]', async () => {
    const other = await Domain.create({ name: `other ${Date.now()}` })
    const [mine, theirs] = [await holder('editor', press), await holder('editor', other)]
    const people = {
      admin: await holder(Role.ADMIN),
      superadmin: await holder(Role.SUPERADMIN),
      'domain admin': await holder(Role.ADMIN, press),
      member: mine,
      nobody: await member(),
    }
    await settled()
    const total = (await rows()).length
    const ofPress = (await rows({ domainId: press.id })).map(({ id }) => id)
    const [foreign] = (await rows({ subjectId: theirs.id })) as [AuditLog]
    const [global] = (await rows({ subjectId: people.admin.id })) as [AuditLog]
    expect(ofPress.length).to.be.within(1, total - 2)
    for (const name of ['admin', 'superadmin'] as const) expect(await as(people[name], () => AuditLog.query().resultSize())).to.equal(total)
    await as(people['domain admin'], async () => {
      expect((await AuditLog.query()).map(({ id }) => id)).to.have.members(ofPress)
      expect(await AuditLog.get(foreign.id)).to.equal(null)
      expect(await AuditLog.get(global.id)).to.equal(null)
    })
    for (const name of ['member', 'nobody'] as const) expect(await as(people[name], () => AuditLog.query().resultSize())).to.equal(0)
    expect(await asAnonymous(() => AuditLog.query().resultSize())).to.equal(0)
    const key = (abilities: string[]) => async (user: Member) =>
      await runAsActor(toActor((await Member.get(user.id)) as unknown as User, { abilities }), () => AuditLog.query().resultSize())
    expect(await key(['members:read'])(people.admin)).to.equal(0)
    expect(await key(['audit-logs:read'])(people.admin)).to.equal(total)
    await press.update({ active: false })
    expect(await as(people['domain admin'], () => AuditLog.query().resultSize())).to.equal(0)
    await press.update({ active: true })
  })

  it('keeps its rows when the users are deleted', async () => {
    const [user, domain] = [await member(), await Domain.create({ name: `gone ${Date.now()}` })]
    await user.grantRole('editor', { domain })
    await settled()
    await (user as unknown as { hardDelete(): Promise<void> }).hardDelete()
    await domain.delete()
    expect((await rows({ subjectId: user.id })).map(({ domainId }) => domainId)).to.deep.equal([domain.id])
  })

  it('records committed changes and none that were rolled back [promise 59]', async () => {
    const user = await member()
    const undone = new Error('undone')
    expect(
      await noted(async () => {
        const error = await rejection(
          transaction(async () => {
            await user.grantRole('lost')
            await auth.apiKeys.issue(user as unknown as User, { abilities: ['*'] })
            throw undone
          }),
        )
        expect(error).to.equal(undone)
      }),
    ).to.deep.equal([])
    const kept = await noted(() =>
      transaction(async () => {
        await user.grantRole('kept')
        await auth.apiKeys.issue(user as unknown as User, { abilities: ['*'] })
        await settled()
        expect((await rows({ subjectId: user.id })).map(({ details }) => details?.role)).not.to.include('kept')
      }),
    )
    expect(named(kept)).to.have.members(['roleGranted', 'apiKeyCreated'])
  })

  // SQLite has one connection, and so no second transaction.
  if (db.dialect !== 'sqlite') {
    it('records changes that were committed separately, even if the surrounding transaction rolls back', async () => {
      const user = await member()
      const events = await noted(async () => {
        await rejection(
          transaction(async () => {
            await db.knex.transaction((trx) => user.grantRole('by itself', {}, trx))
            await settled()
            throw new Error('undone')
          }),
        )
      })
      expect(events.map(({ details }) => details?.role)).to.deep.equal(['by itself'])
    })
  }

  it('reports rows that cannot be written and fails no request', async () => {
    const said: unknown[] = []
    const { error } = console
    console.error = (...given: unknown[]) => said.push(given)
    const user = await member()
    await settled()
    await db.knex.schema.renameTable('audit_log', 'audit_log_away')
    try {
      await user.grantRole('reader')
      expect((await auth.signIn({ email: user.email, password })).status).to.equal('signedIn')
      await settled()
    } finally {
      console.error = error
      await db.knex.schema.renameTable('audit_log_away', 'audit_log')
    }
    expect(said).to.have.length(2)
    expect(String(said[0])).to.contain('audit log')
    expect(await noted(() => user.grantRole('writer'))).to.have.length(1)
  })

  it('is written although a listener throws, and in the background', async () => {
    const user = await member()
    const off = all.perms.on('roleGranted', () => {
      throw new Error('a bad listener')
    })
    const events = await noted(() => user.grantRole('reader'))
    off()
    expect(named(events)).to.deep.equal(['roleGranted'])
    const { create } = AuditLog
    const isWritten = { value: false }
    let release = () => {}
    AuditLog.create = (async (...given: Parameters<typeof create>) => {
      await new Promise<void>((resolve) => {
        release = resolve
      })
      isWritten.value = true
      return await create.apply(AuditLog, given)
    }) as typeof create
    const later = await noted(async () => {
      await user.grantRole('writer')
      await new Promise((resolve) => setTimeout(resolve, 10))
      expect(isWritten.value).to.equal(false)
      release()
    })
    AuditLog.create = create
    expect(named(later)).to.deep.equal(['roleGranted'])
  })

  describe('set up in another way', () => {
    afterEach(start)

    it('is off by default, and complete when perms.close() resolves', async () => {
      const user = await member()
      await settled()
      const before = (await rows()).length
      await all.perms.close()
      const options = { knex: db.knex, jwt: { secret }, user: Member as never, passwordHasher: all.hasher }
      const silent = initPerms(options)
      await user.grantRole('in silence')
      await silent.close()
      expect(await db.knex('audit_log')).to.have.length(before)
      const flushed = initPerms({ ...options, auditLog: true })
      await user.grantRole('flushed')
      await user.revokeRole('flushed')
      await flushed.close()
      expect(await db.knex('audit_log')).to.have.length(before + 2)
      // Without jwt users cannot sign in, but events are still recorded.
      const { jwt, ...rest } = options
      const script = initPerms({ ...rest, auditLog: true })
      await user.grantRole('by a script')
      await script.close()
      expect(await db.knex('audit_log')).to.have.length(before + 3)
    })

    it('may be a class of the application’s own, which extends it', async () => {
      class Journal extends AuditLog.withColumns({ note: column.string().nullable() }) {}
      class Other extends Member {}
      const options = { knex: db.knex, jwt: { secret }, user: Member as never, passwordHasher: all.hasher }
      const error = await rejection((async () => initPerms({ ...options, auditLog: Other as never }))())
      expect(error.message).to.contain('auditLog').and.contain('Other').and.contain('AuditLog')
      const perms = initPerms({ ...options, auditLog: Journal })
      await createTables(db.knex, [Journal])
      const user = await member()
      await user.grantRole('reader')
      await perms.auth.settled()
      const [row] = (await Journal.query()) as [Journal]
      expect(row).to.deep.include({ event: 'roleGranted', subjectId: user.id, note: null })
      expect(await outcome(row.update({ note: 'changed' }))).to.equal('ForbiddenError')
      expect(await outcome(asSystem(() => Journal.query().delete()))).to.equal('ForbiddenError')
      await perms.close()
    })
  })
})
