import { expect } from 'chai'
import fc from 'fast-check'
import type { Model } from 'objection'
import {
  allOf,
  anyOf,
  asSystem,
  authenticated,
  BasePermsModel,
  belongsTo,
  column,
  createTables,
  Domain,
  explain,
  initPerms,
  not,
  type Perms,
  RowShare,
  related,
  ShareableMixin,
  type SqlRule,
  shared,
  Token,
  User,
  UserRole,
  UserSetting,
  whoCan,
} from '../../src/index.js'
import { compile } from '../../src/policy/compiler/compile.js'
import { holds } from '../../src/policy/compiler/condition.js'
import { scopeOf } from '../../src/policy/compiler/scope.js'
import { type Actor, runAsActor } from '../../src/policy/context.js'
import { toActor } from '../../src/users/caller/actor.js'
import { byText, eachKindOfIds } from '../helpers/id-kinds.js'
import { generatedCases } from '../helpers/repetitions.js'

type Described =
  | { is: 'shared'; relation: string }
  | { is: 'folder'; relation: string }
  | { is: 'authenticated' }
  | { is: 'not'; rule: Described }
  | { is: 'anyOf' | 'allOf'; rules: Described[] }

const relations = ['viewer', 'editor', 'manager']
const seed = Number(process.env['AGREEMENT_SEED'] ?? 20_261_128)
const HOUR = 3_600_000

/** A share as the test remembers it. */
interface Given {
  readonly row: string
  readonly relation: string
  readonly userId?: unknown
  readonly role?: string | undefined
  readonly domainId?: unknown
  readonly isExpired: boolean
}

