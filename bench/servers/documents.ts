/**
 * The servers of documents, by the library (ours.ts) and by hand (floor.ts), each in a process of its own on one PostgreSQL database, and
 * requests to them. The servers import the built package.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import jwt from 'jsonwebtoken'
import Knex from 'knex'
import { BasePermsModel, column, createTables, HasUserMixin, initPerms, User, UserOwnershipMixin } from 'objection-perms'
import { bundled } from '../../test/helpers/bundled.js'
import { versionOf } from './empty-database.js'
import type { Usage } from './usage.js'

class UserDocument extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
  title: column.string({ maxLength: 200 }),
  content: column.text(),
}) {}

export type Side = 'ours' | 'floor'

export interface Call {
  readonly method: string
  readonly path: string
  readonly body?: string
  readonly status: number
}

interface DocumentServer {
  readonly side: Side
  readonly port: number
  /** Memory now, and the delay of the event loop since the last time. */
  usage(): Promise<Usage>
}

/** A user with 30 documents. */
export interface Caller {
  readonly tokens: Readonly<Record<Side, string>>
  readonly ids: readonly string[]
}

/** The program of a server, and options of Node for it. */
export interface ServerPlan {
  readonly side: Side
  readonly options?: readonly string[]
}

export interface DocumentWorld<Name extends string> {
  readonly servers: Readonly<Record<Name, DocumentServer>>
  readonly callers: readonly Caller[]
  readonly database: string
  /** Deletes the documents that `createOne` made. */
  clean(): Promise<void>
  close(): Promise<void>
}

const created = 'New'

/** The requests of the benches, each about the documents of one caller. */
export const workloads: Readonly<Record<string, (caller: Caller, turn: number) => Call>> = {
  'GET /me': () => ({ method: 'GET', path: '/api/users/me/', status: 200 }),
  'list of 20 with total': () => ({ method: 'GET', path: '/api/documents/?page=1&pageSize=20', status: 200 }),
  'get one': ({ ids }, turn) => ({ method: 'GET', path: `/api/documents/${ids[turn % ids.length]}`, status: 200 }),
  'create one': () => ({
    method: 'POST',
    path: '/api/documents/',
    body: JSON.stringify({ title: created, content: 'text '.repeat(40) }),
    status: 201,
  }),
}

/**
 * Makes a database of 10,000 users, with 30 documents of each caller and 10 of each other user, and starts servers.
 *
 * @param admin the URL of a PostgreSQL server, for a database of its own
 * @param plans the servers, by name
 * @param count the number of callers: users with a role and tokens
 */
export async function openDocuments<Name extends string>(
  admin: string,
  plans: Readonly<Record<Name, ServerPlan>>,
  count = 1,
): Promise<DocumentWorld<Name>> {
  const name = `bench_documents_${process.pid}`
  const url = new URL(admin)
  url.pathname = `/${name}`
  const secret = randomBytes(32).toString('base64url')
  const root = Knex({ client: 'pg', connection: admin, pool: { min: 0, max: 1 } })
  await root.raw('create database ??', [name])
  const knex = Knex({ client: 'pg', connection: url.href })
  const children: ChildProcess[] = []
  const close = async () => {
    for (const child of children) child.kill()
    await Promise.all(children.map((child) => child.exitCode === null && child.signalCode === null && once(child, 'exit')))
    await knex.destroy()
    await root.raw('drop database if exists ?? with (force)', [name])
    await root.destroy()
  }
  try {
    const callers = await seed(knex, secret, count)
    const env = { ...process.env, DATABASE_URL: url.href, JWT_SECRET: secret, NODE_ENV: 'production' }
    const watch = await bundled('bench/servers/usage.ts')
    const start = async ({ side, options = [] }: ServerPlan, port: number): Promise<DocumentServer> => {
      const file = await bundled(`bench/servers/${side}.ts`, { fromBuild: true })
      const args = [...options, '--import', watch, file]
      const child = spawn(process.execPath, args, { env: { ...env, PORT: String(port) }, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
      children.push(child)
      await untilUp(port)
      const usage = async (): Promise<Usage> => {
        child.send('usage')
        return ((await once(child, 'message')) as [Usage])[0]
      }
      return { side, port, usage }
    }
    const servers = {} as Record<Name, DocumentServer>
    let port = 4310
    for (const name of Object.keys(plans) as Name[]) servers[name] = await start(plans[name], port++)
    const clean = async () => {
      await knex('user_document').where({ title: created }).delete()
      await knex.raw('vacuum analyze user_document')
    }
    return { servers, callers, database: await versionOf(knex), clean, close }
  } catch (error) {
    await close()
    throw error
  }
}

async function seed(knex: Knex.Knex, secret: string, count: number): Promise<Caller[]> {
  const perms = initPerms({ knex, jwt: { secret, accessTokenExpires: 86_400 } })
  await perms.migrate()
  await createTables(knex, [UserDocument])
  await knex.raw(`insert into "user" (id, email, is_enabled, created_at, updated_at)
    select gen_random_uuid(), 'user' || n || '@example.com', true, now(), now() from generate_series(1, 10000) n`)
  await knex.raw(
    `insert into user_role (id, user_id, role, created_at, updated_at)
    select gen_random_uuid(), id, 'user', now(), now() from (select id from "user" order by id limit ?) u`,
    [count],
  )
  await knex.raw(`insert into user_document (id, user_id, title, content, created_at, updated_at)
    select gen_random_uuid(), u.id, 'Document ' || n, repeat('text ', 40), now() - n * interval '1 minute', now()
    from "user" u cross join generate_series(1, case when exists (select from user_role r where r.user_id = u.id) then 30 else 10 end) n`)
  await knex.raw('vacuum analyze')
  const idsOf = new Map<string, string[]>()
  for (const { id, user_id } of (await knex('user_document').select('id', 'user_id')) as { id: string; user_id: string }[]) {
    idsOf.set(user_id, [...(idsOf.get(user_id) ?? []), id])
  }
  const users = await User.query().orderBy('id').limit(count)
  const callers: Caller[] = []
  const next = users.values()
  const signIn = async () => {
    for (const user of next) {
      const tokens = { ours: await perms.auth.createAccessToken(user), floor: jwt.sign({ sub: user.id }, secret, { expiresIn: '1d' }) }
      callers.push({ tokens, ids: idsOf.get(user.id) ?? [] })
    }
  }
  await Promise.all(Array.from({ length: 8 }, signIn))
  await knex.raw('vacuum analyze token')
  await perms.close()
  return callers
}

async function untilUp(port: number): Promise<void> {
  for (let i = 0; i < 300; i += 1) {
    const isUp = await fetch(`http://127.0.0.1:${port}/health`).then(
      (answer) => answer.ok,
      () => false,
    )
    if (isUp) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`The server on port ${port} did not start.`)
}

/** Sends one request, and fails if its status is another one. */
export function send(agent: Agent, port: number, token: string, call: Call): Promise<void> {
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

/** Returns a client that keeps so many connections. */
export const keepingAgent = (connections: number): Agent => new Agent({ keepAlive: true, maxSockets: connections * 2 })
