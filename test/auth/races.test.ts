import { createHash } from 'node:crypto'
import { expect } from 'chai'
import { initPerms, type Perms, User } from '../../src/index.js'
import { SoftPasskey } from '../helpers/authenticator.js'
import { createDatabase, type OwnDatabase } from '../helpers/databases.js'
import { type Answer, type RequestOptions, request } from '../helpers/http.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'
import { repetitions } from '../helpers/repetitions.js'
import { addFactor } from './flows/second-factor/factor.js'
import { outdated, racingHasher } from './passwords/racing-hasher.js'
import { type ServerProcess, startServer } from './server-process.js'

/**
 * How often each race is repeated. A race sends conflicting requests to two server processes on one database at once, and then
 * checks the responses and the rows in the database.
 */
const RACES = repetitions(50)
/** The most milliseconds that a hash takes. */
const HASHING = 10

const secret = 'a secret of this test, 32 bytes or more'
const password = 'correct horse battery'
const changed = 'another battery staple'
/** A hash that the next sign-in replaces. */
const oldHash = await outdated(password)

const databases = [...(process.env['POSTGRES_URL'] ? ['pg' as const] : []), ...(process.env['MARIADB_URL'] ? ['mysql2' as const] : [])]
const sleepUpTo = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, Math.random() * milliseconds))

