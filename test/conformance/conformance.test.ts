import { request } from 'node:http'
import { expect } from 'chai'
import { Api } from '../../src/http/api.js'
import { CrudResource } from '../../src/http/crud-resource.js'
import { UserResource } from '../../src/http/user-resource.js'
import { type App, apps } from './apps.js'
import { type Case, cases } from './cases.js'
import { Critter, openZoo, UserDocument, type Zoo } from './zoo.js'

interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
}

// fetch() would clean the path up; node:http sends it as it is.
function send(app: App, zoo: Zoo, { method, path, as, body, headers }: Case): Promise<Answer> {
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
          ...(as && { authorization: `Bearer ${zoo.tokens[as]}` }),
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
    .replace(/("(?:access_token|refresh_token|nextCursor)":")[^"]*/g, '$1<opaque>')
    .replace(/(content-length: ).*/g, answer.body.includes('_token":"') || answer.body.includes('nextCursor":"') ? '$1<length>' : '$&')
}

describe('conformance', function () {
  this.timeout(20_000)
  const transcripts = new Map<string, Map<string, string>>()

  for (const [name, start] of Object.entries(apps)) {
    describe(name, () => {
      let zoo: Zoo
      let app: App
      before(async () => {
        zoo = await openZoo()
        const api = new Api({
          prefix: '/api',
          resources: [
            new UserResource({ methods: { update: { adminOnly: true }, delete: { adminOnly: true } } }),
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
      // The titles are known before the database is; the ids are filled in when it is there.
      for (const [index, { title, not }] of cases({ ids: {} } as Zoo).entries()) {
        if (not?.includes(name.split(' ')[0] as string)) continue
        it(title, async () => {
          const one = cases(zoo)[index] as Case
          const answer = await send(app, zoo, one)
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
          if (!one.own) seen.set(title, transcript(answer))
        })
      }
    })
  }

  describe('all frameworks', () => {
    for (const name of Object.keys(apps)) {
      it(`answer alike, byte for byte: ${name}`, () => {
        const reference = transcripts.get('express') as Map<string, string>
        expect(reference.size).to.be.greaterThan(50)
        for (const [title, text] of transcripts.get(name) as Map<string, string>) expect(text, title).to.equal(reference.get(title))
      })
    }
  })
})
