import { expect } from 'chai'
import { challengeOf } from '../../../../src/auth/flows/providers/sign-in-store.js'
import {
  ConflictError,
  Domain,
  ForbiddenError,
  Identity,
  InsufficientUserAuthenticationError,
  InvalidTokenError,
  type Mail,
  type PermsOptions,
  ProviderSignIn,
  Role,
  runAs,
  Token,
  UnauthorizedError,
  UserRole,
} from '../../../../src/index.js'
import { asSystem, runAsActor } from '../../../../src/policy/context.js'
import { capturedMailer } from '../../../../src/testing/index.js'
import { createUser, signInAs } from '../../../../src/testing/users.js'
import { eachDatabase } from '../../../helpers/databases.js'
import { rejection } from '../../../helpers/errors.js'
import { generatedCases } from '../../../helpers/repetitions.js'
import { openProviders, type ProviderWorld, password, Reader } from './set-up.js'

let count = 0
const person = (more: object = {}) => {
  count += 1
  return { sub: `person ${count}`, email: `person${count}@example.com`, email_verified: true, name: 'A person', ...more }
}

eachDatabase('Sign-in with a provider', (db) => {
  let world: ProviderWorld
  before(async function () {
    this.timeout(30_000)
    world = await openProviders(db.knex, { role: 'reader' })
  })
  after(() => world.close())
  beforeEach(() => {
    world.events.length = 0
  })

  const providers = () => world.perms.auth.providers
  const signedIn = async (given: object) => {
    const result = await world.signIn(given as never)
    if (result.status !== 'signedIn') throw new Error(JSON.stringify(result))
    return result.tokens
  }
  const failure = async (given: object, options?: object) => {
    const result = await world.signIn(given as never, options)
    return result.status === 'failed' ? result.redirect.replace(/.*error=/, '') : result.status
  }
  const identitiesOf = (userId: unknown) => asSystem(() => Identity.query().where('userId', userId as string))
  const asSession = async <T>(accessToken: string, fn: () => Promise<T>) => runAsActor(await world.perms.authenticate(accessToken), fn)
  const link = async (accessToken: string, given: object, name: 'company' | 'rival' = 'company') => {
    const { url, binding } = await asSession(accessToken, () => providers().startLink(name))
    return await providers().finish(name, world[name].approve(url, given as never), { binding: binding as string })
  }

  it('signs a new user up with the proved address and a role, and in again by issuer and subject [promise 128]', async () => {
    const ada = person()
    const { user, accessToken } = await signedIn(ada)
    expect(user).to.include({ email: ada.email, passwordHash: null })
    expect((user as unknown as Reader).emailVerifiedAt).to.be.instanceOf(Date)
    expect((await asSystem(() => UserRole.query().where('userId', user.id))).map(({ role }) => role)).to.deep.equal(['reader'])
    expect((await world.perms.authenticate(accessToken)).amr).to.deep.equal(['fed'])
    // The address is not the key: it changes at the provider, and the account stays.
    const again = await signedIn({ ...ada, email: 'another@example.com' })
    expect([again.user.id, again.user.email]).to.deep.equal([user.id, ada.email])
    expect(await identitiesOf(user.id)).to.have.length(1)
    expect(world.events.map(({ name }) => name)).to.deep.equal(['registered', 'identityLinked'])
  })

  it('does not follow an address to another subject of the same provider once the address has moved on [promise 128]', async () => {
    const ada = person()
    const { user } = await signedIn(ada)
    await asSystem(() =>
      Reader.query()
        .findById(user.id)
        .patch({ email: `moved${count}@example.com` }),
    )
    const other = await signedIn({ ...person(), email: ada.email })
    expect(other.user.id).to.not.equal(user.id)
  })

  it('links a proved address to the account that has proved it too, and keeps its access [promise 129]', async () => {
    const ada = person()
    const owner = await createUser<Reader & { id: string }>({ email: ada.email, password, emailVerifiedAt: new Date() } as never)
    const { refreshToken } = await signInAs(owner as never)
    const { user } = await signedIn({ ...ada, email: ada.email.toUpperCase() })
    expect(user.id).to.equal(owner.id)
    expect((await world.perms.auth.refresh(refreshToken)).status).to.equal('signedIn')
    expect((await world.perms.auth.signIn({ email: ada.email, password })).status).to.equal('signedIn')
    expect(world.events.map(({ name }) => name)).to.deep.equal(['identityLinked'])
  })

  it('neither links to a disabled account with the address nor ends its access [promise 131]', async () => {
    const ada = person()
    const owner = await createUser<Reader & { id: string }>({ email: ada.email, password } as never)
    await db.knex('user').where('id', owner.id).update({ is_enabled: false })
    expect(await failure(ada)).to.equal('account_disabled')
    expect(await identitiesOf(owner.id)).to.deep.equal([])
    expect((await db.knex('user').where('id', owner.id).first('password_hash')).password_hash).to.be.a('string')
  })

  it('ends all access to an account that someone else registered with the address [promises 66, 130]', async () => {
    const ada = person()
    const thief = await createUser<Reader & { id: string }>({ email: ada.email, password } as never)
    const held = await signInAs(thief as never)
    expect((await link(held.accessToken, person())).status).to.equal('linked')
    const waiting = await world.signIn(undefined)
    expect(waiting.status).to.equal('signedIn')
    const { user } = await signedIn(ada)
    expect(user.id).to.equal(thief.id)
    expect((await identitiesOf(user.id)).map(({ subject }) => subject)).to.deep.equal([ada.sub])
    expect(await rejection(world.perms.authenticate(held.accessToken))).to.be.instanceOf(InvalidTokenError)
    expect((await rejection(world.perms.auth.signIn({ email: ada.email, password }))).message).to.include('wrong')
    const ended = world.events.find(({ name }) => name === 'accessRevoked')?.payload
    expect(ended).to.deep.include({ by: 'provider', isFirstProof: true })
    expect((ended as { ended: object }).ended).to.include({ password: true, identities: 1 })
  })

  for (const [title, claims] of Object.entries({
    'an address that is not verified': { email_verified: false },
    'an address that is verified as a text': { email_verified: 'true' },
    'no address': { email: undefined },
    'an address of another form': { email: 'ada@example.com\u0000' },
  })) {
    it(`with ${title} neither signs up nor links, and the answer is the same for known addresses [promise 129]`, async () => {
      const [known, unknown] = [person(claims), person(claims)]
      if (known.email) await createUser({ email: `known${count}@example.com`, password } as never)
      expect(
        await failure({
          ...known,
          ...(known.email === undefined ? {} : { email: known.email.includes('\u0000') ? known.email : `known${count}@example.com` }),
        }),
      ).to.equal('email_not_verified')
      expect(await failure(unknown)).to.equal('email_not_verified')
      expect(world.events.map(({ name }) => name)).to.deep.equal(['providerSignInFailed', 'providerSignInFailed'])
    })
  }

  it('refuses disabled users and asks for the second factor, also after a link by address [promise 131]', async () => {
    const ada = person()
    const { user } = await signedIn(ada)
    const row = await asSystem(() => Reader.getOr404(user.id))
    await asSystem(() => row.update({ isEnabled: false }))
    expect(await failure(ada)).to.equal('account_disabled')
    // Before a code is stored too: a disabled user gets nothing to exchange later.
    const begun = await providers().start('company')
    const late = await providers().finish('company', world.company.approve(begun.url, ada), { binding: begun.binding as string })
    expect(late).to.include({ status: 'failed', redirect: '/?error=account_disabled' })
    await asSystem(() => row.update({ isEnabled: true }))
    await db.knex('second_factor').insert({
      ...{ id: user.id, user_id: user.id, secret: 'sealed', created_at: new Date(), updated_at: new Date(), confirmed_at: new Date() },
    })
    const { url, binding } = await providers().start('company')
    const parameters = world.company.approve(url, ada)
    const result = await providers().finish('company', parameters, { binding: binding as string, signsIn: true })
    expect(result).to.deep.equal({ status: 'exchange', redirect: '/?sign_in=exchange' })
    const exchanged = await providers().exchange({ binding: binding as string })
    expect(exchanged.status).to.equal('secondFactor')
    expect(await rejection(providers().exchange({ binding: binding as string }))).to.be.instanceOf(InvalidTokenError)
  })

  it('gives a native app a one-time code that only its verifier exchanges [promise 132]', async () => {
    const verifier = 'v'.repeat(43)
    const begun = await providers().start('company', { redirect: 'com.example.app:/done', challenge: challengeOf(verifier) })
    expect(begun.binding).to.equal(null)
    const result = await providers().finish('company', world.company.approve(begun.url, person()), { signsIn: true })
    expect(result.status).to.equal('code')
    expect(result.redirect).to.match(/^com\.example\.app:\/done\?code=pc_[\w-]{43}$/)
    const code = result.redirect.replace(/.*code=/, '')
    for (const given of [
      { code, verifier: 'w'.repeat(43) },
      { code },
      { code, verifier: 'v' },
      { binding: code },
      { code: `${code}x`, verifier },
    ])
      expect(await rejection(providers().exchange(given)), JSON.stringify(given)).to.be.instanceOf(InvalidTokenError)
    expect((await providers().exchange({ code, verifier })).status).to.equal('signedIn')
    expect(await rejection(providers().exchange({ code, verifier }))).to.be.instanceOf(InvalidTokenError)
  })

  it('does not exchange an expired code, nor one of a user who was disabled meanwhile [promise 132]', async () => {
    const verifier = 'v'.repeat(43)
    const codeOf = async () => {
      const { url } = await providers().start('company', { challenge: challengeOf(verifier) })
      const { redirect } = await providers().finish('company', world.company.approve(url, person()))
      return redirect.replace(/.*code=/, '')
    }
    const expired = await codeOf()
    const waiting = await asSystem(() => ProviderSignIn.query().whereNotNull('code'))
    expect(waiting).to.not.deep.equal([])
    expect(Math.max(...waiting.map(({ expiresAt }) => expiresAt.getTime()))).to.be.at.most(Date.now() + 60_000)
    await db.knex('provider_sign_in').update({ expires_at: new Date(Date.now() - 1) })
    expect(await rejection(providers().exchange({ code: expired, verifier }))).to.be.instanceOf(InvalidTokenError)
    const code = await codeOf()
    await db.knex('user').update({ is_enabled: false })
    try {
      expect(await rejection(providers().exchange({ code, verifier }))).to.be.instanceOf(InvalidTokenError)
    } finally {
      await db.knex('user').update({ is_enabled: true })
    }
  })

  it('links only for a session that is recent, active, its own and no API key [promise 133]', async () => {
    const user = await createUser({ password } as never)
    const old = await signInAs(user, { authTime: new Date(Date.now() - 301_000) })
    expect(await rejection(asSession(old.accessToken, () => providers().startLink('company')))).to.be.instanceOf(
      InsufficientUserAuthenticationError,
    )
    const key = (await world.perms.auth.apiKeys.issue(user, { abilities: ['*'] })).plain
    expect(await rejection(asSession(key, () => providers().startLink('company')))).to.be.instanceOf(ForbiddenError)
    expect(await rejection(runAsActor(null, () => providers().startLink('company')))).to.be.instanceOf(UnauthorizedError)
    const { accessToken } = await signInAs(user)
    const { url, binding } = await asSession(accessToken, () => providers().startLink('company'))
    await asSession(accessToken, () => world.perms.auth.signOut())
    const late = await providers().finish('company', world.company.approve(url, person()), { binding: binding as string })
    expect(late).to.include({ status: 'failed', redirect: '/?error=unauthorized' })
    const disabled = await asSession((await signInAs(user)).accessToken, () => providers().startLink('company'))
    await db.knex('user').where('id', user.id).update({ is_enabled: false })
    const refused = await providers().finish('company', world.company.approve(disabled.url, person()), {
      binding: disabled.binding as string,
    })
    expect(refused).to.include({ status: 'failed', redirect: '/?error=unauthorized' })
    expect(await identitiesOf(user.id)).to.deep.equal([])
  })

  it('links and signs invited users up only in the browser that began, so that nobody else can be sent to the provider [promise 133]', async () => {
    const user = await createUser({ password } as never)
    const { accessToken } = await signInAs(user)
    const challenge = 'c'.repeat(43)
    const options = { challenge } as object
    const { url, binding } = await asSession(accessToken, () => providers().startLink('company', options))
    expect(binding).to.be.a('string')
    const sent = await rejection(providers().finish('company', world.company.approve(url, person())))
    expect(sent).to.include({ flaw: 'state' })
    expect(await identitiesOf(user.id)).to.deep.equal([])
    const invited = await rejection(providers().start('company', { challenge, invitation: 'in_x' }))
    expect(invited).to.include({ status: 422 })
  })

  it('links an identity to one user only, lists it, and unlinks it unless it is the last way to sign in [promises 133, 134]', async () => {
    const [owner, other] = [await createUser({ password } as never), await createUser({ password } as never)]
    const ada = person({ email: undefined })
    const { accessToken } = await signInAs(owner)
    expect((await link(accessToken, ada)).status).to.equal('linked')
    expect((await link(accessToken, ada)).status).to.equal('linked')
    const taken = await link((await signInAs(other)).accessToken, ada)
    expect(taken.redirect).to.equal('/?error=identity_taken')
    const [listed] = await providers().identities(owner)
    expect(listed).to.include({ provider: 'company', issuer: world.company.issuer })
    expect(listed).to.not.have.any.keys('subject', 'tokens')
    expect((await signedIn(ada)).user.id).to.equal(owner.id)
    const id = listed?.id as string
    expect(await asSession((await signInAs(other)).accessToken, () => providers().unlink(other, id))).to.equal(false)
    const { plain } = await asSession(accessToken, () => world.perms.auth.apiKeys.issue(owner, { abilities: ['*'] }))
    // Others must outrank the user.
    await asSystem(() => owner.grantRole(Role.ADMIN))
    for (const token of [plain, (await signInAs(other)).accessToken])
      expect(await rejection(asSession(token, () => providers().unlink(owner, id)))).to.be.instanceOf(ForbiddenError)
    expect(await asSession(accessToken, () => providers().unlink(owner, id))).to.equal(true)
    expect(await identitiesOf(owner.id)).to.deep.equal([])
    const { user } = await signedIn(person())
    const [last] = await providers().identities(user)
    const mine = await signInAs(user)
    expect(await rejection(asSession(mine.accessToken, () => providers().unlink(user, last?.id as string)))).to.be.instanceOf(ConflictError)
    expect(await identitiesOf(user.id)).to.have.length(1)
  })

  it('ends codes that wait for their exchange when the account is unlinked [promise 134]', async () => {
    const owner = await createUser({ password } as never)
    const { accessToken } = await signInAs(owner)
    const ada = person({ email: undefined })
    await link(accessToken, ada)
    const verifier = 'v'.repeat(43)
    const { url } = await providers().start('company', { challenge: challengeOf(verifier) })
    const { redirect } = await providers().finish('company', world.company.approve(url, ada))
    const [{ id } = { id: '' }] = await providers().identities(owner)
    await asSession(accessToken, () => providers().unlink(owner, id as string))
    expect(await rejection(providers().exchange({ code: redirect.replace(/.*code=/, ''), verifier }))).to.be.instanceOf(InvalidTokenError)
  })

  it('stores tokens only on request, encrypted for their user, and deletes them with the link [promise 135]', async () => {
    const owner = await createUser({ password } as never)
    const { accessToken } = await signInAs(owner)
    await link(accessToken, person(), 'company')
    await link(accessToken, person(), 'rival')
    const [company, rival] = await Promise.all(
      ['company', 'rival'].map(async (name) => (await providers().identities(owner)).find((one) => one.provider === name)),
    )
    expect(await providers().tokens(owner, company?.id as string)).to.equal(null)
    expect(await providers().tokens(owner, rival?.id as string)).to.include({
      ...{ accessToken: 'access token of the provider', refreshToken: 'refresh token of the provider' },
    })
    const other = await createUser({ password } as never)
    expect(await providers().tokens(other, rival?.id as string)).to.equal(null)
    expect(JSON.stringify(await db.knex('identity'))).to.not.include('token of the provider')
    // A copied row opens for its own user only.
    await db.knex('identity').where('id', rival?.id).update({ user_id: other.id })
    expect(await providers().tokens(other, rival?.id as string)).to.equal(null)
    await db.knex('identity').where('id', rival?.id).update({ user_id: owner.id })
    await asSession(accessToken, () => providers().unlink(owner, rival?.id as string))
    expect(await db.knex('identity').whereNotNull('tokens')).to.deep.equal([])
  })

  it('goes with its user, and leaves no trace of a sign-in that has expired after maintenance [promise 55]', async () => {
    const { user } = await signedIn(person())
    await asSystem(async () => (await Reader.getOr404(user.id)).delete())
    expect(await identitiesOf(user.id)).to.deep.equal([])
    await db.knex('provider_sign_in').update({ expires_at: new Date(Date.now() - 1) })
    const report = await world.perms.maintain()
    expect(report.providerSignIns).to.be.greaterThan(0)
    expect(await asSystem(() => ProviderSignIn.query())).to.deep.equal([])
  })

  it('at the same moment twice creates one account', async () => {
    for (let i = 0; i < generatedCases(50, 'RACES', 17); i += 1) {
      const ada = person()
      const results = await Promise.all([world.signIn(ada), world.signIn(ada)])
      expect(results.map(({ status }) => status)).to.deep.equal(['signedIn', 'signedIn'])
      const users = await asSystem(() => Reader.query().where('email', ada.email))
      expect(users).to.have.length(1)
      expect(await identitiesOf(users[0]?.id)).to.have.length(1)
    }
  })

  it('uses a response and a code once when two processes use them at once [promises 121, 132]', async () => {
    const verifier = 'v'.repeat(43)
    for (let i = 0; i < generatedCases(50, 'RACES', 17); i += 1) {
      const { url } = await providers().start('company', { challenge: challengeOf(verifier) })
      const parameters = world.company.approve(url, person())
      const finished = await Promise.allSettled([1, 2, 3].map(() => providers().finish('company', parameters)))
      const codes = finished.flatMap((one) => (one.status === 'fulfilled' && one.value.status === 'code' ? [one.value.redirect] : []))
      expect(codes).to.have.length(1)
      const code = codes[0]?.replace(/.*code=/, '')
      const before = (await asSystem(() => Token.query())).length
      const exchanged = await Promise.allSettled([1, 2, 3].map(() => providers().exchange({ code, verifier })))
      expect(exchanged.filter(({ status }) => status === 'fulfilled')).to.have.length(1)
      expect((await asSystem(() => Token.query())).length).to.equal(before + 1)
    }
  })
})

