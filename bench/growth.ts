/**
 * How the time of a request grows with the table, for a caller who owns 1000 rows in it: a list, page 41 by cursor, one row, and a list with
 * its total; and for an admin, who reads all rows, page 50,000 by cursor. Through a Fetch handler in this process. Measures tables of 10,000 to 1,000,000 rows in turns, on better-sqlite3
 * (a file) and on POSTGRES_URL. Prints the time relative to 10,000 rows; the fifth of the rounds that was least disturbed counts. Aim: at most 1.3.
 *
 *     npx tsx bench/growth.ts [rounds]          ROWS=10000000 measures up to 10,000,000 rows; this takes 8 GB on disk
 */
import type { Knex } from 'knex'
import { fetchAdapter } from '../src/adapters/fetch.js'
import { Api, initPerms, User } from '../src/index.js'
import { documentsOf, fillDocuments, fillUsers, OWNED, PAGE, resourceOf } from './growth-world.js'
import { rounded, saveResult } from './results.js'
import { emptyDatabaseOf, versionOf } from './servers/empty-database.js'

const rounds = Number(process.argv[2] ?? 60)
const most = Number(process.env.ROWS ?? 1_000_000)
const repeated = 10
const warmUp = 20
const aim = 1.3
const sizes = [1e4, 1e5, 1e6, 1e7].filter((size) => size <= most)
const operations = ['list', 'page 41 by cursor', 'get', 'total', 'page 50,000 of an admin by cursor'] as const
type Operation = (typeof operations)[number]

interface Page {
  readonly data: readonly { id: string }[]
  readonly pagination: { total: number; nextCursor: string }
}

type Send = (path: string) => Promise<Page>

/** Returns a request of each operation on the table of so many rows. */
async function requestsOn(size: number, asCaller: Send, asAdmin: Send): Promise<Record<Operation, () => Promise<unknown>>> {
  const path = `/api/growth-${size}/`
  const list = `${path}?pageSize=${PAGE}&total=false`
  const cursorAfter = async (page: number, send: Send) => (await send(`${list}&page=${page}`)).pagination.nextCursor
  const cursor = await cursorAfter(40, asCaller)
  // Smaller tables have fewer pages.
  const deep = await cursorAfter(Math.min(49_999, (size * 0.8) / PAGE), asAdmin)
  const { data } = await asCaller(list)
  let turn = 0
  return {
    list: () => asCaller(list),
    'page 41 by cursor': () => asCaller(`${list}&cursor=${cursor}`),
    get: () => asCaller(`${path}${data[turn++ % PAGE]?.id}`),
    total: () => asCaller(`${path}?pageSize=1`),
    'page 50,000 of an admin by cursor': () => asAdmin(`${list}&cursor=${deep}`),
  }
}

/** The time that a fifth of the rounds did not exceed. */
const leastDisturbed = (times: readonly number[]): number => [...times].sort((a, b) => a - b)[Math.floor(times.length / 5)] as number

/** @returns the milliseconds of each operation on each table */
async function measure(knex: Knex): Promise<Record<Operation, number[]>> {
  const models = sizes.map(documentsOf)
  const perms = initPerms({ knex, models, jwt: { secret: 'a secret of the bench, 32 bytes long' } })
  await perms.migrate()
  const caller = await fillUsers(knex, Math.max(...sizes) / OWNED)
  for (const [i, model] of models.entries()) await fillDocuments(knex, model, sizes[i] as number, caller)
  const admin = await User.create({ email: 'admin@example.com' })
  await admin.grantRole('admin')
  const handler = fetchAdapter(perms).router(
    new Api({ prefix: '/api', resources: models.map((model, i) => resourceOf(model, sizes[i] as number)) }),
  )
  const as = async (user: User): Promise<Send> => {
    const headers = { authorization: `Bearer ${await perms.auth.createAccessToken(user)}` }
    return async (path) => {
      const answer = await handler(new Request(`http://bench.test${path}`, { headers }))
      if (answer.status !== 200) throw new Error(`${path}: ${answer.status} ${await answer.text()}`)
      return (await answer.json()) as Page
    }
  }
  const [asCaller, asAdmin] = [await as(caller), await as(admin)]
  const requests = await Promise.all(sizes.map((size) => requestsOn(size, asCaller, asAdmin)))
  const { pagination } = await asCaller(`/api/growth-${sizes[0]}/`)
  if (pagination.total !== OWNED) throw new Error(`The caller owns ${pagination.total} rows.`)
  const times = operations.map(() => sizes.map((): number[] => []))
  for (let round = -warmUp; round < rounds; round += 1) {
    for (const [o, operation] of operations.entries()) {
      for (let turn = 0; turn < sizes.length; turn += 1) {
        // Another table first in each round.
        const i = (turn + round + warmUp) % sizes.length
        const from = performance.now()
        for (let n = 0; n < repeated; n += 1) await requests[i]?.[operation]()
        if (round >= 0) times[o]?.[i]?.push((performance.now() - from) / repeated)
      }
    }
  }
  await perms.close()
  return Object.fromEntries(operations.map((operation, o) => [operation, times[o]?.map(leastDisturbed)])) as Record<Operation, number[]>
}

const figures: { database: string; sizes: number[]; operations: Record<string, number[]> }[] = []
const names: string[] = []
for (const [driver, server] of [
  ['better-sqlite3', undefined],
  ['pg', process.env.POSTGRES_URL],
] as const) {
  if (driver === 'pg' && !server) {
    console.log('PostgreSQL left out: POSTGRES_URL is not set.')
    continue
  }
  const { knex, drop } = await emptyDatabaseOf(driver, server)
  try {
    const database = await versionOf(knex)
    names.push(database)
    const taken = await measure(knex)
    console.log(
      `${database}: ms with ${sizes[0]} rows, then the time relative to it with ${sizes.slice(1).join(', ')} rows (${rounds} rounds)`,
    )
    for (const [operation, times] of Object.entries(taken)) {
      const [base = Number.NaN, ...others] = times
      const grown = others.map((time) => (time / base).toFixed(2).padStart(6)).join(' ')
      const isFine = others.every((time) => time / base <= aim)
      if (!isFine) process.exitCode = 1
      console.log(`  ${operation.padEnd(34)} ${base.toFixed(3).padStart(8)} ${grown}${isFine ? '' : `  more than ${aim}`}`)
    }
    const plain = Object.fromEntries(Object.entries(taken).map(([operation, times]) => [operation, times.map((time) => rounded(time))]))
    figures.push({ database: database.split(' ')[0] as string, sizes, operations: plain })
  } finally {
    await drop()
  }
}
saveResult('growth', names, figures)
