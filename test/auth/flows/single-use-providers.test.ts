import { expect } from 'chai'
import { challengeOf } from '../../../src/auth/flows/providers/sign-in-store.js'
import {
  AccountDeletion,
  Domain,
  Identity,
  initPerms,
  Passkey,
  type Perms,
  Role,
  runAs,
  type User,
  UserSetting,
} from '../../../src/index.js'
import { asSystem, runAsActor } from '../../../src/policy/context.js'
import { approved, testProviders } from '../../../src/testing/conformance/test-provider.js'
import { capturedMailer, createUser, signInAs, testHasher } from '../../../src/testing/index.js'
import { Keeper } from '../../conformance/full-zoo.js'
import { availableDatabases, createDatabase, type OwnDatabase } from '../../helpers/databases.js'
import { migrateAtOnce } from '../../helpers/library-tables-at-once.js'
import { repetitions } from '../../helpers/repetitions.js'
import { type ServerProcess, startServer } from '../server-process.js'
import { addFactor, codeOf } from './second-factor/factor.js'

/** How often each race is repeated between two server processes. */
const RACES = repetitions(50)
const secret = 'a secret of this test, 32 bytes or more'
const password = 'correct horse battery'
const verifier = 'v'.repeat(43)

interface Reply {
  readonly status: number
  readonly location: string | null
  readonly body: any
}

interface Sent {
  readonly method?: string
  readonly path: string
  readonly json?: object
  readonly token?: string | undefined
  readonly cookie?: string | undefined
}

