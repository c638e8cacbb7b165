/** A server of users only, in a process of its own: `startServer` of server-process.ts runs it. */
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import Knex from 'knex'
import { nodeAdapter } from '../../src/adapters/node.js'
import { Api, initPerms, UserResource } from '../../src/index.js'
import { testProviders } from '../../src/testing/conformance/test-provider.js'
import { capturedMailer } from '../../src/testing/index.js'
import { allFeatures, Keeper } from '../conformance/full-zoo.js'
import { racingHasher } from './passwords/racing-hasher.js'

const {
  client,
  url,
  secret,
  cost,
  hashing = 0,
  features,
  pool,
  acquireConnectionTimeout,
  namedStatements,
} = JSON.parse(process.argv[2] ?? '{}')
const far = { address: 1_000_000 }
const knex = Knex({ client, connection: url, pool, ...(acquireConnectionTimeout ? { acquireConnectionTimeout } : {}) })
const perms = initPerms({
  knex,
  namedStatements,
  jwt: { secret },
  ...(cost === undefined ? { passwordHasher: racingHasher(hashing) } : { passwords: { cost } }),
  passkeys: { rpId: 'example.com', rpName: 'Zoo', origins: ['https://app.example.com'] },
  ...(features && {
    user: Keeper as never,
    mail: { mailer: capturedMailer(), baseUrl: 'https://app.example.com' },
    secondFactor: { trustedDevices: { lifetime: 86_400 } },
    ...testProviders(),
  }),
  // The limits by address are far: all of a test comes from one.
  throttle: { store: 'database', signIn: far, refresh: far, mailToken: far },
})
const { router } = nodeAdapter(perms, { onError: () => undefined })
const enabled = features === true ? allFeatures : features || { confirm: true, passkeys: true }
const handle = router(new Api({ resources: [new UserResource({ features: enabled })] }))
const server = createServer((request, response) => {
  if (request.url === '/maintain') void maintain(response)
  else handle(request, response)
})

/** Answers with the report of perms.maintain(), in batches of one row so that two processes meet in each table. */
async function maintain(response: ServerResponse): Promise<void> {
  const report = await perms.maintain({ batch: 1 }).catch((error: unknown) => ({ error: String(error) }))
  response.writeHead('error' in report ? 500 : 200, { 'content-type': 'application/json' }).end(JSON.stringify(report))
}

server.listen(0, '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`))
// Does not outlive the tests, however they end.
process.stdin.on('end', () => process.exit(0)).resume()
