import { expect } from 'chai'
import type { User } from '../../src/index.js'
import { eachKindOfId, openWorld, type World } from './world.js'

eachKindOfId('Signing in', (db, kind) => {
  let world: World
  let ada: User
  before(async () => {
    world = await openWorld(db.knex, kind)
    ada = await world.user('ada@example.com')
  })
  after(() => world.perms.close())

  it('signs in, shows the caller and keeps the session through a refresh', async () => {
    const { access, refresh } = await world.signIn(ada)
    const me = await world.client('GET', '/users/me/', access)
    expect(me.body.id).to.equal(ada.id)
    const next = await world.client('POST', '/users/refresh/', null, { body: { refresh_token: refresh } })
    expect(next.status, JSON.stringify(next.body)).to.equal(200)
    expect((await world.client('GET', '/users/me/', next.body.access_token)).body.id).to.equal(ada.id)
  })

  it('creates rows that belong to the caller', async () => {
    const { access } = await world.signIn(ada)
    const made = await world.client('POST', '/notes/', access, { body: { title: 'one' } })
    expect(made.status, JSON.stringify(made.body)).to.equal(201)
    expect(made.body.userId).to.equal(ada.id)
    const got = await world.client('GET', `/notes/${made.body.id}`, access)
    expect(got.body).to.deep.equal(made.body)
    expect((await world.client('GET', '/notes/', access)).body.data).to.deep.equal([made.body])
  })
})
