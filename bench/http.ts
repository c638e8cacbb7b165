/**
 * Requests per second through the Express adapter against hand-written Express, knex and jsonwebtoken, on PostgreSQL, in the
 * same run: 10,000 users, 100,000 documents, 30 of them the caller's. Prints the median of the per-round ratios (above 1: ahead
 * of the floor). The library is measured as it is published, so build it first.
 *
 *     npm run build && POSTGRES_URL=postgres://... npx tsx bench/http.ts [rounds] [seconds a slice]
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { Agent, request } from 'node:http'
import { fileURLToPath } from 'node:url'
import jwt from 'jsonwebtoken'
import Knex from 'knex'
import { BasePermsModel, column, createTables, HasUserMixin, initPerms, User, UserOwnershipMixin } from 'objection-perms'

class UserDocument extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
  title: column.string({ maxLength: 200 }),
  content: column.text(),
}) {}

const rounds = Number(process.argv[2] ?? 7)
const sliceMs = Number(process.argv[3] ?? 2) * 1000
const connections = 32
const admin = process.env.POSTGRES_URL
if (!admin) throw new Error('Set POSTGRES_URL: this bench is about PostgreSQL.')
const name = `bench_http_${process.pid}`
const url = new URL(admin)
url.pathname = `/${name}`
const secret = randomBytes(32).toString('base64url')
const median = (list: number[]): number => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? Number.NaN

async function seed(): Promise<{ ours: string; floor: string; ids: string[] }> {
  const knex = Knex({ client: 'pg', connection: url.href })
  const perms = initPerms({ knex, jwt: { secret, accessTokenExpires: 86_400 } })
  await perms.migrate()
  await createTables(knex, [UserDocument])
  const me = await User.create({ email: 'me@example.com' })
  await me.grantRole('user')
  await knex.raw(`insert into "user" (id, email, is_enabled, created_at, updated_at)
    select gen_random_uuid(), 'user' || n || '@example.com', true, now(), now() from generate_series(1, 9999) n`)
  await knex.raw(`insert into user_document (id, user_id, title, content, created_at, updated_at)
    select gen_random_uuid(), u.id, 'Document ' || n, repeat('text ', 40), now() - n * interval '1 minute', now()
    from (select id, row_number() over () as r from "user") u cross join generate_series(1, 10) n`)
  await knex.raw(
    `insert into user_document (id, user_id, title, content, created_at, updated_at)
    select gen_random_uuid(), ?::uuid, 'Document ' || n, repeat('text ', 40), now() - n * interval '1 minute', now() from generate_series(1, 20) n`,
    [me.id],
  )
  await knex.raw('vacuum analyze')
  const rows = await knex('user_document').where('user_id', me.id).select('id')
  const ours = await perms.auth.createAccessToken(me)
  const floor = jwt.sign({ sub: me.id }, secret, { expiresIn: '1d' })
  await perms.close()
  await knex.destroy()
  return { ours, floor, ids: rows.map((row: { id: string }) => row.id) }
}

async function start(server: string, port: number): Promise<ChildProcess> {
  const file = fileURLToPath(new URL(`./servers/${server}.ts`, import.meta.url))
  const child = spawn(process.execPath, ['--import', 'tsx', file], {
    env: { ...process.env, PORT: String(port), DATABASE_URL: url.href, JWT_SECRET: secret, NODE_ENV: 'production' },
    stdio: 'inherit',
  })
  for (let i = 0; i < 100; i += 1) {
    const isUp = await fetch(`http://127.0.0.1:${port}/health`).then(
      (answer) => answer.ok,
      () => false,
    )
    if (isUp) return child
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`${server} did not start`)
}

interface Call {
  readonly method: string
  readonly path: string
  readonly body?: string
  readonly status: number
}

function send(agent: Agent, port: number, token: string, call: Call): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers: Record<string, string> = { authorization: `Bearer ${token}` }
    if (call.body) Object.assign(headers, { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(call.body)) })
    const sent = request({ agent, host: '127.0.0.1', port, method: call.method, path: call.path, headers }, (answer) => {
      answer.resume()
      answer.on('end', () =>
        answer.statusCode === call.status ? resolve() : reject(new Error(`${call.method} ${call.path}: ${answer.statusCode}`)),
      )
    })
    sent.on('error', reject)
    sent.end(call.body)
  })
}

async function perSecond(agent: Agent, port: number, token: string, next: () => Call, ms: number): Promise<number> {
  const end = Date.now() + ms
  let done = 0
  const loop = async () => {
    while (Date.now() < end) {
      await send(agent, port, token, next())
      done += 1
    }
  }
  await Promise.all(Array.from({ length: connections }, loop))
  return (done * 1000) / ms
}

const root = Knex({ client: 'pg', connection: admin })
await root.raw('create database ??', [name])
const children: ChildProcess[] = []
try {
  const { ours, floor, ids } = await seed()
  const ports = { ours: 4310, floor: 4311 }
  children.push(await start('ours', ports.ours), await start('floor', ports.floor))
  let turn = 0
  const workloads: Record<string, () => Call> = {
    'GET /me': () => ({ method: 'GET', path: '/api/users/me/', status: 200 }),
    'list of 20 with total': () => ({ method: 'GET', path: '/api/documents/?page=1&pageSize=20', status: 200 }),
    'get one': () => ({ method: 'GET', path: `/api/documents/${ids[turn++ % ids.length]}`, status: 200 }),
    'create one': () => ({
      method: 'POST',
      path: '/api/documents/',
      body: JSON.stringify({ title: 'New', content: 'text '.repeat(40) }),
      status: 201,
    }),
  }
  console.log(`requests/s, ${connections} connections, median of ${rounds} rounds of ${sliceMs / 1000} s`)
  for (const [title, next] of Object.entries(workloads)) {
    const agent = new Agent({ keepAlive: true, maxSockets: connections * 2 })
    const tokens = { ours, floor }
    const rates: Record<'ours' | 'floor', number[]> = { ours: [], floor: [] }
    for (const side of ['ours', 'floor'] as const) await perSecond(agent, ports[side], tokens[side], next, sliceMs)
    for (let round = 0; round < rounds; round += 1) {
      const order = round % 2 === 0 ? (['ours', 'floor'] as const) : (['floor', 'ours'] as const)
      for (const side of order) rates[side].push(await perSecond(agent, ports[side], tokens[side], next, sliceMs))
    }
    const ratio = median(rates.ours.map((rate, i) => rate / (rates.floor[i] as number)))
    console.log(
      `  ${title.padEnd(24)} ${ratio.toFixed(2)}   (ours ${median(rates.ours).toFixed(0)}/s, floor ${median(rates.floor).toFixed(0)}/s)`,
    )
    agent.destroy()
  }
} finally {
  for (const child of children) child.kill()
  await new Promise((resolve) => setTimeout(resolve, 300))
  await root.raw('drop database if exists ?? with (force)', [name])
  await root.destroy()
}
