import { expect } from 'chai'
import { bcryptHasher } from '../../../src/auth/passwords/bcrypt-hasher.js'
import {
  AccountDisabledError,
  ConfigurationError,
  InvalidCredentialsError,
  ServiceUnavailableError,
  transaction,
  User,
  UserRole,
} from '../../../src/index.js'
import { countQueries, eachDatabase } from '../../helpers/databases.js'
import { fieldsOf, rejection } from '../../helpers/errors.js'
import { Member, member, outcome, password, type SetUp, setUp } from '../set-up.js'

/** A barrier: code waits at it until the test opens it. */
function barrier(): { wait: () => Promise<void>; reached: Promise<void>; open: () => void } {
  let open = () => {}
  let arrive = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  const reached = new Promise<void>((resolve) => {
    arrive = resolve
  })
  return {
    wait: () => {
      arrive()
      return opened
    },
    reached,
    open,
  }
}

eachDatabase('signIn', (db) => {
  let all: SetUp
  before(async () => {
    all = await setUp(db.knex)
  })
  after(() => all.perms.close())
  afterEach(() => {
    all.hasher.beforeVerify = undefined
    all.hasher.beforeHash = undefined
    all.events.length = 0
  })

  it('returns tokens and the user with roles, and records the time', async () => {
    const user = await member()
    await user.grantRole('editor')
    const before = Date.now()
    const answer = await all.auth.signIn({ email: ` ${user.email.toUpperCase()} `, password, device: 'a test' })
    expect(Object.keys(answer)).to.have.members(['status', 'accessToken', 'refreshToken', 'expiresIn', 'user'])
    expect(answer.status).to.equal('signedIn')
    expect(answer.expiresIn).to.equal(900)
    expect(answer.user).to.be.instanceOf(Member)
    expect(answer.user.hasRole('editor')).to.equal(true)
    const stored = await Member.getByOr404({ id: user.id })
    expect(stored.lastLoginAt?.getTime()).to.be.within(before, Date.now())
    expect(stored.updatedAt).to.deep.equal(user.updatedAt)
    expect((await all.auth.authenticate(answer.accessToken)).id).to.equal(user.id)
    expect(all.events).to.have.length(1)
    expect(all.events[0]?.name).to.equal('signIn')
    expect(JSON.stringify(all.events)).to.not.contain(password)
  })

  it('gives the same answer for an unknown address, no password, a disabled user and a wrong password, at the cost of one hash each [promise 10]', async () => {
    const known = await member()
    const without = await Member.create({ email: 'without@example.com' } as Partial<Member>)
    const disabled = await member({ isEnabled: false })
    const deleted = await member()
    await deleted.softDelete()
    const bodies = new Set<string>()
    for (const email of [known.email, without.email, disabled.email, deleted.email, 'nobody@example.com']) {
      all.hasher.verified.length = 0
      const { result, statements } = await countQueries(db.knex, () => rejection(all.auth.signIn({ email, password: 'a wrong password' })))
      expect(result, email).to.be.instanceOf(InvalidCredentialsError)
      const { message, status, code, errors } = result as InvalidCredentialsError
      bodies.add(JSON.stringify({ message, status, code, errors }))
      expect(all.hasher.verified, email).to.have.length(1)
      expect(statements, email).to.have.length(1)
    }
    expect(bodies.size).to.equal(1)
  })

  it('reports a disabled account only to a caller with its password, and refuses the sign-in [promise 10]', async () => {
    const { id, email } = await member({ isEnabled: false })
    expect(await rejection(all.auth.signIn({ email, password }))).to.be.instanceOf(AccountDisabledError)
    expect(await all.auth.sessions(id)).to.deep.equal([])
    expect(await all.auth.checkPassword(email, password)).to.equal(null)
  })

  it('treats a soft-deleted user as unknown', async () => {
    const user = await member()
    await user.delete()
    expect(await outcome(all.auth.signIn({ email: user.email, password }))).to.equal('InvalidCredentialsError')
    expect(await all.auth.checkPassword(user.email, password)).to.equal(null)
  })

  it('compares the password exactly as given [promise 3]', async () => {
    const { email } = await member()
    for (const near of [`${password} `, ` ${password}`, password.toUpperCase()]) {
      expect(await outcome(all.auth.signIn({ email, password: near })), near).to.equal('InvalidCredentialsError')
    }
  })

  it('refuses blank, null, objects and arrays before any query [promise 27]', async () => {
    const bad: unknown[] = ['', null, undefined, 0, true, {}, { $ne: '' }, [], ['a@example.com']]
    const { statements } = await countQueries(db.knex, async () => {
      for (const value of bad) {
        for (const [given, field] of [
          [{ email: value, password }, 'email'],
          [{ email: 'a@example.com', password: value }, 'password'],
        ] as const) {
          const error = await rejection(all.auth.signIn(given as never))
          expect([error.name, fieldsOf(error)], JSON.stringify(given)).to.deep.equal(['ValidationError', [field]])
        }
        expect(await outcome(all.auth.checkPassword(value as string, password))).to.equal('ValidationError')
      }
      for (const email of ['  ', 'a\0@example.com', '\ud800@example.com', `${'a'.repeat(320)}@example.com`]) {
        expect(await outcome(all.auth.signIn({ email, password })), email).to.equal('ValidationError')
      }
      expect(await outcome(all.auth.signIn(null as never))).to.equal('ValidationError')
    })
    expect(statements).to.deep.equal([])
  })

  it('rehashes an outdated hash after a successful sign-in [promise 5]', async () => {
    const user = await member()
    all.hasher.version += 1
    await all.auth.signIn({ email: user.email, password })
    const stored = await Member.getByOr404({ id: user.id })
    expect(stored.passwordHash).to.match(new RegExp(`^v${all.hasher.version}\\$`))
    expect(await stored.isPasswordCorrect(password)).to.equal(true)
    const made = all.hasher.hashed
    await all.auth.signIn({ email: user.email, password })
    expect(all.hasher.hashed).to.equal(made)
  })

  it('signs a user in even if the rehash fails [promise 5]', async () => {
    const user = await member()
    all.hasher.version += 1
    all.hasher.beforeHash = () => Promise.reject(new ServiceUnavailableError())
    expect(await outcome(all.auth.signIn({ email: user.email, password }))).to.equal('fine')
    expect((await Member.getByOr404({ id: user.id })).passwordHash).to.equal(user.passwordHash)
  })

  it('signs in two concurrent callers that both rehash', async () => {
    const { email } = await member()
    all.hasher.version += 1
    const both = await Promise.all([1, 2, 3].map(() => outcome(all.auth.signIn({ email, password }))))
    expect(both).to.deep.equal(['fine', 'fine', 'fine'])
  })

  it('never overwrites a password that changes during the rehash [promise 5]', async () => {
    const user = await member()
    const changed = await Member.getByOr404({ id: user.id })
    all.hasher.version += 1
    const { wait, reached, open } = barrier()
    let isFirst = true
    all.hasher.beforeHash = () => {
      if (!isFirst) return Promise.resolve()
      isFirst = false
      return wait()
    }
    const signingIn = outcome(all.auth.signIn({ email: user.email, password }))
    await reached
    await changed.setPassword('another horse, another battery')
    await changed.save()
    open()
    expect(await signingIn).to.equal('InvalidCredentialsError')
    const stored = await Member.getByOr404({ id: user.id })
    expect(await stored.isPasswordCorrect('another horse, another battery')).to.equal(true)
    expect(await all.auth.sessions(user)).to.deep.equal([])
  })

  it('starts no session if the password changes or the user is disabled during verification [promise 22]', async () => {
    for (const change of [{ password: 'another horse, another battery' }, { isEnabled: false }]) {
      const user = await member()
      const { wait, reached, open } = barrier()
      all.hasher.beforeVerify = wait
      const signingIn = outcome(all.auth.signIn({ email: user.email, password }))
      await reached
      await user.update(change as Partial<Member>)
      open()
      expect(await signingIn).to.be.oneOf(['InvalidCredentialsError', 'AccountDisabledError'])
      all.hasher.beforeVerify = undefined
      expect(await all.auth.sessions(user)).to.deep.equal([])
    }
  })

  it("refuses to run inside the application's transaction [promise 59]", async () => {
    const { email } = await member()
    for (const call of [() => all.auth.signIn({ email, password }), () => all.auth.checkPassword(email, password)]) {
      const error = await rejection(transaction(async () => await call()))
      expect(error).to.be.instanceOf(ConfigurationError)
      expect(error.message).to.match(/outside transaction/)
    }
  })

  it('succeeds although a listener throws or rejects', async () => {
    const { email } = await member()
    for (const onEvent of [
      () => {
        throw new Error('no')
      },
      () => Promise.reject(new Error('no')),
    ]) {
      expect(await outcome(all.another({ onEvent }).signIn({ email, password }))).to.equal('fine')
    }
  })

  it('emits the cause of a failure, and does not tell it to the client', async () => {
    const user = await member()
    await outcome(all.auth.signIn({ email: user.email, password: 'a wrong password' }))
    await outcome(all.auth.signIn({ email: 'nobody@example.com', password: 'a wrong password' }))
    expect(all.events.map(({ name }) => name)).to.deep.equal(['signInFailed', 'signInFailed'])
    expect(all.events.map(({ payload }) => (payload as { userId: string | null }).userId)).to.deep.equal([user.id, null])
    expect(JSON.stringify(all.events)).to.not.contain('wrong password')
  })

  it('checks the throttle before it hashes', async () => {
    const { email } = await member()
    const asked: unknown[] = []
    const auth = all.another({
      throttle: {
        begin: async (action, who) => {
          asked.push([action, who.account])
          throw new ServiceUnavailableError()
        },
      },
    })
    all.hasher.verified.length = 0
    await outcome(auth.signIn({ email: email.toUpperCase(), password }))
    await outcome(auth.checkPassword(email, password))
    expect(asked).to.deep.equal([
      ['signIn', email],
      ['signIn', email],
    ])
    expect(all.hasher.verified).to.deep.equal([])
  })

  it('checks a password without starting a session', async () => {
    const user = await member()
    await user.grantRole('editor')
    const found = await all.auth.checkPassword(user.email, password)
    expect(found?.id).to.equal(user.id)
    expect(found?.hasRole('editor')).to.equal(true)
    all.hasher.verified.length = 0
    expect(await all.auth.checkPassword(user.email, 'a wrong password')).to.equal(null)
    expect(await all.auth.checkPassword('nobody@example.com', password)).to.equal(null)
    expect(all.hasher.verified).to.have.length(2)
    expect(await all.auth.sessions(user)).to.deep.equal([])
  })
})

