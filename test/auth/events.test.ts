import { expect } from 'chai'
import { asSystem, Domain, runAs, transaction, UserRole } from '../../src/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { Member, member, password, type SetUp, setUp } from './set-up.js'

const names = ['passwordChanged', 'roleGranted', 'roleRevoked'] as const

eachDatabase('events of users', (db) => {
  let all: SetUp
  const heard: [string, Record<string, unknown>][] = []
  before(async () => {
    all = await setUp(db.knex)
    for (const name of names) all.perms.on(name, (payload) => heard.push([name, payload]))
  })
  beforeEach(() => heard.splice(0))
  after(() => all.perms.close())

  /** Returns the events since the last call. Waits 10 ms, since listeners run after the commit. */
  async function emitted(): Promise<typeof heard> {
    await new Promise((resolve) => setTimeout(resolve, 10))
    return heard.splice(0)
  }

  it('report a changed password and who changed it, but not the first password and not a rehash', async () => {
    const user = await member()
    await user.update({ isEnabled: true })
    all.hasher.version = 2
    await all.auth.signIn({ email: user.email, password })
    expect(await emitted()).to.deep.equal([])
    await user.update({ password: 'another battery staple' })
    await runAs(user, () => user.update({ password: 'a third battery staple', oldPassword: 'another battery staple' } as never))
    expect(await emitted()).to.deep.equal([
      ['passwordChanged', { userId: user.id, by: null }],
      ['passwordChanged', { userId: user.id, by: user.id }],
    ])
  })

  it('report granted and revoked roles once, with their domain', async () => {
    const user = await member()
    const press = await Domain.create({ name: 'press', displayName: 'Press' })
    await user.grantRole('editor', { domain: press })
    await user.grantRole('editor', { domain: press })
    await UserRole.create({ user, role: 'reader' })
    await user.revokeRole('editor', { domain: press })
    await user.revokeRole('editor', { domain: press })
    const grant = (role: string, domainId: string | null) => ({ userId: user.id, role, domainId, by: null })
    expect(await emitted()).to.deep.equal([
      ['roleGranted', grant('editor', press.id)],
      ['roleGranted', grant('reader', null)],
      ['roleRevoked', grant('editor', press.id)],
    ])
    const [reader] = (await UserRole.query().where('userId', user.id)) as [UserRole]
    await reader.update({ role: 'writer' })
    expect(await emitted()).to.deep.equal([
      ['roleRevoked', grant('reader', null)],
      ['roleGranted', grant('writer', null)],
    ])
  })

  it('report roles that are written in bulk, by a graph or by a relation', async () => {
    const [one, two] = [await member(), await member()]
    const grant = (user: Member, role: string) => ({ userId: user.id, role, domainId: null, by: null })
    await UserRole.query().insertGraph([{ userId: one.id, role: 'reader' } as never, { userId: two.id, role: 'reader' } as never])
    // If the database cannot return the ids of several rows, Objection inserts them concurrently: the order varies.
    expect((await emitted()).map(([, payload]) => payload)).to.have.deep.members([grant(one, 'reader'), grant(two, 'reader')])
    await UserRole.query()
      .patch({ role: 'writer' } as never)
      .where('role', 'reader')
      .whereIn('userId', [one.id, two.id])
    expect(await emitted()).to.have.deep.members([
      ...[one, two].map((user) => ['roleRevoked', grant(user, 'reader')]),
      ...[one, two].map((user) => ['roleGranted', grant(user, 'writer')]),
    ])
    await UserRole.query()
      .patch({ role: 'writer' } as never)
      .where('userId', one.id)
    expect(await emitted()).to.deep.equal([])
    const [held] = (await UserRole.query().where('userId', one.id)) as [UserRole]
    await Member.query().upsertGraph({ id: one.id, roles: [{ id: held.id, role: 'editor' }] } as never)
    expect(await emitted()).to.deep.equal([
      ['roleRevoked', grant(one, 'writer')],
      ['roleGranted', grant(one, 'editor')],
    ])
    await two.$relatedQuery<UserRole>('roles').delete()
    await UserRole.query().deleteById(held.id)
    await UserRole.query().delete().where('role', 'nobody has it')
    expect(await emitted()).to.deep.equal([
      ['roleRevoked', grant(two, 'writer')],
      ['roleRevoked', grant(one, 'editor')],
    ])
  })

  it('report a revoked role once when several callers revoke it concurrently [promise 35]', async () => {
    const user = await member()
    await user.grantRole('reader')
    await emitted()
    await Promise.allSettled([1, 2, 3, 4].map(() => UserRole.query().delete().where('userId', user.id)))
    expect((await emitted()).map(([name]) => name)).to.deep.equal(['roleRevoked'])
  })

  it('are emitted after the commit, and never for rolled-back changes', async () => {
    const user = await member()
    const undone = new Error('undone')
    const error = await rejection(
      transaction(async () => {
        await user.grantRole('lost')
        throw undone
      }),
    )
    expect(error).to.equal(undone)
    await transaction(async () => {
      await rejection(
        transaction(async () => {
          await user.grantRole('lost too')
          throw undone
        }),
      )
      await transaction(async () => await user.grantRole('kept'))
      await user.update({ password: 'another battery staple' })
      expect(await emitted()).to.deep.equal([])
    })
    expect((await emitted()).map(([name, { role }]) => [name, role])).to.have.deep.members([
      ['roleGranted', 'kept'],
      ['passwordChanged', undefined],
    ])
    await db.knex.transaction(async (trx) => {
      await user.grantRole('by hand', {}, trx)
      expect(await emitted()).to.deep.equal([])
    })
    expect((await emitted()).map(([, { role }]) => role)).to.deep.equal(['by hand'])
  })

  it('contain no secrets [promise 43]', async () => {
    const user = await member()
    await user.update({ password: 'another battery staple' })
    expect((await emitted()).map(([, payload]) => Object.keys(payload))).to.deep.equal([['userId', 'by']])
  })

  it('reach listeners without the bypass of the emitting code, and survive a listener that throws [promise 40]', async () => {
    const user = await member()
    const seen: unknown[] = []
    const off = [
      all.perms.on('roleGranted', () => {
        throw new Error('a bad listener')
      }),
      all.perms.on('roleGranted', async () => {
        seen.push((await Member.query()).length)
      }),
    ]
    await asSystem(() => user.grantRole('reader'))
    await emitted()
    for (const one of off) one()
    expect(seen).to.deep.equal([0])
  })
})
