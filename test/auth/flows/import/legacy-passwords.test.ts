import bcrypt from 'bcryptjs'
import { expect } from 'chai'
import { initPerms, type Perms, pbkdf2, phpass, runAs, ServiceUnavailableError, saltedDigest, User } from '../../../../src/index.js'
import { countQueries, eachDatabase } from '../../../helpers/databases.js'
import { fieldsOf, rejection } from '../../../helpers/errors.js'
import { migrateAtOnce } from '../../../helpers/library-tables-at-once.js'
import { CountingScheme } from '../../passwords/legacy/counting-scheme.js'
import { outcome, password, secret, TestHasher } from '../../set-up.js'

class Customer extends User {
  static override tableName = 'customers'
  static override columnNames = { passwordHash: 'password' }
}

eachDatabase('Legacy passwords', (db) => {
  const one = new CountingScheme('one')
  const other = new CountingScheme('other')
  let current: TestHasher
  let perms: Perms
  let count = 0
  before(async () => {
    current = new TestHasher()
    const legacy = [one, other, phpass({ cost: 8 })]
    perms = initPerms({ knex: db.knex, jwt: { secret }, user: Customer, passwordHasher: current, throttle: false, passwords: { legacy } })
    await migrateAtOnce(perms)
  })
  after(() => perms.close())
  afterEach(() => {
    current.beforeHash = undefined
    current.beforeVerify = undefined
  })

  /** A user with this text as the stored hash. */
  async function customer(stored: string | null, values: object = {}): Promise<User> {
    count += 1
    const user = await Customer.create({ email: `customer${count}@example.com`, ...values })
    await db.knex('customers').where({ id: user.id }).update({ password: stored })
    return await Customer.getOr404(user.id)
  }
  const storedOf = async ({ id }: User) => ((await db.knex('customers').where({ id }).first()) as { password: string }).password
  const calls = () => {
    const result = [one.take(), other.take()].map(({ verified, dummies }) => verified + dummies)
    const { length } = current.verified
    current.verified.length = 0
    return [...result, length]
  }

  it('sign in, and are replaced by the current hasher at that sign-in', async () => {
    const user = await customer(one.make(password))
    expect(await outcome(perms.auth.signIn({ email: user.email, password: 'wrong' }))).to.equal('InvalidCredentialsError')
    expect(await storedOf(user)).to.equal(one.make(password))
    const { status } = await perms.auth.signIn({ email: user.email, password })
    expect(status).to.equal('signedIn')
    expect(await storedOf(user)).to.match(/^v1\$/)
    one.take()
    await perms.auth.signIn({ email: user.email, password })
    expect(one.take()).to.deep.equal({ verified: 0, dummies: 1 })
  })

  it('of WordPress sign in, and are replaced', async () => {
    // JohnRipper, of the tests of passlib.
    const user = await customer('$P$612345678si5M0DDyPpmRCmcltU/YW/')
    expect(await outcome(perms.auth.signIn({ email: user.email, password: 'wrong' }))).to.equal('InvalidCredentialsError')
    expect(await outcome(perms.auth.signIn({ email: user.email, password: 'JohnRipper' }))).to.equal('fine')
    expect(await storedOf(user)).to.match(/^v1\$/)
  })

  it('run each scheme once and the same statements at every sign-in and password check, for every user [promises 10, 79]', async () => {
    const users = [
      await customer(one.make(password)),
      await customer(other.make(password)),
      await customer(await current.hash(password)),
      await customer('plain text'),
      await customer(null),
      await customer(one.make('x'.repeat(150))),
      await customer(one.make(password), { isEnabled: false }),
    ]
    const { warn } = console
    console.warn = () => undefined
    try {
      for (const email of [...users.map((user) => user.email), 'unknown@example.com']) {
        for (const ask of [
          () => outcome(perms.auth.signIn({ email, password: 'wrong' })),
          () => outcome(perms.auth.signIn({ email, password: 'x'.repeat(10_000) })),
          async () => expect(await perms.auth.checkPassword(email, 'wrong')).to.equal(null),
        ]) {
          calls()
          const { statements } = await countQueries<unknown>(db.knex, ask)
          expect(calls(), email).to.deep.equal([1, 1, 1])
          expect(statements, email).to.have.length(1)
        }
      }
      for (const user of users.slice(0, 6)) {
        calls()
        const change = () => user.update({ email: `new-${user.email}`, oldPassword: 'wrong' } as never)
        const error = await rejection(runAs(user, change))
        expect(fieldsOf(error), user.email).to.deep.equal(['oldPassword'])
        expect(calls(), user.email).to.deep.equal([1, 1, 1])
        await user.isPasswordCorrect('wrong')
        expect(calls(), user.email).to.deep.equal([1, 1, 1])
      }
    } finally {
      console.warn = warn
    }
  })

  it('are accepted as the old password, and checkPassword() replaces nothing', async () => {
    const user = await customer(one.make(password))
    expect((await perms.auth.checkPassword(user.email, password))?.id).to.equal(user.id)
    expect(await storedOf(user)).to.equal(one.make(password))
    await runAs(user, () => user.update({ password: 'staple correct horse', oldPassword: password } as never))
    expect(await storedOf(user)).to.match(/^v1\$/)
    expect(await user.isPasswordCorrect('staple correct horse')).to.equal(true)
  })

  it('sign in although the new hash cannot be made, and are replaced later [promise 5]', async () => {
    const user = await customer(one.make(password))
    current.beforeHash = () => Promise.reject(new ServiceUnavailableError())
    expect(await outcome(perms.auth.signIn({ email: user.email, password }))).to.equal('fine')
    expect(await storedOf(user)).to.equal(one.make(password))
    current.beforeHash = undefined
    expect(await outcome(perms.auth.signIn({ email: user.email, password }))).to.equal('fine')
    expect(await storedOf(user)).to.match(/^v1\$/)
  })

  it('never win against a password that is changed while the new hash is made [promise 5]', async () => {
    const user = await customer(one.make(password))
    current.beforeHash = async () => {
      current.beforeHash = undefined
      await db
        .knex('customers')
        .where({ id: user.id })
        .update({ password: other.make('another password') })
    }
    expect(await outcome(perms.auth.signIn({ email: user.email, password }))).to.equal('InvalidCredentialsError')
    expect(await storedOf(user)).to.equal(other.make('another password'))
  })

  it('sign in once each when two sign-ins replace the hash at once', async () => {
    const user = await customer(one.make(password))
    const results = await Promise.all([1, 2, 3].map(() => outcome(perms.auth.signIn({ email: user.email, password }))))
    expect(results).to.deep.equal(['fine', 'fine', 'fine'])
  })
})

