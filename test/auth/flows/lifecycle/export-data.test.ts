import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect } from 'chai'
import { newId } from '../../../../src/core/ids.js'
import {
  AuditLog,
  allOf,
  asSystem,
  BasePermsModel,
  column,
  createTables,
  type ExportedRow,
  type ExportHeader,
  HasUserMixin,
  initPerms,
  owner,
  type Perms,
  Role,
  role,
  runAs,
  SoftDeleteMixin,
  Token,
  UserOwnershipMixin,
  UserSetting,
} from '../../../../src/index.js'
import { tableOf } from '../../../../src/schema/class-statics.js'
import { dialectOf, encode } from '../../../../src/schema/storage.js'
import { createUser, signInAs, testHasher } from '../../../../src/testing/index.js'
import { internalModels } from '../../../../src/users/tables/internal-models.js'
import { countQueries, eachDatabase } from '../../../helpers/databases.js'
import { rejection } from '../../../helpers/errors.js'
import { migrateAtOnce } from '../../../helpers/library-tables-at-once.js'
import { Member } from './models.js'

class Diary extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
  text: column.text(),
  pin: column.string().nullable().hidden(),
  review: column.text().nullable().readableBy(role(Role.ADMIN)),
}) {}

/** Not readable while it is sealed, also for its owner. */
class Letter extends HasUserMixin(BasePermsModel).withColumns({ text: column.text(), sealed: column.boolean().default(false) }) {
  static override policy = { read: allOf(owner()), create: owner(), update: owner(), delete: owner() }
}

class Trip extends SoftDeleteMixin(UserOwnershipMixin(HasUserMixin(BasePermsModel))).withColumns({ to: column.string() }) {}

/** Has two users, neither by HasUserMixin, and a composite key. */
class Match extends BasePermsModel.withColumns({
  round: column.integer(),
  board: column.integer(),
  whiteId: column.uuid().sameTypeAs('user.id').nullable(),
  blackId: column.uuid().sameTypeAs('user.id').nullable(),
}) {
  static override idColumn = ['round', 'board']
  static ownerFields = ['whiteId', 'blackId']
  static override policy = { read: owner('whiteId') }
}

class Telemetry extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({ event: column.string() }) {
  static override exported = false
}

const models = [Diary, Letter, Trip, Match, Telemetry]

async function collect(lines: AsyncIterable<ExportHeader | ExportedRow>): Promise<[ExportHeader, ...ExportedRow[]]> {
  const all: unknown[] = []
  for await (const line of lines) all.push(line)
  return all as [ExportHeader, ...ExportedRow[]]
}