eachKindOfIds('shared() for random shares and callers', (db, ids) => {
  const numRuns = generatedCases(60, 'AGREEMENT_RUNS')
  class Account extends User.withColumns({ id: ids.key() }) {
    static override tableName = 'shared_user'
  }
  class Place extends Domain.withColumns({ id: ids.key() }) {
    static override tableName = 'shared_place'
  }
  class Folder extends ShareableMixin(BasePermsModel).withColumns({ id: ids.key(), name: column.string().default('') }) {
    static override tableName = 'shared_folder'
    static override shareRelations = relations
  }
  class Doc extends ShareableMixin(BasePermsModel).withColumns({ id: ids.key(), folderId: ids.column().nullable() }) {
    static override tableName = 'shared_doc'
    static override shareRelations = relations
    static override adminBypass = false
    static override relationMappings = { folder: belongsTo(() => Folder, 'folderId') }
  }
  const nth = (kind: number, n: number) => ids.nth(kind * 100 + n)
  const places = [1, 2, 3].map((n) => nth(2, n))
  const docs = [1, 2, 3, 4, 5, 6].map((n) => ({ id: nth(5, n), folderId: n > 4 ? null : nth(4, 1 + (n % 2)) }))
  const folders = [1, 2].map((n) => nth(4, n))
  const rows = [...docs.map(({ id }) => id), ...folders]
  /** The grants of the users: the place is a number, null for a global grant. */
  const grants: [string, number | null][][] = [
    [],
    [['editor', null]],
    [['editor', 0]],
    [
      ['author', 1],
      ['editor', 2],
    ],
    [['superadmin', null]],
    [['admin', 0]],
  ]
  const userIds = grants.map((_, n) => nth(1, n + 1))
  // The last place is inactive.
  const isActive = (place: unknown) => place !== places[2]
  let perms: Perms
  let actors: (Actor | null)[]

  before(async function () {
    this.timeout(60_000)
    perms = initPerms({ knex: db.knex, user: Account, domain: Place as never, models: [Folder, Doc], outsideContext: 'deny' })
    await createTables(db.knex, [Account, UserRole, Place, Token, UserSetting, RowShare, Folder, Doc])
    await asSystem(async () => {
      for (const [n, id] of places.entries())
        await Place.query().insert({ id, name: `p${n}`, displayName: 'P', active: isActive(id) } as never)
      for (const [n, id] of userIds.entries()) {
        const user = (await Account.create({ id, email: `u${n}@example.com` } as never)) as unknown as User
        for (const [role, place] of grants[n] ?? [])
          await user.grantRole(role, place === null ? {} : { domain: { id: places[place] as never } })
      }
      for (const id of folders) await Folder.query().insert({ id } as never)
      for (const doc of docs) await Doc.query().insert(doc as never)
      const users = userIds.map((id) => Account.getBy({ id } as never))
      actors = [null, ...(await Promise.all(users)).map((user) => toActor(user as never))]
    })
  })
  after(() => perms.close())

  function under(rule: SqlRule): typeof Doc {
    return class extends Doc {
      static override tableName = 'shared_doc'
      static override policy = { read: rule, publish: rule }
    }
  }

  function ruleOf(given: Described): SqlRule {
    if (given.is === 'shared') return shared(given.relation)
    if (given.is === 'folder') return related('folder', shared(given.relation))
    if (given.is === 'authenticated') return authenticated()
    if (given.is === 'not') return not(ruleOf(given.rule))
    return given.is === 'anyOf' ? anyOf(...given.rules.map(ruleOf)) : allOf(...given.rules.map(ruleOf))
  }

  /** The meaning of a share, written from the contract alone. */
  function receives(share: Given, actor: Actor): boolean {
    if (share.userId !== undefined) return share.userId === actor.id
    const held = actor.grants.filter(({ domainId }) => domainId === (share.domainId ?? null) && (domainId === null || isActive(domainId)))
    if (share.role === undefined) return held.length > 0
    return held.some(({ role }) => role === share.role || (role === 'superadmin' && share.role === 'admin'))
  }

  function means(given: Described, doc: (typeof docs)[number], actor: Actor | null, shares: readonly Given[]): boolean {
    const isShared = (row: unknown, relation: string) =>
      actor !== null &&
      shares.some(
        (one) =>
          one.row === row && !one.isExpired && relations.indexOf(one.relation) >= relations.indexOf(relation) && receives(one, actor),
      )
    if (given.is === 'shared') return isShared(doc.id, given.relation)
    if (given.is === 'folder') return doc.folderId !== null && isShared(doc.folderId, given.relation)
    if (given.is === 'authenticated') return actor !== null
    if (given.is === 'not') return !means(given.rule, doc, actor, shares)
    const all = given.rules.map((rule) => means(rule, doc, actor, shares))
    return given.is === 'anyOf' ? all.some(Boolean) : all.every(Boolean)
  }

  const givens: fc.Arbitrary<Given> = fc
    .record({
      row: fc.constantFrom(...rows),
      relation: fc.constantFrom(...relations),
      isExpired: fc.constantFrom(false, false, true),
      subject: fc.oneof(
        fc.constantFrom(...userIds).map((userId) => ({ userId })),
        fc.constantFrom('editor', 'author', 'admin').map((role) => ({ role })),
        fc.record({ role: fc.constantFrom('editor', 'author', 'admin'), domainId: fc.constantFrom(...places) }),
        fc.constantFrom(...places).map((domainId) => ({ domainId })),
      ),
    })
    .map(({ subject, ...rest }) => ({ ...rest, ...subject }))
  const sets = fc.uniqueArray(givens, {
    maxLength: 12,
    selector: ({ row, userId, role, domainId }) => JSON.stringify([row, userId, role, domainId]),
  })
  const leaf: fc.Arbitrary<Described> = fc.oneof(
    { weight: 4, arbitrary: fc.constantFrom(...relations).map((relation): Described => ({ is: 'shared', relation })) },
    { weight: 2, arbitrary: fc.constantFrom(...relations).map((relation): Described => ({ is: 'folder', relation })) },
    { weight: 1, arbitrary: fc.constant<Described>({ is: 'authenticated' }) },
  )
  const rules: fc.Arbitrary<Described> = fc.oneof(
    leaf,
    leaf.map((rule): Described => ({ is: 'not', rule })),
    fc
      .tuple(
        fc.constantFrom('anyOf' as const, 'allOf' as const),
        fc.array(
          fc.oneof(
            leaf,
            leaf.map((rule): Described => ({ is: 'not', rule })),
          ),
          { maxLength: 3 },
        ),
      )
      .map(([is, list]): Described => ({ is, rules: list })),
  )

  async function store(shares: readonly Given[]): Promise<void> {
    await asSystem(async () => {
      await RowShare.query().delete()
      for (const { row, relation, userId, role, domainId } of shares) {
        const target = folders.includes(row) ? Folder.fromDatabaseJson({ id: row }) : Doc.fromDatabaseJson({ id: row })
        const subject =
          userId !== undefined
            ? { userId }
            : role === undefined
              ? { domain: { id: domainId } }
              : { role, ...(domainId !== undefined && { domain: { id: domainId } }) }
        await (target as Folder | Doc).share(subject as never, relation)
      }
      const expired = shares.map(({ isExpired }, i) => (isExpired ? i : -1)).filter((i) => i >= 0)
      const stored = await RowShare.query().orderBy('createdAt')
      for (const i of expired) {
        const share = shares[i] as Given
        const found = stored.find(
          (one) =>
            one.rowId === String(share.row) &&
            (one.userId ?? undefined) === share.userId &&
            (one.role ?? undefined) === share.role &&
            (one.domainId ?? undefined) === share.domainId,
        )
        await found?.update({ expiresAt: new Date(Date.now() - HOUR) })
      }
    })
  }

  it(`[promise 240] agrees with its meaning in lists, by id, in memory, as a flag, by can(), in explain() and in whoCan() (seed ${seed})`, async function () {
    this.timeout(20_000 + numRuns * 2000)
    await fc.assert(
      fc.asyncProperty(sets, rules, fc.nat(userIds.length), async (shares, described, who) => {
        await store(shares)
        const actor = actors[who] as Actor | null
        const rule = ruleOf(described)
        const cls = under(rule)
        const meant = docs
          .filter((doc) => means(described, doc, actor, shares))
          .map(({ id }) => id)
          .sort(byText)
        const [list, byId] = await runAsActor(actor, async () => [
          (await cls.query().select('id')).map(({ id }) => id),
          (await Promise.all(docs.map(({ id }) => cls.query().select('id').findById(id)))).flatMap((row) => (row ? [row.id] : [])),
        ])
        expect((list as string[]).sort(byText), 'list').to.deep.equal(meant)
        expect((byId as string[]).sort(byText), 'by id').to.deep.equal(meant)
        const inMemory: unknown[] = []
        const byCan: unknown[] = []
        for (const doc of docs) {
          const scope = scopeOf(cls as unknown as typeof Model, actor, { dialect: db.dialect, ref: 'none', row: doc })
          if (await holds(db.knex, compile(rule, scope))) inMemory.push(doc.id)
          if (await runAsActor(actor, async () => await (cls.fromDatabaseJson({ id: doc.id }) as Doc).can('read'))) byCan.push(doc.id)
        }
        expect(inMemory.sort(byText), 'in memory').to.deep.equal(meant)
        expect(byCan.sort(byText), 'can()').to.deep.equal(meant)
        const doc = docs[who % docs.length] as (typeof docs)[number]
        const row = cls.fromDatabaseJson({ id: doc.id, folder_id: doc.folderId }) as Doc
        const able = await asSystem(async () => (await whoCan('read', row)).map(({ id }) => id as unknown))
        const expected = userIds.filter((id) => means(described, doc, actors.find((one) => one?.id === id) ?? null, shares)).sort(byText)
        expect(able.sort(byText), 'whoCan()').to.deep.equal(expected)
        const { allowed } = await asSystem(() => explain(cls as never, 'read', actor as never, row))
        expect(allowed, 'explain()').to.equal(meant.includes(doc.id))
      }),
      { numRuns, seed },
    )
  })
})
