import { request } from 'node:http'
import { expect } from 'chai'
import { Api, HttpResponse, initPerms, type Perms, Resource } from '../../src/index.js'
import { testHasher } from '../../src/testing/index.js'
import { type App, apps } from '../conformance/apps.js'
import { createDatabase, type OwnDatabase } from '../helpers/databases.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'
import { until } from '../helpers/until.js'

const CHUNK = 'x'.repeat(65_536)
const MOST = 2000

/** The events of the last streamed response. */
const source = { made: 0, hasEnded: false }

async function* chunks(count: number, failAt = -1): AsyncGenerator<string> {
  source.made = 0
  source.hasEnded = false
  try {
    for (let i = 0; i < count; i += 1) {
      if (i === failAt) throw new Error('The source has failed.')
      source.made += 1
      yield CHUNK
    }
  } finally {
    source.hasEnded = true
  }
}

function resource(): Resource {
  const streams = new Resource({ path: 'streams' })
  const add = (path: string, make: () => AsyncIterable<string>) =>
    streams.endpoint({
      method: 'GET',
      path,
      public: true,
      handler: () => HttpResponse.stream(make(), { headers: { 'content-type': 'text/plain' } }),
    })
  add('short', () => chunks(20))
  add('long', () => chunks(MOST))
  add('failing', () => chunks(20, 10))
  return streams
}

interface Received {
  readonly length: number
  readonly isWhole: boolean
}

/** Reads a response to its end, or until `stop` says so. */
function read(url: string, stop: (length: number) => boolean = () => false): Promise<Received> {
  return new Promise((resolve) => {
    let length = 0
    const sent = request(url, { agent: false }, (response) => {
      const end = (isWhole: boolean) => resolve({ length, isWhole })
      response.on('data', (chunk: Buffer) => {
        length += chunk.length
        if (stop(length)) sent.destroy()
      })
      response.on('end', () => end(response.complete))
      response.on('error', () => end(false))
      response.on('close', () => end(response.complete))
    })
    sent.on('error', () => resolve({ length, isWhole: false }))
    sent.end()
  })
}

describe('A streamed response', function () {
  this.timeout(30_000)
  let database: OwnDatabase
  let perms: Perms
  before(async () => {
    database = await createDatabase('better-sqlite3')
    perms = initPerms({ knex: database.knex, jwt: { secret: 'a secret of the tests, 32 bytes long' }, passwordHasher: testHasher() })
    await migrateAtOnce(perms)
  })
  after(async () => {
    await perms.close()
    await database.destroy()
  })

  for (const [name, start] of Object.entries(apps)) {
    describe(`of ${name}`, () => {
      let app: App
      before(async () => {
        app = await start(perms, new Api({ resources: [resource()] }), [])
      })
      after(() => app.close())

      it('arrives whole [promise 174]', async () => {
        expect(await read(`${app.url}/streams/short`)).to.deep.equal({ length: 20 * CHUNK.length, isWhole: true })
        expect(source).to.deep.equal({ made: 20, hasEnded: true })
      })

      it('ends with its client, and waits for a slow one [promise 174]', async () => {
        const sent = request(`${app.url}/streams/long`, { agent: false })
        const response = await new Promise<import('node:http').IncomingMessage>((resolve, reject) => {
          sent.on('response', resolve).on('error', reject).end()
        })
        response.on('error', () => undefined)
        response.pause()
        // The buffers of both ends are full once no more chunks are made.
        let before = -1
        let turns = 0
        await until('the buffers are full', () => {
          turns = source.made === before ? turns + 1 : 0
          before = source.made
          return turns > 1
        })
        expect(source.hasEnded).to.equal(false)
        expect(source.made).to.be.lessThan(MOST / 2)
        sent.destroy()
        await until('the source has ended', () => source.hasEnded)
        expect(source.made).to.be.lessThan(MOST)
      })

      it('is broken off by an error of its source: the client does not take it for the whole [promise 174]', async () => {
        const received = await read(`${app.url}/streams/failing`)
        expect(received.isWhole).to.equal(false)
        expect(received.length).to.be.at.most(10 * CHUNK.length)
      })
    })
  }
})
