import { expect } from 'chai'
import {
  allOf,
  anyOf,
  asSystem,
  authenticated,
  BaseModel,
  BasePermsModel,
  belongsTo,
  check,
  column,
  createTables,
  Domain,
  everyone,
  HasDomainMixin,
  HasUserMixin,
  hasMany,
  initPerms,
  type LintSettings,
  lint,
  member,
  nobody,
  not,
  owner,
  type Perms,
  type Policy,
  recent,
  related,
  role,
  UserOwnershipMixin,
  where,
} from '../../src/index.js'
import { createUser } from '../../src/testing/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

const columns = {
  status: column.enum(['open', 'closed']),
  views: column.integer(),
  price: column.decimal(10, 2).nullable(),
  title: column.string({ maxLength: 40 }),
  isOn: column.boolean(),
  day: column.date().nullable(),
  reviewerId: column.uuid().nullable(),
}

class Project extends BasePermsModel.withColumns({ isOpen: column.boolean() }) {
  static override policy = { read: everyone() }
}

/** Returns what lint() says of a policy: code, action, path. */
async function findingsFor(policy: Policy, settings?: LintSettings): Promise<string[]> {
  class Post extends HasUserMixin(BasePermsModel).withColumns({ ...columns, projectId: column.uuid().nullable() }) {
    static override policy = policy
    static lint = settings
    static override relationMappings = { project: belongsTo(() => Project, 'projectId') }
  }
  return (await lint([Post])).map(({ code, action, leaf }) => [code, action, leaf?.path].filter(Boolean).join(' '))
}

const isOpen = where({ status: 'open' })

// Each pair: a policy with a fault and the finding, and a policy like it without the fault.
const rules: Readonly<Record<string, readonly [policy: Policy, expected: readonly string[]]>> = {
  'a constant that opens a rule': [{ read: anyOf(owner(), everyone()) }, ['always-true read anyOf[1]']],
  'a constant that closes a rule': [{ read: allOf(owner(), nobody()) }, ['always-false read allOf[1]']],
  'a constant without effect': [{ read: anyOf(owner(), nobody()) }, ['adds-nothing read anyOf[1]']],
  'a negated constant': [{ read: not(nobody()) }, ['always-false read not']],
  'a range without a number': [{ read: where({ views: { gt: 9, lt: 10 } }) }, ['always-false read where']],
  'a range of decimals without a number': [{ read: where({ price: { gt: '1.00', lt: '1.01' } }) }, ['always-false read where']],
  'a range of days without a day': [{ read: where({ day: { gt: '2024-02-28', lt: '2024-02-29' } }) }, ['always-false read where']],
  'an empty list': [{ read: where({ status: [] }) }, ['always-false read where']],
  'NULL in a column that is never NULL': [{ read: where({ status: null }) }, ['always-false read where']],
  'a value that the enum lacks': [{ read: where({ status: 'opne' }) }, ['always-false read where']],
  'all values of an enum': [{ read: where({ status: ['open', 'closed'] }) }, ['always-true read where']],
  'two values of one column at once': [{ read: allOf(isOpen, where({ status: 'closed' })) }, ['always-false read allOf']],
  'both values of a boolean': [{ read: anyOf(where({ isOn: true }), where({ isOn: false }), owner()) }, ['always-true read anyOf']],
  'a contradiction of a related row': [
    { read: related('project', where({ isOpen: { eq: true, ne: true } })) },
    ["always-false read related('project')"],
  ],
  'a sibling that is included': [{ read: anyOf(owner(), allOf(owner(), isOpen)) }, ['adds-nothing read anyOf[1]']],
  'a narrower comparison beside a wider one': [
    { read: anyOf(where({ views: { gt: 1 } }), where({ views: { gt: 5 } })) },
    ['adds-nothing read anyOf[1]'],
  ],
  'a wider comparison that must also hold': [
    { read: allOf(where({ views: { gt: 1 } }), where({ views: { gt: 5 } })) },
    ['adds-nothing read allOf[0]'],
  ],
  'the same rule twice': [{ read: anyOf(owner(), isOpen, owner()) }, ['adds-nothing read anyOf[2]']],
  'authenticated() beside a role that must also hold': [{ read: allOf(authenticated(), role('editor')) }, ['adds-nothing read allOf[0]']],
  'a role beside a list with it': [{ read: anyOf(role('editor'), role(['editor', 'author'])) }, ['adds-nothing read anyOf[0]']],
  'a longer session beside a shorter one': [{ read: allOf(owner(), recent(60), recent(600)) }, ['adds-nothing read allOf[2]']],
  'an update for callers who may not read': [
    { read: owner(), update: anyOf(owner(), role('editor')) },
    ['wider-than-read update anyOf', 'wider-than-read delete anyOf'],
  ],
  'an action for callers who may not read': [{ read: owner(), publish: role('editor') }, ['wider-than-read publish role']],
  'a delete of rows that are not readable': [
    { read: allOf(owner(), isOpen), update: nobody(), delete: owner() },
    ['wider-than-read delete owner'],
  ],
  'rows that anonymous callers create': [{ read: owner(), create: everyone() }, ['create-without-owner create constant']],
  'rows that anyone creates for others': [
    { read: owner(), create: { own: authenticated(), others: authenticated() } },
    ['create-without-owner create others'],
  ],
  'a check() that compares columns': [
    {
      read: owner(),
      update: allOf(
        owner(),
        check<{ views: number }>((row) => row.views === 3),
      ),
    },
    ['check-in-code update allOf[1].check'],
  ],
}

