import { expect } from 'chai'
import type { Knex } from 'knex'
import { Model } from 'objection'
import {
  asAnonymous,
  asSystem,
  type Domain,
  type Perms,
  runAs,
  type Shareable,
  Token,
  transaction,
  type User,
  UserRole,
  UserSetting,
} from '../../src/index.js'
import { availableDatabases, eachDatabase, type TestDatabase } from '../helpers/databases.js'
import { eachKindOfIds, type SuiteIds, suiteIds } from '../helpers/id-kinds.js'
import { paths as allPaths, type Path, type Place } from './paths.js'
import {
  Doc,
  Domain as Domains,
  idsFor,
  insertNotice,
  insertRows,
  makeUser,
  openWorld,
  ownId,
  type Rows,
  tables,
  User as Users,
  useIds,
  type WorldForm,
} from './world.js'

const word = 'SECRET'
const allTables = [...tables, 'user', 'user_role', 'domain', 'token', 'user_setting', 'row_share']
const allCallers = ['stranger', 'anonymous', 'admin of another domain', 'disabled user'] as const
type Caller = (typeof allCallers)[number]
type State = Record<string, Record<string, unknown>[]>

async function stateOf(knex: Knex): Promise<State> {
  const state: State = {}
  for (const table of allTables) state[table] = (await knex(table).select('*')) as Record<string, unknown>[]
  return state
}

const textOf = (row: unknown): string => JSON.stringify(row) ?? 'undefined'
const linesOf = (state: State) => Object.entries(state).flatMap(([table, rows]) => rows.map((row) => `${table} ${textOf(row)}`))

const isSame = (a: State, b: State) => linesOf(a).sort().join() === linesOf(b).sort().join()

/** Returns a text that differs after any change of a row: one statement instead of one for each table. */
async function fingerprintOf({ knex, dialect }: TestDatabase): Promise<string> {
  if (dialect === 'sqlite') return textOf(await knex.raw('select total_changes()'))
  if (dialect === 'mysql') return textOf((await knex.raw(`checksum table ${allTables.map(() => '??').join(', ')}`, allTables))[0])
  const ofEach = allTables.map(() => `(select md5(string_agg(t::text, ',' order by t::text)) from ?? t)`)
  return textOf((await knex.raw(`select concat_ws(',', ${ofEach.join(', ')})`, allTables)).rows)
}

// Foreign keys refer to tables earlier in this list.
const order = ['domain', 'user', 'user_role', 'token', 'user_setting', ...tables, 'row_share']

async function restore(knex: Knex, state: State): Promise<void> {
  await knex.transaction(async (trx) => {
    for (const table of [...order].reverse()) await trx(table).del()
    for (const table of order) {
      const rows = state[table] ?? []
      // Parent documents before their children.
      if (table === 'doc') rows.sort((a, b) => Number(a['parent_id'] !== null) - Number(b['parent_id'] !== null))
      // PostgreSQL's driver returns JSON parsed, but needs it as text in an insert.
      const ready = rows.map((row) => (table === 'user_setting' ? { ...row, value: JSON.stringify(row['value']) } : row))
      if (rows.length > 0) await trx(table).insert(knex.client.driverName === 'pg' ? ready : rows)
    }
  })
}

/** Returns the result or the error that a caller gets, as text, without values that differ between runs. */
async function outcomeOf(run: () => unknown, known: ReadonlySet<string>): Promise<string> {
  let answer: unknown
  try {
    answer = await run()
  } catch (error) {
    const { name, message, errors } = error as { name: string; message: string; errors?: unknown }
    return `${name}: ${message} ${textOf(errors ?? null)}`
  }
  const plain = (value: unknown, depth = 0): unknown => {
    if (depth > 9) return '...'
    if (Array.isArray(value)) return value.map((one) => plain(one, depth + 1)).sort((a, b) => (textOf(a) < textOf(b) ? -1 : 1))
    if (value instanceof Date) return 'a moment'
    if (typeof value !== 'object' || value === null) return value
    if (!(value instanceof Model) && Object.getPrototypeOf(value) !== Object.prototype) return value.constructor?.name
    const isNew = (name: string, inner: unknown) =>
      /(^|_|I)i?d$/.test(name) && /^(number|string)$/.test(typeof inner) && !known.has(String(inner))
    return Object.fromEntries(
      Object.entries(value)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .flatMap(([name, inner]) =>
          /created_?at|updated_?at/i.test(name) ? [] : [[name, isNew(name, inner) ? 'new' : plain(inner, depth + 1)]],
        ),
    )
  }
  return textOf(plain(answer)).replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, (id) => (known.has(id) ? id : 'new'))
}

