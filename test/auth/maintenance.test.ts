import { expect } from 'chai'
import type { Knex } from 'knex'
import { newId } from '../../src/core/ids.js'
import {
  AuditLog,
  asSystem,
  ConfigurationError,
  Domain,
  Invitation,
  initPerms,
  type MaintenanceReport,
  type Perms,
  Role,
  runAs,
  Token,
  User,
} from '../../src/index.js'
import { column } from '../../src/schema/column.js'
import { dialectOf, encode } from '../../src/schema/storage.js'
import { testHasher } from '../../src/testing/hasher.js'
import { PasskeyChallenge } from '../../src/users/passkey-challenge.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

const HOUR = 3_600_000
const DAY = 24 * HOUR
const none: MaintenanceReport = { tokens: 0, invitations: 0, passkeyChallenges: 0, providerSignIns: 0, attempts: 0, auditRows: 0 }

eachDatabase('perms.maintain()', (db) => {
  let perms: Perms
  let ada: User
  const open = (knex: Knex) =>
    initPerms({
      knex,
      auditLog: true,
      auditRetention: 90,
      throttle: { store: 'database' },
      outsideContext: 'deny',
      passwordHasher: testHasher(),
    })
  before(async () => {
    perms = open(db.knex)
    await migrateAtOnce(perms)
    ada = await asSystem(() => User.create({ email: 'ada@example.com' }))
  })
  after(() => perms.close())
  beforeEach(async () => {
    for (const table of ['token', 'invitation', 'perms_throttle', 'audit_log']) await db.knex(table).delete()
  })

  const stored = (datetime: Date) => encode(column.datetime().spec, datetime, dialectOf(db.knex)) as string
  const tokens = (count: number, expiresAt: Date | null, more: object = {}) =>
    asSystem(async () => {
      for (let i = 0; i < count; i++) await Token.create({ userId: ada.id, token: newId(), expiresAt, ...more })
    })
  const attempts = async (count: number, expiresAt: Date) => {
    const rows = Array.from({ length: count }, (_, i) => ({ name: `signIn.pair:${i}`, points: 3, expires_at: stored(expiresAt) }))
    await db.knex('perms_throttle').insert(rows)
  }
  const auditRows = async (count: number, createdAt: Date) => {
    const dates = { created_at: stored(createdAt), updated_at: stored(createdAt) }
    await db.knex('audit_log').insert(Array.from({ length: count }, () => ({ id: newId(), event: 'signedIn', ...dates })))
  }
  const left = async (table: string) => Number(Object.values((await db.knex(table).count('* as n'))[0] ?? {})[0])

  it('deletes expired tokens, counts, old invitations and old audit rows, and keeps all others', async () => {
    const now = Date.now()
    await tokens(3, new Date(now - 1000))
    await tokens(2, new Date(now + HOUR))
    await tokens(1, null)
    await attempts(4, new Date(now - 1000))
    await db.knex('perms_throttle').insert({ name: 'signIn.pair:new', points: 1, expires_at: stored(new Date(now + HOUR)) })
    await auditRows(5, new Date(now - 91 * DAY))
    await auditRows(2, new Date(now - 89 * DAY))
    await asSystem(async () => {
      for (const at of [now - 1000, now + HOUR])
        await PasskeyChallenge.create({ ceremony: 'sign-in', challenge: newId(), expiresAt: new Date(at) })
    })
    const domain = await asSystem(() => Domain.create({ name: `press-${now}` }))
    const invitation = { email: 'bob@example.com', role: 'editor', domainId: domain.id, invitedById: ada.id }
    await asSystem(async () => {
      for (const days of [31, 29, -1])
        await Invitation.create({ ...invitation, token: newId(), expiresAt: new Date(now - days * DAY) } as never)
    })
    expect(await perms.maintain()).to.deep.equal({
      tokens: 3,
      invitations: 1,
      passkeyChallenges: 1,
      providerSignIns: 0,
      attempts: 4,
      auditRows: 5,
    })
    expect([await left('token'), await left('invitation'), await left('perms_throttle'), await left('audit_log')]).to.deep.equal([
      3, 2, 1, 2,
    ])
    expect(await perms.maintain()).to.deep.equal(none)
  })

  it('keeps rows of the audit log without a retention, and takes the retention of the call', async () => {
    await auditRows(2, new Date(Date.now() - 8 * DAY))
    expect((await perms.maintain()).auditRows).to.equal(0)
    expect((await perms.maintain({ auditRetention: 7 })).auditRows).to.equal(2)
    await auditRows(1, new Date(Date.now() - 4000 * DAY))
    const again = initPerms({ knex: db.knex, outsideContext: 'deny' })
    expect((await again.maintain()).auditRows).to.equal(0)
    await attempts(1, new Date(0))
    expect((await again.maintain()).attempts).to.equal(0)
    perms = open(db.knex)
  })

  it('keeps the row of a legacy token until no such token is accepted any more', async () => {
    const past = new Date(Date.now() - HOUR)
    await tokens(1, past, { kind: 'legacy', endsAt: new Date(Date.now() + HOUR) })
    await tokens(1, past, { kind: 'legacy', endsAt: past })
    expect((await perms.maintain()).tokens).to.equal(1)
    expect(await left('token')).to.equal(1)
  })

  it('deletes at most `batch` rows in a statement', async () => {
    await tokens(5, new Date(Date.now() - 1000))
    await auditRows(4, new Date(Date.now() - 91 * DAY))
    const deleted: Record<string, number[]> = { token: [], audit_log: [] }
    const listen = (result: unknown, { sql, method }: { sql: string; method?: string }) => {
      const table = Object.keys(deleted).find((name) => new RegExp(`^delete from .?${name}`).test(sql))
      if (method === 'del' && table) deleted[table]?.push(Number((result as { affectedRows?: number }).affectedRows ?? result))
    }
    db.knex.on('query-response', listen)
    expect(await perms.maintain({ batch: 2 })).to.deep.include({ tokens: 5, auditRows: 4 })
    db.knex.removeListener('query-response', listen)
    expect(deleted).to.deep.equal({ token: [2, 2, 1], audit_log: [2, 2] })
  })

  it('counts each row once when several processes call it at the same time', async () => {
    await tokens(30, new Date(Date.now() - 1000))
    await auditRows(60, new Date(Date.now() - 91 * DAY))
    await attempts(60, new Date(Date.now() - 1000))
    const reports = await Promise.all(Array.from({ length: 4 }, () => perms.maintain({ batch: 7 })))
    const sum = (key: keyof MaintenanceReport) => reports.reduce((total, report) => total + report[key], 0)
    expect([sum('tokens'), sum('auditRows'), sum('attempts')]).to.deep.equal([30, 60, 60])
  })

  it('stops before the next batch when its signal is aborted', async () => {
    await tokens(4, new Date(Date.now() - 1000))
    const abort = new AbortController()
    const stop = (query: { sql: string }) => /^delete from .?token/.test(query.sql) && abort.abort()
    db.knex.on('query', stop)
    expect(await perms.maintain({ batch: 2, signal: abort.signal })).to.deep.equal({ ...none, tokens: 2 })
    db.knex.removeListener('query', stop)
    expect(await left('token')).to.equal(2)
  })

  it('does the same for every caller, and leaves the audit log append-only', async () => {
    await tokens(2, new Date(Date.now() - 1000))
    expect((await runAs(ada, () => perms.maintain())).tokens).to.equal(2)
    await auditRows(1, new Date(Date.now() - 91 * DAY))
    await asSystem(() => ada.grantRole(Role.ADMIN))
    expect((await runAs(ada, () => perms.maintain())).auditRows).to.equal(1)
    expect((await rejection(asSystem(() => AuditLog.query().delete()))).message).to.include('append-only')
  })

  it('refuses a retention and a batch that are no whole numbers in range', async () => {
    for (const auditRetention of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 36_501, '90' as never, null as never]) {
      const error = await rejection(perms.maintain({ auditRetention }))
      expect(error, String(auditRetention)).to.be.instanceOf(ConfigurationError)
      expect(error.message).to.include('auditRetention').and.include('whole number of days')
      expect(() => initPerms({ knex: db.knex, auditRetention })).to.throw(ConfigurationError, 'whole number of days')
    }
    for (const batch of [0, 10_001, 2.5, '10' as never])
      expect((await rejection(perms.maintain({ batch }))).message).to.include('batch must be a whole number')
  })
})