eachDatabase('bcrypt hashes of another application', (db) => {
  let perms: Perms
  before(async () => {
    perms = initPerms({ knex: db.knex, jwt: { secret }, user: Customer, throttle: false, passwords: { cost: 10 } })
    await migrateAtOnce(perms)
  })
  after(() => perms.close())

  it('sign in from any column, of each version, without a scheme, and are replaced', async () => {
    const made = await bcrypt.hash(password, 4)
    for (const version of ['2a', '2b', '2x', '2y']) {
      const { id, email } = await Customer.create({ email: `of-${version}@example.com` })
      await db
        .knex('customers')
        .where({ id })
        .update({ password: made.replace('$2b$', `$${version}$`) })
      expect(await outcome(perms.auth.signIn({ email, password: 'wrong' })), version).to.equal('InvalidCredentialsError')
      expect(await outcome(perms.auth.signIn({ email, password })), version).to.equal('fine')
      expect(((await db.knex('customers').where({ id }).first()) as { password: string }).password).to.match(/^\$2b\$10\$/)
    }
  })
})

describe('initPerms({ passwords: { legacy } })', () => {
  it('refuses two schemes with one name', async () => {
    const { default: Knex } = await import('knex')
    const knex = Knex({ client: 'better-sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true })
    const md5 = () => saltedDigest({ algorithm: 'md5', template: '{hash}' })
    expect(() => initPerms({ knex, passwords: { legacy: [md5(), md5()] } })).to.throw(/two schemes are named 'salted-md5'/)
    const perms = initPerms({ knex, passwords: { legacy: [md5(), pbkdf2()] } })
    await perms.close()
    await knex.destroy()
  })
})
