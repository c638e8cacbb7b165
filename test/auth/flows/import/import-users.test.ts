import { createHash } from 'node:crypto'
import { expect } from 'chai'
import { raw } from 'objection'
import {
  asAnonymous,
  asSystem,
  ConfigurationError,
  column,
  Domain,
  ForbiddenError,
  type ImportedUser,
  type ImportProgress,
  initPerms,
  type Perms,
  phpass,
  Role,
  runAs,
  SoftDeleteMixin,
  saltedDigest,
  TimestampMixin,
  transaction,
  UnauthorizedError,
  User,
} from '../../../../src/index.js'
import { countQueries, eachDatabase } from '../../../helpers/databases.js'
import { rejection } from '../../../helpers/errors.js'
import { migrateAtOnce } from '../../../helpers/library-tables-at-once.js'
import { CountingScheme } from '../../passwords/legacy/counting-scheme.js'
import { outcome, password, secret, TestHasher } from '../../set-up.js'

class Employee extends SoftDeleteMixin(TimestampMixin(User)).withColumns({
  desk: column.string({ maxLength: 10 }).nullable(),
  number: column.integer().unique().nullable(),
  city: column.string(),
}) {}

const md5 = saltedDigest({ algorithm: 'md5', template: '{salt}:{hash}' })
const digest = (salt: string) => `${salt}:${createHash('md5').update(`${salt}${password}`).digest('hex')}`

type ImportedRow = ImportedUser & Readonly<Record<string, unknown>>

/** A hasher that knows its own hashes, so that others can be refused. */
class StrictHasher extends TestHasher {
  recognises(stored: string): boolean {
    return /^v\d\$[0-9a-f]{64}$/.test(stored)
  }
}

