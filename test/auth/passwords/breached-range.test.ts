import { createHash } from 'node:crypto'
import { expect } from 'chai'
import type { BreachedRange } from '../../../src/auth/passwords/breached-range.js'
import { type AuthEvents, ConfigurationError, initPerms, ServiceUnavailableError, User, ValidationError } from '../../../src/index.js'
import { asSystem } from '../../../src/policy/context.js'
import { testHasher } from '../../../src/testing/hasher.js'
import { eachDatabase } from '../../helpers/databases.js'

const LEAKED = 'correct horse battery'
const SAFE = 'a password that no list has'
const hash = (text: string) => createHash('sha1').update(text).digest('hex').toUpperCase()
const filler = `${'0'.repeat(34)}A:3`

eachDatabase(
  'The list of leaked passwords',
  (database) => {
    let isMigrated = false
    let asked: string[] = []
    let failures: AuthEvents['breachCheckFailed'][] = []

    /** Tries to store a password with this list. Returns null, or the error. */
    const store = async (password: string, list: Partial<BreachedRange>): Promise<unknown> => {
      const breached = { onOutage: 'refuse', range: '', ...list } as BreachedRange
      const perms = initPerms({
        knex: database.knex,
        jwt: { secret: 's'.repeat(32) },
        passwordHasher: testHasher(),
        throttle: false,
        passwords: { breached },
      })
      if (!isMigrated) await perms.migrate()
      isMigrated = true
      asked = []
      failures = []
      perms.on('breachCheckFailed', (payload) => failures.push(payload))
      const email = 'ada@example.com'
      const result = await asSystem(() => User.create({ email, password })).then(
        () => null,
        (error: unknown) => error,
      )
      expect(await asSystem(() => User.query().where({ email }).resultSize())).to.equal(result === null ? 1 : 0)
      await asSystem(() => User.query().delete().where({ email }))
      await perms.close()
      return result
    }
    const answering = (text: string) => async (prefix: string) => {
      asked.push(prefix)
      return text
    }

    it('[promise 185] the list sees five digits of the hash and nothing else', async () => {
      const refused = await store(LEAKED, { range: answering(`${filler}\r\n${hash(LEAKED).slice(5)}:12\r\n`) })
      expect(refused)
        .to.be.instanceOf(ValidationError)
        .with.property('message', 'The password is known from a data breach: choose another.')
      expect(asked).to.deep.equal([hash(LEAKED).slice(0, 5)])
      expect(await store(SAFE, { range: answering(filler) })).to.equal(null)
      expect(asked).to.deep.equal([hash(SAFE).slice(0, 5)])
    })

    it('a suffix in lower case counts, and one with the count 0 is padding', async () => {
      expect(await store(LEAKED, { range: answering(`${hash(LEAKED).slice(5).toLowerCase()}:1`) })).to.be.instanceOf(ValidationError)
      expect(await store(LEAKED, { range: answering(`${hash(LEAKED).slice(5)}:0\n${filler}`) })).to.equal(null)
    })

    it('requests by URL ask for padding, follow no redirect, and read a bounded answer', async () => {
      const sent: { url: string; padding: string | undefined; redirect: string | undefined }[] = []
      const fetch = (response: () => Response): BreachedRange['fetch'] => {
        return async (url, { headers, redirect }) => {
          sent.push({ url, padding: headers?.['Add-Padding'], redirect })
          return response()
        }
      }
      const range = 'https://range.example/'
      expect(await store(LEAKED, { range, fetch: fetch(() => new Response(`${hash(LEAKED).slice(5)}:2`)) })).to.be.instanceOf(
        ValidationError,
      )
      expect(sent).to.deep.equal([{ url: `${range}${hash(LEAKED).slice(0, 5)}`, padding: 'true', redirect: 'manual' }])
      for (const response of [
        () => new Response('x', { status: 404 }),
        () => new Response('x', { status: 302, headers: { location: 'https://elsewhere.example/' } }),
        () => new Response(`${filler}\n`.repeat(30_000)),
      ])
        expect(await store(SAFE, { range, fetch: fetch(response) })).to.be.instanceOf(ServiceUnavailableError)
      expect(failures).to.have.length(1)
    })

    const broken: [string, BreachedRange['range'], AuthEvents['breachCheckFailed']['reason']][] = [
      ['that fails', () => Promise.reject(new Error('down')), 'error'],
      ['that never answers', () => new Promise<never>(() => undefined), 'timeout'],
      ['with a page in place of lines', answering('<html>Sign in to the network</html>'), 'response'],
      ['with one malformed line', answering(`${filler}\nrandom`), 'response'],
      ['with an empty answer', answering(''), 'response'],
      ['with an answer that is not text', (async () => ({ length: 1 })) as never, 'response'],
      ['with a huge answer', answering(`${filler}\n`.repeat(30_000)), 'response'],
    ]
    for (const [name, range, reason] of broken)
      it(`[promise 186] a list ${name} refuses new passwords unless the application accepts them, and emits an event`, async () => {
        const timeout = 0.02
        const error = await store(SAFE, { range, timeout })
        expect(error).to.be.instanceOf(ServiceUnavailableError).and.not.have.property('cause')
        expect(failures).to.deep.equal([{ reason, isAccepted: false, address: undefined }])
        expect(await store(SAFE, { range, timeout, onOutage: 'accept' })).to.equal(null)
        expect(failures).to.deep.equal([{ reason, isAccepted: true, address: undefined }])
      })
  },
  ['sqlite3'],
)

describe('Options of the list of leaked passwords', () => {
  it('name the fix when they cannot work', async () => {
    const { default: Knex } = await import('knex')
    const knex = Knex({ client: 'better-sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true })
    const start = (breached: object) => () => initPerms({ knex, passwords: { breached: breached as never } })
    expect(start({ range: 'https://range.example/' })).to.throw(ConfigurationError, "'refuse'")
    expect(start({ range: 'http://range.example/', onOutage: 'refuse' })).to.throw(ConfigurationError, 'https')
    expect(start({ range: 'https://range.example/', onOutage: 'accept', timeout: 0 })).to.throw(ConfigurationError, 'seconds')
    await knex.destroy()
  })
})
