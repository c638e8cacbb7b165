import { expect } from 'chai'
import { AuditLog, asSystem, Token, User } from '../../src/index.js'
import { type FakeClock, fakeClock } from '../../src/testing/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { type Application, currentSources, loadLibrary, password, startApplication, userModelNames } from './application.js'
import { type Credentials, totpCode } from './fill.js'
import { loadRows } from './releases.js'
import { type Rows, readAllRows, readRows } from './rows.js'

for (const model of userModelNames)
  eachDatabase(`A database that 0.1.0 filled, with ${model} as the user model`, (db) => {
    let app: Application
    let given: Credentials
    let clock: FakeClock
    let rowsOfOldRelease: Rows
    let ran: string[]

    before(async function () {
      this.timeout(60_000)
      given = await loadRows(db.knex, db.dialect, model)
      clock = fakeClock(new Date(Date.parse(given.filledAt) + 30_000))
      rowsOfOldRelease = await readAllRows(db.knex, db.dialect)
      app = await startApplication(await loadLibrary(currentSources), db.knex, model)
      ran = await app.perms.migrate()
    })
    after(async () => {
      clock.restore()
      await app.close()
    })

    const post = (path: string, body: object, token?: string) => app.ask('POST', `/users/${path}`, { body, ...(token && { token }) })
    const get = (path: string, token: string) => app.ask('GET', path, { token })
    const signIn = (name: string, secret = password) => post('login', { email: `${name}@example.com`, password: secret })
    const rolesOf = (body: { roles: { role: string }[] }) => body.roles.map(({ role }) => role).sort()

    it('keeps every value of every row through perms.migrate()', async () => {
      const now = await readRows(db.knex, rowsOfOldRelease.keys())
      let compared = 0
      for (const [table, rows] of rowsOfOldRelease) {
        const found = now.get(table) ?? []
        expect(found.length, table).to.equal(rows.length)
        rows.forEach((row, at) => {
          expect(found[at], table).to.deep.include(row)
          compared += 1
        })
      }
      expect(compared).to.be.greaterThan(50)
      expect([...rowsOfOldRelease].filter(([, rows]) => rows.length === 0).map(([table]) => table)).to.deep.equal([])
    })

    it('is migrated once: packaged migrations of 0.1.0 do not run again', async () => {
      expect(ran.filter((name) => /_00[12]_/.test(name))).to.deep.equal([])
      expect(await app.perms.migrate()).to.deep.equal([])
    })

    it('accepts an access token and shows the user with the roles', async () => {
      const me = await get('/users/me', given.ada.accessToken)
      expect(me.status).to.equal(200)
      expect(me.body).to.include({ id: given.ids.ada, email: 'ada@example.com' })
      expect(rolesOf(me.body)).to.deep.equal(['author', 'editor'])
      const ada = await asSystem(() => User.getOr404(given.ids.ada))
      expect([ada.hasRole('author'), ada.hasRole('editor'), ada.hasRole('editor', { domain: given.ids.press })]).to.deep.equal([
        ...[true, false, true],
      ])
    })

    it('signs in a user with the old password, and refuses disabled and deleted users', async () => {
      const signedIn = await signIn('ada')
      expect(signedIn.status).to.equal(200)
      expect((await get('/users/me', signedIn.body.access_token)).body.id).to.equal(given.ids.ada)
      expect((await signIn('ada', 'wrong')).status).to.equal(401)
      expect((await signIn('eve')).status).to.be.oneOf([401, 403])
      expect((await signIn('gone')).status).to.equal(401)
    })

    it('refreshes a session with its old refresh token', async () => {
      const next = await post('refresh', { refresh_token: given.ada.refreshToken })
      expect(next.status).to.equal(200)
      expect((await get('/users/me', next.body.access_token)).body.id).to.equal(given.ids.ada)
      expect((await post('refresh', { refresh_token: next.body.refresh_token })).status).to.equal(200)
    })

    it('keeps sessions that never count as recent, until their users confirm them [promise 86]', async () => {
      const actor = await app.perms.authenticate(given.ada.accessToken)
      expect(actor).to.deep.include({ authTime: null, amr: null })
      const confirmed = await post('me/confirm', { password }, given.ada.accessToken)
      expect([confirmed.status, confirmed.body.amr]).to.deep.equal([200, ['pwd']])
      expect((await app.perms.authenticate(given.ada.accessToken)).authTime).to.be.instanceOf(Date)
    })

    it('finds the entries of a row in an audit log that 0.1.0 created', async () => {
      await asSystem(() => AuditLog.create({ event: 'rowUpdated', rowTable: 'note', rowId: given.ids.ada } as never))
      const found = await asSystem(() => AuditLog.query().where({ rowId: given.ids.ada }))
      expect(found.map(({ rowTable }) => rowTable)).to.deep.equal(['note'])
    })

    it('revokes the family of a refresh token that 0.1.0 had replaced', async () => {
      expect((await post('refresh', { refresh_token: given.rotated.usedRefreshToken })).status).to.equal(401)
      expect((await post('refresh', { refresh_token: given.rotated.refreshToken })).status).to.equal(401)
    })

    it('refuses the tokens of a session that was signed out', async () => {
      expect((await get('/users/me', given.signedOut.accessToken)).status).to.equal(401)
      expect((await post('refresh', { refresh_token: given.signedOut.refreshToken })).status).to.equal(401)
    })

    it('accepts an API key within its abilities, and refuses a revoked one', async () => {
      const papers = await get('/papers', given.ada.apiKey)
      expect(papers.body.data.map(({ id }: { id: string }) => id)).to.deep.equal([given.ada.paperId])
      expect((await app.ask('POST', '/papers', { token: given.ada.apiKey, body: { title: 'x' } })).status).to.equal(403)
      expect((await get('/papers', given.ada.revokedApiKey)).status).to.equal(401)
      const keys = await get('/users/api-keys', given.ada.accessToken)
      expect(keys.body.data.map(({ description }: { description: string }) => description)).to.deep.equal(['Backup'])
    })

    it('accepts a token of a kind of its own', async () => {
      const token = await asSystem(() => Token.verify(given.ada.customToken))
      expect(token?.userId).to.equal(given.ids.ada)
      expect(token?.kind).to.equal('cli')
    })

    it('asks for the second factor and accepts its codes', async () => {
      const first = await post('second-factor', { challenge: given.carol.challenge, code: totpCode(given.carol.totpSecret) })
      expect(first.status).to.equal(200)
      expect((await get('/users/me', first.body.access_token)).body.id).to.equal(given.ids.carol)
      const asked = await signIn('carol')
      expect(asked.body.status).to.equal('second_factor')
      const code = given.carol.recoveryCodes[0] as string
      expect((await post('second-factor', { challenge: asked.body.challenge, code })).status).to.equal(200)
      const again = await signIn('carol')
      expect((await post('second-factor', { challenge: again.body.challenge, code })).status).to.equal(401)
    })

    it('keeps the roles of admins and superadmins', async () => {
      const root = await signIn('root')
      expect((await get('/users', root.body.access_token)).body.pagination.total).to.equal(6)
      expect((await get('/users/me', root.body.access_token)).body.roles[0].role).to.equal('superadmin')
      const boss = await signIn('boss')
      const invitations = await get('/users/invitations?domain=press', boss.body.access_token)
      expect(invitations.body.data.map(({ email }: { email: string }) => email)).to.deep.equal(['guest@example.com'])
      expect((await app.ask('POST', '/users', { token: boss.body.access_token, body: { email: 'x@example.com' } })).status).to.equal(403)
    })

    it('keeps the audit log and the settings', async () => {
      const root = await signIn('root')
      const events = await get('/audit?event=impersonationStarted', root.body.access_token)
      expect(events.body.data.map(({ subjectId }: { subjectId: string }) => subjectId)).to.deep.equal([given.ids.ada])
      const [setting] = await asSystem(() => app.perms.models.userSetting.query().where('userId', given.ids.ada))
      expect([setting?.key, setting?.value]).to.deep.equal(['theme', { dark: true }])
    })

    it('accepts the token of an impersonation', async () => {
      const me = await get('/users/me', given.impersonation.accessToken)
      expect([me.body.id, me.body.impersonator]).to.deep.equal([given.ids.ada, { id: given.ids.root }])
    })

    it('accepts the links of mails that 0.1.0 sent', async () => {
      const { verifyEmail, resetPassword, magicLink, changeEmail, invitation } = given.mailTokens
      expect((await post('invitations/register', { token: invitation, password })).status).to.equal(201)
      expect(rolesOf((await get('/users/me', (await signIn('guest')).body.access_token)).body)).to.deep.equal(['editor'])
      expect((await post('change-email', { token: changeEmail })).status).to.equal(204)
      expect((await post('login', { email: 'ada@press.example.com', password })).status).to.equal(200)
      expect((await post('verify-email', { token: verifyEmail })).status).to.equal(204)
      expect((await post('reset-password', { token: resetPassword, password: 'another long passphrase' })).status).to.equal(204)
      expect((await signIn('boss', 'another long passphrase')).status).to.equal(200)
      expect((await post('magic-link', { token: magicLink })).status).to.equal(200)
    })

    it('keeps a user locked whose tries were used up, until the window has passed', async () => {
      expect((await signIn('frank')).status).to.equal(429)
      clock.advance(901)
      expect((await signIn('frank')).status).to.equal(200)
    })
  })