eachDatabase('importUsers', (db) => {
  const one = new CountingScheme('one')
  let hasher: StrictHasher
  let perms: Perms
  let ready: string
  before(async () => {
    hasher = new StrictHasher()
    const legacy = [one, md5, phpass()]
    perms = initPerms({ knex: db.knex, jwt: { secret }, user: Employee, passwordHasher: hasher, throttle: false, passwords: { legacy } })
    await migrateAtOnce(perms)
    ready = await hasher.hash(password)
  })
  after(() => perms.close())
  beforeEach(async () => {
    for (const table of ['user_role', 'token', 'employee', 'domain']) await db.knex(table).delete()
  })

  let count = 0
  const person = (values: object = {}): ImportedRow => {
    count += 1
    return { email: `person${count}@example.com`, passwordHash: ready, city: 'Oslo', ...values }
  }
  const people = (number: number) => Array.from({ length: number }, () => person())
  const total = async (table = 'employee') => ((await db.knex(table)) as unknown[]).length

  it('stores the users with their columns, hashes and roles, and they sign in', async () => {
    const domain = await Domain.create({ name: 'press' } as Partial<Domain>)
    const id = '019ac1f0-7d3c-7b1e-9c55-0f6f6a1d2b3c'
    const result = await perms.auth.importUsers([
      person({
        id,
        email: ' Ada@Example.COM ',
        desk: '4',
        roles: ['editor', { role: 'reviewer', domain: 'press' }, { role: Role.ADMIN, domain: '*' }],
      }),
      person({ email: 'legacy@example.com', passwordHash: one.make(password), roles: ['editor', 'editor'] }),
      person({ email: 'none@example.com', passwordHash: null, roles: [{ role: 'reviewer', domain: { id: domain.id } }] }),
      person({ email: 'without@example.com', passwordHash: undefined }),
    ])
    expect(result).to.deep.equal({ read: 4, imported: 4, skipped: 0, refused: [] })
    const ada = await Employee.getByOr404({ email: 'ada@example.com' })
    expect([ada.id, ada.desk, ada.city, ada.isEnabled]).to.deep.equal([id, '4', 'Oslo', true])
    expect(ada.createdAt).to.be.instanceOf(Date)
    expect(ada.roles?.map(({ role, domainId }) => [role, domainId]).sort()).to.deep.equal([
      ['admin', null],
      ['editor', null],
      ['reviewer', domain.id],
    ])
    expect((await Employee.getByOr404({ email: 'legacy@example.com' })).roles).to.have.length(1)
    expect((await Employee.getByOr404({ email: 'none@example.com' })).hasRole('reviewer', { domain: 'press' })).to.equal(true)
    for (const email of ['ada@example.com', 'legacy@example.com'])
      expect(await outcome(perms.auth.signIn({ email, password })), email).to.equal('fine')
    expect(await outcome(perms.auth.signIn({ email: 'none@example.com', password }))).to.equal('InvalidCredentialsError')
  })

  it('reads arrays, generators and async generators in batches, and reports progress after each', async () => {
    const rows = people(7)
    async function* slowly() {
      for (const row of rows) yield row
    }
    const seen: ImportProgress[] = []
    const onProgress = async (progress: ImportProgress) => {
      seen.push(progress)
      expect(await total()).to.equal(progress.imported)
    }
    expect(await perms.auth.importUsers(slowly(), { batchSize: 3, onProgress })).to.deep.equal({
      read: 7,
      imported: 7,
      skipped: 0,
      refused: [],
    })
    expect(seen).to.deep.equal([3, 6, 7].map((read) => ({ read, imported: read, skipped: 0, refused: 0 })))
    expect((await perms.auth.importUsers(new Set(people(2)).values())).imported).to.equal(2)
    expect(await perms.auth.importUsers([])).to.deep.equal({ read: 0, imported: 0, skipped: 0, refused: [] })
  })

  it('sends one look-up for a batch, and inserts users and roles in one transaction, on PostgreSQL with one statement each', async () => {
    const rows = people(60).map((row) => ({ ...row, roles: ['editor'] }))
    await perms.auth.importUsers(people(1))
    const { statements } = await countQueries(db.knex, () => perms.auth.importUsers(rows, { batchSize: 20 }))
    const inserts = db.dialect === 'pg' ? 3 : 60
    expect(statements.filter((sql) => /^select .*email/i.test(sql))).to.have.length(3)
    expect(statements.filter((sql) => /^insert into .employee/i.test(sql))).to.have.length(inserts)
    expect(statements.filter((sql) => /^insert into .user_role/i.test(sql))).to.have.length(inserts)
    expect(statements.filter((sql) => /^begin/i.test(sql))).to.have.length(3)
    // The other two read and lock the superadmins, as every grant does.
    if (db.dialect === 'pg') expect(statements).to.have.length(3 * 7)
  })

  it('skips users who exist, by id or address, so that an interrupted import can be run again', async () => {
    const rows = [...people(5), person({ id: '019ac1f0-7d3c-7b1e-9c55-0f6f6a1d2b3d', roles: ['editor'] })]
    function* interrupted() {
      yield* rows.slice(0, 4)
      throw new Error('The connection to the old database is lost.')
    }
    expect((await rejection(perms.auth.importUsers(interrupted(), { batchSize: 2 }))).message).to.match(/connection/)
    expect(await total()).to.equal(4)
    await Employee.query()
      .findOne({ email: rows[0]?.email as string })
      .patch({ desk: 'new' } as never)
    expect(await perms.auth.importUsers(rows, { batchSize: 4 })).to.deep.equal({ read: 6, imported: 2, skipped: 4, refused: [] })
    expect((await Employee.getByOr404({ email: rows[0]?.email as string })).desk).to.equal('new')
    // The address was changed after the import.
    await db.knex('employee').where({ email: rows[5]?.email }).update({ email: 'moved@example.com' })
    expect(await perms.auth.importUsers(rows)).to.deep.equal({ read: 6, imported: 0, skipped: 6, refused: [] })
    expect(await total('user_role')).to.equal(1)
  })

  it('skips users whom another import inserts at the same time, and imports each once', async () => {
    const rows = people(12).map((row) => ({ ...row, roles: ['editor'] }))
    const [one, two] = await Promise.all([perms.auth.importUsers(rows, { batchSize: 5 }), perms.auth.importUsers(rows, { batchSize: 7 })])
    expect([one.imported + two.imported, one.skipped + two.skipped]).to.deep.equal([12, 12])
    expect([...one.refused, ...two.refused]).to.deep.equal([])
    expect([await total(), await total('user_role')]).to.deep.equal([12, 12])
  })

  it('refuses raw SQL as an id, identifier or hash, which no check would see', async () => {
    const fields = { id: "'x'", email: "'x@example.com'", passwordHash: "'plain'" }
    for (const [field, sql] of Object.entries(fields)) {
      const { imported, refused } = await perms.auth.importUsers([person({ [field]: raw(sql) })])
      expect([imported, refused[0]?.errors[0]?.field], field).to.deep.equal([0, field])
    }
  })

  it('skips soft-deleted users', async () => {
    const [row] = people(1)
    await perms.auth.importUsers([row as ImportedUser])
    await (await Employee.getByOr404({ email: row?.email as string })).delete()
    expect((await perms.auth.importUsers([row as ImportedUser])).skipped).to.equal(1)
  })

  it('refuses single rows with their position, field and reason, imports the others, and shows no values', async () => {
    await perms.auth.importUsers([person({ id: '019ac1f0-7d3c-7b1e-9c55-0f6f6a1d2b30', email: 'taken@example.com', number: 7 })])
    const hash = 'secret-hash-of-nobody'
    const rows: [unknown, string][] = [
      [person(), ''],
      [person({ passwordHash: hash }), 'passwordHash'],
      [person({ passwordHash: one.make('x'.repeat(150)) }), 'passwordHash'],
      [person({ passwordHash: 'x'.repeat(3000) }), 'passwordHash'],
      [person({ passwordHash: 7 }), 'passwordHash'],
      [person({ password: hash }), 'password'],
      [person({ email: 'no address' }), 'email'],
      [person({ email: undefined }), 'email'],
      [person({ email: 'twice@example.com' }), ''],
      [person({ email: ' TWICE@example.com' }), 'email'],
      [person({ email: 'taken@example.com', id: '019ac1f0-7d3c-7b1e-9c55-0f6f6a1d2b31' }), 'email'],
      [person({ id: 'not an id' }), 'id'],
      [person({ desk: 'x'.repeat(11) }), 'desk'],
      [person({ city: undefined }), 'city'],
      [person({ number: 7 }), 'number'],
      [person({ unknown: hash }), 'unknown'],
      [person({ roles: 'editor' }), 'roles'],
      [person({ roles: ['ADMIN'] }), 'roles'],
      [person({ roles: [{ role: 'editor', domain: 'nowhere' }] }), 'roles'],
      [person({ roles: [7] }), 'roles'],
      [null, ''],
      ['text', ''],
      [[], ''],
      [person({ roles: ['editor'] }), ''],
    ]
    const result = await perms.auth.importUsers(
      rows.map(([row]) => row as ImportedUser),
      { batchSize: 15 },
    )
    const expected = rows.map(([, field], index) => ({ index, field })).filter(({ index }) => ![0, 8, 23].includes(index))
    expect(result.refused.map(({ index, errors }) => ({ index, field: errors[0]?.field }))).to.deep.equal(expected)
    for (const { errors } of result.refused) expect(errors[0]?.message).to.be.a('string').and.not.equal('')
    expect([result.read, result.imported, result.skipped]).to.deep.equal([24, 3, 0])
    expect(JSON.stringify(result)).to.not.contain(hash).and.not.contain(ready)
    expect(await total()).to.equal(4)
    expect(await total('user_role')).to.equal(1)
    expect(result.refused[1]?.errors[0]?.message).to.equal('exceeds the bounds of its scheme: length')
  })

  it('imports a user with all roles or not at all', async () => {
    const hooked = await perms.auth.importUsers([person({ roles: ['x'.repeat(101)] }), person({ roles: ['editor'] })])
    expect(hooked.imported).to.equal(1)
    expect(hooked.refused.map(({ index }) => index)).to.deep.equal([0])
    expect(await total()).to.equal(1)
  })

  it('wraps fast digests with the current hasher on request, leaves other hashes, and the digests are replaced at sign-in', async () => {
    const first = person({ passwordHash: digest('a1') })
    const second = person({ passwordHash: ready })
    const third = person({ passwordHash: one.make(password) })
    const fourth = person({ passwordHash: null })
    const plain = person({ passwordHash: digest('b2') })
    await perms.auth.importUsers([first, second, third, fourth], { wrap: true })
    await perms.auth.importUsers([plain])
    const stored = async ({ email }: ImportedUser) => (await Employee.getByOr404({ email: email as string })).passwordHash
    expect(await stored(first)).to.match(/^wrapped\$salted-md5\$[\w-]+\$v1\$/)
    expect(await stored(first)).to.not.contain(digest('a1').slice(3))
    expect([await stored(second), await stored(third), await stored(fourth)]).to.deep.equal([ready, one.make(password), null])
    expect(await stored(plain)).to.equal(digest('b2'))
    for (const row of [first, plain]) {
      const email = row.email as string
      expect(await outcome(perms.auth.signIn({ email, password: 'wrong' }))).to.equal('InvalidCredentialsError')
      expect(await outcome(perms.auth.signIn({ email, password }))).to.equal('fine')
      expect(await stored(row)).to.match(/^v1\$/)
    }
  })

  it('runs only for scripts, asSystem() and global superadmins [promise 39]', async () => {
    const domain = await Domain.create({ name: 'press' } as Partial<Domain>)
    const make = async (email: string, role?: string, given: object = {}) => {
      const user = await Employee.create({ email, city: 'Oslo' } as Partial<Employee>)
      if (role) await user.grantRole(role, given)
      return user
    }
    const superadmin = await make('super@example.com', Role.SUPERADMIN)
    const others = [
      await make('admin@example.com', Role.ADMIN),
      await make('local@example.com', Role.SUPERADMIN, { domain }),
      await make('user@example.com'),
    ]
    for (const other of others) {
      const error = await rejection(runAs(other, () => perms.auth.importUsers(people(1))))
      expect(error, other.email).to.be.instanceOf(ForbiddenError)
    }
    expect(await rejection(asAnonymous(() => perms.auth.importUsers(people(1))))).to.be.instanceOf(UnauthorizedError)
    const { plain } = await perms.auth.apiKeys.issue(superadmin, { description: 'key', abilities: ['*'] } as never)
    const key = await perms.authenticate(plain)
    expect(await rejection(runAs(key, () => perms.auth.importUsers(people(1))))).to.be.instanceOf(ForbiddenError)
    expect(await total()).to.equal(4)
    for (const run of [
      () => perms.auth.importUsers(people(1)),
      () => asSystem(() => perms.auth.importUsers(people(1))),
      () => runAs(superadmin, () => perms.auth.importUsers(people(1))),
    ])
      expect((await run()).imported).to.equal(1)
  })

  it('reads the iterable as the caller, without the bypass of the import [promise 40]', async () => {
    const superadmin = await Employee.create({ email: 'super@example.com', city: 'Oslo' } as Partial<Employee>)
    await superadmin.grantRole(Role.SUPERADMIN)
    const authorities: unknown[] = []
    async function* asking() {
      const { authorityFor } = await import('../../../../src/policy/context.js')
      for (const row of people(2)) {
        const authority = authorityFor(Employee)
        authorities.push(authority === 'free' ? 'free' : authority?.id)
        yield row
      }
    }
    await runAs(superadmin, () => perms.auth.importUsers(asking(), { batchSize: 1 }))
    expect(authorities).to.deep.equal([superadmin.id, superadmin.id])
  })

  it('records no registration for imported users, also inside a request', async () => {
    await asAnonymous(() => asSystem(() => perms.auth.importUsers(people(2))), { address: '192.0.2.7' })
    expect(await total('token')).to.equal(0)
    expect(await total()).to.equal(2)
  })

  it("refuses to run inside the application's transaction, wrong batch sizes, and values that are not iterable", async () => {
    expect(await rejection(transaction(async () => await perms.auth.importUsers(people(1))))).to.be.instanceOf(ConfigurationError)
    for (const batchSize of [0, -1, 1.5, 1001, Number.NaN])
      expect(await rejection(perms.auth.importUsers(people(1), { batchSize }))).to.be.instanceOf(ConfigurationError)
    for (const users of [null, undefined, 7, 'text', {}])
      expect(await rejection(perms.auth.importUsers(users as never))).to.be.instanceOf(ConfigurationError)
    expect(await total()).to.equal(0)
  })

  it('stops at an unexpected error, and keeps the batches before it [promise 61]', async () => {
    const { beforeInsert } = { beforeInsert: Employee.prototype.$beforeInsert }
    Employee.prototype.$beforeInsert = async function (this: Employee, context: never) {
      await beforeInsert.call(this, context)
      if (this.desk === 'broken') throw new TypeError('A fault of the application.')
    }
    try {
      const rows = [...people(2), person({ desk: 'broken' }), person()]
      expect(await rejection(perms.auth.importUsers(rows, { batchSize: 2 }))).to.be.instanceOf(TypeError)
      expect(await total()).to.equal(2)
    } finally {
      Employee.prototype.$beforeInsert = beforeInsert
    }
  })
})

