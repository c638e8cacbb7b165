import { expect } from 'chai'
import {
  authenticated,
  BasePermsModel,
  column,
  createTables,
  Domain,
  ForbiddenError,
  HasDomainMixin,
  HasUserMixin,
  inDomain,
  initPerms,
  NotFoundError,
  type Perms,
  Role,
  role,
  runAs,
  Token,
  User,
  UserOwnershipMixin,
  UserRole,
  UserSetting,
} from '../../src/index.js'
import { testHasher } from '../../src/testing/hasher.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'

class RankArticle extends HasDomainMixin(BasePermsModel).withColumns({ title: column.string() }) {
  static override policy = { read: authenticated(), create: role('editor'), update: role('editor') }
}

/** Has no domain: its checks are global. */
class RankPlan extends BasePermsModel.withColumns({ title: column.string() }) {
  static override policy = { read: role(['editor', Role.ADMIN]), create: role(Role.ADMIN), update: role(Role.ADMIN) }
}

/** Names a domain. */
class RankFlyer extends BasePermsModel.withColumns({ title: column.string() }) {
  static override policy = { read: role('editor', { domain: 'press' }), update: role(Role.ADMIN, { domain: 'press' }) }
}

class RankNote extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({ text: column.string() }) {}

const models = [RankArticle, RankPlan, RankFlyer, RankNote]
const names = [
  ...['superadmin', 'superadmin2', 'admin', 'admin2', 'press admin', 'radio admin'],
  ...['press editor', 'editor', 'member', 'ada', 'bob'],
] as const
type Name = (typeof names)[number]

