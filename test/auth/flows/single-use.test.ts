import { expect } from 'chai'
import { initPerms, type Perms, type User } from '../../../src/index.js'
import { capturedMailer, createUser, signInAs, testHasher } from '../../../src/testing/index.js'
import { Keeper } from '../../conformance/full-zoo.js'
import { availableDatabases, createDatabase, type OwnDatabase } from '../../helpers/databases.js'
import { request } from '../../helpers/http.js'
import { migrateAtOnce } from '../../helpers/library-tables-at-once.js'
import { repetitions } from '../../helpers/repetitions.js'
import { type ServerProcess, startServer } from '../server-process.js'
import { addFactor, challengeOf, codeOf, type Factor } from './second-factor/factor.js'

/** How often each test sends one token to two server processes at the same moment. Exactly one of the two requests must succeed. */
const RACES = repetitions(50)
const secret = 'a secret of this test, 32 bytes or more'
const password = 'correct horse battery'
const newPassword = 'a wholly new password'

for (const client of ['pg', 'mysql2'] as const) {
  if (!availableDatabases.includes(client)) continue
  describe(`a single-use token succeeds in one of two processes that get it at once (${client})`, function () {
    this.timeout(20_000 + RACES * 1000)
    let own: OwnDatabase
    let perms: Perms
    let servers: readonly ServerProcess[] = []
    const mailer = capturedMailer()
    before(async () => {
      own = await createDatabase(client)
      const mail = { mailer, baseUrl: 'https://app.example.com' }
      const options = { user: Keeper as never, jwt: { secret }, passwordHasher: testHasher(), mail, throttle: false as const }
      perms = initPerms({ knex: own.knex, ...options, outsideContext: 'allow' })
      await migrateAtOnce(perms)
      const server = { client, url: own.url, secret, features: true }
      servers = await Promise.all([startServer(server), startServer(server)])
    })
    after(async () => {
      await Promise.all(servers.map((server) => server.stop()))
      await perms?.close()
      await own?.destroy()
    })

    interface Use {
      readonly path: string
      readonly body: object
      readonly token?: string
    }

    /** Sends each use to its own server, and asserts that exactly one gets 401. @returns the index of the use that succeeded */
    async function race(one: Use, other: Use, turn: number): Promise<0 | 1> {
      const uses = turn % 2 === 0 ? [one, other] : [other, one]
      const answers = await Promise.all(
        uses.map(({ path, body, token }, i) => request((servers[i] as ServerProcess).url, 'POST', `/users/${path}`, { json: body, token })),
      )
      const statuses = answers.map(({ status }) => status)
      const answersText = JSON.stringify(answers.map(({ status, body }) => [status, body]))
      expect(
        statuses.filter((status) => status === 200 || status === 204),
        answersText,
      ).to.have.length(1)
      expect(
        statuses.filter((status) => status === 401),
        answersText,
      ).to.have.length(1)
      const winner = statuses.indexOf(401) === 0 ? 1 : 0
      return (turn % 2 === 0 ? winner : 1 - winner) as 0 | 1
    }

    const mailed = async (kind: string, ask: () => Promise<unknown>): Promise<string> => {
      await ask()
      await perms.auth.settled()
      const token = mailer.tokenFrom(mailer.last(kind))
      mailer.clear()
      return token
    }
    const activeTokens = async (user: User, kind: string): Promise<number> =>
      (await own.knex('token').where({ user_id: user.id, kind, revoked: false })).length
    const repeat = (title: string, body: (turn: number) => Promise<void>) =>
      it(`${title}, ${RACES} times`, async () => {
        for (let turn = 0; turn < RACES; turn += 1) await body(turn)
      })

    repeat('a mail to verify an address', async (turn) => {
      const user = await createUser()
      const token = await mailed('verifyEmail', () => perms.auth.mail.requestVerification(user.email))
      const use = { path: 'verify-email', body: { token } }
      await race(use, use, turn)
      expect((await own.knex('user').where('id', user.id).first()).email_verified_at).not.to.equal(null)
    })

    repeat('a mail to reset a password: the password of the successful request is stored', async (turn) => {
      const user = await createUser({ password })
      const token = await mailed('resetPassword', () => perms.auth.mail.requestPasswordReset(user.email))
      const use = (which: number) => ({ path: 'reset-password', body: { token, password: `${newPassword} ${which}` } })
      const winner = await race(use(0), use(1), turn)
      const { password_hash: hash } = await own.knex('user').where('id', user.id).first()
      expect(await testHasher().verify(`${newPassword} ${winner}`, hash)).to.equal(true)
    })

    repeat('a mail to change an address', async (turn) => {
      const user = await createUser({ password })
      const email = `new-${user.email}`
      const token = await mailed('changeEmail', () => perms.auth.mail.requestEmailChange(user, { email, oldPassword: password }))
      const use = { path: 'change-email', body: { token } }
      await race(use, use, turn)
      expect((await own.knex('user').where('id', user.id).first()).email).to.equal(email)
    })

    repeat('a magic link: one session begins', async (turn) => {
      const user = await createUser()
      const token = await mailed('magicLink', () => perms.auth.mail.requestMagicLink(user.email))
      const use = { path: 'magic-link', body: { token } }
      await race(use, use, turn)
      expect(await activeTokens(user, 'refresh')).to.equal(1)
    })

    repeat('a mailed code: one session begins [promise 142]', async (turn) => {
      const user = await createUser()
      await perms.auth.codes.request(user.email)
      await perms.auth.settled()
      const use = { path: 'codes', body: { email: user.email, code: mailer.codeFrom(mailer.last(user.email)) } }
      mailer.clear()
      await race(use, use, turn)
      expect(await activeTokens(user, 'refresh')).to.equal(1)
    })

    repeat('the last attempt on a code: twenty wrong ones at once do not get more than five [promise 143]', async () => {
      const user = await createUser()
      await perms.auth.codes.request(user.email)
      await perms.auth.settled()
      const code = mailer.codeFrom(mailer.last(user.email))
      mailer.clear()
      const wrong = (i: number) => String((Number(code) + i + 1) % 1_000_000).padStart(6, '0')
      const send = (i: number, given: string) =>
        request((servers[i % 2] as ServerProcess).url, 'POST', '/users/codes', { json: { email: user.email, code: given } })
      const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => send(i, wrong(i))))
      for (const { status } of answers) expect(status).to.be.oneOf([401, 429])
      const [row] = await own.knex('token').where({ user_id: user.id, kind: 'code-sign-in' })
      const counted = Number(row.bound_to.split(' ')[0])
      expect(counted).to.be.at.least(1)
      // The attempts that were not counted were not compared: the rest of the five is left, and no more.
      const left = Math.max(0, 5 - counted)
      for (let i = 0; i < left; i += 1) await send(i, wrong(i))
      expect((await send(0, code)).status).to.be.oneOf([401, 429])
    })

    describe('the second factor', () => {
      let user: User
      let factor: Factor
      let accessToken: string
      let left = 0
      beforeEach(() => {
        left = 0
      })

      /** Sets `user`, a new one when too few recovery codes are left, and resets its last used time step. @returns unused codes */
      async function enrolled(codes: number): Promise<readonly string[]> {
        if (left < Math.max(codes, 1)) {
          user = await createUser({ password })
          factor = await addFactor(perms, user, password)
          accessToken = (await signInAs(user)).accessToken
          left = factor.recoveryCodes.length
        }
        await own.knex('second_factor').where('user_id', user.id).update({ last_step: null })
        await own.knex('token').where({ user_id: user.id, kind: 'refresh' }).update({ revoked: false })
        left -= codes
        return factor.recoveryCodes.slice(left, left + codes)
      }
      const challenge = () => challengeOf(perms, user.email, password)
      const step = async (code: string | undefined, asked?: string) => ({
        path: 'second-factor',
        body: { challenge: asked ?? (await challenge()), code },
      })
      const sessions = () => activeTokens(user, 'refresh')

      repeat('a code of the app, with two challenges', async (turn) => {
        await enrolled(0)
        const before = await sessions()
        const code = codeOf(factor.secret)
        await race(await step(code), await step(code), turn)
        expect(await sessions()).to.equal(before + 1)
      })

      repeat('a code of the app, at two endpoints', async (turn) => {
        await enrolled(0)
        const code = codeOf(factor.secret)
        const renew = { path: 'me/second-factor/recovery-codes', body: { code }, token: accessToken }
        await race(await step(code), renew, turn)
      })

      repeat('a recovery code, with two challenges', async (turn) => {
        const [code] = await enrolled(1)
        const before = await sessions()
        await race(await step(code), await step(code), turn)
        expect(await sessions()).to.equal(before + 1)
      })

      repeat('a challenge, with two recovery codes: the code of the failed request is not used up', async (turn) => {
        const [one, other] = await enrolled(2)
        const before = await activeTokens(user, 'recovery')
        const asked = await challenge()
        await race(await step(one, asked), await step(other, asked), turn)
        expect(await activeTokens(user, 'recovery')).to.equal(before - 1)
      })
    })
  })
}
