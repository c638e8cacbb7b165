/** The table of docs/step-up.md: what each endpoint answers to a wrong password, code or passkey of its own user. */
import { readFile } from 'node:fs/promises'
import { expect } from 'chai'
import { Api } from '../../../src/http/serve/api.js'
import { UserResource } from '../../../src/http/users/user-resource.js'
import { asSystem } from '../../../src/policy/context.js'
import { createUser, signInAs } from '../../../src/testing/index.js'
import type { User } from '../../../src/users/user.js'
import { addFactor, challengeOf } from '../../auth/flows/second-factor/factor.js'
import { allFeatures, type FullZoo, openFullZoo } from '../../conformance/full-zoo.js'
import { password } from '../../conformance/zoo.js'
import { type Client, clientOf } from '../client.js'

interface Row {
  readonly endpoint: string
  readonly field: string
  readonly status: number
  readonly code: string
}

const proofs = ['password', 'oldPassword', 'code', 'sentCode', 'passkey']

/** Endpoints whose property of this name is a new credential, or the code of another system, in place of a proof. */
const others = [
  'POST users password',
  'PATCH users/:id password',
  'PATCH me password',
  'POST reset-password password',
  'POST invitations/register password',
  'POST me/passkeys passkey',
  'POST providers/exchange code',
]

const passkey = {
  id: 'AAAA',
  type: 'public-key',
  response: { clientDataJSON: 'e30', authenticatorData: 'AA', signature: 'AA', userHandle: 'AA' },
}

async function readTable(): Promise<Row[]> {
  const page = await readFile(new URL('../../../docs/step-up.md', import.meta.url), 'utf8')
  const lines =
    page
      .split('## Wrong passwords, codes and passkeys')[1]
      ?.split('\n## ')[0]
      ?.match(/^\| `.*$/gm) ?? []
  return lines.flatMap((line) => {
    const [, endpoints = '', fields = '', answer = ''] = line.split('|')
    const [, status = '', code = ''] = /(\d{3}) `(\w+)`/.exec(answer) ?? []
    const named = (cell: string) => [...cell.matchAll(/`([^`]+)`/g)].map(([, text = '']) => text)
    return named(endpoints).flatMap((endpoint) =>
      named(fields).map((field) => ({ endpoint: endpoint.replace(/\/$/, ''), field, status: Number(status), code })),
    )
  })
}

describe('A wrong password, code or passkey of the own user', function () {
  this.timeout(60_000)
  let zoo: FullZoo
  let ask: Client
  let rows: Row[]
  before(async () => {
    zoo = await openFullZoo()
    ask = clientOf(new Api({ resources: [new UserResource({ features: allFeatures })] }), zoo.perms)
    rows = await readTable()
  })
  after(() => zoo.close())

  it('is in the table of docs/step-up.md for every endpoint that takes one', async () => {
    const { body: document } = await ask('GET', '/openapi.json')
    const found = new Set<string>()
    for (const [path, operations] of Object.entries(document.paths as Record<string, Record<string, any>>))
      for (const [method, { requestBody }] of Object.entries(operations)) {
        const schema = requestBody?.content?.['application/json']?.schema
        const { properties = {} } = schema?.$ref ? document.components.schemas[schema.$ref.split('/').at(-1)] : (schema ?? {})
        const short = path
          .replace(/^\/users\/?(?=\{|$)/, 'users/')
          .replace('/users/', '')
          .replace(/\{(\w+)\}/g, ':$1')
          .replace(/\/$/, '')
        for (const name of proofs) if (name in properties) found.add(`${method.toUpperCase()} ${short} ${name}`)
      }
    for (const one of others) expect(found.delete(one), one).to.equal(true)
    expect([...found].sort()).to.deep.equal(rows.map(({ endpoint, field }) => `${endpoint} ${field}`).sort())
  })

  it('gives what the table says, and the session stays [promise 187]', async () => {
    const user = await createUser<User>({ password })
    await addFactor(zoo.perms, user, password)
    const { accessToken } = await signInAs(user)
    const pending = await signInAs<User>({ password } as never)
    await asSystem(() => zoo.perms.auth.secondFactors.begin(pending.user, { password }))
    const { email } = user
    const more: Record<string, () => object | Promise<object>> = {
      'POST login': () => ({ email }),
      'POST second-factor': async () => ({ challenge: await challengeOf(zoo.perms, email, password) }),
      'POST codes': () => ({ email }),
      'PATCH me': () => ({ password: 'a wholly new password' }),
      'PATCH users/:id': () => ({ password: 'a wholly new password' }),
      'POST me/email': () => ({ email: 'another@example.com' }),
    }
    for (const { endpoint, field, status, code } of rows) {
      const [method = '', path = ''] = endpoint.split(' ')
      const value = field === 'passkey' ? passkey : /code/i.test(field) ? '000000' : 'a wrong password'
      const token = !/ (me|users)\b/.test(endpoint)
        ? null
        : endpoint === 'POST me/second-factor/confirm' || endpoint === 'POST me/second-factor'
          ? pending.accessToken
          : accessToken
      const target = path.startsWith('users/') ? `/${path.replace(':id', user.id)}` : `/users/${path}`
      const reply = await ask(method, target, token, { body: { ...(await more[endpoint]?.()), [field]: value } })
      const shown = `${endpoint} ${field}: ${JSON.stringify(reply.body)}`
      expect([reply.status, reply.body.code], shown).to.deep.equal([status, code])
      if (status === 422)
        expect(
          reply.body.errors.map((one: { field: string }) => one.field),
          shown,
        ).to.deep.equal([field])
      expect((await ask('GET', '/users/me', accessToken)).status, shown).to.equal(200)
    }
  })

  it('is not told apart from a right one beside it', async () => {
    const user = await createUser<User>({ password })
    await addFactor(zoo.perms, user, password)
    const { accessToken } = await signInAs(user)
    const bodies = [
      { password, code: '000000' },
      { password: 'a wrong password', code: '000000' },
    ]
    const replies = await Promise.all(bodies.map((body) => ask('POST', '/users/me/confirm', accessToken, { body })))
    for (const { status, body } of replies) {
      expect(status).to.equal(401)
      expect(body).to.deep.equal(replies[0]?.body)
    }
  })
})
