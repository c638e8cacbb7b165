import { expect } from 'chai'
import { Model } from 'objection'
import { newId } from '../../src/core/ids.js'
import { assertRole } from '../../src/http/caller/request-authenticator.js'
import { problemOf } from '../../src/http/core/problems.js'
import { requireCallerRole } from '../../src/http/serve/adapter-core.js'
import {
  allOf,
  authenticated,
  BasePermsModel,
  check,
  column,
  Domain,
  everyone,
  ForbiddenError,
  HasDomainMixin,
  inDomain,
  initPerms,
  MissingTableError,
  owner,
  type Perms,
  related,
  role,
  runAs,
  Token,
  User,
  UserOwnershipMixin,
  UserRole,
  ValidationError,
  where,
} from '../../src/index.js'
import { createTables } from '../../src/migrations.js'
import { HasUserMixin } from '../../src/mixins/has-user.js'
import { runAsActor } from '../../src/policy/context.js'
import { definitionOf } from '../../src/schema/definition/definition.js'
import { testHasher } from '../../src/testing/index.js'
import { toActor } from '../../src/users/caller/actor.js'
import { eachDatabase } from '../helpers/databases.js'
import { inEnvironment } from '../helpers/environment.js'
import { rejection, thrown } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

const columns = { title: column.string(), isOpen: column.boolean().default(true) }

class MsgTicket extends HasUserMixin(BasePermsModel).withColumns(columns) {
  static override policy = {
    read: everyone(),
    create: authenticated(),
    update: { from: everyone(), to: allOf(owner(), where({ isOpen: true })) },
  }
}
class MsgNote extends HasDomainMixin(BasePermsModel).withColumns({ text: column.string() }) {
  static override policy = { read: everyone(), create: authenticated(), update: authenticated() }
}
class MsgArticle extends HasDomainMixin(BasePermsModel).withColumns({ text: column.string() }) {
  static override policy = { read: everyone(), create: role('author'), update: role('author') }
}
class MsgChecked extends BasePermsModel.withColumns(columns) {
  static override policy = {
    read: everyone(),
    create: authenticated(),
    update: { from: everyone(), to: check((row: object) => (row as { isOpen: boolean }).isOpen) },
  }
}
class MsgAbsent extends UserOwnershipMixin(BasePermsModel).withColumns({ text: column.string() }) {}

