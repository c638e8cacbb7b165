import { expect } from 'chai'
import { Model } from 'objection'
import {
  allOf,
  allowed,
  anyOf,
  authenticated,
  BasePermsModel,
  belongsTo,
  check,
  column,
  everyone,
  HasDomainMixin,
  HasUserMixin,
  hasMany,
  initPerms,
  member,
  nobody,
  not,
  owner,
  type Perms,
  type Policy,
  before as previously,
  recent,
  related,
  role,
  verify,
  where,
} from '../../src/index.js'
import { eachDatabase } from '../helpers/databases.js'

const property = 'tenantIsolation' as const

class Project extends HasDomainMixin(BasePermsModel).withColumns({ isShared: column.boolean() }) {
  static override policy: Policy = { read: member(), create: role('lead'), update: role('lead') }
}
const Guarded = HasDomainMixin(HasUserMixin(BasePermsModel)).withColumns({
  status: column.enum(['draft', 'published', 'archived']),
  views: column.integer(),
  projectId: column.uuid().nullable(),
  parentTeamId: column.uuid().nullable(),
})

function modelWith(policy: Policy, unguarded: readonly string[] = []) {
  class Article extends Guarded {
    static override unguarded = unguarded
    static override policy = policy
    static override relationMappings = {
      project: belongsTo(() => Project, 'projectId'),
      publicProject: {
        relation: Model.BelongsToOneRelation,
        modelClass: Project,
        join: { from: 'article.projectId', to: 'project.id' },
        filter: (query: { where(name: string, value: unknown): unknown }) => query.where('isShared', true),
      },
      remarks: hasMany(() => Remark, 'articleId'),
      above: belongsTo(() => Article, 'parentTeamId'),
    } as never
  }
  class Remark extends HasUserMixin(BasePermsModel).withColumns({ articleId: column.uuid().nullable() }) {
    static override policy = { read: owner() }
  }
  return Article
}

const lifted = ['domain']
const inDomain = member()

// The policy of each leak, the action that crosses tenants, and whether the global scope of domains is lifted.
const leaks: Readonly<Record<string, { policy: Policy; action: string; isLifted: boolean }>> = {
  'published rows of all tenants': { policy: { read: anyOf(inDomain, where({ status: 'published' })) }, action: 'read', isLifted: true },
  'rows of all tenants for a global role': { policy: { read: anyOf(inDomain, role('support')) }, action: 'read', isLifted: true },
  'a role in any domain': { policy: { read: inDomain, update: role('editor', { domain: 'any' }) }, action: 'update', isLifted: false },
  'rows of an owner who left the tenant': { policy: { read: anyOf(inDomain, owner()) }, action: 'read', isLifted: true },
  'a related project of another tenant': { policy: { read: related('project', allowed('read')) }, action: 'read', isLifted: true },
  'the wrong domain column': {
    policy: { read: inDomain, delete: member('parentTeamId'), update: nobody() },
    action: 'delete',
    isLifted: false,
  },
  'members of nowhere': { policy: { read: not(member('domainId', ['guest'])) }, action: 'read', isLifted: true },
  'an action without its tenant': {
    policy: { read: everyone(), update: inDomain, publish: role('editor', { domain: 'any' }) },
    action: 'publish',
    isLifted: true,
  },
  'a comment that opens the row': { policy: { read: anyOf(inDomain, related('remarks', owner())) }, action: 'read', isLifted: true },
  'many views, and a fresh session': {
    policy: { read: anyOf(inDomain, allOf(where({ views: { gte: 1000 } }), recent(60))) },
    action: 'read',
    isLifted: true,
  },
}

const safe: Readonly<Record<string, { policy: Policy; isLifted?: boolean }>> = {
  'the global scope': {
    policy: { read: anyOf(where({ status: 'published' }), owner(), role(['editor', 'admin'])), create: role('editor'), update: owner() },
  },
  'rules that name the domain': {
    policy: { read: inDomain, create: inDomain, update: { from: member('domainId', ['editor']), to: inDomain } },
    isLifted: true,
  },
  'related rows of the same tenant': {
    policy: { read: allOf(inDomain, related('project', allowed('read'))), update: allOf(owner(), related('remarks', owner())) },
  },
}

