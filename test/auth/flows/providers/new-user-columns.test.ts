import { expect } from 'chai'
import Knex from 'knex'
import { AuditLog, column, initPerms, oidc, type PermsOptions, TimestampMixin, User } from '../../../../src/index.js'
import { asSystem } from '../../../../src/policy/context.js'
import { testHasher } from '../../../../src/testing/index.js'
import { eachDatabase } from '../../../helpers/databases.js'
import { openProviders, usersUrl } from './set-up.js'

/** Requires more than a provider states. */
class Employee extends TimestampMixin(User).withColumns({
  badge: column.string({ maxLength: 10 }),
  team: column.string({ maxLength: 20 }).default('none'),
  note: column.string().nullable(),
  level: column.integer().readOnly().default(1),
}) {
  static override tableName = 'user'
}

/** Fills in what is missing. */
class Filled extends Employee {
  override $beforeValidate(schema: object, json: object): object {
    Object.assign(json, { badge: 'B1', ...json })
    return schema
  }
}

const SECRET = 'a secret of this test, 32 bytes or more'
let count = 0
const person = () => {
  count += 1
  return { sub: `new ${count}`, email: `new${count}@example.com`, email_verified: true, name: 'A person' }
}

eachDatabase('The columns of a user who signs up with a provider', (db) => {
  const failure = async (newUser: (() => object) | undefined) => {
    const world = await openProviders(db.knex, { newUser }, { user: Employee as never, auditLog: true })
    try {
      const result = await world.signIn(person())
      await world.perms.auth.settled()
      const rows = await asSystem(() => AuditLog.query().where('event', 'providerSignInFailed').orderBy('createdAt', 'desc'))
      return { result, events: world.events, details: rows[0]?.details }
    } finally {
      await world.close()
    }
  }

  it('are named in the event and the audit log if they are missing, and not to the browser [promise 188]', async function () {
    this.timeout(30_000)
    const { result, events, details } = await failure(undefined)
    expect(result.redirect).to.equal('/?error=invalid')
    expect(events.map(({ name }) => name)).to.deep.equal(['providerSignInFailed'])
    expect(events[0]?.payload).to.deep.include({ provider: 'company', reason: 'invalid', fields: ['badge'] })
    expect(details).to.deep.equal({ provider: 'company', reason: 'invalid', fields: ['badge'] })
  })

  it('are named without their values if they are not valid, or not known [promise 188]', async () => {
    const value = 'a value too long for the column'
    const { events, details } = await failure(() => ({ badge: value, team: 7, level: 3, [`unknown${'x'.repeat(200)}`]: value }))
    const fields = events.flatMap(({ payload }) => payload.fields as string[])
    expect(fields).to.include.members(['level', 'badge', 'team'])
    expect(fields).to.have.length(4)
    expect(fields.every((name) => name.length <= 64)).to.equal(true)
    expect(details).to.deep.equal({ provider: 'company', reason: 'invalid', fields })
    expect(JSON.stringify([events, details])).to.not.contain(value)
  })

  it('are at most twenty names in an event', async () => {
    const many = Object.fromEntries(Array.from({ length: 50 }, (_, index) => [`claim${index}`, 1]))
    const { events } = await failure(() => many)
    expect(events.map(({ payload }) => (payload.fields as string[]).length)).to.deep.equal([20])
  })

  it('do not keep a user out whom newUser() completes', async () => {
    const { result, events } = await failure(() => ({ badge: 'B7' }))
    expect(result.status).to.equal('signedIn')
    expect(events.map(({ name }) => name)).to.not.include('providerSignInFailed')
  })
})

describe('Required columns of a user who signs up with a provider', () => {
  const warnings = async (signIn: Partial<NonNullable<PermsOptions['providerSignIn']>>, user: typeof User = Employee as never) => {
    const knex = Knex({ client: 'sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true })
    const lines: string[] = []
    const { warn } = console
    console.warn = (text: string) => lines.push(text)
    const company = oidc({ issuer: 'https://company.example', clientId: 'client', clientSecret: 'secret' })
    const options = { providers: { company }, providerSignIn: { usersUrl, ...signIn } }
    const perms = initPerms({ knex, user, jwt: { secret: SECRET }, passwordHasher: testHasher(), ...options })
    try {
      perms.noteAdapter()
      await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
      await perms.listUnguarded()
    } finally {
      console.warn = warn
      await perms.close()
      await knex.destroy()
    }
    return lines.filter((line) => line.includes('Signing up with a provider'))
  }

  it('are named in a warning at the start, with what to do, if nothing fills them [promise 189]', async () => {
    for (const signUp of ['open', 'invitation', { domains: ['example.com'] }] as const) {
      const [line, ...others] = await warnings({ signUp })
      expect(others).to.deep.equal([])
      expect(line).to.match(/^objection-perms: Signing up with a provider would fail: Employee\.badge is required, /)
      expect(line).to.contain('a default').and.contain('nullable').and.contain('newUser: ({ name, claims }) => ({ badge: ... })')
      expect(line).to.not.match(/team|note|level|email/)
    }
    expect(await warnings({ signUp: 'open', newUser: () => ({ badge: undefined }) })).to.have.length(1)
  })

  it('give no warning if newUser() or the model fills them, nobody may sign up, or only a sign-in can tell [promise 189]', async () => {
    expect(await warnings({ signUp: 'open', newUser: ({ name }) => ({ badge: name }) })).to.deep.equal([])
    expect(await warnings({ signUp: false })).to.deep.equal([])
    expect(await warnings({ signUp: 'open' }, Filled as never)).to.deep.equal([])
    expect(await warnings({ signUp: 'open' }, User)).to.deep.equal([])
    const reads = (profile: { claims: Readonly<Record<string, unknown>> }) => ({ badge: (profile.claims.badge as string).trim() })
    expect(await warnings({ signUp: 'open', newUser: reads })).to.deep.equal([])
  })
})
