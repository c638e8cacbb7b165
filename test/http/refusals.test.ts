import { expect } from 'chai'
import { lockOrRefuse } from '../../src/enforce/locked-row.js'
import { CrudResource } from '../../src/http/crud/crud-resource.js'
import { Api } from '../../src/http/serve/api.js'
import { UserResource } from '../../src/http/users/user-resource.js'
import {
  allOf,
  BasePermsModel,
  belongsTo,
  column,
  createTables,
  Domain,
  HasUserMixin,
  initPerms,
  owner,
  type Perms,
  type PermsError,
  type PermsOptions,
  related,
  role,
  runAs,
  transaction,
  where,
} from '../../src/index.js'
import { asSystem } from '../../src/policy/context.js'
import { createUser, signInAs, testHasher } from '../../src/testing/index.js'
import { countQueries, eachDatabase } from '../helpers/databases.js'
import { inEnvironment } from '../helpers/environment.js'
import { type Client, clientOf } from './client.js'

class Vault extends BasePermsModel.withColumns({ code: column.string().hidden() }) {
  static override tableName = 'refusal_vault'
  static override policy = { read: role('keeper') }
}

class Report extends HasUserMixin(BasePermsModel).withColumns({
  title: column.string({ maxLength: 50 }),
  status: column.enum(['open', 'closed']).default('open'),
  views: column.bigint().default('0'),
  secret: column.string().hidden().default('none'),
  grade: column.string().readableBy(role('admin')).writableBy(role('editor')).default('good'),
  vaultId: column.uuid().references('refusal_vault.id').nullable(),
}) {
  static override tableName = 'refusal_report'
  static override adminBypass = false
  static override relationMappings = { vault: belongsTo(() => Vault, 'vaultId') }
  static override policy = {
    read: where({ status: 'open' }),
    create: role('editor'),
    update: { from: role('editor'), to: allOf(role('editor'), where({ title: { ne: 'taken' } }), where({ views: 0n })) },
    delete: allOf(
      owner(),
      where({ secret: 'launch-code' }),
      where({ grade: 'grade-value' }),
      related('vault', where({ code: 'vault-code' })),
    ),
    publish: role('chief'),
  }
}

const secrets = ['launch-code', 'grade-value', 'vault-code']
const unknown = [undefined, '', 'production', 'staging', 'Production', 'DEVELOPMENT', 'dev', ' development', 'development,production']

