import { expect } from 'chai'
import {
  Api,
  asSystem,
  authenticated,
  BasePermsModel,
  CrudResource,
  column,
  createTables,
  Domain,
  HasDomainMixin,
  Role,
  role,
  runAs,
  Token,
} from '../../src/index.js'
import { createUser, signInAs } from '../../src/testing/index.js'
import { openZoo, type Zoo } from '../conformance/zoo.js'
import { availableDatabases } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { type Client, clientOf } from '../http/client.js'

const columns = {
  title: column.string({ maxLength: 50 }),
  salary: column.integer().nullable().readableBy(role('auditor')),
  grade: column.integer().default(1).writableBy(role('auditor')),
}
const policy = { read: authenticated(), create: authenticated(), update: authenticated(), delete: authenticated() }

class Job extends HasDomainMixin(BasePermsModel).withColumns(columns) {
  static override policy = policy
}

class Strict extends HasDomainMixin(BasePermsModel).withColumns(columns) {
  static override policy = policy
  static override adminBypass = false
}

class Readable extends HasDomainMixin(BasePermsModel).withColumns(columns) {
  static override policy = policy
  static override adminBypass: boolean | 'read' = 'read'
}

for (const name of availableDatabases) {
  describe(`Rules of columns for admins (${name})`, function () {
    this.timeout(30_000)
    let zoo: Zoo
    let ask: Client
    let press: Domain
    let other: Domain
    let boss: Awaited<ReturnType<typeof signInAs>>
    let admin: Awaited<ReturnType<typeof signInAs>>
    let reader: Awaited<ReturnType<typeof createUser>>

    before(async () => {
      zoo = await openZoo(name)
      await createTables(zoo.perms.knex, [Job, Strict, Readable])
      ;[press, other] = await asSystem(
        async () => [await Domain.create({ name: 'press' }), await Domain.create({ name: 'other' })] as const,
      )
      boss = await signInAs({}, { role: Role.ADMIN, domain: press.id })
      admin = await signInAs({}, { role: Role.ADMIN })
      reader = await createUser({}, { role: 'reader', domain: press.id })
      // The admin of one domain is a member of another.
      await asSystem(() => boss.user.grantRole('reader', { domain: other.id }))
      boss = await signInAs(boss.user as never)
      ask = clientOf(new Api({ resources: [new CrudResource({ model: Job })] }), zoo.perms)
    })
    beforeEach(async () => {
      await asSystem(async () => {
        for (const model of [Job, Strict, Readable]) {
          await model.query().delete()
          for (const { id, name: title } of [press, other]) await model.create({ title, salary: 7, grade: 1, domainId: id } as never)
        }
      })
    })
    after(() => zoo.close())

    type AnyJob = typeof Job
    const salaries = async (model: AnyJob) =>
      (await model.query().orderBy('title')).map((row) => [row.title, (row.toJSON() as { salary?: number }).salary])
    const set = (model: AnyJob, title: string) => model.query().where({ title }).patch({ grade: 5 })
    const grades = async (model: AnyJob) => (await asSystem(() => model.query().orderBy('title'))).map(({ grade }) => grade)

    it('are passed by admins of a domain in its rows, and by global admins in all rows [promise 207]', async () => {
      expect(await runAs(boss.user as never, () => salaries(Job))).to.deep.equal([
        ['other', undefined],
        ['press', 7],
      ])
      expect(await runAs(admin.user as never, () => salaries(Job))).to.deep.equal([
        ['other', 7],
        ['press', 7],
      ])
      expect(await runAs(reader as never, () => salaries(Job))).to.deep.equal([['press', undefined]])
    })

    it('let admins of a domain write in its rows only, one by one and in bulk [promise 207]', async () => {
      await runAs(boss.user as never, async () => {
        await set(Job, 'press')
        await set(Job, 'other')
        const [foreign] = await Job.query().where({ title: 'other' })
        expect(await rejection((foreign as Job).update({ grade: 6 }))).to.include({ status: 403 })
        await Job.query().patch({ grade: 3 })
        expect(await rejection(Job.create({ title: 'new', grade: 9, domainId: other.id }))).to.include({ status: 403 })
        await Job.create({ title: 'zzz', grade: 9, domainId: press.id })
      })
      expect(await grades(Job)).to.deep.equal([1, 3, 9])
      expect(await rejection(runAs(reader as never, () => Job.create({ title: 'no', grade: 9, domainId: press.id })))).to.include({
        status: 403,
      })
    })

    it('follow static adminBypass [promise 207]', async () => {
      for (const { user } of [boss, admin]) {
        await runAs(user as never, async () => {
          expect((await salaries(Strict as never)).flatMap(([, salary]) => salary ?? [])).to.deep.equal([])
          expect((await salaries(Readable as never)).at(-1)).to.deep.equal(['press', 7])
          for (const model of [Strict, Readable] as never[]) await rejectionOrNothing(() => set(model, 'press'))
        })
      }
      expect(await grades(Strict as never)).to.deep.equal([1, 1])
      expect(await grades(Readable as never)).to.deep.equal([1, 1])
    })

    it('hide columns over HTTP, in filters and sorting too [promise 65]', async () => {
      const shown = async (token: string) => (await ask('GET', '/jobs?sort=title', token)).body.data.map(({ salary }: Job) => salary)
      expect(await shown(boss.accessToken)).to.deep.equal([undefined, 7])
      expect(await shown(admin.accessToken)).to.deep.equal([7, 7])
      for (const search of ['salary=7', 'sort=salary', 'salary__gt=1']) {
        expect((await ask('GET', `/jobs?${search}`, boss.accessToken)).status, search).to.equal(422)
        expect((await ask('GET', `/jobs?${search}`, admin.accessToken)).status, search).to.equal(200)
      }
      const { plain } = await asSystem(() => Token.issue(boss.user as never, { kind: 'api', abilities: ['*'] }))
      expect(await shown(plain)).to.deep.equal([undefined, undefined])
    })
  })
}

async function rejectionOrNothing(fn: () => PromiseLike<unknown>): Promise<void> {
  try {
    await fn()
  } catch (error) {
    expect(error).to.include({ status: 403 })
  }
}
