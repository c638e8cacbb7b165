import { expect } from 'chai'
import { Api, anyOf, initPerms, type Perms, type Policy, ShareableMixin, self, shared, User, UserResource } from '../../../src/index.js'
import { signInAs, testHasher } from '../../../src/testing/index.js'
import { eachDatabase } from '../../helpers/databases.js'
import { type Client, clientOf } from '../client.js'

/** Users whom others may see by a share. Each user shares itself. */
class Profile extends ShareableMixin(User) {
  static override tableName = 'user'
  static override policy: Policy = { read: anyOf(self(), shared('viewer')), update: self(), share: self() }
}

eachDatabase('Shares of users over HTTP', (db) => {
  let perms: Perms
  let ask: Client
  before(async () => {
    perms = initPerms({
      knex: db.knex,
      user: Profile,
      jwt: { secret: 'a secret of the tests, 32 bytes long' },
      passwordHasher: testHasher(),
      stepUp: true,
    })
    await perms.migrate()
    ask = clientOf(new Api({ resources: [new UserResource({ shares: true })] }), perms)
  })
  after(() => perms.close())

  it('[promise 244] share a user with another one, who sees nothing but what the resource shows, and only for a recent session', async () => {
    const ada = await signInAs({})
    const bob = await signInAs({})
    const at = `/users/${ada.user.id}`
    expect((await ask('GET', at, bob.accessToken)).status).to.equal(404)
    const old = await signInAs(ada.user as never, { authTime: new Date(0) })
    const body = { role: 'friend', relation: 'viewer' }
    const refused = await ask('POST', `${at}/shares/`, old.accessToken, { body })
    expect([refused.status, refused.body.code]).to.deep.equal([401, 'insufficient_user_authentication'])
    expect((await ask('POST', `${at}/shares/`, ada.accessToken, { body })).status).to.equal(201)
    expect((await ask('POST', `${at}/shares/`, bob.accessToken, { body })).status).to.equal(404)
    const friend = await signInAs({}, { role: 'friend' })
    const seen = await ask('GET', at, friend.accessToken)
    expect(seen.status).to.equal(200)
    expect(JSON.stringify(seen.body)).not.to.match(/password/i)
    expect((await ask('PATCH', at, friend.accessToken, { body: { email: 'taken@example.com' } })).status).to.equal(403)
    expect((await ask('GET', `${at}/shares/`, ada.accessToken)).body.data).to.have.lengthOf(1)
    expect((await ask('DELETE', `${at}/shares/?role=friend`, ada.accessToken)).status).to.equal(204)
    expect((await ask('GET', at, friend.accessToken)).status).to.equal(404)
  })
})