const faultless: Readonly<Record<string, Policy>> = {
  'constants as whole rules': { read: everyone(), create: nobody(), update: nobody() },
  'ranges with values': { read: allOf(where({ views: { gt: 8, lt: 10 } }), where({ price: { gt: '1.00', lt: '1.02' } })) },
  'rules that overlap': { read: anyOf(where({ views: { gt: 5 } }), where({ views: { lt: 3 } }), isOpen) },
  'patterns that differ': { read: anyOf(where({ title: { like: 'a%' } }), where({ title: { like: 'b_' } })) },
  'NULL in a column that may be NULL': { read: where({ price: null }) },
  'an update within read': {
    read: anyOf(where({ status: ['open', 'closed'], isOn: true }), owner(), related('project', where({ isOpen: true }))),
    update: allOf(owner(), isOpen),
    delete: role('admin'),
    close: related('project', allOf(where({ isOpen: true }))),
    start: where({ status: 'open', isOn: true }),
  },
  'an update by code': { read: owner(), update: check(async (row, actor) => Boolean(await Promise.resolve(row === actor))) },
  'rows that agents create for others': { read: owner(), create: { own: authenticated(), others: role('agent') } },
  'roles in different places': { read: anyOf(role('editor'), role('editor', { domain: 'press' })) },
}