/** All callers on SQLite, two on servers; one for other kinds of ids and of models, which never differed by the caller. */
function callersFor(ids: SuiteIds, form: WorldForm, db: TestDatabase): readonly Caller[] {
  if (process.env['FULL'] === '1') return allCallers
  if (ids.name !== 'uuid' || form !== 'declared') return ['stranger']
  return db.dialect === 'sqlite' ? allCallers : ['stranger', 'anonymous']
}

const suite =
  (form: WorldForm) =>
  (db: TestDatabase, ids: SuiteIds): void => {
    // updateFrom() takes the values of clients, which may not write undeclared columns.
    const paths = form === 'without a schema' ? allPaths.filter(({ name }) => name !== 'updateFrom()') : allPaths
    const callers = callersFor(ids, form, db)
    let perms: Perms
    let victim: User
    let theirs: Rows
    let press: Domain
    let state: State
    const users = new Map<Caller, User>()
    const rows = new Map<Caller, Rows>()
    const known = new Set<string>()
    /** The outcome of each path for each caller, before the rows of the victim exist. */
    const outcomesWithoutVictim = new Map<string, string>()

    /** Shares the rows of the victim with those who are none of the callers, and in ways that do not count. */
    async function shareWithOthers(): Promise<void> {
      const friend = await makeUser('friend')
      await asSystem(async () => {
        for (const id of [theirs.doc, theirs.other]) {
          const doc = (await Doc.query().findById(id)) as Doc & Shareable
          await doc.share(friend, 'editor')
          await doc.share(users.get('disabled user') as User, 'editor')
          await doc.share({ role: 'admin', domain: press }, 'editor')
          await doc.share(press, 'viewer')
          const past = await doc.share(users.get('stranger') as User, 'editor', { expiresAt: new Date(Date.now() + 60_000) })
          await db
            .knex('row_share')
            .where('id', past.id)
            .update({ expires_at: db.dialect === 'sqlite' ? 0 : new Date(0) })
        }
      })
    }

    const place = (caller: Caller): Place => {
      const mine = rows.get(caller) as Rows
      return { me: mine.user, mine, theirs, knex: db.knex, domain: press.id }
    }
    const as = (caller: Caller, fn: () => unknown) => (caller === 'anonymous' ? asAnonymous(fn) : runAs((users.get(caller) as User).id, fn))
    const attempt = async (caller: Caller, path: Path) => await outcomeOf(() => as(caller, () => path.run(place(caller))), known)
    const secrets = () => Object.values(theirs).map((id) => (ids.name === 'string' ? JSON.stringify(id) : String(id)))
    const theirLines = (all: State) => linesOf(all).filter((line) => line.includes(word) || secrets().some((id) => line.includes(id)))

    let fingerprint: string | undefined
    /** Restores the rows if they differ from `expected`. Returns them as they were, or undefined without a difference. */
    async function changedSince(expected: State): Promise<State | undefined> {
      if ((await fingerprintOf(db)) === fingerprint) return undefined
      const now = await stateOf(db.knex)
      const isChanged = !isSame(now, expected)
      if (isChanged) await restore(db.knex, expected)
      fingerprint = await fingerprintOf(db)
      return isChanged ? now : undefined
    }

    before(async function () {
      this.timeout(240_000)
      useIds(ids, form)
      perms = await openWorld(db.knex)
      press = await Domains.create({ ...ownId(), name: 'press' })
      const elsewhere = await Domains.create({ ...ownId(), name: 'elsewhere' })
      victim = await Users.create({ ...ownId(), email: 'secret@example.com' })
      await UserRole.create({ user: victim, role: 'editor', domain: press } as never)
      victim = await Users.getOr404(victim.id)
      theirs = idsFor(victim.id)
      users.set('stranger', await makeUser('stranger'))
      users.set('admin of another domain', await makeUser('elsewhere', [['admin', elsewhere]]))
      users.set('disabled user', await makeUser('disabled', [['editor', press]]))
      await insertNotice(theirs)
      // The owner's counts are compared with an anonymous caller's.
      for (const caller of new Set([...callers, 'anonymous'] as const)) {
        const user = users.get(caller)
        rows.set(caller, idsFor(user?.id ?? ids.nth(990)))
        if (!user) continue
        const domain = { stranger: null, anonymous: null, 'disabled user': press.id, 'admin of another domain': elsewhere.id }[caller]
        await insertRows(rows.get(caller) as Rows, caller, domain, 3)
        await insertNotice(rows.get(caller) as Rows)
      }
      await (users.get('disabled user') as User).update({ isEnabled: false } as never)
      for (const id of [theirs, ...rows.values()].flatMap((own) => Object.values(own)).concat(press.id, elsewhere.id)) known.add(String(id))
      const before = await stateOf(db.knex)
      for (const caller of callers) {
        for (const path of paths) {
          outcomesWithoutVictim.set(`${caller} ${path.kind} ${path.name}`, await attempt(caller, path))
          if (path.kind === 'write') await changedSince(before)
        }
      }
      await insertRows(theirs, word, press.id, 9)
      await Token.issue(victim, { description: word })
      await UserSetting.create({ userId: victim.id, key: word, value: word } as never)
      if (form === 'shared') await shareWithOthers()
      state = await stateOf(db.knex)
      fingerprint = await fingerprintOf(db)
    })

    after(async () => {
      await perms?.close()
      useIds()
    })

    for (const path of paths) {
      const what = { read: 'reads nothing by', count: 'counts nothing by', write: 'changes nothing by' }[path.kind]
      const promises = path.kind === 'write' ? '[promise 33] [promise 36]' : '[promise 31] [promise 32]'
      for (const caller of callers) {
        it(`${promises} ${caller} ${what} ${path.name}`, async () => {
          const learnt = await attempt(caller, path)
          if (path.kind === 'write') {
            const now = await changedSince(state)
            if (now) expect(theirLines(now)).to.have.members(theirLines(state))
          }
          expect(learnt).to.not.include(word)
          expect(learnt, 'the same outcome as without rows of other users').to.equal(
            outcomesWithoutVictim.get(`${caller} ${path.kind} ${path.name}`),
          )
          if (path.isRefused) expect(learnt).to.match(/^(Configuration|Forbidden)Error: /)
          else expect(learnt).to.not.match(/^(ConfigurationError|DBError|TypeError|Error|SqliteError|error): /)
        })
      }

      it(`the owner ${path.isRefused ? 'is refused' : path.isWithoutResult ? 'reads and changes nothing' : 'reaches the row'} by ${path.name}`, async () => {
        const own: Place = { me: victim.id, mine: theirs, theirs, knex: db.knex, domain: press.id }
        const learnt = await outcomeOf(() => runAs(victim, () => path.run(own)), known)
        if (path.kind === 'write') {
          const isChanged = (await changedSince(state)) !== undefined
          expect(isChanged, learnt).to.equal(!path.isRefused && !path.isWithoutResult)
        }
        if (path.isRefused) expect(learnt).to.match(/^(Configuration|Forbidden)Error: /)
        else if (path.isWithoutResult) return
        else if (path.kind === 'read') expect(learnt.toUpperCase()).to.include(word)
        else if (path.kind === 'count') expect(learnt).to.not.equal(await attempt('anonymous', path))
        else expect(learnt).to.not.match(/Error: /)
      })
    }

    it('[promise 34] a refused write stores nothing, even if a transaction catches its error and commits', async () => {
      await runAs((users.get('stranger') as User).id, () =>
        transaction(async () => {
          // Paths that open their own transaction would wait for the connection of this one.
          for (const path of paths.filter(
            ({ kind, name, isRefused }) => kind === 'write' && !isRefused && !/trx|bindTransaction/.test(name),
          )) {
            try {
              await transaction(async () => await path.run(place('stranger')))
            } catch {}
          }
        }),
      )
      const now = await asSystem(() => stateOf(db.knex))
      const lines = theirLines(now)
      await restore(db.knex, state)
      fingerprint = await fingerprintOf(db)
      expect(lines).to.have.members(theirLines(state))
    })
  }

eachKindOfIds('paths around the permissions', suite('declared'), ['integer'])
eachDatabase('paths around the permissions of shared rows', (db) => suite('shared')(db, suiteIds[0] as SuiteIds))
for (const form of ['with a jsonSchema', 'without a schema'] as const)
  eachDatabase(
    `paths around the permissions of existing models ${form}`,
    (db) => suite(form)(db, suiteIds[0] as SuiteIds),
    process.env['FULL'] === '1' ? availableDatabases : ['sqlite3'],
  )