for (const client of ['pg', 'mysql2'] as const) {
  if (!availableDatabases.includes(client)) continue
  describe(`two processes at once, with providers and deletions (${client})`, function () {
    this.timeout(60_000 + RACES * 10_000)
    let own: OwnDatabase
    let perms: Perms
    let servers: readonly ServerProcess[] = []
    /** Servers without mail, so that a passkey and a linked account are the only methods of their users. */
    let mailless: readonly ServerProcess[] = []
    const mailer = capturedMailer()
    before(async () => {
      own = await createDatabase(client)
      const mail = { mailer, baseUrl: 'https://app.example.com' }
      const options = { user: Keeper as never, jwt: { secret }, passwordHasher: testHasher(), mail, throttle: false as const }
      const secondFactor = { trustedDevices: { lifetime: 86_400 } }
      perms = initPerms({ knex: own.knex, ...options, ...testProviders(), secondFactor, outsideContext: 'allow' })
      await migrateAtOnce(perms)
      const server = { client, url: own.url, secret }
      const few = { passkeys: true, providers: true, confirm: true }
      servers = await Promise.all([startServer({ ...server, features: true }), startServer({ ...server, features: true })])
      mailless = await Promise.all([startServer({ ...server, features: few }), startServer({ ...server, features: few })])
    })
    after(async () => {
      await Promise.all([...servers, ...mailless].map((server) => server.stop()))
      await perms?.close()
      await own?.destroy()
    })

    async function send({ url }: ServerProcess, { method = 'POST', path, json, token, cookie }: Sent): Promise<Reply> {
      const response = await fetch(url + path, {
        method,
        redirect: 'manual',
        headers: {
          origin: url,
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...(json ? { 'content-type': 'application/json' } : {}),
          ...(cookie === undefined ? {} : { cookie: `__Host-provider=${cookie}` }),
        },
        ...(json ? { body: JSON.stringify(json) } : {}),
      })
      const text = await response.text()
      return { status: response.status, location: response.headers.get('location'), body: text.startsWith('{') ? JSON.parse(text) : text }
    }

    /** Sends each request to a server of its own, which alternate. */
    const atOnce = (turn: number, requests: readonly Sent[], to = servers) =>
      Promise.all(requests.map((one, i) => send(to[(turn + i) % to.length] as ServerProcess, one)))
    const sleepUpTo = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, Math.random() * milliseconds))
    const repeat = (title: string, body: (turn: number, name: string) => Promise<void>) =>
      it(`${title}, ${RACES} times`, async () => {
        for (let turn = 0; turn < RACES; turn += 1) {
          count += 1
          await body(turn, `racer${count}`)
        }
      })
    let count = 0

    const begin = (given?: object) => perms.auth.providers.start('query', given)
    const callback = ({ url, binding }: { url: string; binding: string | null }, sub: string): Sent => ({
      method: 'GET',
      path: `/users/providers/query/callback/?${approved(url, sub)}`,
      ...(binding === null ? {} : { cookie: binding }),
    })
    const identitiesOf = (subject: string) => asSystem(() => Identity.query().where({ subject }))
    const usersOf = (email: string) => own.knex('user').where({ email })
    const sessionsOf = (userId: unknown) => own.knex('token').where({ user_id: userId, kind: 'refresh', revoked: false })
    const statuses = (replies: readonly Reply[]) => replies.map(({ status }) => status).sort()
    const locations = (replies: readonly Reply[]) => replies.map(({ location }) => location).sort()

    repeat('the state of a provider: one response is used, and its exchange once [promise 121]', async (turn, name) => {
      const begun = await begin()
      const replies = await atOnce(turn, [callback(begun, name), callback(begun, name)])
      expect(statuses(replies), JSON.stringify(replies)).to.deep.equal([303, 401])
      const [user] = await usersOf(`${name}@example.com`)
      expect(await identitiesOf(name)).to.have.length(1)
      const exchange = { path: '/users/providers/exchange/', cookie: begun.binding as string }
      const exchanged = await atOnce(turn, [exchange, exchange])
      expect(statuses(exchanged), JSON.stringify(exchanged)).to.deep.equal([200, 401])
      expect(await sessionsOf(user.id)).to.have.length(1)
    })

    repeat('the state of a native app, with the responses of two people: one of them is signed up [promise 121]', async (turn, name) => {
      const begun = await begin({ challenge: challengeOf(verifier), redirect: 'com.example.app:/done' })
      const replies = await atOnce(turn, [callback(begun, `${name}a`), callback(begun, `${name}b`)])
      expect(statuses(replies), JSON.stringify(replies)).to.deep.equal([303, 401])
      expect([...(await identitiesOf(`${name}a`)), ...(await identitiesOf(`${name}b`))]).to.have.length(1)
    })

    repeat('the one-time code of a native app: one session begins [promise 132]', async (turn, name) => {
      const begun = await begin({ challenge: challengeOf(verifier), redirect: 'com.example.app:/done' })
      const [returned] = await atOnce(turn, [callback(begun, name)])
      const code = returned?.location?.replace(/.*code=/, '') ?? ''
      const use = { path: '/users/providers/exchange/', json: { code, verifier } }
      const replies = await atOnce(turn, [use, use])
      expect(statuses(replies), JSON.stringify(replies)).to.deep.equal([200, 401])
      const [user] = await usersOf(`${name}@example.com`)
      expect(await sessionsOf(user.id)).to.have.length(1)
    })

    repeat('two first sign-ins of one person create one account [promise 128]', async (turn, name) => {
      const replies = await atOnce(turn, [callback(await begin(), name), callback(await begin(), name)])
      expect(locations(replies)).to.deep.equal(['/?sign_in=exchange', '/?sign_in=exchange'])
      expect(await usersOf(`${name}@example.com`)).to.have.length(1)
      expect(await identitiesOf(name)).to.have.length(1)
    })

    let boss: User | undefined
    const invite = async (email: string) => {
      const domain = (await asSystem(() => Domain.getBy({ name: 'press' }))) ?? (await asSystem(() => Domain.create({ name: 'press' })))
      boss ??= await createUser({}, { role: Role.SUPERADMIN })
      mailer.clear()
      await runAs(boss, () => perms.auth.invitations.invite({ email, role: 'editor', domain: domain.name }))
      await perms.auth.settled()
      return /in_[\w-]{43}/.exec(mailer.last()?.text ?? '')?.[0] as string
    }
    const rolesOf = (userId: unknown) => own.knex('user_role').where({ user_id: userId })

    repeat('an invitation through a provider: one of two people accepts it [promise 136]', async (turn, name) => {
      const email = `guest-${name}@example.com`
      const invitation = await invite(email)
      const begun = [await begin({ invitation }), await begin({ invitation })] as const
      const replies = await atOnce(turn, [callback(begun[0], `${name}a`), callback(begun[1], `${name}b`)])
      expect(locations(replies)[1], JSON.stringify(replies)).to.equal('/?sign_in=exchange')
      expect(locations(replies)[0]).to.match(/error=(?:invalid_token|taken)$/)
      const [user, ...others] = await usersOf(email)
      expect(others).to.deep.equal([])
      expect([...(await identitiesOf(`${name}a`)), ...(await identitiesOf(`${name}b`))]).to.have.length(1)
      expect(await rolesOf(user.id)).to.have.length(1)
    })

    repeat('an invitation through a provider and with a password: one of both accepts it [promise 136]', async (turn, name) => {
      const email = `guest-${name}@example.com`
      const token = await invite(email)
      const withProvider = callback(await begin({ invitation: token }), name)
      const replies = await atOnce(turn, [withProvider, { path: '/users/invitations/register/', json: { token, password } }])
      const [user, ...others] = await usersOf(email)
      expect(others).to.deep.equal([])
      expect(await rolesOf(user.id)).to.have.length(1)
      const isByProvider = replies[0]?.location === '/?sign_in=exchange'
      const answers = JSON.stringify(replies)
      if (isByProvider) expect(replies[1]?.status, answers).to.be.oneOf([401, 409, 422])
      else expect(replies[1]?.status, answers).to.be.oneOf([200, 201])
      expect(await identitiesOf(name), answers).to.have.length(isByProvider ? 1 : 0)
      expect(user.password_hash === null, answers).to.equal(isByProvider)
    })

    const startLink = async (user: User) => {
      const actor = await perms.authenticate((await signInAs(user)).accessToken)
      return await runAsActor(actor, () => perms.auth.providers.startLink('query'))
    }

    repeat('one account at a provider, linked to two users: it gets one of them [promise 133]', async (turn, name) => {
      const users = [await createUser({ password }), await createUser({ password })] as const
      const begun = [await startLink(users[0]), await startLink(users[1])] as const
      const replies = await atOnce(turn, [callback(begun[0], name), callback(begun[1], name)])
      expect(locations(replies), JSON.stringify(replies)).to.deep.equal(['/', '/?error=identity_taken'])
      const [identity, ...others] = await identitiesOf(name)
      expect(others).to.deep.equal([])
      expect(identity?.userId).to.equal(users[replies[0]?.location === '/' ? 0 : 1].id)
    })

    repeat('one account at a provider, linked to a user and signed up: it gets one of them [promise 133]', async (turn, name) => {
      const user = await createUser({ password })
      const replies = await atOnce(turn, [callback(await startLink(user), name), callback(await begin(), name)])
      expect(replies[0]?.location, JSON.stringify(replies)).to.be.oneOf(['/', '/?error=identity_taken'])
      expect(replies[1]?.location).to.equal('/?sign_in=exchange')
      const [identity, ...others] = await identitiesOf(name)
      expect(others).to.deep.equal([])
      const signedUp = await usersOf(`${name}@example.com`)
      expect(signedUp).to.have.length(replies[0]?.location === '/' ? 0 : 1)
      expect(identity?.userId).to.equal(signedUp[0]?.id ?? user.id)
    })

    const newIdentity = (user: User, subject: string) =>
      asSystem(() => Identity.create({ userId: user.id, provider: 'query', issuer: 'https://provider.example.com', subject }))
    const newPasskey = (user: User, name: string) =>
      asSystem(() =>
        Passkey.create({
          ...{ userId: user.id, name, credentialId: name, credentialHash: name, userHandle: name, publicKey: 'key', counter: '0' },
          ...{ transports: null, deviceType: 'singleDevice', backedUp: false, aaguid: '0' },
        } as object),
      )

    repeat('the last methods of sign-in: one of them stays, whichever ways remove them [promises 118, 134]', async (turn, name) => {
      const user = await createUser()
      const { accessToken: token } = await signInAs(user, { amr: ['hwk', 'user', 'mfa'] })
      const identity = async (which: string) => `/users/me/identities/${(await newIdentity(user, `${name}${which}`)).id}`
      const passkey = async (which: string) => `/users/me/passkeys/${(await newPasskey(user, `${name}${which}`)).id}`
      const ways = [
        [identity, passkey],
        [identity, identity],
        [passkey, identity, passkey, identity],
      ][turn % 3] as readonly ((which: string) => Promise<string>)[]
      const paths = await Promise.all(ways.map((way, i) => way(String(i))))
      const replies = await atOnce(
        turn,
        paths.map((path) => ({ method: 'DELETE', path, token })),
        mailless,
      )
      expect(statuses(replies), JSON.stringify(replies)).to.deep.equal([...Array(paths.length - 1).fill(204), 409])
      const left = await Promise.all(['passkey', 'identity'].map((table) => own.knex(table).where({ user_id: user.id })))
      expect(left.flat()).to.have.length(1)
    })

    repeat('a challenge that makes a device trusted: one device is trusted [promise 155]', async (turn) => {
      const user = await createUser({ password })
      const { secret: seed } = await addFactor(perms, user, password)
      const login = { path: '/users/login/', json: { email: user.email, password } }
      const [asked] = await atOnce(turn, [login])
      const use = { path: '/users/second-factor/', json: { challenge: asked?.body.challenge, code: codeOf(seed), trustDevice: true } }
      const replies = await atOnce(turn, [use, use])
      expect(statuses(replies), JSON.stringify(replies)).to.deep.equal([200, 401])
      expect(await own.knex('trusted_device').where({ user_id: user.id })).to.have.length(1)
      // The trust ends at once in both processes, also while it is used.
      const deviceToken = replies.find(({ status }) => status === 200)?.body.device_token
      const { accessToken: token } = await signInAs(user, { amr: ['pwd', 'otp'] })
      const signIn = { path: '/users/login/', json: { email: user.email, password, deviceToken } }
      const [used, ended] = await atOnce(turn, [signIn, { method: 'DELETE', path: '/users/me/devices/', token }])
      expect([used?.status, ended?.status]).to.deep.equal([200, 204])
      const later = await atOnce(turn, [signIn, signIn])
      expect(later.map(({ body }) => body.status)).to.deep.equal(['second_factor', 'second_factor'])
    })

    repeat('a code that confirms a session confirms it once [promise 149]', async (turn) => {
      const user = await createUser()
      const { accessToken: token } = await signInAs(user)
      mailer.clear()
      await runAsActor(await perms.authenticate(token), () => perms.auth.codes.requestConfirmation())
      await perms.auth.settled()
      const use = { path: '/users/me/confirm/', token, json: { sentCode: mailer.codeFrom(mailer.last(user.email)) } }
      expect(statuses(await atOnce(turn, [use, use]))).to.deep.equal([200, 401])
    })

    /** A user with rows, whose deletion is due. */
    const due = async () => {
      const user = await createUser({ password })
      for (const key of ['one', 'two', 'three']) await asSystem(() => UserSetting.create({ userId: user.id, key, value: key } as object))
      const { accessToken: token } = await signInAs(user)
      await perms.auth.accountDeletion.schedule(user)
      await own.knex('token').where({ user_id: user.id }).update({ revoked: false })
      await own
        .knex('account_deletion')
        .where({ user_id: user.id })
        .update({ due_at: new Date(Date.now() - 60_000) })
      return { user, token }
    }
    const rowsOf = async (user: User) => [
      (await own.knex('user').where({ id: user.id })).length,
      (await own.knex('user_setting').where({ user_id: user.id })).length,
    ]
    const maintain: Sent = { path: '/maintain' }
    const undo = (token: string): Sent => ({ method: 'DELETE', path: '/users/me/deletion/', token })

    repeat('perms.maintain() deletes each account that is due once [promise 165]', async (turn) => {
      const users = [await due(), await due(), await due()]
      const replies = await atOnce(turn, [maintain, maintain])
      const accounts = replies.map(({ body }) => body.accounts ?? { deleted: 0, failed: 0 })
      expect(
        accounts.map(({ failed }) => failed),
        JSON.stringify(replies),
      ).to.deep.equal([0, 0])
      expect(accounts.reduce((sum, { deleted }) => sum + deleted, 0)).to.equal(3)
      for (const { user } of users) {
        expect(await rowsOf(user)).to.deep.equal([0, 0])
        const [row, ...others] = await asSystem(() => AccountDeletion.query().where('userId', user.id))
        expect(others).to.deep.equal([])
        expect(row?.report, JSON.stringify(row)).to.deep.include({ UserSetting: { deleted: 3 }, Keeper: { deleted: 1 } })
      }
    })

    repeat('an undo against perms.maintain() keeps the whole account or none of it [promise 163]', async (turn) => {
      const { user, token } = await due()
      const late = async () => {
        await sleepUpTo(30)
        return await send(servers[turn % 2] as ServerProcess, undo(token))
      }
      const [undone, ...reports] = await Promise.all([late(), ...servers.map((server) => send(server, maintain))])
      const answers = JSON.stringify([undone, ...reports])
      expect(
        reports.map(({ body }) => body.accounts?.failed ?? 0),
        answers,
      ).to.deep.equal([0, 0])
      expect(undone.status, answers).to.be.oneOf([204, 401, 404, 409])
      expect(await rowsOf(user), answers).to.deep.equal(undone.status === 204 ? [1, 3] : [0, 0])
    })

    repeat('an undo works once [promise 163]', async (turn) => {
      const { user, token } = await due()
      expect(statuses(await atOnce(turn, [undo(token), undo(token)]))).to.deep.equal([204, 404])
      expect(await rowsOf(user)).to.deep.equal([1, 3])
    })

    repeat('a deletion is scheduled once, with one date [promise 164]', async (turn) => {
      const user = await createUser({ password })
      const { accessToken: token } = await signInAs(user)
      const ask = { path: '/users/me/deletion/', token, json: { password } }
      const replies = await atOnce(turn, [ask, ask])
      expect(statuses(replies), JSON.stringify(replies)).to.deep.equal([202, 202])
      expect(replies[0]?.body.deletionAt).to.equal(replies[1]?.body.deletionAt)
      expect(await own.knex('account_deletion').where({ user_id: user.id })).to.have.length(1)
    })
  })
}