eachDatabase('verify()', (db) => {
  let perms: Perms
  before(() => {
    perms = initPerms({ knex: db.knex, models: [Project] })
  })
  after(() => perms.close())

  for (const [name, { policy, action, isLifted }] of Object.entries(leaks)) {
    it(`finds the leak: ${name} [promise 225]`, async () => {
      const Article = modelWith(policy, isLifted ? lifted : [])
      const { outcome, counterexamples } = await verify([Article, Project], { property })
      expect(counterexamples.map((one) => `${one.model} ${one.action}`)).to.include(`Article ${action}`)
      expect(outcome).to.equal('counterexample')
      expect(counterexamples.filter(({ model }) => model === 'Project')).to.deep.equal([])
    })
  }
  it('finds rows that are created in another tenant, or moved to it, unless the tenant must be readable [promise 225]', async () => {
    const policy: Policy = {
      read: member('companyId'),
      create: authenticated(),
      update: { from: member('companyId'), to: authenticated() },
    }
    class Ledger extends BasePermsModel.withColumns({ companyId: column.uuid() }) {
      static override policy = policy
    }
    class Book extends BasePermsModel.withColumns({ companyId: column.uuid().references('domain.id') }) {
      static override policy = policy
    }
    const tenant = { Ledger: 'companyId', Book: 'companyId' }
    const { counterexamples } = await verify([Ledger, Book], { property, tenant })
    expect(counterexamples.map(({ model, action }) => `${model} ${action}`)).to.deep.equal(['Ledger create', 'Ledger move'])
  })

  for (const [name, { policy, isLifted = false }] of Object.entries(safe)) {
    it(`passes: ${name} [promise 225]`, async () => {
      const Article = modelWith(policy, isLifted ? lifted : [])
      const { outcome, counterexamples, unknown, tenants } = await verify([Article, Project], { property })
      expect(counterexamples.map(({ description }) => description)).to.deep.equal([])
      expect(unknown).to.deep.equal([])
      expect(outcome).to.equal('pass')
      expect(tenants).to.deep.equal({ Article: 'domainId', Project: 'domainId' })
    })
  }

  it('answers unknown for rules that it does not cover, and never pass [promise 226]', async () => {
    const reasons: Readonly<Record<string, Policy>> = {
      'check() is code': {
        read: inDomain,
        update: allOf(
          inDomain,
          check(() => true),
        ),
      },
      'before() is decided by the row as it was': { read: inDomain, update: { from: inDomain, to: previously(inDomain) } },
      "related('publicProject') has a filter": { read: allOf(inDomain, related('publicProject', everyone())) },
      "related('above') with recursive": { read: allOf(inDomain, related('above', everyone(), { recursive: true })) },
      'the rule teleport() is not covered': { read: allOf(inDomain, { kind: 'teleport', sql: true } as never), update: nobody() },
    }
    for (const [reason, policy] of Object.entries(reasons)) {
      const { outcome, unknown } = await verify([modelWith(policy)], { property })
      expect(outcome, reason).to.equal('unknown')
      expect(unknown.map((one) => one.reason)).to.include(reason)
    }
  })

  it('answers unknown when the time is over or a rule has too many rows [promise 226]', async () => {
    const late = await verify([modelWith({ read: inDomain })], { property, timeout: 0 })
    expect(late.outcome).to.equal('unknown')
    expect(late.unknown[0]?.reason).to.equal('the time was over before this action: pass a longer timeout')
    const values = Array.from({ length: 3000 }, (_, i) => i * 10)
    const wide = await verify([modelWith({ read: allOf(inDomain, where({ views: values })) })], { property })
    expect(wide.unknown[0]?.reason).to.match(/^more than 6000 rows of Article differ/)
  })

  it('takes the tenant from a column, from nowhere, or from the owner if asked', async () => {
    class Ledger extends HasUserMixin(BasePermsModel).withColumns({ companyId: column.uuid(), isOpen: column.boolean() }) {
      static override policy: Policy = { read: anyOf(owner(), where({ isOpen: true })), create: authenticated(), update: owner() }
    }
    const outcomeOf = async (more: object) => (await verify([Ledger], { property, ...more })).outcome
    expect(await outcomeOf({})).to.equal('unknown')
    expect(await outcomeOf({ tenant: { Ledger: 'companyId' } })).to.equal('counterexample')
    expect(await outcomeOf({ tenant: { Ledger: null }, ownership: true })).to.equal('unknown')
    const { counterexamples } = await verify([Ledger], { property, ownership: true })
    expect(counterexamples.map(({ action }) => action)).to.deep.equal(['read'])
    expect((await verify([Ledger], { property, tenant: { Ledgr: 'companyId' } }).catch((error) => error)).message).to.contain(
      'The models are Ledger.',
    )
    expect((await verify([Ledger], { property, tenant: { Ledger: 'company' } }).catch((error) => error)).message).to.contain(
      'no such column',
    )
    const misspelled = { property, tenants: { Ledger: 'companyId' } } as never
    expect((await verify([Ledger], misspelled).catch((error) => error)).message).to.contain('tenants')
    expect((await verify([Ledger], { property: 'beauty' as never }).catch((error) => error)).message).to.contain("Use 'tenantIsolation'")
  })
})