eachDatabase('register', (db) => {
  let all: SetUp
  before(async () => {
    all = await setUp(db.knex)
  })
  after(() => all.perms.close())

  it('creates a user with the role, who can sign in', async () => {
    const user = await all.auth.register({ email: ' New@Example.com', password, level: '2.5' }, { role: 'user' })
    expect(user).to.be.instanceOf(Member)
    expect(user.email).to.equal('new@example.com')
    expect(user.hasRole('user')).to.equal(true)
    expect((await all.auth.signIn({ email: 'new@example.com', password })).user.hasRole('user')).to.equal(true)
  })

  it('lets one of twelve concurrent callers register an address, and answers 409 to the others [promise 11]', async () => {
    const many = Array.from({ length: 12 }, (_, i) => `Twelve@example.com`.replace('T', i % 2 ? 't' : 'T'))
    const outcomes = await Promise.all(many.map((email) => outcome(all.auth.register({ email, password }, { role: 'user' }))))
    expect(outcomes.filter((one) => one === 'fine')).to.have.length(1)
    expect(outcomes.filter((one) => one === 'UniqueViolationError')).to.have.length(11)
    const error = await rejection(all.auth.register({ email: 'TWELVE@example.com', password }))
    expect([(error as { status?: number }).status, fieldsOf(error)]).to.deep.equal([409, ['email']])
  })

  it('leaves no user behind if the role cannot be granted [promise 52]', async () => {
    expect(await outcome(all.auth.register({ email: 'half@example.com', password }, { role: 'ADMIN' }))).to.equal('ValidationError')
    expect(await Member.getBy({ email: 'half@example.com' })).to.equal(null)
    expect(await UserRole.query().where('role', 'ADMIN')).to.deep.equal([])
  })

  it('refuses columns that an anonymous caller may not set [promise 42]', async () => {
    for (const [more, field] of [
      [{ isEnabled: false }, 'isEnabled'],
      [{ passwordHash: 'x' }, 'passwordHash'],
      [{ id: '01890000-0000-7000-8000-000000000001' }, 'id'],
      [{ emailVerifiedAt: new Date() }, 'emailVerifiedAt'],
      [{ deletedAt: null }, 'deletedAt'],
      [{ roles: [{ role: 'superadmin' }] }, 'roles'],
      [{ $beforeInsert: 1 }, '$beforeInsert'],
    ] as const) {
      const error = await rejection(all.auth.register({ email: 'stranger@example.com', password, ...more }))
      expect([error.name, fieldsOf(error)], field).to.deep.equal(['ValidationError', [field]])
    }
    expect(await outcome(all.auth.register({ email: 'stranger@example.com', password: '12345678' }))).to.equal('ValidationError')
    expect(await Member.getBy({ email: 'stranger@example.com' })).to.equal(null)
  })

  it("refuses to run inside the application's transaction [promise 59]", async () => {
    expect(await outcome(transaction(async () => await all.auth.register({ email: 'undone@example.com', password })))).to.equal(
      'ConfigurationError',
    )
    expect(await Member.getBy({ email: 'undone@example.com' })).to.equal(null)
  })
})

describe('signIn with bcrypt', () => {
  it('rehashes hashes of other libraries and of a lower cost', async () => {
    const { createDatabase } = await import('../../helpers/databases.js')
    const db = await createDatabase('better-sqlite3')
    const cheap = bcryptHasher({ cost: 10 })
    const all = await setUp(db.knex, { passwordHasher: bcryptHasher({ cost: 11 }), user: User })
    try {
      const hasher = bcryptHasher({ cost: 11 })
      const user = await User.create({ email: 'old@example.com' } as Partial<User>)
      await user.update({ passwordHash: (await cheap.hash(password)).replace('$2b$', '$2y$') } as Partial<User>)
      expect(await outcome(all.another({ hasher }).signIn({ email: 'old@example.com', password }))).to.equal('fine')
      expect((await User.getByOr404({ id: user.id })).passwordHash).to.match(/^\$2b\$11\$/)
      await hasher.close()
    } finally {
      await cheap.close()
      await all.perms.close()
      await db.destroy()
    }
  })
})
