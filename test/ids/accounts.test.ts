import { expect } from 'chai'
import { AccountDeletion, AuditLog, asSystem, Role, type User, UserRole } from '../../src/index.js'
import { codeOf } from '../auth/flows/second-factor/factor.js'
import { type FeaturesWorld, openFeatures } from './features-world.js'
import { eachKindOfId, password } from './world.js'

const other = 'another battery staple'

eachKindOfId('Accounts', (db, kind) => {
  let world: FeaturesWorld
  let ada: User
  let bob: User
  let root: User
  before(async () => {
    world = await openFeatures(db.knex, kind)
    // Bob has the highest id, so that no test passes because only the first row exists.
    ada = await world.user('ada@example.com')
    root = await world.user('root@example.com', Role.SUPERADMIN)
    bob = await world.user('bob@example.com')
  })
  after(() => world.perms.close())

  it('have API keys, which their user alone lists, uses and revokes', async () => {
    const { expectReply } = world
    const [mine, theirs] = [await world.signIn(bob), await world.signIn(ada)]
    const { key, ...shown } = await expectReply(201, 'POST', '/users/api-keys', mine, { abilities: ['notes:*'] })
    expect((await expectReply(200, 'GET', '/users/api-keys', mine)).data).to.deep.equal([shown])
    expect((await expectReply(200, 'GET', '/users/api-keys', theirs)).data).to.deep.equal([])
    const note = await expectReply(201, 'POST', '/notes', key, { title: 'by key' })
    expect(note.userId).to.deep.equal(bob.id)
    await expectReply(404, 'DELETE', `/users/api-keys/${shown.id}`, theirs)
    await expectReply(204, 'DELETE', `/users/api-keys/${shown.id}`, mine)
    await expectReply(401, 'GET', '/notes', key)
  })

  it('have sessions, which their user alone lists and ends', async () => {
    const { expectReply } = world
    const [current, second, theirs] = [await world.signIn(bob), await world.signIn(bob), await world.signIn(ada)]
    const { data } = await expectReply(200, 'GET', '/users/sessions', second)
    const { id } = data.find(({ isCurrent }: { isCurrent: boolean }) => isCurrent)
    await expectReply(404, 'DELETE', `/users/sessions/${id}`, theirs)
    await expectReply(204, 'DELETE', `/users/sessions/${id}`, current)
    await expectReply(401, 'GET', '/users/me', second)
    await expectReply(204, 'DELETE', '/users/sessions', current)
    expect((await expectReply(200, 'GET', '/users/sessions', current)).data).to.have.length(1)
    await expectReply(200, 'GET', '/users/me', theirs)
  })

  it('verify, change and use their address by mail, and reset their password', async () => {
    const { expectReply, mailed } = world
    const email = 'mails@example.com'
    const user = await world.user(email)
    await expectReply(202, 'POST', '/users/verify-email/request', null, { email })
    await expectReply(204, 'POST', '/users/verify-email', null, { token: await mailed(email) })
    await expectReply(202, 'POST', '/users/magic-link/request', null, { email })
    const { access_token: token } = await expectReply(200, 'POST', '/users/magic-link', null, { token: await mailed(email) })
    expect((await expectReply(200, 'GET', '/users/me', token)).id).to.deep.equal(user.id)
    const moved = 'moved@example.com'
    await expectReply(202, 'POST', '/users/me/email', token, { email: moved, oldPassword: password })
    await expectReply(204, 'POST', '/users/change-email', null, { token: await mailed(moved) })
    await expectReply(202, 'POST', '/users/reset-password/request', null, { email: moved })
    await expectReply(204, 'POST', '/users/reset-password', null, { token: await mailed(moved), password: other })
    await expectReply(401, 'GET', '/users/me', token)
    const signedIn = await expectReply(200, 'POST', '/users/login', null, { email: moved, password: other })
    expect((await expectReply(200, 'GET', '/users/me', signedIn.access_token)).id).to.deep.equal(user.id)
  })

  it('have a second factor of their own, with recovery codes', async () => {
    const { expectReply } = world
    const user = await world.user('factor@example.com')
    const token = await world.signIn(user)
    const { secret } = await expectReply(201, 'POST', '/users/me/second-factor', token, { password })
    const { recoveryCodes } = await expectReply(200, 'POST', '/users/me/second-factor/confirm', token, { code: codeOf(secret) })
    const { challenge } = await expectReply(200, 'POST', '/users/login', null, { email: 'factor@example.com', password })
    const signedIn = await expectReply(200, 'POST', '/users/second-factor', null, { challenge, code: recoveryCodes[0] })
    expect((await expectReply(200, 'GET', '/users/me', signedIn.access_token)).id).to.deep.equal(user.id)
    // Users beside them sign in without one.
    await world.signIn(ada)
  })

  it('are impersonated by the id of the user, and me/ shows the id of the impersonator', async () => {
    const { expectReply } = world
    const token = await world.signIn(root)
    const { access_token: as } = await expectReply(201, 'POST', '/users/impersonation', token, { userId: bob.id })
    const me = await expectReply(200, 'GET', '/users/me', as)
    expect([me.id, me.impersonator]).to.deep.equal([bob.id, { id: root.id }])
    await expectReply(204, 'DELETE', '/users/impersonation', as)
    await expectReply(401, 'GET', '/users/me', as)
    const unknown = kind.isMadeByDatabase ? (typeof bob.id === 'number' ? 99 : '99') : String(bob.id).replaceAll(/[a-z]/gi, 'b')
    await expectReply(404, 'POST', '/users/impersonation', token, { userId: unknown })
    for (const userId of [{}, [], true, typeof bob.id === 'number' ? '3' : 3])
      await expectReply(422, 'POST', '/users/impersonation', token, { userId })
  })

  it('change their own password and other columns through me/, and other accounts keep theirs', async () => {
    const { expectReply } = world
    const user = await world.user('self@example.com')
    const token = await world.signIn(user)
    await expectReply(422, 'PATCH', '/users/me', token, { password: other })
    expect((await expectReply(200, 'PATCH', '/users/me', token, { password: other, oldPassword: password })).id).to.deep.equal(user.id)
    await world.signIn(ada)
    await expectReply(404, 'PATCH', `/users/${ada.id}`, token, { email: 'x@example.com' })
    await expectReply(200, 'GET', `/users/${user.id}`, token)
  })

  it('store settings of their own', async () => {
    const { expectReply } = world
    const [mine, theirs] = [await world.signIn(bob), await world.signIn(ada)]
    const made = await expectReply(201, 'POST', '/settings', mine, { key: 'theme', value: 'dark' })
    expect(made.userId).to.deep.equal(bob.id)
    await expectReply(201, 'POST', '/settings', theirs, { key: 'theme', value: 'light' })
    const { data } = await expectReply(200, 'GET', `/settings?userId=${bob.id}`, mine)
    expect(data.map(({ value }: { value: unknown }) => value)).to.deep.equal(['dark'])
    await expectReply(404, 'PATCH', `/settings/${made.id}`, theirs, { value: 'x' })
  })

  it('export their own rows, and are deleted with them when that is due', async () => {
    const { expectReply, perms } = world
    const user = await world.user('leaving@example.com')
    const [mine, theirs] = [await world.signIn(user), await world.signIn(ada)]
    await expectReply(201, 'POST', '/notes', mine, { title: 'mine' })
    await expectReply(201, 'POST', '/notes', theirs, { title: 'theirs' })
    const text: string = await expectReply(200, 'GET', '/users/me/export', mine)
    const [header, ...rows] = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(header.userId).to.deep.equal(user.id)
    expect(rows.filter(({ model }: { model: string }) => model === 'Note').map(({ row }: { row: object }) => row)).to.have.nested.property(
      '[0].title',
      'mine',
    )
    expect(text).to.not.include('theirs')
    await expectReply(202, 'POST', '/users/me/deletion', mine, { password })
    await asSystem(() => AccountDeletion.query().patch({ dueAt: new Date(Date.now() - 1000) }))
    const { deleted, failed } = await perms.deleteDueAccounts()
    expect(failed).to.deep.equal([])
    expect(deleted.map(({ userId, report }) => [userId, report.Note])).to.deep.equal([[user.id, { deleted: 1 }]])
    await expectReply(401, 'GET', '/users/me', mine)
    expect((await expectReply(200, 'GET', '/notes', theirs)).data.map(({ title }: { title: string }) => title)).to.include('theirs')
  })

  it('are limited by the account that a wrong password names, not by one with a similar id', async () => {
    const user = await world.user('limited@example.com')
    const statuses = new Set<number>()
    for (let i = 0; i < 12; i += 1) {
      const body = { email: user.email, password: 'wrong password' }
      statuses.add((await world.client('POST', '/users/login', null, { body })).status)
    }
    expect([...statuses]).to.deep.equal([401, 429])
    await world.signIn(ada)
    const token = await asSystem(() => world.perms.auth.createAccessToken(user))
    // The old password of a signed-in user is counted under the same account.
    await world.expectReply(429, 'PATCH', '/users/me', token, { password: other, oldPassword: 'wrong password' })
  })

  it('appear in the audit log with their ids', async () => {
    await world.signIn(bob)
    await world.perms.auth.settled()
    const { data } = await world.expectReply(200, 'GET', `/events?subjectId=${bob.id}&event=signIn`, await world.signIn(root))
    expect(data.length).to.be.greaterThan(0)
    for (const { subjectId } of data) expect(subjectId).to.deep.equal(bob.id)
    const stored = await asSystem(() => AuditLog.query().where({ event: 'impersonationStarted' }))
    expect(stored.map(({ actorId, subjectId }) => [actorId, subjectId])).to.deep.equal(stored.map(() => [root.id, bob.id]))
  })

  it('join a domain by invitation, and its members are changed by the ids of their grants', async () => {
    const { expectReply, mailed } = world
    // The first domain has the name '2', and the second one, with the id 2 where the database numbers them, the name 'press'.
    const numbered = await asSystem(() => world.Place.create({ name: '2' }))
    const press = await asSystem(() => world.Place.create({ name: 'press' }))
    const token = await world.signIn(root)
    const byId = `id:${press.id}`
    const invite = async (domain: unknown) =>
      (await expectReply(201, 'POST', '/users/invitations', token, { email: 'joins@example.com', role: 'editor', domain })).domain
    expect(await invite('2')).to.deep.equal(numbered.id)
    expect(await invite('press')).to.deep.equal(press.id)
    expect(await invite(byId)).to.deep.equal(press.id)
    if (typeof press.id === 'number') expect(await invite(press.id)).to.deep.equal(press.id)
    const listed = async (domain: string) => (await expectReply(200, 'GET', `/users/invitations?domain=${domain}`, token)).data
    expect((await listed(byId)).map(({ domain }: { domain: unknown }) => domain)).to.deep.equal([press.id])
    expect((await listed('2')).map(({ domain }: { domain: unknown }) => domain)).to.deep.equal([numbered.id])
    for (const absent of ['id:', 'id:0', 'id:02', 'id:%00', 'id:%20', `id:${press.id}x`]) expect(await listed(absent)).to.deep.equal([])

    const user = await world.user('joins@example.com')
    const joining = await world.signIn(user)
    await expectReply(200, 'POST', '/users/invitations/accept', joining, { token: await mailed('joins@example.com') })
    const members = async (domain: string) =>
      (await expectReply(200, 'GET', `/users/domains/${domain}/members`, token)).data as { grantId: unknown; user: { id: unknown } }[]
    const [member] = await members(byId)
    expect(member?.user.id).to.deep.equal(user.id)
    expect(await members('press')).to.deep.equal([member])
    expect(await members('2')).to.deep.equal([])
    await expectReply(404, 'PATCH', `/users/domains/2/members/${member?.grantId}`, token, { role: 'author' })
    await expectReply(200, 'PATCH', `/users/domains/${byId}/members/${member?.grantId}`, token, { role: 'author' })
    for (const absent of ['id:', 'id:0', 'id:02', 'id:%00', 'id:%20', `id:${press.id}x`])
      await expectReply(404, 'GET', `/users/domains/${absent}/members`, token)
    await expectReply(422, 'POST', '/places', token, { name: `id:${press.id}` })
    const grants = await asSystem(() => UserRole.query().where({ userId: user.id as never }))
    expect(grants.map(({ role, domainId }) => [role, domainId])).to.deep.equal([['author', press.id]])
    expect((await expectReply(200, 'GET', '/users/me', joining)).roles).to.deep.equal([{ role: 'author', domain: press.id }])
    await expectReply(204, 'DELETE', `/users/domains/${byId}/members/${member?.grantId}`, token)
  })
})
