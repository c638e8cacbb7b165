/**
 * Writes test/fixtures/0.1.0 anew: fills a database of each kind through the sources of 0.1.0, dumps it, and records the
 * statements of an ordinary session. Needs pg_dump, mariadb-dump and sqlite3, and the history of git.
 *
 *   POSTGRES_URL=... MARIADB_URL=... node --import tsx test/compatibility/make-fixtures.ts
 */
import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Knex } from 'knex'
import { createDatabase, type OwnDatabase } from '../helpers/databases.js'
import {
  type Application,
  defineModels,
  type Library,
  loadLibrary,
  sourcesIn,
  startApplication,
  type UserModelName,
  userModelNames,
} from './application.js'
import { type Credentials, Filler } from './fill.js'
import { type Dialect, fixtureFile, loadRows, removeRelease, statementLine, unpackRelease } from './releases.js'

const drivers = { sqlite: 'sqlite3', pg: 'pg', mysql: 'mysql2' } as const

function dump(dialect: Dialect, url: string): string {
  const run = (command: string, args: string[]) => execFileSync(command, args, { encoding: 'utf8' })
  if (dialect === 'sqlite') return withoutLines(run('sqlite3', [url, '.dump']), /^(PRAGMA|BEGIN|COMMIT)/)
  if (dialect === 'pg') {
    const text = run('pg_dump', ['--inserts', '--no-owner', '--no-privileges', '--no-comments', url])
    return withoutLines(text, /^(--|SET |SELECT pg_catalog\.set_config|\\)/)
  }
  const { hostname, port, username, pathname } = new URL(url)
  const connection = ['-h', hostname, '-P', port, '-u', username]
  const text = run('mariadb-dump', [
    ...connection,
    '--compact',
    '--skip-extended-insert',
    '--complete-insert',
    '--hex-blob',
    pathname.slice(1),
  ])
  return `SET FOREIGN_KEY_CHECKS = 0;\n${withoutLines(text, /^(\/\*)/)}SET FOREIGN_KEY_CHECKS = 1;\n`
}

function withoutLines(text: string, unwanted: RegExp): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '' && !unwanted.test(line))
  if (lines.some((line) => line.includes('?'))) throw new Error('A question mark in a dump would be read as a binding.')
  return `${lines.join('\n')}\n`
}

/** Signs in, refreshes, creates, lists, changes and signs out, as clients of 0.1.0 do. */
async function useApplication({ ask }: Application, given: Credentials): Promise<void> {
  const signedIn = await ask('POST', '/users/login', { body: { email: 'ada@example.com', password: 'correct horse battery' } })
  const { access_token: token, refresh_token: first } = signedIn.body
  const steps: [string, string, { token?: string; body?: object }, number][] = [
    ['GET', '/users/me', { token }, 200],
    ['POST', '/users/refresh', { body: { refresh_token: first } }, 200],
    ['GET', '/users/me', { token: given.ada.accessToken }, 200],
    ['GET', '/papers', { token: given.ada.apiKey }, 200],
    ['POST', '/papers', { token, body: { title: 'Letter' } }, 201],
    ['GET', '/papers?sort=-createdAt&pageSize=1', { token }, 200],
    ['PATCH', `/papers/${given.ada.paperId}`, { token, body: { title: 'Diary, second part' } }, 200],
    ['DELETE', `/papers/${given.ada.paperId}`, { token }, 204],
    ['PATCH', '/users/me', { token, body: { oldPassword: 'correct horse battery', password: 'another long passphrase' } }, 200],
    ['POST', '/users/api-keys', { token, body: { abilities: ['*'] } }, 201],
    ['GET', '/users/sessions', { token }, 200],
    ['POST', '/users/logout', { token, body: {} }, 204],
    ['POST', '/users', { body: { email: 'new@example.com', password: 'correct horse battery' } }, 401],
  ]
  for (const [method, path, sent, status] of steps) {
    const reply = await ask(method, path, sent)
    if (reply.status !== status) throw new Error(`${method} ${path}: ${reply.status} ${JSON.stringify(reply.body)}`)
  }
}

async function record(library: Library, dialect: Dialect, model: UserModelName): Promise<void> {
  const own = await createDatabase(drivers[dialect])
  // One connection, so that the order of statements is also the order of their transactions.
  const knex = own.connect({ pool: { min: 1, max: 1 } })
  const credentials = await loadRows(knex, dialect, model)
  const app = await startApplication(library, knex, model)
  const lines: string[] = []
  knex.on('query', ({ sql, bindings = [] }: Knex.Sql) => lines.push(statementLine({ sql, bindings })))
  await useApplication(app, credentials)
  await app.perms.auth.settled()
  writeFileSync(fixtureFile('statements', dialect, model), `${lines.join('\n')}\n`)
  await app.close()
  await own.destroy()
}

async function fill(library: Library, own: OwnDatabase, dialect: Dialect, model: UserModelName): Promise<void> {
  const app = await startApplication(library, own.knex, model)
  await app.perms.migrate()
  await library.root.createTables(own.knex, [defineModels(library, model).Paper])
  const credentials = await new Filler(library, app).fill()
  await app.close()
  writeFileSync(fixtureFile('rows', dialect, model), dump(dialect, own.url))
  writeFileSync(fixtureFile('credentials', dialect, model), `${JSON.stringify(credentials, null, 2)}\n`)
}

const folder = join(mkdtempSync(join(tmpdir(), 'objection-perms-')), '0.1.0')
const problem = unpackRelease(folder)
if (problem) throw new Error(problem)
mkdirSync(dirname(fixtureFile('rows', 'pg', 'keeper')), { recursive: true })
const library = await loadLibrary(sourcesIn(folder))
for (const dialect of ['sqlite', 'pg', 'mysql'] as const)
  for (const model of userModelNames) {
    const own = await createDatabase(drivers[dialect])
    await fill(library, own, dialect, model)
    await own.destroy()
    await record(library, dialect, model)
    console.log(`${dialect} ${model}`)
  }
removeRelease(folder)
process.exit(0)
