import nodeModule from 'node:module'
import { expect } from 'chai'
import Knex from 'knex'
import { nodeAdapter } from '../../src/adapters/node.js'
import { Api, ConfigurationError, github, initPerms, type PermsOptions, UserResource } from '../../src/index.js'
import { testHasher } from '../../src/testing/hasher.js'

interface Resolver {
  _resolveFilename(request: string, ...rest: unknown[]): string
}

/** Runs code while a package cannot be found. Returns the packages that were looked for. */
function without(name: string, fn: () => void): void {
  const resolver = nodeModule as unknown as Resolver
  const original = resolver._resolveFilename
  resolver._resolveFilename = (request, ...rest) => {
    if (request === name) throw Object.assign(new Error(`Cannot find module '${name}'`), { code: 'MODULE_NOT_FOUND' })
    return Reflect.apply(original, nodeModule, [request, ...rest]) as string
  }
  try {
    fn()
  } finally {
    resolver._resolveFilename = original
  }
}

describe('Optional packages', () => {
  const knex = Knex({ client: 'sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true })
  const start = (options: Partial<PermsOptions>) =>
    initPerms({ knex, jwt: { secret: 'a secret of the tests, 32 bytes long' }, passwordHasher: testHasher(), ...options })
  after(() => knex.destroy())

  const passkeys = { rpId: 'example.com', rpName: 'Zoo', origins: ['https://example.com'] }
  const providers = {
    providers: { github: github({ clientId: 'id', clientSecret: 'secret' }) },
    providerSignIn: { usersUrl: 'https://example.com/users' },
  }
  const cases: [string, string, Partial<PermsOptions>][] = [
    ['@simplewebauthn/server', 'initPerms({ passkeys })', { passkeys }],
    ['openid-client', 'initPerms({ providers })', providers],
  ]
  for (const [name, option, options] of cases)
    it(`that are not installed stop the start: ${name}`, async () => {
      without(name, () =>
        expect(() => start(options)).to.throw(
          ConfigurationError,
          `${option} needs the package ${name}, which is not installed (a bundle needs it in node_modules too): npm install ${name}`,
        ),
      )
      const perms = start(options)
      await perms.close()
    })

  it('that are not installed stop the start: otpauth', async () => {
    const perms = start({})
    const mount = () => nodeAdapter(perms).router(new Api({ resources: [new UserResource({ features: { totp: true } })] }))
    without('otpauth', () =>
      expect(mount).to.throw(ConfigurationError, /^UserResource\(.*totp.*needs the package otpauth.*npm install otpauth$/),
    )
    mount()
    await perms.close()
  })

  it('are not needed without their options', async () => {
    for (const [name] of cases) {
      const opened: { perms?: ReturnType<typeof start> } = {}
      without(name, () => {
        opened.perms = start({})
      })
      await opened.perms?.close()
    }
  })
})