eachDatabase('What errors say', (db) => {
  let perms: Perms
  before(async () => {
    perms = initPerms({
      knex: db.knex,
      jwt: { secret: 'a secret of this test, 32 bytes or more' },
      passwordHasher: testHasher(),
      throttle: { store: 'database' },
    })
  })
  after(() => perms.close())

  const shown = (error: unknown) => JSON.stringify(problemOf(error))

  it('of a missing table of the library suggest perms.migrate(), and clients do not see them [promise 48]', async () => {
    const attempts: (() => PromiseLike<unknown>)[] = [
      () => User.create({ email: 'ada@example.com' }),
      () => Token.query(),
      () => UserRole.query().where('role', 'x'),
    ]
    for (const attempt of attempts) {
      const error = (await rejection(attempt())) as Error
      expect(error).to.be.instanceOf(MissingTableError)
      expect(error.message).to.match(
        /^The database has no table '\w+'\. Run `npx objection-perms migrate up`\..*`await perms\.migrate\(\)`.*your own migrations if they contain the library's \(permsMigrations\(\)\)\.$/,
      )
      expect(shown(error)).not.to.match(/table|migrate/)
    }
    const signIn = (await rejection(perms.auth.signIn({ email: 'ada@example.com', password: 'x' }))) as Error & { status: number }
    expect(signIn.status).to.equal(503)
    expect((signIn.cause as Error).message).to.match(/perms_throttle.*perms\.migrate\(\)/)
    const raw = perms.mapError(await rejection(db.knex('token').select('id').where({ id: 'a value' })))
    expect((raw as Error).message).to.match(/'token'.*perms\.migrate\(\)/)
  })

  it('for a missing table or column of the application name its own migration', async () => {
    await migrateAtOnce(perms)
    const error = (await rejection(MsgAbsent.query())) as Error
    expect(error).to.be.instanceOf(MissingTableError)
    expect(error.message)
      .to.match(/'msg_absent'.*migration.*createTables\(/)
      .and.not.match(/perms\.migrate/)
    await createTables(db.knex, [MsgAbsent] as never)
    await db.knex.schema.alterTable('msg_absent', (table) => table.dropColumn('text'))
    const column = (await rejection(MsgAbsent.query().insert({ text: 'a secret value', userId: newId() } as never))) as Error
    expect(column.message).to.match(/column 'text'.*migration/)
    expect(column.message).not.to.contain('a secret value')
    expect(await rejection(MsgAbsent.query().where('noSuchColumn', 1))).not.to.be.instanceOf(MissingTableError)
    await db.knex.schema.alterTable('token', (table) => table.dropColumn('bound_to'))
    const own = (await rejection(Token.query())) as Error
    expect(own.message).to.match(/bound_to.*perms\.migrate\(\)/)
    await db.knex.schema.alterTable('token', (table) => table.string('bound_to', 320).nullable())
  })

  it('for a new row without a domain list the domains of the caller and name inDomain()', async () => {
    await createTables(db.knex, [MsgNote, MsgTicket, MsgChecked] as never)
    const user = await User.create({ email: 'two@example.com' })
    for (const name of ['hq', 'branch']) {
      await Domain.create({ name })
      await user.grantRole('editor', { domain: name })
    }
    const error = (await rejection(runAs(user, () => MsgNote.create({ text: 'x' })))) as ValidationError
    expect(error).to.be.instanceOf(ValidationError)
    expect(error.message).to.equal(
      'A domain is required. You belong to several: branch, hq. Set domainId, or wrap the call in inDomain(domain, fn).',
    )
    expect(error.errors).to.deep.equal([{ field: 'domainId', message: 'is required' }])
  })

  it('report a missing domain to a caller who may create the row in one of several domains, and to no other', async () => {
    await createTables(db.knex, [MsgArticle] as never)
    const [author, reader] = [await User.create({ email: 'author@example.com' }), await User.create({ email: 'reader@example.com' })]
    for (const name of ['rome', 'oslo']) {
      await Domain.create({ name })
      await reader.grantRole('reader', { domain: name })
      await author.grantRole(name === 'oslo' ? 'author' : 'reader', { domain: name })
    }
    const create = (by: User) => rejection(runAs(by, () => MsgArticle.create({ text: 'x' })))
    expect(await create(author))
      .to.be.instanceOf(ValidationError)
      .and.have.nested.property('errors[0].field', 'domainId')
    expect(await create(reader)).to.have.property('status', 403)
    const made = await runAs(author, () => inDomain('oslo', () => MsgArticle.create({ text: 'x' })))
    expect(await runAs(author, () => MsgArticle.query())).to.deep.equal([made])
    expect(await rejection(runAs(author, () => inDomain('rome', () => MsgArticle.create({ text: 'x' }))))).to.have.property('status', 403)
    expect(await runAs(author, () => MsgArticle.canCreate({ text: 'x' }))).to.equal(false)
  })

  it("of requireRole() suggest { domain: 'any' } only to callers who have the role in a domain", async () => {
    const user = await User.create({ email: 'agent@example.com' })
    await Domain.create({ name: 'desk' })
    await user.grantRole('agent', { domain: 'desk' })
    const agent = toActor(user)
    const refused = thrown(() => requireCallerRole('agent')(agent)) as Error
    expect(refused).to.be.instanceOf(ForbiddenError)
    expect(refused.message).to.contain("requireRole('agent', { domain: 'any' })").and.contain('everywhere')
    expect((thrown(() => assertRole(agent, 'agent')) as Error).message).to.equal(
      "This needs the role 'agent' everywhere. You hold it in a domain only.",
    )
    requireCallerRole('agent', { domain: 'any' })(agent)
    for (const [role, options] of [
      ['editor', {}],
      ['agent', { domain: 'hq' }],
    ] as const)
      expect((thrown(() => requireCallerRole(role, options)(agent)) as Error).message).to.equal(`This needs the role '${role}'.`)
  })

  it('of an update with a forbidden result name the rule to developers, but not to clients [promise 48]', async () => {
    const user = await User.create({ email: 'owner@example.com' })
    await user.grantRole('editor', { domain: 'hq' })
    const { id } = await runAs(user, () => MsgTicket.create({ title: 't' }))
    const note = await runAs(user, () => MsgNote.create({ text: 'x' }))
    const checked = await runAs(user, () => MsgChecked.create({ title: 't' }))
    const branch = (await Domain.getBy({ name: 'branch' })) as Domain
    const patch = (cls: unknown, id: string, change: object) => (): PromiseLike<unknown> =>
      (cls as typeof MsgTicket)
        .query()
        .findById(id)
        .patch(change as never)
    for (const [attempt, rule] of [
      [patch(MsgTicket, id, { isOpen: false }), 'MsgTicket.policy.update: rows where {"isOpen":true}'],
      [patch(MsgChecked, checked.id, { isOpen: false }), 'MsgChecked.policy.update: check(), decided by code'],
    ] as const) {
      const error = (await rejection(inEnvironment('development', () => runAs(user, attempt)))) as ForbiddenError
      expect(error).to.be.instanceOf(ForbiddenError)
      expect(error.message).to.contain(rule)
      expect(String(error.cause)).to.contain(rule)
      expect(problemOf(error).detail).to.match(/^You may not update this Msg\w+ to these values\.$/)
    }
    for (const environment of ['production', undefined, 'staging']) {
      const attempt = () => runAs(user, patch(MsgTicket, id, { isOpen: false }))
      const error = (await rejection(inEnvironment(environment, attempt))) as ForbiddenError
      expect(error.message).to.equal('You may not update this MsgTicket to these values.')
      expect(String(error.cause)).to.contain('rows where {"isOpen":true}')
    }
    expect(await rejection(runAsActor(toActor(user), patch(MsgNote, note.id, { domainId: branch.id })))).to.be.instanceOf(Error)
  })
})

describe('What errors of policies say', () => {
  it('name the model of the rule and the model that lacks the column', () => {
    class MsgProject extends BasePermsModel.withColumns({ name: column.string() }) {
      static override policy = { read: everyone() }
    }
    const projectOf = (rule: unknown) => {
      class MsgTask extends BasePermsModel.withColumns({ projectId: column.uuid().nullable() }) {
        static override policy = { read: related('project', rule as never) }
        static override relationMappings = {
          project: {
            relation: Model.BelongsToOneRelation,
            modelClass: MsgProject,
            join: { from: 'msg_task.projectId', to: 'msg_project.id' },
          },
        }
      }
      return MsgTask
    }
    for (const [rule, message] of [
      [where({ nam: 'x' }), "MsgTask.policy.read, in related('project'): where({ nam }): MsgProject has no column 'nam'. Its columns are"],
      [owner(), "MsgTask.policy.read, in related('project'): owner() needs a column of MsgProject"],
      [related('tasks', everyone()), "MsgTask.policy.read, in related('project'): related('tasks'): MsgProject has no such relation"],
    ] as const)
      expect((thrown(() => definitionOf(projectOf(rule))) as Error).message).to.contain(message)
    expect(() => definitionOf(MsgProject)).not.to.throw()
  })
})
