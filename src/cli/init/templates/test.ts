import { type Choices, importExtension, typesOf } from '../choices.js'

/** Returns the module that the tests import first: it sets the secret and the database of the tests. */
export function testEnvironmentModule({ database }: Choices): string {
  if (database === 'sqlite') {
    return `import { randomBytes } from 'node:crypto'

// Test files import this module first: the tests use a secret of their own, and a database in memory.
process.env.JWT_SECRET = randomBytes(32).toString('base64url')
process.env.DATABASE_URL = ':memory:'
`
  }
  return `import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'

if (existsSync('.env')) process.loadEnvFile('.env')

const { DATABASE_URL, TEST_DATABASE_URL } = process.env
if (!TEST_DATABASE_URL || TEST_DATABASE_URL === DATABASE_URL) {
  throw new Error('TEST_DATABASE_URL must name another database than DATABASE_URL: the tests create and delete rows. Write it into the file .env.')
}

// Test files import this module first: the tests use a secret and a database of their own.
process.env.JWT_SECRET = randomBytes(32).toString('base64url')
process.env.DATABASE_URL = TEST_DATABASE_URL
`
}

/** Returns the generated test of the API. */
export function apiTestModule(choices: Choices): string {
  const ts = typesOf(choices)
  const extension = importExtension(choices)
  return `import './environment.${extension}'
import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
${ts("import type { Server } from 'node:http'\nimport type { AddressInfo } from 'node:net'\n")}import { after, before, test } from 'node:test'
import { asSystem } from 'objection-perms'
import { start } from '../src/app.${extension}'
import { Account } from '../src/models.${extension}'
import { knex, perms } from '../src/perms.${extension}'

const password = randomUUID()
const created${ts(': Account[]')} = []
let server${ts(': Server')}

before(async () => {
  await perms.migrate() // the library's tables
  await knex.migrate.latest() // your tables
  server = await start(0, '127.0.0.1')
})

after(async () => {
  server?.close()
  server?.closeAllConnections()
  await asSystem(async () => {
    for (const account of created) await account.delete()
  })
  await perms.close()
  await knex.destroy()
})

test('anonymous callers get 401', async () => {
  for (const path of ['notes/', \`notes/\${randomUUID()}\`, 'users/', 'users/me/']) {
    assert.equal((await send('GET', path)).status, 401, path)
  }
  assert.equal((await send('POST', 'notes/', { title: 'Hello', text: '' })).status, 401)
})

test('a wrong password gives 401', async () => {
  const { email } = await createAccount()
  assert.equal((await send('POST', 'users/login/', { email, password: randomUUID() })).status, 401)
})

test('nobody can register', async () => {
  const body = { email: \`\${randomUUID()}@example.com\`, password }
  assert.equal((await send('POST', 'users/', body)).status, 401)
  assert.equal((await send('POST', 'users/', body, await signIn())).status, 403)
})

test('a user signs in, and writes a note', async () => {
  const token = await signIn()
  const note = await send('POST', 'notes/', { title: 'Hello', text: 'World' }, token)
  assert.equal(note.status, 201)
  const changed = await send('PATCH', \`notes/\${note.body.id}\`, { title: 'Goodbye' }, token)
  assert.equal(changed.body.title, 'Goodbye')
  assert.equal((await send('GET', 'notes/', undefined, token)).body.data?.length, 1)
})

test('a user cannot see or change the notes of another user', async () => {
  const [ada, bob] = [await signIn(), await signIn()]
  const { body } = await send('POST', 'notes/', { title: 'Mine', text: '' }, ada)
  const path = \`notes/\${body.id}\`
  assert.equal((await send('GET', path, undefined, bob)).status, 404)
  assert.equal((await send('PATCH', path, { title: 'Yours' }, bob)).status, 404)
  assert.equal((await send('DELETE', path, undefined, bob)).status, 404)
  assert.deepEqual((await send('GET', 'notes/', undefined, bob)).body.data, [])
  assert.equal((await send('GET', path, undefined, ada)).body.title, 'Mine')
})

/** Creates a user with an address of its own. */
async function createAccount()${ts(': Promise<Account>')} {
  const account = await asSystem(() => Account.create({ email: \`\${randomUUID()}@example.com\`, password }))
  created.push(account)
  return account
}

/** Signs a new user in over HTTP. Returns the access token. */
async function signIn()${ts(': Promise<string>')} {
  const { email } = await createAccount()
  const { status, body } = await send('POST', 'users/login/', { email, password })
  assert.equal(status, 200)
  assert.ok(body.access_token)
  return body.access_token
}
${ts(`
interface Answer {
  status: number
  body: { id?: string; title?: string; access_token?: string; data?: { id: string }[] }
}
`)}
/** Sends a request to the server. */
async function send(method${ts(': string')}, path${ts(': string')}, input${ts('?: object')}, token${ts('?: string')})${ts(': Promise<Answer>')} {
  const headers = { 'content-type': 'application/json', ...(token ? { authorization: \`Bearer \${token}\` } : {}) }
  const { port } = server.address()${ts(' as AddressInfo')}
  const answer = await fetch(\`http://127.0.0.1:\${port}/api/\${path}\`, { method, headers, ...(input ? { body: JSON.stringify(input) } : {}) })
  const text = await answer.text()
  return { status: answer.status, body: text === '' ? {} : JSON.parse(text) }
}
`
}
