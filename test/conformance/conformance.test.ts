import { request } from 'node:http'
import { expect } from 'chai'
import { CrudResource } from '../../src/http/crud/crud-resource.js'
import { Api } from '../../src/http/serve/api.js'
import { UserResource } from '../../src/http/users/user-resource.js'
import { type App, apps } from './apps.js'
import { type Case, cases } from './cases.js'
import { featureCases, populate } from './features.js'
import { allFeatures, type FullZoo, Keeper, openFullZoo } from './full-zoo.js'
import { Critter, UserDocument, type Zoo } from './zoo.js'

class Newcomer extends Keeper {
  static override publicRegistration = true
}
const onlyPrivateRegistration = {
  login: false,
  me: false,
  refresh: false,
  logout: false,
  sessions: false,
  privateRegistration: true,
} as const

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
}

// fetch() would clean the path up; node:http sends it as it is.
function send(app: App, zoo: Zoo, { method, path, as, body, headers }: Case, token = as && zoo.tokens[as]): Promise<Answer> {
  const payload = body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body)
  const { hostname, port } = new URL(app.url)
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        hostname,
        port,
        method,
        path,
        agent: false,
        headers: {
          ...(token && { authorization: `Bearer ${token}` }),
          ...(payload !== undefined && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }),
          ...headers,
        },
      },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks).toString() }),
        )
      },
    )
    sent.on('error', reject)
    sent.end(payload)
  })
}

const headersThatMatter = [
  'content-type',
  'content-length',
  'cache-control',
  'www-authenticate',
  'allow',
  'etag',
  'location',
  'link',
  'retry-after',
  'x-request-id',
  'x-content-type-options',
]

/** The answer with what differs from run to run made alike. */
function transcript(answer: Answer): string {
  const headers = headersThatMatter.filter((name) => answer.headers[name] !== undefined).map((name) => `${name}: ${answer.headers[name]}`)
  return [answer.status, ...headers, answer.body]
    .join('\n')
    .replace(/[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}/g, '<id>')
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>')
    .replace(/(etag: ).*/g, '$1<etag>')
    .replace(/("(?:access_token|refresh_token|nextCursor|challenge|key|secret|uri)":")[^"]*/g, '$1<opaque>')
    .replace(/"[a-z2-9]{5}(?:-[a-z2-9]{1,5}){5}"/g, '"<code>"')
    .replace(/(content-length: ).*/g, /_token":"|nextCursor":"/.test(answer.body) ? '$1<length>' : '$&')
}

describe('conformance', function () {
  this.timeout(20_000)
  const transcripts = new Map<string, Map<string, string>>()

  for (const [name, start] of Object.entries(apps)) {
    describe(name, () => {
      let zoo: FullZoo
      let app: App
      before(async () => {
        zoo = await openFullZoo()
        await populate(zoo)
        const api = new Api({
          prefix: '/api',
          resources: [
            new UserResource({ methods: { update: { adminOnly: true }, delete: { adminOnly: true } }, features: allFeatures }),
            new UserResource({ model: Newcomer, path: 'newcomers', methods: ['create'], features: onlyPrivateRegistration }),
            new CrudResource({ model: UserDocument, path: 'documents', include: ['user'] }),
            new CrudResource({ model: Critter, methods: { delete: { adminOnly: true }, list: { public: true }, get: { public: true } } }),
          ],
        })
        app = await start(zoo.perms, api)
      })
      after(async () => {
        await app.close()
        await zoo.close()
      })

      const seen = new Map<string, string>()
      transcripts.set(name, seen)
      async function check(one: Case, token?: string): Promise<void> {
        const answer = await send(app, zoo, one, token)
        if (one.orElse === answer.status && name.includes('parser')) return
        expect(answer.status, answer.body.slice(0, 500)).to.equal(one.status)
        for (const [header, value] of Object.entries(one.expect ?? {})) {
          if (value === null) expect(answer.headers).not.to.have.property(header)
          else expect(answer.headers[header]).to.equal(value)
        }
        if (one.code || one.fields) {
          if (one.own && name.includes('parser')) return
          const problem = JSON.parse(answer.body) as { code: string; status: number; errors: { field: string }[] }
          expect(answer.headers['content-type']).to.equal('application/problem+json; charset=utf-8')
          expect(problem.status).to.equal(one.status)
          if (one.code) expect(problem.code).to.equal(one.code)
          if (one.fields) expect(problem.errors.map(({ field }) => field)).to.have.members(one.fields as string[])
        }
        if (one.method === 'HEAD') expect(answer.body).to.equal('')
        if (!one.own) seen.set(one.title, transcript(answer))
      }

      // The titles are known before the database is; the ids are filled in when it is there.
      for (const [index, { title, not }] of cases({ ids: {} } as Zoo).entries()) {
        if (not?.includes(name.split(' ')[0] as string)) continue
        it(title, () => check(cases(zoo)[index] as Case))
      }

      describe('features', () => {
        for (const { path, body, token, ...one } of featureCases) {
          it(one.title, async () => {
            // The token first: signing in anew leaves the body's as it is.
            const bearer = await token?.(zoo)
            const made = typeof body === 'function' ? await body(zoo) : body
            await check({ ...one, path: typeof path === 'function' ? await path(zoo) : path, body: made }, bearer)
          })
        }
      })
    })
  }

  describe('all frameworks', () => {
    for (const name of Object.keys(apps)) {
      it(`give identical responses: ${name}`, () => {
        const reference = transcripts.get('express') as Map<string, string>
        expect(reference.size).to.be.greaterThan(200)
        for (const [title, text] of transcripts.get(name) as Map<string, string>) expect(text, title).to.equal(reference.get(title))
      })
    }
  })
})