eachDatabase('The rule behind a refusal', (db) => {
  let perms: Perms
  let ask: Client
  let report: Report
  let closed: Report
  const tokens: Record<string, string> = {}

  const open = (options: Partial<PermsOptions> = {}) =>
    initPerms({ knex: db.knex, jwt: { secret: 'a secret of the tests, 32 bytes long' }, passwordHasher: testHasher(), ...options })
  const resource = () => {
    const reports = new CrudResource({ model: Report })
    reports.action('publish', { handler: ({ row }) => row })
    return reports
  }
  const serve = () => {
    const users = new UserResource({ features: { apiKeys: true, impersonation: true } })
    ask = clientOf(new Api({ resources: [users, resource()] }), perms)
  }

  before(async () => {
    perms = open()
    await perms.migrate()
    await createTables(db.knex, [Vault, Report])
    await asSystem(async () => {
      const press = await Domain.create({ name: 'press' })
      const reader = await createUser()
      report = await Report.create({ title: 'a', userId: reader.id })
      closed = await Report.create({ title: 'b', status: 'closed', userId: reader.id })
      const users = {
        reader,
        editor: await createUser({}, { role: 'editor' }),
        admin: await createUser({}, { role: 'admin' }),
        superadmin: await createUser({}, { role: 'superadmin' }),
        domainAdmin: await createUser({}, { role: 'admin', domain: press }),
      }
      for (const [name, user] of Object.entries(users)) tokens[name] = (await signInAs(user, { perms })).accessToken
    })
    serve()
    const key = await ask('POST', '/users/api-keys/', tokens['admin'], { body: { abilities: ['*'] } })
    tokens['key'] = key.body.key
    const place = await ask('POST', '/users/impersonation/', tokens['superadmin'], {
      body: { userId: (await ask('GET', '/users/me/', tokens['admin'])).body.id },
    })
    tokens['impersonated'] = place.body.access_token
  })
  after(() => perms.close())

  const refusals = () =>
    ({
      create: ['POST', '/reports/', { title: 'n' }],
      update: ['PATCH', `/reports/${report.id}`, { title: 'n' }],
      fields: ['PATCH', `/reports/${report.id}`, { grade: 'bad' }],
      delete: ['DELETE', `/reports/${report.id}`, undefined],
      action: ['POST', `/reports/${report.id}/publish`, undefined],
      unreadable: ['GET', `/reports/${closed.id}`, undefined],
      missing: ['GET', '/reports/0198c0de-0000-7000-8000-000000000000', undefined],
    }) as const
  const send = (name: keyof ReturnType<typeof refusals>, who: string, more: object = {}) => {
    const [method, path, body] = refusals()[name]
    return ask(method, path, tokens[who], { ...(body && { body }), ...more })
  }
  const names = ['create', 'update', 'fields', 'delete', 'action', 'unreadable', 'missing'] as const

  const expectedRules: Record<(typeof names)[number], object> = {
    create: { model: 'Report', action: 'create', rule: 'holders of editor' },
    update: { model: 'Report', action: 'update', rule: 'holders of editor' },
    fields: { model: 'Report', action: 'update', rule: 'holders of editor; grade.writableBy: holders of editor' },
    delete: {
      model: 'Report',
      action: 'delete',
      rule: '(the owner (userField) and rows where {"secret":"…"} and rows where {"grade":"…"} and rows with a vault for which: rows where {"code":"…"})',
    },
    action: { model: 'Report', action: 'publish', rule: 'holders of chief' },
    unreadable: { model: 'Report', action: 'read', rule: 'rows where {"status":"open"}' },
    missing: { model: 'Report', action: 'read', rule: 'rows where {"status":"open"}' },
  }

  it('is named in development, in words and without values of hidden columns [promise 222]', async () => {
    for (const environment of ['development', 'test']) {
      for (const name of names) {
        const { status, body } = await inEnvironment(environment, () => send(name, 'reader'))
        expect(status, name).to.equal(name === 'unreadable' || name === 'missing' ? 404 : 403)
        expect(body.refusal, name).to.deep.equal(expectedRules[name])
      }
    }
  })

  it('is not named in any other environment, or without one [promise 222]', async () => {
    for (const environment of unknown) {
      for (const name of names)
        for (const who of ['reader', 'domainAdmin', 'key', 'impersonated']) {
          const reply = await inEnvironment(environment, () => send(name, who))
          expect(reply.status, name).to.be.oneOf([403, 404])
          expect(Object.keys(reply.body), `${environment} ${name} ${who}`).to.not.include('refusal')
          expect(Object.keys(reply.body)).to.deep.equal(
            ['type', 'title', 'status', 'code', 'detail', 'errors'].slice(0, Object.keys(reply.body).length),
          )
        }
    }
  })

  it('is named to global admins in every environment [promise 222]', async () => {
    for (const environment of [undefined, 'production'])
      for (const who of ['admin', 'superadmin']) {
        for (const name of names)
          expect((await inEnvironment(environment, () => send(name, who))).body.refusal, `${who} ${name}`).to.deep.equal(
            expectedRules[name],
          )
      }
  })

  it('changes nothing else: statements, status, headers and texts are the same [promise 222]', async () => {
    for (const name of names) {
      const count = () => countQueries(db.knex, () => send(name, 'reader'))
      const inProduction = await inEnvironment('production', count)
      const inDevelopment = await inEnvironment('development', count)
      const { refusal, ...body } = inDevelopment.result.body
      expect(refusal, name).to.be.an('object')
      expect({ ...inDevelopment.result, body }).to.deep.equal(inProduction.result)
      const kinds = ({ statements }: { statements: string[] }) => statements.map((sql) => sql.replace(/\s+/g, ' '))
      expect(kinds(inDevelopment), name).to.deep.equal(kinds(inProduction))
    }
  })

  it('is the same for a row that is missing and one that the caller may not read [promise 222]', async () => {
    const sent = (name: 'missing' | 'unreadable') => inEnvironment('development', () => send(name, 'reader'))
    expect(await sent('missing')).to.deep.equal(await sent('unreadable'))
  })

  it('is the part of update.to that fails [promise 222]', async () => {
    const change = (body: object) => inEnvironment('development', () => ask('PATCH', `/reports/${report.id}`, tokens['editor'], { body }))
    const { status, body } = await change({ title: 'taken' })
    expect(status).to.equal(403)
    expect(body.refusal).to.deep.equal({
      model: 'Report',
      action: 'update',
      rule: 'The row after the update does not satisfy Report.policy.update: rows where {"title":{"ne":"taken"}}.',
    })
    const views = await change({ views: '5' })
    expect(views.body.refusal.rule).to.contain('rows where {"views":"0"}')
  })

  it('is no own property of the error, so that no serializer sends it [promise 222]', async () => {
    const reader = await perms.authenticate(tokens['reader'] as string)
    const error = await runAs(reader.id, async () => await Report.create({ title: 'x' })).then(
      () => undefined,
      (failure: unknown) => failure as PermsError,
    )
    expect(error?.refusedRule).to.deep.equal(expectedRules.create)
    expect(JSON.stringify(error)).to.not.contain('holders')
    expect(JSON.stringify({ ...error })).to.not.contain('holders')
    expect(Object.getOwnPropertyNames(error)).to.not.include('refusedRule')
  })

  it('is named by locks for actions as well, for readable and for hidden rows', async () => {
    const reader = await perms.authenticate(tokens['reader'] as string)
    const refusalOf = (row: Report) =>
      runAs(reader.id, () => transaction(() => lockOrRefuse(row, 'publish'))).then(
        () => undefined,
        (error: unknown) => (error as PermsError).refusedRule,
      )
    expect(await refusalOf(report)).to.deep.equal(expectedRules.action)
    expect(await refusalOf(closed)).to.deep.equal(expectedRules.missing)
  })

  it('contains no value of a hidden column in any environment [promise 222]', async () => {
    for (const environment of [undefined, 'development'])
      for (const who of Object.keys(tokens))
        for (const name of names) {
          const text = JSON.stringify(await inEnvironment(environment, () => send(name, who)))
          for (const secret of secrets) expect(text, `${who} ${name}`).to.not.contain(secret)
        }
  })

  it('is named for hidden rows with accessDenied: 403 as well', async () => {
    await perms.close()
    perms = open({ accessDenied: 403 })
    serve()
    const sent = (environment: string, who: string) => inEnvironment(environment, () => send('unreadable', who))
    const { status, body } = await sent('development', 'reader')
    expect(status).to.equal(403)
    expect(body.refusal).to.deep.equal(expectedRules.unreadable)
    expect((await sent('production', 'reader')).body).to.not.have.property('refusal')
    expect((await sent('production', 'admin')).body.refusal).to.deep.equal(expectedRules.unreadable)
  })
})