eachDatabase('Sign-up with a provider', (db) => {
  const withRule = async (signIn: object, work: (world: ProviderWorld) => Promise<void>, more: Partial<PermsOptions> = {}) => {
    const world = await openProviders(db.knex, signIn, more)
    try {
      await work(world)
    } finally {
      await world.close()
    }
  }
  const outcomeOf = async (world: ProviderWorld, given: object) => {
    const result = await world.signIn(given as never)
    return result.status === 'failed' ? result.redirect.replace(/.*error=/, '') : result.status
  }

  it('is closed by default, and open for whole domains or invited people by rule [promise 136]', async function () {
    this.timeout(30_000)
    await withRule({ signUp: undefined }, async (world) => {
      expect(await outcomeOf(world, person())).to.equal('sign_up_closed')
    })
    await withRule({ signUp: { domains: ['Example.com'] } }, async (world) => {
      expect(await outcomeOf(world, person())).to.equal('signedIn')
      for (const domain of ['evil-example.com', 'sub.example.com', 'example.com.evil.test'])
        expect(await outcomeOf(world, person({ email: `${count}@${domain}` })), domain).to.equal('sign_up_closed')
    })
    await withRule({ signUp: 'invitation' }, async (world) => {
      expect(await outcomeOf(world, person())).to.equal('sign_up_closed')
    })
  })

  it('by the rules of the code is refused where create is closed, and gets the checked values elsewhere [promises 64, 136]', async () => {
    await withRule({ newUser: ({ name }: { name: string | null }) => ({ nickname: name }) }, async (world) => {
      const finish = async (prepare: never) => {
        const { url, binding } = await world.perms.auth.providers.start('company')
        const parameters = world.company.approve(url, person())
        return await world.perms.auth.providers.finish('company', parameters, { binding: binding as string, prepare })
      }
      expect((await finish(null as never)).redirect).to.include('sign_up_closed')
      const seen: unknown[] = []
      const prepare = async (values: object, known: object) => {
        seen.push(values, known)
        return { values: {} }
      }
      expect((await finish(prepare as never)).status).to.equal('exchange')
      expect(seen).to.deep.equal([{ nickname: 'A person' }, { email: `person${count}@example.com` }])
    })
  })

  it('does not link to the account with a proved address without linkByEmail [promise 129]', async () => {
    await withRule({ linkByEmail: false }, async (world) => {
      const ada = person()
      const owner = await createUser<Reader & { id: string }>({ email: ada.email, password, emailVerifiedAt: new Date() } as never)
      expect(await outcomeOf(world, ada)).to.equal('email_not_verified')
      expect(await asSystem(() => Identity.query().where('userId', owner.id))).to.deep.equal([])
    })
  })

  it('with an invitation creates the invited address with its role once, whatever address the provider names [promises 128, 136]', async () => {
    const mailer = capturedMailer<Mail>()
    const work = async (world: ProviderWorld) => {
      const domain = await asSystem(() => Domain.create({ name: `domain-${count}` }))
      const boss = await createUser<Reader & { id: string }>({ password } as never)
      await asSystem(() => boss.grantRole(Role.ADMIN, { domain }))
      const invite = async (email: string) => {
        await runAs(boss, () => world.perms.auth.invitations.invite({ email, role: 'editor', domain: domain.name }))
        await world.perms.auth.settled()
        return /in_[\w-]{43}/.exec(mailer.last()?.text ?? '')?.[0] as string
      }
      const outcome = async (given: object, invitation: string) => {
        const result = await world.signIn(given as never, { invitation })
        return result.status === 'failed' ? result.redirect.replace(/.*error=/, '') : result
      }
      const guest = person()
      const token = await invite(`guest${count}@example.com`)
      // The mailed token proves the address of the account. The provider's own address counts for nothing here.
      const result = await outcome({ ...guest, email: 'other@example.com', email_verified: false }, token)
      if (typeof result === 'string' || result.status !== 'signedIn') throw new Error(JSON.stringify(result))
      const { user } = result.tokens
      expect(user.email).to.equal(`guest${count}@example.com`)
      expect((user as unknown as Reader).emailVerifiedAt).to.be.instanceOf(Date)
      const granted = await asSystem(() => UserRole.query().where('userId', user.id))
      expect(granted.map(({ role, domainId }) => ({ role, domainId }))).to.deep.equal([{ role: 'editor', domainId: domain.id }])
      expect((await asSystem(() => Identity.query().where('userId', user.id))).map(({ subject }) => subject)).to.deep.equal([guest.sub])
      expect(await outcome(person({ email_verified: false }), token), 'used').to.equal('invalid_token')
      expect(await outcome(person({ email_verified: false }), `in_${'x'.repeat(43)}`), 'unknown').to.equal('invalid_token')
      const again = await outcome(guest, token)
      expect(again).to.deep.include({ status: 'signedIn' })
      const { url, binding } = await world.perms.auth.providers.start('company', { invitation: await invite(`closed${count}@example.com`) })
      const parameters = world.company.approve(url, person({ email_verified: false }))
      const closed = await world.perms.auth.providers.finish('company', parameters, { binding: binding as string, prepare: null })
      expect(closed.redirect, 'create is closed').to.include('sign_up_closed')
      // An account with the invited address accepts the invitation after it has signed in.
      const taken = person({ email_verified: false })
      await createUser({ email: taken.email, password } as never)
      expect(await outcome(taken, await invite(taken.email)), 'taken').to.equal('taken')
      expect(await asSystem(() => Identity.query().where('subject', taken.sub))).to.deep.equal([])
    }
    const more = { mail: { mailer, baseUrl: 'https://app.example.com' } }
    await withRule({ signUp: 'invitation' }, work, more as never)
    await withRule(
      { signUp: false },
      async (world) => {
        const result = await world.signIn(person({ email_verified: false }) as never, { invitation: `in_${'x'.repeat(43)}` })
        expect(result.redirect).to.include('sign_up_closed')
      },
      more as never,
    )
  })
})
