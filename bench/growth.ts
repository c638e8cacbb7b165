/**
 * How the time of a request grows with the table, for a caller who owns 1000 rows in it: a list, a page deep in by cursor, one row, and a
 * list with its total, through a Fetch handler in this process. Measures tables of 10,000 to 1,000,000 rows in turns, on better-sqlite3
 * (a file) and on POSTGRES_URL. Prints the median time relative to 10,000 rows. Aim: at most 1.3.
 *
 *     npx tsx bench/growth.ts [rounds]          ROWS=10000000 measures up to 10,000,000 rows; this takes 8 GB on disk
 */
import type { Knex } from 'knex'
import { fetchAdapter } from '../src/adapters/fetch.js'
import { Api, initPerms } from '../src/index.js'
import { documentsOf, fillDocuments, fillUsers, OWNED, PAGE, resourceOf } from './growth-world.js'
import { median, rounded, saveResult } from './results.js'
import { emptyDatabaseOf, versionOf } from './servers/empty-database.js'

const rounds = Number(process.argv[2] ?? 60)
const most = Number(process.env.ROWS ?? 1_000_000)
const repeated = 10
const aim = 1.3
const sizes = [1e4, 1e5, 1e6, 1e7].filter((size) => size <= most)
const operations = ['list', 'deep page by cursor', 'get', 'total'] as const
type Operation = (typeof operations)[number]

interface Page {
  readonly data: readonly { id: string }[]
  readonly pagination: { total: number; nextCursor: string }
}

/** Returns a request of each operation on the table of so many rows. */
async function requestsOn(size: number, send: (path: string) => Promise<Page>): Promise<Record<Operation, () => Promise<unknown>>> {
  const path = `/api/growth-${size}/`
  const list = `${path}?pageSize=${PAGE}&total=false`
  let page = await send(`${list}&page=${Math.floor((OWNED * 0.8) / PAGE)}`)
  const { nextCursor } = page.pagination
  page = await send(`${list}&cursor=${nextCursor}`)
  let turn = 0
  return {
    list: () => send(list),
    'deep page by cursor': () => send(`${list}&cursor=${nextCursor}`),
    get: () => send(`${path}${page.data[turn++ % PAGE]?.id}`),
    total: () => send(`${path}?pageSize=1`),
  }
}

/** @returns the median milliseconds of each operation on each table */
async function measure(knex: Knex): Promise<Record<Operation, number[]>> {
  const models = sizes.map(documentsOf)
  const perms = initPerms({ knex, models, jwt: { secret: 'a secret of the bench, 32 bytes long' } })
  await perms.migrate()
  const caller = await fillUsers(knex, Math.max(...sizes) / OWNED)
  for (const [i, model] of models.entries()) await fillDocuments(knex, model, sizes[i] as number, caller)
  const token = await perms.auth.createAccessToken(caller)
  const handler = fetchAdapter(perms).router(
    new Api({ prefix: '/api', resources: models.map((model, i) => resourceOf(model, sizes[i] as number)) }),
  )
  const send = async (path: string): Promise<Page> => {
    const answer = await handler(new Request(`http://bench.test${path}`, { headers: { authorization: `Bearer ${token}` } }))
    if (answer.status !== 200) throw new Error(`${path}: ${answer.status}`)
    return (await answer.json()) as Page
  }
  const requests = await Promise.all(sizes.map((size) => requestsOn(size, send)))
  const { pagination } = await send(`/api/growth-${sizes[0]}/`)
  if (pagination.total !== OWNED) throw new Error(`The caller owns ${pagination.total} rows.`)
  const medians = {} as Record<Operation, number[]>
  for (const operation of operations) {
    const times: number[][] = sizes.map(() => [])
    for (let round = -5; round < rounds; round += 1) {
      // Another table first in each round.
      for (let turn = 0; turn < sizes.length; turn += 1) {
        const i = (turn + round + 5) % sizes.length
        const from = performance.now()
        for (let n = 0; n < repeated; n += 1) await requests[i]?.[operation]()
        if (round >= 0) times[i]?.push((performance.now() - from) / repeated)
      }
    }
    medians[operation] = times.map(median)
  }
  await perms.close()
  return medians
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
    const medians = await measure(knex)
    console.log(
      `${database}: ms with ${sizes[0]} rows, then the time relative to it with ${sizes.slice(1).join(', ')} rows (median of ${rounds})`,
    )
    for (const [operation, times] of Object.entries(medians)) {
      const [base = Number.NaN, ...others] = times
      const grown = others.map((time) => (time / base).toFixed(2).padStart(6)).join(' ')
      const isFine = others.every((time) => time / base <= aim)
      if (!isFine) process.exitCode = 1
      console.log(`  ${operation.padEnd(20)} ${base.toFixed(3).padStart(8)} ${grown}${isFine ? '' : `  more than ${aim}`}`)
    }
    const plain = Object.fromEntries(Object.entries(medians).map(([operation, times]) => [operation, times.map((time) => rounded(time))]))
    figures.push({ database: database.split(' ')[0] as string, sizes, operations: plain })
  } finally {
    await drop()
  }
}
saveResult('growth', names, figures)