eachDatabase('perms.auth.exportData()', (db) => {
  let perms: Perms
  before(async function () {
    this.timeout(30_000)
    perms = initPerms({
      knex: db.knex,
      user: Member,
      models,
      jwt: { secret: 'a secret of the tests, 32 bytes long' },
      passwordHasher: testHasher(),
      auditLog: true,
      secondFactor: { issuer: 'Zoo' },
      outsideContext: 'deny',
    })
    await migrateAtOnce(perms)
    await createTables(db.knex, models)
  })
  after(() => perms.close())

  const diaries = async (userId: unknown, count: number) => {
    const now = encode(column.datetime().spec, new Date(), dialectOf(db.knex))
    const rows = Array.from({ length: count }, (_, i) => ({
      id: newId(),
      user_id: userId,
      text: `line ${i}`,
      created_at: now,
      updated_at: now,
    }))
    await db.knex.batchInsert('diary', rows as never, 100)
  }

  it('contains no hash, no secret and no hidden column of any table [promise 84]', async () => {
    const password = 'correct horse battery'
    const { user, refreshToken } = await signInAs<Member>({ password } as never)
    await perms.auth.refresh(refreshToken)
    await asSystem(async () => {
      await perms.auth.apiKeys.issue(user, { abilities: ['*'], description: 'CI' })
      await Token.issue(user, { kind: 'cli' })
      await perms.auth.secondFactors.begin(user, { password })
      await UserSetting.create({ userId: user.id, key: 'theme', value: 'dark' })
      await Diary.create({ userId: user.id, text: 'mine', pin: 'the pin of the diary', review: 'a review by an admin' })
    })
    await perms.auth.settled()
    const text = JSON.stringify(await collect(perms.auth.exportData(user)))
    const secrets: string[] = [password, refreshToken, 'the pin of the diary', 'a review by an admin']
    for (const model of [...Object.values(perms.models), ...internalModels, ...models]) {
      const hidden = Object.entries((model as typeof Diary).columnSpecs).filter(([, spec]) => spec.isHidden)
      const rows = await db.knex(tableOf(model)).select(hidden.map(([name]) => name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)))
      for (const row of hidden.length > 0 ? rows : [])
        secrets.push(...Object.values(row as object).filter((value) => typeof value === 'string' && value.length > 4))
    }
    expect(secrets.length).to.be.greaterThan(8)
    for (const secret of secrets) expect(text).to.not.include(secret)
    expect(text).to.include('"theme"').and.include('"CI"').and.include('mine')
  })

  it('contains the rows of its user only, also for an admin [promise 161]', async () => {
    const admin = await createUser({}, { role: Role.ADMIN })
    const other = await createUser({ email: 'other@example.com' })
    await asSystem(async () => {
      for (const user of [admin, other]) {
        await Diary.create({ userId: user.id, text: `of ${user.email}` })
        await Token.issue(user, { kind: 'cli', description: `token of ${user.email}` })
        await UserSetting.create({ userId: user.id, key: 'name', value: user.email })
      }
      await AuditLog.create({
        event: 'roleGranted',
        actorId: other.id,
        subjectId: admin.id,
        address: '192.0.2.7',
        details: { secret: 'theirs' },
      })
    })
    const [header, ...rows] = await collect(perms.auth.exportData(admin))
    const text = JSON.stringify(rows)
    expect(text).to.not.include('other@example.com').and.not.include(other.id).and.not.include('192.0.2.7').and.not.include('theirs')
    expect(text).to.include(`of ${admin.email}`).and.include(`token of ${admin.email}`)
    expect(header).to.include({ format: 'objection-perms/export', version: 1, userId: admin.id })
    expect(header.models)
      .to.include.members(['Member', 'UserRole', 'Token', 'UserSetting', 'Diary', 'AuditLog'])
      .and.not.include('Telemetry')
    expect(rows.find(({ model }) => model === 'Member')?.row)
      .to.include({ id: admin.id, email: admin.email })
      .and.not.have.property('passwordHash')
    expect(rows.find(({ model, row }) => model === 'AuditLog' && row.event === 'roleGranted')?.row).to.include({ isOwn: false })
  })

  it('obeys the policies and the columns that the user may read, and leaves deleted rows out [promise 162]', async () => {
    const user = await createUser()
    await asSystem(async () => {
      await Diary.create({ userId: user.id, text: 'kept', review: 'bad' })
      await (await Trip.create({ userId: user.id, to: 'Rome' })).delete()
      await Match.create({ round: 1, board: 1, whiteId: user.id })
      await Match.create({ round: 1, board: 2, blackId: user.id })
    })
    const [, ...rows] = await collect(perms.auth.exportData(user))
    expect(rows.find(({ model }) => model === 'Diary')?.row)
      .to.include({ text: 'kept' })
      .and.not.have.any.keys('review', 'pin')
    expect(rows.filter(({ model }) => model === 'Trip')).to.deep.equal([])
    expect(rows.filter(({ model }) => model === 'Match').map(({ row }) => row.board)).to.deep.equal([1])
  })

  it('reads pages by key: each row once, in bounded memory', async () => {
    const user = await createUser()
    const count = 450
    await asSystem(async () => {
      await diaries(user.id, count)
      for (let i = 0; i < 210; i += 1) await Match.create({ round: 2 + (i % 3), board: 1000 + i, whiteId: user.id })
    })
    const { result, statements } = await countQueries(db.knex, () => collect(perms.auth.exportData(user)))
    const texts = result.slice(1).flatMap((line) => ((line as ExportedRow).model === 'Diary' ? [(line as ExportedRow).row.text] : []))
    expect(new Set(texts).size).to.equal(count)
    expect(result.filter((line) => (line as ExportedRow).model === 'Match')).to.have.length(210)
    expect(statements.filter((sql) => /from .?diary/.test(sql) && / limit /.test(sql))).to.have.length(3)
  })

  const onlyFull = process.env['FULL'] === '1' ? it : it.skip
  onlyFull('exports 20,000 rows in flat memory', async function () {
    this.timeout(120_000)
    const user = await createUser()
    await diaries(user.id, 20_000)
    await db
      .knex('diary')
      .where('user_id', user.id as string)
      .update({ text: 'x'.repeat(2000) })
    setFlagsFromString('--expose-gc')
    const collectGarbage = runInNewContext('gc') as () => void
    let [count, before, most] = [0, 0, 0]
    for await (const _line of perms.auth.exportData(user)) {
      count += 1
      if (count % 2000 !== 0) continue
      collectGarbage()
      const { heapUsed } = process.memoryUsage()
      if (count === 2000) before = heapUsed
      most = Math.max(most, heapUsed - before)
    }
    expect(count).to.be.greaterThan(20_000)
    // All rows together are more than 40 MB.
    expect(most / 2 ** 20).to.be.lessThan(20)
  })

  it('keeps its context when other code asks for the next line, and ends when it is no longer read', async () => {
    const user = await createUser()
    await diaries(user.id, 250)
    const lines = await runAs(user, async () => ({ own: perms.auth.exportData(user) }))
    expect(((await lines.own.next()).value as ExportHeader).format).to.equal('objection-perms/export')
    const { statements } = await countQueries(db.knex, async () => {
      await lines.own.return?.()
      expect((await lines.own.next()).done).to.equal(true)
    })
    expect(statements).to.deep.equal([])
  })

  it('ends when its user is disabled while it is read [promise 56]', async () => {
    const user = await createUser()
    await diaries(user.id, 450)
    const { own } = await runAs(user, async () => ({ own: perms.auth.exportData(user) }))
    await own.next()
    await asSystem(() => user.update({ isEnabled: false } as never))
    const rest = async () => {
      for (;;) if ((await own.next()).done) return
    }
    expect((await rejection(rest())).name).to.equal('UnauthorizedError')
    // The application itself may export the data of a disabled user.
    expect((await asSystem(async () => collect(perms.auth.exportData(user)))).length).to.be.greaterThan(450)
  })

  it('reports an unknown user', async () => {
    const error = await rejection(asSystem(async () => collect(perms.auth.exportData('00000000-0000-7000-8000-000000000000'))))
    expect(error.name).to.equal('NotFoundError')
  })
})