eachDatabase('lint()', (db) => {
  let perms: Perms
  before(async () => {
    perms = initPerms({ knex: db.knex, models: [Project] })
    await migrateAtOnce(perms)
  })
  after(() => perms.close())

  for (const [name, [policy, expected]] of Object.entries(rules)) {
    it(`finds ${name} [promise 224]`, async () => {
      const found = await findingsFor(policy)
      expect(found.sort()).to.deep.equal([...expected].sort())
    })
  }
  for (const [name, policy] of Object.entries(faultless)) {
    it(`finds nothing in ${name} [promise 224]`, async () => {
      expect(await findingsFor(policy)).to.deep.equal([])
    })
  }

  it('finds models without a policy or protection, and lifted scopes', async () => {
    class Plain extends BaseModel.withColumns({ title: column.string() }) {}
    class Closed extends BasePermsModel.withColumns({ title: column.string() }) {}
    class Lifted extends HasDomainMixin(BasePermsModel).withColumns({ title: column.string() }) {
      static override unguarded = ['domain']
      static override policy = { read: member() }
    }
    class Kept extends HasDomainMixin(UserOwnershipMixin(BasePermsModel)).withColumns({ title: column.string() }) {}
    const found = await lint([Plain, Closed, Lifted, Kept])
    expect(found.map(({ code, model, severity }) => `${code} ${model} ${severity}`)).to.deep.equal([
      'no-policy Plain warning',
      'no-policy Closed warning',
      'lifted-scope Lifted warning',
    ])
  })

  it('finds rows of a column of owner() that the create rule does not check', async () => {
    const modelWith = (create: Policy['create']) => {
      class Letter extends BasePermsModel.withColumns({ authorId: column.uuid() }) {
        static override policy = { read: owner('authorId'), create, update: owner('authorId') } as Policy
      }
      return Letter
    }
    const codesOf = async (create: Policy['create']) => (await lint([modelWith(create)])).map(({ code, severity }) => [code, severity])
    expect(await codesOf(authenticated())).to.deep.equal([['create-without-owner', 'error']])
    expect(await codesOf(owner('authorId'))).to.deep.equal([])
    expect(await codesOf(nobody())).to.deep.equal([])
  })

  it('leaves out what the model acknowledges, and reports acknowledgements without a finding', async () => {
    const policy: Policy = { read: anyOf(owner(), nobody()), publish: anyOf(nobody(), owner()) }
    expect(await findingsFor(policy, { acknowledge: { 'adds-nothing': 'generated' } })).to.deep.equal([])
    expect(await findingsFor(policy, { acknowledge: { 'adds-nothing:read': 'generated' } })).to.deep.equal([
      'adds-nothing publish anyOf[0]',
    ])
    const stale = { acknowledge: { 'lifted-scope': 'old', 'adds-nothing:delete': 'old', 'no-such-code': 'typo' } } as LintSettings
    expect(await findingsFor({ read: owner() }, stale)).to.deep.equal(Array(3).fill('unused-acknowledgement'))
  })

  it('says what to do: model, action, place, words, reason and fix', async () => {
    class Post extends HasUserMixin(BasePermsModel).withColumns(columns) {
      static override policy = { read: where({ views: { gt: 9, lt: 10 } }) }
    }
    expect(await lint([Post])).to.deep.equal([
      {
        code: 'always-false',
        severity: 'warning',
        model: 'Post',
        action: 'read',
        leaf: { path: 'where', words: 'rows where {"views":{"gt":9,"lt":10}}' },
        reason: 'This is false for every row: no value of the column makes rows where {"views":{"gt":9,"lt":10}} anything else.',
        fix: 'Correct the values, or write nobody() if no row is meant.',
      },
    ])
  })

  it('finds compared columns without an index in the catalogue of the database', async () => {
    class Folder extends HasUserMixin(BasePermsModel).withColumns({ keeperId: column.uuid().nullable() }) {
      static override policy: Policy = { read: anyOf(owner(), owner('keeperId'), related('papers', where({ isOn: true }))) }
      static override relationMappings = { papers: hasMany(() => Paper, 'folderId') }
    }
    class Paper extends BasePermsModel.withColumns({ isOn: column.boolean(), folderId: column.uuid().nullable() }) {
      static override policy = { read: everyone() }
    }
    await createTables(db.knex, [Folder, Paper])
    const paths = async () => (await lint([Folder])).map(({ code, leaf }) => `${code} ${leaf?.path}`)
    expect(await paths()).to.deep.equal(['missing-index folder.keeper_id', 'missing-index paper.folder_id'])
    await db.knex.schema.alterTable('folder', (table) => table.index('keeper_id'))
    await db.knex.schema.alterTable('paper', (table) => table.index('folder_id'))
    expect(await paths()).to.deep.equal([])
  })

  it('finds roles that nobody holds, once other roles are granted, and names the one that was meant', async () => {
    const policy: Policy = { read: anyOf(role('edtor'), role('author', { domain: 'any' }), role('admin')) }
    expect(await findingsFor(policy)).to.deep.equal([])
    await asSystem(async () => {
      const press = await Domain.create({ name: 'press' })
      await createUser({}, { role: 'editor' })
      await createUser({}, { role: 'author', domain: press })
    })
    expect(await findingsFor(policy)).to.deep.equal(['role-not-granted read anyOf[0].role'])
    class Post extends HasUserMixin(BasePermsModel).withColumns(columns) {
      static override policy = policy
    }
    expect((await lint([Post]))[0]?.fix).to.equal("Did you mean 'editor'? Otherwise grant it, or remove it from the rule.")
  })
})

describe('lint() without a database', () => {
  it('examines the policies alone', async () => {
    class Post extends HasUserMixin(BasePermsModel).withColumns(columns) {
      static override policy = { read: anyOf(owner(), nobody()) }
    }
    expect((await lint([Post])).map(({ code }) => code)).to.deep.equal(['adds-nothing'])
  })
})
