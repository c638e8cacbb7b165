import { createHmac } from 'node:crypto'
import { expect } from 'chai'
import { signJwt } from '../../../src/auth/tokens/jwt.js'
import { parseKeys } from '../../../src/auth/tokens/key-set.js'
import { Domain, InvalidTokenError, type Perms, Role, Token, transaction, User } from '../../../src/index.js'
import { countQueries, createDatabase, eachDatabase } from '../../helpers/databases.js'
import type { OneFactorAuth as Auth } from '../set-up.js'
import { Member, member, outcome, password, type SetUp, secret, setUp } from '../set-up.js'

const keys = parseKeys({ secret })
const options = { expiresIn: 900, typ: 'at+jwt' }

eachDatabase('authenticate', (db) => {
  let all: SetUp
  let auth: Auth
  before(async () => {
    all = await setUp(db.knex)
    auth = all.auth
  })
  after(() => all.perms.close())

  const tokenOf = async (user: User) => (await auth.signIn({ email: user.email, password })).accessToken
  const answerTo = (token: string) => outcome(auth.authenticate(token))

  it('loads user, session, roles and domains in one statement', async () => {
    const user = await member({ level: '12.50', joinedAt: new Date('2024-02-29T12:34:56.789Z') })
    const press = await Domain.create({ name: `press ${user.id}` } as Partial<Domain>)
    const closed = await Domain.create({ name: `closed ${user.id}`, active: false } as Partial<Domain>)
    await user.grantRole(Role.USER)
    await user.grantRole('editor', { domain: press })
    await user.grantRole('reader', { domain: press })
    await user.grantRole('editor', { domain: closed })
    const token = await tokenOf(user)
    const { result: actor, statements } = await countQueries(db.knex, () => auth.authenticate(token))
    expect(statements).to.have.length(1)
    expect(actor.id).to.equal(user.id)
    expect(actor.sessionId).to.equal(auth.verifyAccessToken(token).sid)
    expect(actor.grants.map(({ role, domainId, domainName }) => [role, domainId, domainName])).to.have.deep.members([
      ['user', null, null],
      ['editor', press.id, press.name],
      ['reader', press.id, press.name],
    ])
    const loaded = actor.user as Member
    expect(loaded).to.be.instanceOf(Member)
    const again = await Member.getByOr404({ id: user.id })
    expect(loaded.toJSON()).to.deep.equal({ ...again.toJSON(), roles: loaded.toJSON().roles })
    expect([loaded.level, loaded.joinedAt, loaded.isEnabled, loaded.passwordHash]).to.deep.equal([
      again.level,
      again.joinedAt,
      true,
      again.passwordHash,
    ])
    expect(loaded.roles).to.have.length(4)
    expect(loaded.hasRole('editor', { domain: press })).to.equal(true)
    expect(loaded.hasRole('editor', { domain: closed })).to.equal(false)
    expect(loaded.hasRole(Role.USER)).to.equal(true)
  })

  it('loads a user without roles, and saves one that it loaded', async () => {
    const actor = await auth.authenticate(await tokenOf(await member()))
    expect(actor.grants).to.deep.equal([])
    const loaded = actor.user as Member
    expect(loaded.hasRole('user')).to.equal(false)
    const { statements } = await countQueries(db.knex, () => loaded.save())
    expect(statements.filter((sql) => sql.startsWith('update'))).to.deep.equal([])
    loaded.level = '3.00'
    await loaded.save()
    expect((await Member.getByOr404({ id: loaded.id })).level).to.equal('3.00')
  })

  it('reflects a demotion, disabling, deletion or sign-out at the next request [promise 22]', async () => {
    const user = await member()
    const grant = await user.grantRole('editor')
    const token = await tokenOf(user)
    expect((await auth.authenticate(token)).grants).to.have.length(1)
    await grant.delete()
    expect((await auth.authenticate(token)).grants).to.deep.equal([])
    await user.update({ isEnabled: false } as Partial<Member>)
    expect(await answerTo(token)).to.equal('InvalidTokenError')
    await user.update({ isEnabled: true } as Partial<Member>)
    expect(await answerTo(token)).to.equal('fine')
    await user.softDelete()
    expect(await answerTo(token)).to.equal('InvalidTokenError')
    await user.restore()
    const fresh = await tokenOf(user)
    expect(await answerTo(fresh)).to.equal('fine')
    await user.hardDelete()
    expect(await answerTo(fresh)).to.equal('InvalidTokenError')
  })

  it('refuses tokens of a revoked or expired session [promise 23]', async () => {
    for (const change of [
      { revoked: true },
      { expiresAt: new Date(Date.now() - 1) },
      { endsAt: new Date(Date.now() - 1) },
      { kind: 'custom' },
    ]) {
      const token = await tokenOf(await member())
      await Token.query()
        .findById(auth.verifyAccessToken(token).sid)
        .patch(change as never)
      expect(await answerTo(token), JSON.stringify(change)).to.equal('InvalidTokenError')
    }
  })

  it('refuses tokens of another user, session or user model [promise 26]', async () => {
    const [user, other] = [await member(), await member()]
    const { sid, usr } = auth.verifyAccessToken(await tokenOf(user))
    expect(usr).to.equal('member')
    const said = { sub: user.id, sid, usr }
    expect(await answerTo(signJwt(keys, said, options))).to.equal('fine')
    const { plain, token } = await Token.issue(user)
    for (const claims of [
      { ...said, sub: other.id },
      { ...said, usr: 'user' },
      { ...said, usr: undefined },
      { ...said, sid: undefined },
      { ...said, sid: { id: sid } },
      { ...said, sid: 'nonsense' },
      { ...said, sid: token.id },
      { ...said, sid: user.id },
      { ...said, sub: 'nonsense' },
    ]) {
      expect(await answerTo(signJwt(keys, claims as typeof said, options)), JSON.stringify(claims)).to.equal('InvalidTokenError')
    }
    for (const text of ['', 'nonsense', plain, signJwt(keys, said, { ...options, typ: 'JWT' }), null, undefined, {}]) {
      expect(await answerTo(text as string), String(text)).to.equal('InvalidTokenError')
    }
    const unsigned = signJwt(keys, said, options).replace(/[^.]*$/, createHmac('sha256', 'x').digest('base64url'))
    expect(await answerTo(unsigned)).to.equal('InvalidTokenError')
  })

  it('accepts further claims, which replace no claim of the library', async () => {
    const user = await member()
    const claims = { plan: 'gold', sub: 'x', sid: 'x', usr: 'x' }
    const talkative = all.another({ jwt: { secret, claims: () => claims } })
    const { accessToken } = await talkative.signIn({ email: user.email, password })
    const said = auth.verifyAccessToken(accessToken)
    expect([said.plan, said.sub, said.usr]).to.deep.equal(['gold', user.id, 'member'])
    expect(await answerTo(accessToken)).to.equal('fine')
  })

  it('lets the application load the caller of an active session [promise 22]', async () => {
    const user = await member()
    await user.grantRole('editor')
    const seen: unknown[] = []
    let answer: User | null = user
    const own = all.another({
      loadUser: (claims) => {
        seen.push(claims.sub)
        return answer
      },
    })
    const token = await tokenOf(user)
    const actor = await own.authenticate(token)
    expect(actor.user).to.equal(user)
    expect(actor.grants.map(({ role }) => role)).to.deep.equal(['editor'])
    expect(seen).to.deep.equal([user.id])
    answer = null
    expect(await outcome(own.authenticate(token))).to.equal('InvalidTokenError')
    answer = user
    await auth.signOutEverywhere(user)
    expect(await outcome(own.authenticate(token))).to.equal('InvalidTokenError')
  })

  it('gives the application its own copy of the claims: requests with one token share what was verified', async () => {
    const user = await member()
    const seen: unknown[] = []
    const own = all.another({
      loadUser: (claims) => {
        seen.push(claims.sub)
        claims.sub = 'another'
        return user
      },
    })
    const token = await tokenOf(user)
    for (let i = 0; i < 2; i += 1) await own.authenticate(token)
    ;(own.verifyAccessToken(token) as { sub: string }).sub = 'another'
    expect([...seen, own.verifyAccessToken(token).sub]).to.deep.equal([user.id, user.id, user.id])
  })

  it('joins an open transaction', async () => {
    const token = await tokenOf(await member())
    expect(await transaction(async () => await answerTo(token))).to.equal('fine')
  })
})

