import { expect } from 'chai'
import type { Knex } from 'knex'
import { callerLoader } from '../../../src/auth/tokens/load-caller.js'
import { asSystem } from '../../../src/policy/context.js'
import { signInAs } from '../../../src/testing/index.js'
import { Domain } from '../../../src/users/domain.js'
import { UserRole } from '../../../src/users/user-role.js'
import { eachDatabase } from '../../helpers/databases.js'
import { setUp } from '../set-up.js'

/** Columns that no rule reads, that follow from others, or that do not decide whether a session is active. */
const leftOut = new Set([
  // No part of a caller.
  ...['token.description', 'token.address', 'token.revoked_at', 'token.updated_at'],
  ...['token.token', 'token.rotated_at', 'token.bound_to', 'member.password_hash', 'user_role.domain_key'],
])

eachDatabase('the fingerprint of a caller', (db) => {
  let close: () => Promise<void>
  let knex: Knex
  let userId: string
  let sessionId: string
  let domainId: string
  before(async () => {
    const all = await setUp(db.knex)
    close = () => all.perms.close()
    knex = db.connect()
    const { user, accessToken } = await signInAs({}, { perms: all.perms })
    userId = user.id
    sessionId = String(all.perms.auth.verifyAccessToken(accessToken).sid)
    await asSystem(async () => {
      domainId = (await Domain.create({ name: 'press' })).id
      await UserRole.create({ userId, role: 'editor', domainId } as never)
      await UserRole.create({ userId, role: 'author', domainId: null } as never)
    })
  })
  after(() => close())

  const fingerprint = async () => (await callerLoader(db.knex, 'id', { fingerprint: true })(sessionId))?.fingerprint?.value

  it('is the same for the same state, on every connection', async () => {
    const first = await fingerprint()
    expect(first).to.be.a('string')
    expect(await fingerprint()).to.equal(first)
    expect((await callerLoader(knex, 'id', { fingerprint: true })(sessionId))?.fingerprint?.value).to.equal(first)
  })

  it('changes with each column of the session, the user, the grants and the domains [promise 227]', async () => {
    const rows = {
      token: { id: sessionId },
      member: { id: userId },
      user_role: { user_id: userId, role: 'editor' },
      domain: { id: domainId },
    }
    const missed: string[] = []
    for (const [table, where] of Object.entries(rows)) {
      const row: Record<string, unknown> = await knex(table).where(where).first()
      const id = { id: row.id }
      const info = await knex(table).columnInfo()
      for (const [column, { type }] of Object.entries(info)) {
        // Other rows refer to the ids, or they name the row.
        if (['id', 'user_id', 'domain_id', 'impersonator_id'].includes(column) || leftOut.has(`${table}.${column}`)) continue
        const before = await fingerprint()
        await knex(table).where(id).update(column, another(type, row[column]))
        if ((await fingerprint()) === before) missed.push(`${table}.${column}`)
        await knex(table)
          .where(id)
          .update(column, row[column] as never)
      }
    }
    expect(missed).to.deep.equal([])
  })

  it('changes with each grant that is added or removed, also if one replaces another [promise 227]', async () => {
    const seen = [await fingerprint()]
    const { id } = await asSystem(() => UserRole.create({ userId, role: 'reader', domainId: null } as never))
    seen.push(await fingerprint())
    await knex('user_role').where({ id }).update({ role: 'writer' })
    seen.push(await fingerprint())
    await knex('user_role').where({ id }).delete()
    expect(new Set(seen).size).to.equal(3)
    expect(await fingerprint()).to.equal(seen[0])
  })

  it('shows no hidden column in its binding or its error [promise 69]', async () => {
    const caller = await callerLoader(db.knex, 'id', { fingerprint: true })(sessionId)
    const { token } = await knex('token').where('id', sessionId).first('token')
    const text = JSON.stringify(caller?.fingerprint)
    expect(text).not.to.include(token)
    await knex('member').where('id', userId).update({ password_hash: 'v1$secret-hash' })
    expect(JSON.stringify((await callerLoader(db.knex, 'id', { fingerprint: true })(sessionId))?.fingerprint)).not.to.include('secret-hash')
  })

  if (db.dialect === 'mysql')
    it('is missing if group_concat_max_len cuts the list of grants off [promise 227]', async () => {
      const short = db.connect({ pool: { min: 1, max: 1, afterCreate: limitLists } })
      const load = callerLoader(short, 'id', { fingerprint: true })
      expect((await load(sessionId))?.fingerprint).not.to.equal(undefined)
      await asSystem(async () => {
        for (let i = 0; i < 20; i += 1) await UserRole.create({ userId, role: `role-${i}`, domainId: null } as never)
      })
      const caller = await load(sessionId)
      expect(caller?.user.roles?.length).to.equal(22)
      expect(caller?.fingerprint).to.equal(undefined)
    })
})

function limitLists(
  connection: { query(sql: string, done: (error: unknown) => void): void },
  done: (error: unknown, connection: unknown) => void,
) {
  connection.query('set session group_concat_max_len = 1024', (error) => done(error, connection))
}

function another(type: string, value: unknown): never {
  if (/bool|tinyint/.test(type)) return !value as never
  if (/time|date/.test(type)) return new Date(Date.now() + 12_345) as never
  if (/json/.test(type)) return JSON.stringify(['another']) as never
  if (/int|dec|num|real|double|float/.test(type)) return 7.25 as never
  return 'another' as never
}