eachDatabase('Ranks', (db) => {
  let perms: Perms
  let press: Domain
  let radio: Domain
  const users = new Map<Name, User>()
  const of = (name: Name): User => users.get(name) as User

  before(async function () {
    this.timeout(30_000)
    perms = initPerms({ knex: db.knex, models, passwordHasher: testHasher() })
    await createTables(db.knex, [User, UserRole, Domain, Token, UserSetting, ...models])
    press = await Domain.create({ name: 'press' })
    radio = await Domain.create({ name: 'radio' })
    for (const name of names) users.set(name, await User.create({ email: `${name.replace(' ', '-')}@example.com` }))
  })
  after(() => perms.close())
  beforeEach(async () => {
    for (const table of ['rank_article', 'rank_plan', 'rank_flyer', 'rank_note', 'user_role']) await db.knex(table).delete()
    await setActive(true)
    await of('superadmin').grantRole(Role.SUPERADMIN)
    await of('superadmin2').grantRole(Role.SUPERADMIN)
    await of('admin').grantRole(Role.ADMIN)
    await of('admin2').grantRole(Role.ADMIN)
    await of('press admin').grantRole(Role.ADMIN, { domain: press })
    await of('radio admin').grantRole(Role.ADMIN, { domain: radio })
    await of('press editor').grantRole('editor', { domain: press })
    await of('editor').grantRole('editor')
    await of('member').grantRole(Role.USER)
  })

  const setActive = (active: boolean) => db.knex('domain').update({ active: db.dialect === 'sqlite' ? Number(active) : active })
  const titles = (rows: readonly { title: string }[]) => rows.map(({ title }) => title).sort()
  const grants = async () =>
    (await db.knex('user_role').select('user_id', 'role', 'domain_id')).map((row: object) => JSON.stringify(Object.values(row))).sort()
  const domainId = (domain: string | null) => (domain === null ? null : domain === 'press' ? press.id : radio.id)

  describe('of domains', () => {
    beforeEach(async () => {
      await RankArticle.create({ title: 'in press', domainId: press.id })
      await RankArticle.create({ title: 'on the radio', domainId: radio.id })
      await RankArticle.create({ title: 'nowhere', domainId: null })
      await RankPlan.create({ title: 'plan' })
      await RankFlyer.create({ title: 'flyer' })
    })
    const seenBy = async (name: Name) => ({
      articles: titles(await runAs(of(name), () => RankArticle.query())),
      plans: titles(await runAs(of(name), () => RankPlan.query())),
      flyers: titles(await runAs(of(name), () => RankFlyer.query())),
    })

    it('[promise 38] show their rows only to callers with the role in that domain, and to global admins', async () => {
      const everything = { articles: ['in press', 'nowhere', 'on the radio'], plans: ['plan'], flyers: ['flyer'] }
      expect(await seenBy('superadmin')).to.deep.equal(everything)
      expect(await seenBy('admin')).to.deep.equal(everything)
      expect(await seenBy('press admin')).to.deep.equal({ articles: ['in press'], plans: [], flyers: [] })
      expect(await seenBy('radio admin')).to.deep.equal({ articles: ['on the radio'], plans: [], flyers: [] })
      expect(await seenBy('press editor')).to.deep.equal({ articles: ['in press'], plans: [], flyers: ['flyer'] })
      // A role that was granted everywhere gives access to no domain, except the role of an admin.
      expect(await seenBy('editor')).to.deep.equal({ articles: [], plans: ['plan'], flyers: ['flyer'] })
      expect(await seenBy('member')).to.deep.equal({ articles: [], plans: [], flyers: [] })
    })

    it('[promise 38] do not let their admin write in another domain', async () => {
      const [inPress, onRadio] = [
        await RankArticle.getByOr404({ title: 'in press' }),
        await RankArticle.getByOr404({ title: 'on the radio' }),
      ]
      const [plan, flyer] = [await RankPlan.getByOr404({ title: 'plan' }), await RankFlyer.getByOr404({ title: 'flyer' })]
      await runAs(of('press admin'), async () => {
        expect(await rejection(onRadio.getClone().update({ title: 'taken' }))).to.be.instanceOf(NotFoundError)
        expect(await rejection(onRadio.getClone().delete())).to.be.instanceOf(NotFoundError)
        expect(await rejection(plan.getClone().update({ title: 'taken' }))).to.be.instanceOf(NotFoundError)
        expect(await rejection(RankPlan.create({ title: 'new' }))).to.be.instanceOf(ForbiddenError)
        expect(await rejection(flyer.getClone().delete())).to.be.instanceOf(NotFoundError)
        expect(await rejection(RankArticle.create({ title: 'new', domainId: null }))).to.be.instanceOf(ForbiddenError)
        expect(await rejection(inPress.getClone().update({ domainId: null }))).to.be.instanceOf(ForbiddenError)
        for (const elsewhere of [
          () => RankArticle.create({ title: 'new', domainId: radio.id }),
          () => RankArticle.query().insert({ title: 'new', domainId: radio.id }),
          () => inDomain(radio.id, () => RankArticle.create({ title: 'new' })),
          () => inPress.getClone().update({ domainId: radio.id }),
          () => RankArticle.query().patch({ domainId: radio.id }),
        ] as (() => PromiseLike<unknown>)[]) {
          const error = await rejection(elsewhere())
          expect(error.name, `${elsewhere} ${error.message}`).to.be.oneOf(['ForbiddenError', 'MissingReferenceError'])
        }
        expect(
          await rejection(
            Domain.query()
              .findById(press.id)
              .patch({ displayName: 'x' })
              .then(() => radio.getClone().update({ displayName: 'x' })),
          ),
        ).to.be.instanceOf(NotFoundError)
        expect(await RankArticle.query().patch({ title: 'hers' })).to.equal(1)
        await RankArticle.create({ title: 'new' })
      })
      const rows = (await db.knex('rank_article')).map(({ title, domain_id }: any) => `${title} ${domain_id}`).sort()
      expect(rows).to.deep.equal([`hers ${press.id}`, `new ${press.id}`, 'nowhere null', `on the radio ${radio.id}`].sort())
    })

    it('[promise 38] that are inactive give no rights', async () => {
      const article = await RankArticle.getByOr404({ title: 'in press' })
      const before = await grants()
      await setActive(false)
      const nothing = { articles: [], plans: [], flyers: [] }
      for (const name of ['press admin', 'press editor', 'radio admin'] as const) {
        expect(await seenBy(name), name).to.deep.equal(nothing)
        await runAs(of(name), async () => {
          expect(await rejection(article.getClone().update({ title: 'taken' })), name).to.be.instanceOf(NotFoundError)
          expect((await rejection(RankArticle.create({ title: 'new', domainId: press.id }))).name).to.be.oneOf([
            'ForbiddenError',
            'MissingReferenceError',
          ])
          const grant = () => UserRole.query().insert({ userId: of('ada').id, role: 'reader', domainId: press.id })
          expect(await rejection(grant()), name).to.be.instanceOf(ForbiddenError)
          expect(await Domain.query(), name).to.deep.equal([])
        })
      }
      expect(await grants()).to.deep.equal(before)
      expect((await seenBy('admin')).articles).to.have.length(3)
    })
  })

  type Grant = readonly [caller: Name, to: Name, role: string, domain: 'press' | 'radio' | null]
  const denied: readonly Grant[] = [
    ['ada', 'ada', Role.USER, null],
    ['ada', 'ada', Role.SUPERADMIN, null],
    ['ada', 'bob', 'reader', 'press'],
    ['member', 'member', Role.ADMIN, null],
    ['press editor', 'press editor', Role.ADMIN, 'press'],
    ['press editor', 'ada', 'reader', 'press'],
    ['admin', 'ada', Role.ADMIN, null],
    ['admin', 'ada', Role.SUPERADMIN, null],
    ['admin', 'ada', Role.SUPERADMIN, 'press'],
    ['admin', 'admin', Role.SUPERADMIN, null],
    ['admin', 'admin2', 'reader', null],
    ['admin', 'superadmin', 'reader', 'press'],
    ['press admin', 'press admin', Role.ADMIN, null],
    ['press admin', 'press admin', Role.ADMIN, 'radio'],
    ['press admin', 'press admin', 'reader', null],
    ['press admin', 'ada', Role.ADMIN, 'press'],
    ['press admin', 'ada', Role.SUPERADMIN, 'press'],
    ['press admin', 'ada', 'reader', null],
    ['press admin', 'ada', 'reader', 'radio'],
    ['press admin', 'admin', 'reader', 'press'],
    ['press admin', 'superadmin', 'reader', 'press'],
  ]
  const allowed: readonly Grant[] = [
    ['superadmin', 'ada', Role.SUPERADMIN, null],
    ['superadmin', 'admin', 'reader', 'press'],
    ['admin', 'ada', Role.ADMIN, 'press'],
    ['admin', 'ada', 'reader', null],
    ['press admin', 'ada', 'reader', 'press'],
  ]
  interface Given {
    userId: string
    user: User
    role: string
    domainId: string | null
    /** A grant of the same user in the caller's reach. */
    held: UserRole
  }
  const ways: Record<string, (given: Given) => PromiseLike<unknown>> = {
    'create()': ({ userId, role, domainId }) => UserRole.create({ userId, role, domainId }),
    'create({ user })': ({ user, role, domainId }) => UserRole.create({ user, role, domain: domainId ?? '*' } as never),
    'grantRole()': ({ user, role, domainId }) => user.grantRole(role, domainId ? { domain: domainId } : {}),
    'query().insert()': ({ userId, role, domainId }) => UserRole.query().insert({ userId, role, domainId }),
    'query().insertGraph()': ({ userId, role, domainId }) => UserRole.query().insertGraph({ userId, role, domainId } as never),
    '$relatedQuery().insert()': ({ user, role, domainId }) => user.$relatedQuery('roles').insert({ role, domainId, userId: user.id }),
    'relatedQuery().for().insert()': ({ userId, role, domainId }) =>
      User.relatedQuery('roles')
        .for(userId)
        .insert({ role, domainId, userId } as never),
    'upsertGraph() of the user': ({ userId, role, domainId, held }) =>
      User.query().upsertGraph({ id: userId, roles: [{ id: held.id }, { role, domainId }] } as never, { noDelete: true }),
    'upsertGraph() of the grant': ({ role, domainId, held }) => UserRole.query().upsertGraph({ id: held.id, role, domainId } as never),
    'upsertGraph(), insertMissing': ({ userId, role, domainId }) =>
      UserRole.query().upsertGraph({ userId, role, domainId } as never, { insertMissing: true }),
    'update()': ({ role, domainId, held }) => held.update({ role, domainId }),
    '$query().patch()': ({ role, domainId, held }) => held.$query().patch({ role, domainId }),
    'findById().patch()': ({ role, domainId, held }) => UserRole.query().findById(held.id).patch({ role, domainId }),
    'where().patch()': ({ role, domainId, held }) => UserRole.query().where({ id: held.id }).patch({ role, domainId }),
    '$relatedQuery().patch()': ({ user, role, domainId, held }) =>
      user.$relatedQuery('roles').where('user_role.id', held.id).patch({ role, domainId }),
    'patch() with a raw value': ({ role, domainId, held }) =>
      UserRole.query()
        .findById(held.id)
        .patch({ role: db.knex.raw('?', [role]), domainId } as never),
  }
  const prepare = async ([caller, to, role, domain]: Grant): Promise<Given> => {
    const reach = caller.startsWith('press') ? press.id : null
    const held = await UserRole.create({ userId: of(to).id, role: 'guest', domainId: reach })
    return { userId: of(to).id, user: await User.getOr404(of(to).id), role, domainId: domainId(domain), held }
  }

  for (const grant of denied) {
    const [caller, to, role, domain] = grant
    it(`[promise 39] the ${caller} does not make ${to === caller ? 'oneself' : `the ${to}`} ${role} ${domain ? `in ${domain}` : 'everywhere'}`, async function () {
      this.timeout(20_000)
      const given = await prepare(grant)
      const before = await grants()
      for (const [name, way] of Object.entries(ways)) {
        const answer = await runAs(of(caller), () => way({ ...given, held: given.held.getClone() })).catch((error: unknown) => error)
        expect(await grants(), `${name}: ${String(answer)}`).to.deep.equal(before)
        const isRefused = answer instanceof Error ? /Forbidden|NotFound|MissingReference/.test(answer.name) : answer === 0
        // Objection's graph finds no row where this caller may read none.
        expect(isRefused || /Graph/.test(name), `${name}: ${String(answer)}`).to.equal(true)
      }
    })
  }

  for (const grant of allowed) {
    const [caller, to, role, domain] = grant
    it(`the ${caller} does make the ${to} ${role} ${domain ? `in ${domain}` : 'everywhere'}`, async function () {
      this.timeout(20_000)
      for (const [name, way] of Object.entries(ways)) {
        if (/upsertGraph\(\) of the user|raw/.test(name)) continue
        await db
          .knex('user_role')
          .where({ user_id: of(to).id, role: 'guest' })
          .delete()
        await db
          .knex('user_role')
          .where({ user_id: of(to).id, role, ...(domain ? { domain_id: domainId(domain) } : {}) })
          .delete()
        const given = await prepare(grant)
        const answer = await runAs(of(caller), () => way(given)).catch((error: unknown) => error)
        const made = await db.knex('user_role').where({ user_id: of(to).id, role })
        expect(made, `${name}: ${String(answer)}`).to.have.length(1)
        expect(made[0].domain_id).to.equal(domainId(domain))
      }
    })
  }

  it('[promise 39] a caller cannot take over the grant of another user, or move a grant to an admin', async () => {
    const editors = await UserRole.getByOr404({ userId: of('press editor').id })
    const supers = await UserRole.getByOr404({ userId: of('superadmin').id })
    const before = await grants()
    const tries: [Name, () => PromiseLike<unknown>][] = [
      ['ada', () => UserRole.query().patch({ userId: of('ada').id })],
      ['ada', () => supers.getClone().update({ userId: of('ada').id })],
      ['admin', () => supers.getClone().update({ userId: of('admin').id })],
      ['admin', () => supers.getClone().update({ role: 'reader' })],
      ['admin', () => supers.getClone().delete()],
      ['admin', () => editors.getClone().update({ userId: of('admin2').id })],
      [
        'admin',
        () =>
          UserRole.query()
            .where({ userId: of('admin2').id })
            .delete(),
      ],
      ['press admin', () => editors.getClone().update({ domainId: radio.id })],
      ['press admin', () => editors.getClone().update({ userId: of('superadmin').id })],
      ['press admin', () => UserRole.query().where({ domainId: radio.id }).delete()],
      ['radio admin', () => editors.getClone().delete()],
    ]
    for (const [name, attempt] of tries) {
      const answer = await runAs(of(name), attempt).catch((error: unknown) => error)
      expect(await grants(), `${name} ${attempt} ${String(answer)}`).to.deep.equal(before)
      expect(
        answer === 0 ||
          answer instanceof ForbiddenError ||
          answer instanceof NotFoundError ||
          (answer as Error).name === 'MissingReferenceError',
        `${name} ${attempt} ${String(answer)}`,
      ).to.equal(true)
    }
  })

  describe('of admins', () => {
    const notes = new Map<Name, RankNote>()
    beforeEach(async () => {
      for (const name of ['superadmin', 'admin', 'admin2', 'ada'] as const)
        notes.set(name, await RankNote.create({ text: name, userId: of(name).id }))
    })
    const note = (name: Name) => (notes.get(name) as RankNote).getClone()
    const left = async () => (await db.knex('rank_note')).map(({ text }: any) => text).sort()

    for (const peer of ['admin2', 'superadmin'] as const) {
      it(`[promise 39] an admin cannot write the row of ${peer}, nor rows that ${peer} owns`, async () => {
        const user = await User.getOr404(of(peer).id)
        await runAs(of('admin'), async () => {
          expect(await User.get(user.id)).to.have.property('email', user.email)
          for (const attempt of [
            () => user.getClone().update({ email: 'taken@example.com' }),
            () => user.getClone().update({ isEnabled: false }),
            () => User.query().findById(user.id).patch({ isEnabled: false }),
            () => user.getClone().delete(),
            () => note(peer).update({ text: 'taken' }),
            () => note(peer).update({ userId: of('admin').id }),
            () => note(peer).delete(),
            () => note('admin').update({ userId: of(peer).id }),
            () => RankNote.create({ text: 'in their name', userId: of(peer).id }),
            () => RankNote.query().insert({ text: 'in their name', userId: of(peer).id }),
          ] as (() => PromiseLike<unknown>)[]) {
            expect(await rejection(attempt()), String(attempt)).to.be.instanceOf(ForbiddenError)
          }
          expect(await User.query().where({ id: user.id }).patch({ isEnabled: false })).to.equal(0)
          expect(await RankNote.query().where({ userId: user.id }).delete()).to.equal(0)
        })
        expect(await left()).to.deep.equal(['ada', 'admin', 'admin2', 'superadmin'])
        expect(await db.knex('user').where({ email: user.email })).to.have.length(1)
      })
    }

    it('an admin changes other users, and a superadmin changes admins', async () => {
      await runAs(of('admin'), async () => {
        await note('ada').update({ text: 'by the admin' })
        expect(await RankNote.query().delete()).to.equal(2)
      })
      expect(await left()).to.deep.equal(['admin2', 'superadmin'])
      await runAs(of('superadmin2'), () => note('superadmin').update({ text: 'by a superadmin' }))
      expect(await runAs(of('superadmin2'), () => RankNote.query().delete())).to.equal(2)
    })
  })
})
