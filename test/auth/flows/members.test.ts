import { expect } from 'chai'
import { asAnonymous, Domain, Role, runAs, type User, UserRole } from '../../../src/index.js'
import { runAsActor } from '../../../src/policy/context.js'
import { toActor } from '../../../src/users/caller/actor.js'
import { eachDatabase } from '../../helpers/databases.js'
import { Member, member, outcome, type SetUp, setUp } from '../set-up.js'

const unknownId = '01890000-0000-7000-8000-000000000000'

eachDatabase('Members of a domain', (db) => {
  let all: SetUp
  let press: Domain
  let other: Domain
  let boss: Member
  before(async () => {
    all = await setUp(db.knex)
  })
  after(() => all.perms.close())
  beforeEach(async () => {
    await Domain.query().delete()
    press = await Domain.create({ name: 'press' })
    other = await Domain.create({ name: 'other' })
    boss = await holder(Role.ADMIN, press)
  })

  const members = () => all.auth.members
  const as = <T>(user: Member, fn: () => Promise<T>): Promise<T> => runAs(user as unknown as User, fn) as Promise<T>
  async function holder(role: string, domain?: Domain): Promise<Member> {
    const user = await member()
    await user.grantRole(role, domain ? { domain } : {})
    return user
  }
  const grantOf = async (user: Member): Promise<UserRole> => (await UserRole.query().findOne({ userId: user.id })) as unknown as UserRole
  const rolesOf = async (user: Member) =>
    (await UserRole.query().where('userId', user.id)).map((grant) => (grant as unknown as UserRole).role)

  it('are listed with their roles in that domain only, for its admins and global admins [promises 31, 38]', async () => {
    const editor = await holder('editor', press)
    await editor.grantRole('reader', { domain: press })
    await editor.grantRole('editor', { domain: other })
    await holder('editor')
    const entry = async (user: Member, role: string) => ({
      grantId: ((await UserRole.query().findOne({ userId: user.id, role, domainId: press.id })) as unknown as UserRole).id,
      role,
      user: { id: user.id, email: user.email },
    })
    const expected = [await entry(boss, 'admin'), await entry(editor, 'editor'), await entry(editor, 'reader')]
    for (const user of [boss, await holder(Role.ADMIN), await holder(Role.SUPERADMIN)])
      for (const name of ['press', press.id, press.id.toUpperCase()])
        expect(await as(user, () => members().list(name))).to.deep.equal({ data: expected, total: 3 })
    expect(await as(boss, () => members().get('press', expected[1]?.grantId ?? ''))).to.deep.equal(expected[1])
  })

  it('are paged, oldest membership first', async () => {
    const people = [boss]
    for (let i = 0; i < 4; i += 1) people.push(await holder('editor', press))
    const pages = []
    for (const page of [1, 2, 3, 4]) pages.push(await as(boss, () => members().list('press', { page, pageSize: 2 })))
    expect(pages.map(({ total }) => total)).to.deep.equal([5, 5, 5, 5])
    expect(pages.map(({ data }) => data.length)).to.deep.equal([2, 2, 1, 0])
    expect(pages.flatMap(({ data }) => data.map(({ user }) => user.id))).to.deep.equal(people.map(({ id }) => id))
  })

  it('exclude deleted users and include disabled ones', async () => {
    const [gone, disabled] = [await holder('editor', press), await holder('editor', press)]
    await gone.delete()
    await disabled.update({ isEnabled: false })
    const { data, total } = await as(boss, () => members().list('press'))
    expect(data.map(({ user }) => user.id)).to.deep.equal([boss.id, disabled.id])
    expect(total).to.equal(2)
  })

  it('are not found by other users, by API keys or in an inactive domain [promises 25, 36, 38]', async () => {
    const editor = await holder('editor', press)
    const { id } = await grantOf(editor)
    const work: (() => Promise<unknown>)[] = [
      () => members().list('press'),
      () => members().get('press', id),
      () => members().change('press', id, 'reader'),
      () => members().remove('press', id),
    ]
    for (const user of [editor, await holder(Role.ADMIN, other), await holder('editor'), await member()])
      for (const fn of work) expect(await outcome(as(user, fn))).to.equal('NotFoundError')
    for (const fn of work) expect(await outcome(asAnonymous(fn))).to.equal('UnauthorizedError')
    const key = toActor((await Member.get(boss.id)) as unknown as User, { abilities: ['*'] })
    expect(await Promise.all(work.map((fn) => outcome(runAsActor(key, fn))))).to.deep.equal([
      ...['NotFoundError', 'NotFoundError'],
      ...['ForbiddenError', 'ForbiddenError'],
    ])
    for (const nowhere of ['nowhere', unknownId, '', 'a\0b', null])
      expect(await outcome(as(boss, () => members().list(nowhere as never)))).to.equal('NotFoundError')
    await press.update({ active: false })
    for (const user of [boss, await holder(Role.SUPERADMIN)])
      for (const fn of work) expect(await outcome(as(user, fn))).to.equal('NotFoundError')
    expect(await rolesOf(editor)).to.deep.equal(['editor'])
  })

  it('get another role below the rank of the caller [promise 39]', async () => {
    const [admin, superadmin] = [await holder(Role.ADMIN), await holder(Role.SUPERADMIN)]
    const allowed: [Member, string[]][] = [
      [boss, ['reader']],
      [admin, ['reader', 'admin']],
      [superadmin, ['reader', 'admin', 'superadmin']],
    ]
    for (const [by, roles] of allowed)
      for (const role of ['reader', 'admin', 'superadmin']) {
        const editor = await holder('editor', press)
        const { id } = await grantOf(editor)
        const isAllowed = roles.includes(role)
        const result = await outcome(as(by, () => members().change('press', id, role)))
        expect(result, role).to.equal(isAllowed ? 'fine' : 'ForbiddenError')
        expect(await rolesOf(editor)).to.deep.equal([isAllowed ? role : 'editor'])
      }
    const editor = await holder('editor', press)
    const { id } = await grantOf(editor)
    expect(await as(boss, () => members().change('press', id.toUpperCase(), 'reader'))).to.deep.equal({
      grantId: id,
      role: 'reader',
      user: { id: editor.id, email: editor.email },
    })
    expect(((await grantOf(editor)) as UserRole).domainId).to.equal(press.id)
  })

  it('lose their role', async () => {
    const editor = await holder('editor', press)
    await editor.grantRole('editor', { domain: other })
    const { data } = await as(boss, () => members().list('press'))
    await as(boss, () => members().remove('press', data.find(({ user }) => user.id === editor.id)?.grantId ?? ''))
    const left = (await UserRole.query().where('userId', editor.id)) as unknown as UserRole[]
    expect(left.map(({ domainId }) => domainId)).to.deep.equal([other.id])
  })

  it('of equal rank and the caller itself cannot be changed, so that a domain keeps its last admin [promise 39]', async () => {
    const colleague = await holder(Role.ADMIN, press)
    for (const user of [boss, colleague]) {
      const { id } = await grantOf(user)
      expect(await outcome(as(boss, () => members().change('press', id, 'editor')))).to.equal('ForbiddenError')
      expect(await outcome(as(boss, () => members().remove('press', id)))).to.equal('ForbiddenError')
      expect(await rolesOf(user)).to.deep.equal(['admin'])
    }
    const { id } = await grantOf(colleague)
    expect(await outcome(as(await holder(Role.ADMIN), () => members().remove('press', id)))).to.equal('fine')
  })

  it('with a global admin role cannot be changed by admins of the domain', async () => {
    const admin = await holder(Role.ADMIN)
    await admin.grantRole('editor', { domain: press })
    const { id } = (await UserRole.query().findOne({ userId: admin.id, role: 'editor' })) as unknown as UserRole
    expect(await outcome(as(boss, () => members().change('press', id, 'reader')))).to.equal('ForbiddenError')
    expect(await outcome(as(boss, () => members().remove('press', id)))).to.equal('ForbiddenError')
  })

  it('of another domain and global roles are not found, whatever the caller’s rank [promises 36, 38]', async () => {
    const [theirs, everywhere] = [await holder('editor', other), await holder('editor')]
    const superadmin = await holder(Role.SUPERADMIN)
    for (const user of [boss, superadmin])
      for (const id of [(await grantOf(theirs)).id, (await grantOf(everywhere)).id, (await grantOf(superadmin)).id, unknownId, 'x', ''])
        for (const fn of [
          () => members().get('press', id),
          () => members().change('press', id, 'reader'),
          () => members().remove('press', id),
        ] as (() => Promise<unknown>)[])
          expect(await outcome(as(user, fn))).to.equal('NotFoundError')
    expect(await rolesOf(theirs)).to.deep.equal(['editor'])
    expect(await rolesOf(superadmin)).to.deep.equal(['superadmin'])
  })

  it('hold no role twice, and no invalid role', async () => {
    const editor = await holder('editor', press)
    const { id } = await grantOf(editor)
    await editor.grantRole('reader', { domain: press })
    expect(await outcome(as(boss, () => members().change('press', id, 'reader')))).to.equal('UniqueViolationError')
    for (const role of ['', ' ', 'ADMIN', 'admin ', 'a\0b', 'x'.repeat(101), 1, null, undefined, {}, []])
      expect(await outcome(as(boss, () => members().change('press', id, role as never))), JSON.stringify(role)).to.equal('ValidationError')
    expect(await rolesOf(editor)).to.have.members(['editor', 'reader'])
  })

  it('are changed by the current rights, not by those at the start of the request [promise 35]', async () => {
    const editor = await holder('editor', press)
    const { id } = await grantOf(editor)
    await as(boss, async () => {
      await all.perms.knex('user_role').where('user_id', boss.id).delete()
      expect(await outcome(members().change('press', id, 'reader'))).to.be.oneOf(['ForbiddenError', 'NotFoundError'])
      expect(await outcome(members().remove('press', id))).to.be.oneOf(['ForbiddenError', 'NotFoundError'])
    })
    expect(await rolesOf(editor)).to.deep.equal(['editor'])
  })

  it('cause events that name the revoked role, the granted role and the caller', async () => {
    const editor = await holder('editor', press)
    const { id } = await grantOf(editor)
    const heard: unknown[] = []
    const off = (['roleGranted', 'roleRevoked'] as const).map((name) =>
      all.perms.on(name, ({ userId, role, domainId, by }) => heard.push([name, userId, role, domainId, by])),
    )
    await as(boss, () => members().change('press', id, 'reader'))
    await as(boss, () => members().remove('press', id))
    await new Promise((resolve) => setTimeout(resolve, 10))
    for (const one of off) one()
    expect(heard).to.deep.equal([
      ['roleRevoked', editor.id, 'editor', press.id, boss.id],
      ['roleGranted', editor.id, 'reader', press.id, boss.id],
      ['roleRevoked', editor.id, 'reader', press.id, boss.id],
    ])
  })
})