describe('authenticate over the default models', () => {
  async function withDefaults(
    name: 'better-sqlite3' | 'pg',
    config: object,
    run: (perms: Perms, own: { knex: Perms['knex'] }) => Promise<void>,
  ) {
    const db = await createDatabase(name)
    const knex = db.connect(config)
    const { perms } = await setUp(knex, { user: User })
    try {
      await run(perms, { knex })
    } finally {
      await perms.close()
      await db.destroy()
    }
  }

  it('searches indexes only', () =>
    withDefaults('better-sqlite3', {}, async (perms, { knex }) => {
      const { email } = await User.create({ email: 'ada@example.com', password } as Partial<User>)
      const { accessToken } = await perms.auth.signIn({ email, password })
      const { statements } = await countQueries(knex, () => perms.authenticate(accessToken as string))
      const plan = (await knex.raw(`explain query plan ${statements[0]}`, ['x'])) as { detail: string }[]
      expect(plan).to.have.length(4)
      for (const { detail } of plan) expect(detail).to.match(/^SEARCH .* USING (INDEX|COVERING INDEX)/)
    }))

  it('works when the application renames result columns', () =>
    withDefaults(
      'better-sqlite3',
      {
        postProcessResponse: (result: unknown) =>
          Array.isArray(result)
            ? result.map((row) =>
                Object.fromEntries(Object.entries(row as object).map(([k, v]) => [k.replace(/_(\w)/g, (_, c) => c.toUpperCase()), v])),
              )
            : result,
      },
      async (perms) => {
        const user = await User.create({ email: 'ada@example.com', password } as Partial<User>)
        const token = await perms.auth.createAccessToken(user)
        const actor = await perms.authenticate(token)
        expect([actor.id, (actor.user as User).isEnabled]).to.deep.equal([user.id, true])
      },
    ))

  it('is prepared by name on PostgreSQL', async function () {
    if (!process.env['POSTGRES_URL']) return this.skip()
    await withDefaults('pg', { pool: { min: 1, max: 1 } }, async (perms, { knex }) => {
      const user = await User.create({ email: 'ada@example.com', password } as Partial<User>)
      const token = await perms.auth.createAccessToken(user)
      for (let i = 0; i < 3; i += 1) await perms.authenticate(token)
      const { rows } = await knex.raw("select statement from pg_prepared_statements where statement like '%left join%user_role%'")
      expect(rows).to.have.length(1)
      expect(rows[0].statement).to.not.contain('*')
    })
  })

  it('distinguishes a bad token from a failing database', () =>
    withDefaults('better-sqlite3', {}, async (perms, { knex }) => {
      const user = await User.create({ email: 'ada@example.com', password } as Partial<User>)
      const token = await perms.auth.createAccessToken(user)
      await knex.schema.renameTable('token', 'gone')
      const error = await perms.authenticate(token).catch((e: unknown) => e)
      expect(error).to.be.instanceOf(Error)
      expect(error).to.not.be.instanceOf(InvalidTokenError)
    }))
})