for (const client of databases) {
  describe(`two server processes on one database (${client})`, function () {
    this.timeout(RACES * 3000 + 20_000)
    let own: OwnDatabase
    let perms: Perms
    let servers: readonly ServerProcess[]
    const hasher = racingHasher(0)

    before(async () => {
      own = await createDatabase(client)
      perms = initPerms({ knex: own.knex, jwt: { secret }, passwordHasher: hasher, outsideContext: 'allow' })
      await migrateAtOnce(perms)
      const options = { client, url: own.url, secret, hashing: HASHING }
      servers = await Promise.all([startServer(options), startServer(options)])
    })
    after(async () => {
      await Promise.all((servers ?? []).map((server) => server.stop()))
      await perms?.close()
      await own?.destroy()
    })

    /** Sends a request to the servers in turn. */
    const ask = (turn: number, method: string, path: string, options?: RequestOptions): Promise<Answer> =>
      request((servers[turn % servers.length] as ServerProcess).url, method, path, options)
    const refresh = (turn: number, token: string) => ask(turn, 'POST', '/users/refresh', { json: { refresh_token: token } })
    const me = async (token: string) => (await ask(Math.round(Math.random()), 'GET', '/users/me', { token })).status
    const many = <T>(count: number, fn: (i: number) => Promise<T>) => Promise.all(Array.from({ length: count }, (_, i) => fn(i)))

    let count = 0
    async function newUser(hash: string | null = null): Promise<User> {
      count += 1
      const user = await User.create({ email: `racer${count}@example.com` })
      if (hash !== null) await own.knex('user').where({ id: user.id }).update({ password_hash: hash })
      return user
    }
    async function newSession(user: User): Promise<{ refreshToken: string; accessToken: string }> {
      const refreshToken = await perms.auth.createRefreshToken(user)
      return { refreshToken, accessToken: await perms.auth.createAccessToken(user, { refreshToken }) }
    }
    /** Returns the token rows of a user. */
    const stored = async (user: User): Promise<{ id: string; token: string; revoked: boolean }[]> =>
      (await own.knex('token').where({ user_id: user.id }).select('id', 'token', 'revoked')).map((row) => ({
        ...row,
        revoked: Boolean(row.revoked),
      }))
    const race = (title: string, body: () => Promise<void>, times = RACES) =>
      it(title, async () => {
        for (let i = 0; i < times; i += 1) await body()
      })

    race('twenty concurrent refreshes of one token create one successor [promise 21]', async () => {
      const user = await newUser()
      const { refreshToken } = await newSession(user)
      const answers = await many(20, (i) => refresh(i, refreshToken))
      expect(answers.map(({ status }) => status)).to.deep.equal(Array(20).fill(200))
      const successors = new Set<string>(answers.map(({ body }) => body.refresh_token))
      expect(successors.size).to.equal(1)
      const [successor = ''] = successors
      expect(successor).not.to.equal(refreshToken)
      const rows = await stored(user)
      expect(rows).to.deep.equal([{ id: rows[0]?.id, token: hashOf(successor), revoked: false }])
      expect((await refresh(0, successor)).status).to.equal(200)
    })

    race('a session never reverts to a successor that was used during concurrent refreshes [promise 21]', async () => {
      const user = await newUser()
      const { refreshToken } = await newSession(user)
      const twins = Array.from({ length: 8 }, async (_, i) => {
        await sleepUpTo(10)
        return await refresh(i, refreshToken)
      })
      const successor: string = (await Promise.race(twins)).body.refresh_token
      const second = await refresh(0, successor)
      const handedOut = (await Promise.all(twins)).filter(({ status }) => status === 200).map(({ body }) => body.refresh_token)
      expect([...new Set([...handedOut, successor])]).to.deep.equal([successor])
      // A refresh that arrived after the successor was used has ended the session. Then it stays ended.
      const [row] = await stored(user)
      if (second.status === 200 && !row?.revoked) expect(row?.token).to.equal(hashOf(second.body.refresh_token))
      else expect(row?.revoked).to.equal(true)
    })

    race('a sign-out during refreshes ends the session for good [promise 22]', async () => {
      const user = await newUser()
      const { refreshToken, accessToken } = await newSession(user)
      const signOut = async () => {
        await sleepUpTo(20)
        return await ask(1, 'POST', '/users/logout', { token: accessToken })
      }
      const [{ status }, ...refreshed] = await Promise.all([signOut(), ...Array.from({ length: 4 }, (_, i) => refresh(i, refreshToken))])
      expect(status).to.equal(204)
      for (const answer of refreshed) expect(answer.status).to.be.oneOf([200, 401])
      expect((await stored(user)).map(({ revoked }) => revoked)).to.deep.equal([true])
      expect(await me(accessToken)).to.equal(401)
      for (const { status: said, body } of refreshed) {
        if (said !== 200) continue
        expect(await me(body.access_token)).to.equal(401)
        expect((await refresh(0, body.refresh_token)).status).to.equal(401)
      }
    })

    const confirm = (turn: number, token: string, json: object) => ask(turn, 'POST', '/users/me/confirm', { token, json })
    const authTimeOf = async (user: User) => (await own.knex('token').where({ user_id: user.id }).first()).auth_time

    race('a session that signs out during its confirmations stays ended [promise 91]', async () => {
      const user = await newUser(await hasher.hash(password))
      const { accessToken, refreshToken } = await newSession(user)
      const signOut = async () => {
        await sleepUpTo(20)
        return await ask(1, 'POST', '/users/logout', { token: accessToken })
      }
      const [{ status }, ...confirmed] = await Promise.all([
        signOut(),
        ...Array.from({ length: 4 }, (_, i) => confirm(i, accessToken, { password })),
      ])
      expect(status).to.equal(204)
      for (const answer of confirmed) expect(answer.status).to.be.oneOf([200, 401])
      expect((await stored(user)).map(({ revoked }) => revoked)).to.deep.equal([true])
      const before = await authTimeOf(user)
      expect(await me(accessToken)).to.equal(401)
      expect((await confirm(0, accessToken, { password })).status).to.equal(401)
      expect((await refresh(0, refreshToken)).status).to.equal(401)
      expect(await authTimeOf(user)).to.deep.equal(before)
    })

    race(
      'one of several concurrent sign-ins with one answer of a passkey succeeds, and of two removals at once one [promises 102, 118]',
      async () => {
        const user = await newUser()
        const { accessToken } = await newSession(user)
        await own.knex('token').where({ user_id: user.id }).update({ auth_time: new Date(), amr: 'otp' })
        const soft = new SoftPasskey({ rpId: 'example.com', origin: 'https://app.example.com' })
        const ids: string[] = []
        for (const passkey of [soft, new SoftPasskey(soft.options)]) {
          const { body } = await ask(0, 'POST', '/users/me/passkeys/options', { token: accessToken })
          const added = await ask(1, 'POST', '/users/me/passkeys', { token: accessToken, json: { passkey: passkey.create(body) } })
          expect(added.status, JSON.stringify(added.body)).to.equal(201)
          ids.push(added.body.id)
        }
        const { body } = await ask(0, 'POST', '/users/passkeys/options')
        const passkey = soft.get(body)
        const answers = await many(6, (i) => ask(i, 'POST', '/users/passkeys', { json: { passkey } }))
        expect(answers.map(({ status }) => status).sort()).to.deep.equal([200, 401, 401, 401, 401, 401])
        // The user has no password: one passkey stays.
        const removed = await many(2, (i) => ask(i, 'DELETE', `/users/me/passkeys/${ids[i]}`, { token: accessToken }))
        expect(removed.map(({ status }) => status).sort()).to.deep.equal([204, 409])
        expect(await own.knex('passkey').where({ user_id: user.id })).to.have.length(1)
      },
      process.env['FULL'] === '1' ? RACES : 3,
    )

    race('one of several concurrent confirmations with a recovery code succeeds [promise 90]', async () => {
      const user = await newUser(await hasher.hash(password))
      const { recoveryCodes } = await addFactor(perms, user, password)
      const { accessToken } = await newSession(user)
      const answers = await many(6, (i) => confirm(i, accessToken, { code: recoveryCodes[0] }))
      expect(answers.map(({ status }) => status).sort()).to.deep.equal([200, 401, 401, 401, 401, 401])
    })

    race('wrong confirmations of both processes count together, and no more are checked at once [promise 90]', async () => {
      const user = await newUser(await hasher.hash(password))
      const { accessToken } = await newSession(user)
      const answers = await many(15, (i) => confirm(i, accessToken, { password: 'wrong' }))
      expect(answers.filter(({ status }) => status === 401)).to.have.length(10)
      expect(answers.filter(({ status }) => status === 429)).to.have.length(5)
      expect((await confirm(0, accessToken, { password })).status).to.equal(429)
    })

    race('a changed password wins over the rehash of a concurrent sign-in, and ends the session of that sign-in [promise 5]', async () => {
      const user = await newUser(oldHash)
      const { accessToken } = await newSession(user)
      const signIn = async (turn: number) => {
        await sleepUpTo(40)
        return await ask(turn, 'POST', '/users/login', { json: { email: user.email, password } })
      }
      const change = ask(1, 'PATCH', '/users/me', { token: accessToken, json: { password: changed, oldPassword: password } })
      const [answer, ...signIns] = await Promise.all([change, signIn(0), signIn(1)])
      expect(answer.status, JSON.stringify(answer.body)).to.equal(200)
      const { password_hash: hash } = await own.knex('user').where({ id: user.id }).first()
      expect(await hasher.verify(changed, hash)).to.equal(true)
      expect(await hasher.verify(password, hash)).to.equal(false)
      expect((await stored(user)).filter(({ revoked }) => !revoked)).to.have.length(1)
      expect(await me(accessToken)).to.equal(200)
      for (const { status, body } of signIns) {
        expect(status).to.be.oneOf([200, 401])
        if (status === 200) expect(await me(body.access_token)).to.equal(401)
      }
    })

    race('of a hundred concurrent wrong passwords ten are checked [promise 12]', async () => {
      const user = await newUser(oldHash)
      const before = await passedBy('address')
      const wrong = { json: { email: user.email, password: 'a wrong password' } }
      const answers = await many(100, (i) => ask(i, 'POST', '/users/login', wrong))
      expect(answers.filter(({ status }) => status === 401)).to.have.length(10)
      expect(answers.filter(({ status }) => status === 429)).to.have.length(90)
      for (const { status, headers } of answers) if (status === 429) expect(Number(headers.get('retry-after'))).to.be.within(1, 900)
      // The limit by address counts only the attempts that the limit by account and address allowed.
      expect((await passedBy('address')) - before).to.equal(10)
      expect(await passedBy('account', user.email)).to.equal(10)
      expect((await ask(0, 'POST', '/users/login', { json: { email: user.email, password } })).status).to.equal(429)
    })

    /** Returns how many attempts the database has counted. */
    async function passedBy(dimension: 'address' | 'account', email = ''): Promise<number> {
      const key = createHash('sha256')
        .update(`${dimension === 'address' ? '127.0.0.1' : ''}\n${email}`)
        .digest('hex')
      const row = await own
        .knex('perms_throttle')
        .where({ name: `signIn.${dimension}:${key}` })
        .first()
      return row?.points ?? 0
    }
  })
}

/** Returns the stored hash of a refresh token. It covers the secret, which is the first 32 bytes. */
function hashOf(refreshToken: string): string {
  const bytes = Buffer.from(refreshToken.slice('rt_'.length), 'base64url').subarray(0, 32)
  return createHash('sha256').update(Buffer.of(0xff)).update(bytes).digest('hex')
}
