import { expect } from 'chai'
import type { Knex } from 'knex'
import { rememberedCallers } from '../../../src/auth/tokens/remembered-callers.js'
import { type Actor, asSystem } from '../../../src/policy/context.js'
import { changedValues, type RowState } from '../../../src/record/row-state.js'
import { createUser, type SignedInAs, signInAs } from '../../../src/testing/index.js'
import { runAs } from '../../../src/users/caller/actor.js'
import { Domain } from '../../../src/users/domain.js'
import { Role } from '../../../src/users/roles/roles.js'
import type { User } from '../../../src/users/user.js'
import { eachDatabase } from '../../helpers/databases.js'
import { type CallerState, callerChanges, grantRole, sessionsOf } from './caller-changes.js'
import { type Answer, idsIn, Note, openRememberedWorld, type RememberedWorld } from './remembered-world.js'

const minute = 60_000

eachDatabase('a remembered caller', (db) => {
  let world: RememberedWorld
  let elsewhere: Knex
  let press: Domain
  let own: Note
  let foreign: Note
  let me: SignedInAs
  before(async function () {
    this.timeout(30_000)
    world = await openRememberedWorld(db.knex)
    // Changes come from a connection that this process does not watch, as from another process.
    elsewhere = db.connect()
    press = await asSystem(() => Domain.create({ name: 'press' }))
  })
  after(() => world.perms.close())

  beforeEach(async () => {
    me = await signInAs()
    const other = await createUser({})
    own = await asSystem(() => Note.create({ text: 'mine', userId: me.user.id } as never))
    foreign = await asSystem(() => Note.create({ text: 'theirs', userId: other.id } as never))
  })
  afterEach(async () => {
    await elsewhere('note').delete()
    await elsewhere('domain').where('id', press.id).update({ active: true, name: 'press' })
  })

  const list = (token: string = me.accessToken) => world.ask('GET', '/notes/?sort=id', token)
  const get = (id: string, token: string = me.accessToken) => world.ask('GET', `/notes/${id}/`, token)

  /** Reads until the caller is remembered. */
  async function warm(token: string = me.accessToken): Promise<void> {
    await list(token)
    expect((await list(token)).statements, 'the second list').to.equal(1)
  }

  it('needs no statement of its own: list, total and get are one [promise 82]', async () => {
    expect((await list()).statements).to.equal(2)
    const listed = await list()
    expect([listed.status, idsIn(listed), listed.statements]).to.deep.equal([200, [own.id], 1])
    const one = await get(own.id)
    expect([one.status, JSON.parse(one.body).id, one.statements]).to.deep.equal([200, own.id, 1])
    const included = await world.ask('GET', '/notes/?include=user', me.accessToken)
    expect([JSON.parse(included.body).data[0].user.id, included.statements]).to.deep.equal([me.user.id, 2])
  })

  const state = (): CallerState => ({ elsewhere, user: me.user, press, own, foreign })
  const mine = () => sessionsOf(state())

  for (const [name, { prepare, change, next }] of Object.entries(callerChanges))
    it(`obeys the next change of another process: ${name} [promises 82, 22]`, async () => {
      await prepare?.(state())
      await warm()
      await change(state())
      const expected = next(state())
      const answers = [await list(), await get(own.id), await list()]
      if (typeof expected === 'number') expect(answers.map(({ status }) => status)).to.deep.equal([expected, expected, expected])
      else {
        expect(idsIn(answers[0] as Answer)).to.deep.equal(expected)
        expect(answers[1]?.status).to.equal(expected.includes(own.id) ? 200 : 404)
        expect(idsIn(answers[2] as Answer)).to.deep.equal(expected)
      }
    })

  it('no longer satisfies recent() once another process clears the time of its proof [promise 82]', async () => {
    await mine().update({ auth_time: new Date(), amr: 'pwd' })
    const guarded = () => world.ask('GET', '/guarded/', me.accessToken)
    await guarded()
    expect(await guarded()).to.include({ status: 200, statements: 1 })
    await mine().update({ auth_time: null })
    expect(JSON.parse((await guarded()).body).code).to.equal('insufficient_user_authentication')
  })

  it('is loaded again after an answer without rows, and for a while by each request there', async () => {
    await warm()
    const missing = () => get('01900000-0000-7000-8000-000000000000')
    const seen = []
    for (let i = 0; i < 8; i += 1) seen.push(await missing())
    expect(seen.map(({ status }) => status)).to.deep.equal(Array(8).fill(404))
    expect(seen.map(({ statements }) => statements)).to.deep.equal([3, 2, 3, 2, 2, 3, 2, 2])
    expect((await list()).statements, 'another endpoint').to.equal(1)
    await missing()
    await missing()
    expect((await get(own.id)).statements, 'a row proves the caller again').to.equal(1)
    expect((await get(own.id)).statements).to.equal(1)
  })

  it('expires with its session while it is remembered [promise 82]', async function () {
    this.timeout(20_000)
    const soon = new Date(Date.now() + 4000)
    await mine().update({ expires_at: soon })
    await warm()
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, soon.getTime() - Date.now()) + 20))
    expect((await list()).status).to.equal(401)
  })

  it('is the user of the token: another sub, a changed text and another kind of token are refused [promise 82]', async () => {
    await warm()
    const [head, , signature] = me.accessToken.split('.')
    const forged = Buffer.from(JSON.stringify({ sub: (await createUser({})).id })).toString('base64url')
    expect((await list(`${head}.${forged}.${signature}`)).status).to.equal(401)
    expect((await list(`${me.accessToken}x`)).status).to.equal(401)
    expect((await list(String(me.refreshToken))).status).to.equal(401)
  })

  it('is a copy for each request, without the hash of the password, and with lists that no request can change [promise 230]', async () => {
    await elsewhere('user').where('id', me.user.id).update({ password_hash: 'a hash' })
    await warm()
    const find = () => world.perms.enter(() => rememberedCallers()?.find(me.accessToken)?.actor() as Actor)
    const [one, other] = [find(), find()]
    const user = one.user as User
    user.email = 'changed@example.com'
    expect(Object.keys(user)).not.to.include('passwordHash')
    user.passwordHash = 'a hash'
    expect((user as User & RowState)[changedValues](), 'compared with the row as it was read').to.have.property('passwordHash', 'a hash')
    expect((other.user as User).email).to.equal(me.user.email)
    expect(() => (one.grants as object[]).push({})).to.throw(TypeError)
  })

  describe('with an API key', () => {
    let plain: string
    let keyId: string
    beforeEach(async () => {
      const made = await asSystem(() => world.perms.auth.apiKeys.issue(me.user, { abilities: ['notes:read'] }))
      plain = made.plain
      keyId = made.key.id
      // The first use is recorded after the response.
      await list(plain)
      await world.perms.auth.settled()
    })
    const key = () => elsewhere('token').where('id', keyId)

    it('needs one statement, and obeys revocation, abilities and expiry at the next request [promises 82, 25]', async () => {
      await warm(plain)
      await key().update({ abilities: JSON.stringify(['files:read']) })
      expect((await list(plain)).status).to.equal(403)
      await key().update({ abilities: JSON.stringify(['notes:read']) })
      await warm(plain)
      await key().update({ revoked: true })
      expect((await list(plain)).status).to.equal(401)
      await key().update({ revoked: false, expires_at: new Date(Date.now() - minute) })
      expect((await list(plain)).status).to.equal(401)
      await key().update({ expires_at: null, token: 'f'.repeat(64) })
      expect((await list(plain)).status).to.equal(401)
    })

    it('records each use that is due, as a look-up does [promise 25]', async () => {
      await key().update({ last_used_at: new Date(Date.now() - 50_000) })
      await warm(plain)
      expect((await list(plain)).statements).to.equal(1)
      const before = new Date(Date.now() - 61_000)
      await key().update({ last_used_at: before })
      await list(plain)
      await world.perms.auth.settled()
      const { last_used_at } = await key().first('last_used_at')
      expect(new Date(last_used_at).getTime()).to.be.greaterThan(before.getTime() + 30_000)
    })

    it('has no admin role that was granted after the key was made [promise 25]', async () => {
      await warm(plain)
      await grantRole(me.user, Role.ADMIN, null)
      expect((await world.ask('GET', '/for-admins/', plain)).status).to.equal(403)
      expect(idsIn(await list(plain))).to.deep.equal([own.id])
      expect(idsIn(await list(plain))).to.deep.equal([own.id])
    })
  })

  it('is never one whom a superadmin impersonates: each request loads both [promise 82]', async () => {
    const superadmin = await signInAs({}, { role: Role.SUPERADMIN })
    const { accessToken } = await world.perms
      .authenticate(superadmin.accessToken)
      .then((actor) => runAs(actor, () => world.perms.auth.impersonation.start(me.user)))
    for (let i = 0; i < 3; i += 1) expect(await list(accessToken)).to.include({ status: 200, statements: 3 })
    await elsewhere('token').where('user_id', superadmin.user.id).update({ revoked: true })
    expect((await list(accessToken)).status).to.equal(401)
  })

  it('is found by the access cookie too, with the same checks of credentials [promise 82]', async () => {
    await warm()
    const cookie = { headers: { cookie: `__Host-access=${me.accessToken}` } }
    expect(await world.ask('GET', '/notes/', null, cookie)).to.include({ status: 200, statements: 1 })
    expect((await world.ask('GET', '/notes/', me.accessToken, cookie)).status).to.equal(400)
    await mine().update({ revoked: true })
    expect((await world.ask('GET', '/notes/', null, cookie)).status).to.equal(401)
  })
})