class Customer extends User.withColumns({ id: column.integer() }) {
  static override tableName = 'customers'
}

eachDatabase('importUsers with ids that the database makes', (db) => {
  let perms: Perms
  before(async () => {
    perms = initPerms({ knex: db.knex, jwt: { secret }, user: Customer as never, passwordHasher: new TestHasher(), throttle: false })
    await migrateAtOnce(perms)
  })
  after(() => perms.close())

  it('grants roles to users without an id, and continues after the highest given id', async () => {
    const result = await perms.auth.importUsers([
      { id: 70, email: 'seventy@example.com', roles: ['editor'] },
      { id: 12, email: 'twelve@example.com' },
    ])
    expect(result.imported).to.equal(2)
    const next = await perms.auth.importUsers([
      { email: 'a@example.com', roles: ['editor'] },
      { email: 'b@example.com', roles: ['reviewer'] },
    ])
    expect(next).to.deep.equal({ read: 2, imported: 2, skipped: 0, refused: [] })
    const users = await Customer.query().orderBy('email').withGraphFetched('roles')
    expect(users.map(({ email, roles }) => [email, roles?.map(({ role }) => role)])).to.deep.equal([
      ['a@example.com', ['editor']],
      ['b@example.com', ['reviewer']],
      ['seventy@example.com', ['editor']],
      ['twelve@example.com', []],
    ])
    expect((await Customer.create({ email: 'c@example.com' } as never)).id).to.be.greaterThan(70)
    expect((await perms.auth.importUsers([{ id: '70' as never, email: 'other@example.com' }])).refused[0]?.errors[0]?.field).to.equal('id')
  })
})
