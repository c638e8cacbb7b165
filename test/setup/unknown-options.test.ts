import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import Knex from 'knex'
import { expressAdapter } from '../../src/adapters/express.js'
import { fastifyAdapter } from '../../src/adapters/fastify.js'
import { fetchAdapter } from '../../src/adapters/fetch.js'
import { honoAdapter } from '../../src/adapters/hono.js'
import { koaAdapter } from '../../src/adapters/koa.js'
import { nodeAdapter } from '../../src/adapters/node.js'
import { crudOptionNames } from '../../src/http/crud/crud-options.js'
import { userOptionNames } from '../../src/http/users/user-options.js'
import * as library from '../../src/index.js'
import { permsOptionNames } from '../../src/setup/option-names.js'
import { testHasher } from '../../src/testing/hasher.js'
import { rejection, thrown } from '../helpers/errors.js'

const { Api, BasePermsModel, column, ConfigurationError, createAdapter, CrudResource, initPerms, Resource, UserResource } = library

const functions: Readonly<Record<string, unknown>> = { ...library }

class Ticket extends BasePermsModel.withColumns({ title: column.string() }) {
  static override policy = { read: library.everyone(), close: library.everyone() }
}

type Tree = Readonly<Record<string, unknown>>

/** Returns options with an unknown key at each place where a tree of names has options. */
function* misspelled(tree: Tree, depth = 0): Generator<{ place: string; options: object; names: string[] }> {
  yield { place: '', options: { unknownOption: 1 }, names: Object.keys(tree) }
  for (const [name, value] of Object.entries(tree)) {
    if (typeof value !== 'object' || value === null || depth > 3) continue
    const isEach = 'each' in value
    const inner = (isEach ? value.each : 'orOther' in value ? value.orOther : value) as Tree
    for (const { place, options, names } of misspelled(inner, depth + 1))
      yield { place: `${name}.${place}`, options: { [name]: isEach ? { item: options } : options }, names }
  }
}

function refuses(call: (options: never) => unknown, tree: object): number {
  let count = 0
  for (const { place, options, names } of misspelled(tree as Tree)) {
    const error = thrown(() => call(options as never))
    expect(error, place).to.be.an.instanceOf(ConfigurationError)
    expect(error.message, place).to.contain("there is no option 'unknownOption'")
    for (const name of names) expect(error.message, place).to.contain(name)
    count += 1
  }
  return count
}

describe('options of the library', () => {
  it('are refused by initPerms() at every level if they do not exist [promise 158]', () => {
    expect(refuses(initPerms, permsOptionNames)).to.be.greaterThan(30)
  })

  it('are refused by resources at every level if they do not exist [promise 158]', () => {
    expect(refuses((options: object) => new CrudResource({ model: Ticket, ...options }), crudOptionNames)).to.be.greaterThan(8)
    expect(refuses((options: object) => new UserResource(options), userOptionNames)).to.be.greaterThan(10)
  })

  it('are refused by initPerms() before anything is set up', () => {
    const knex = Knex({ client: 'sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true })
    expect(() => initPerms({ knex, providerSignIn: { userUrl: '' } } as never)).to.throw(
      ConfigurationError,
      /^initPerms\(\{ providerSignIn: \{ userUrl \} \}\): there is no option 'userUrl'.*Did you mean 'usersUrl'\?$/,
    )
    expect(() => initPerms({ knex, secret: 'x' } as never)).to.throw("'secret' is an option of jwt.")
  })

  it('are refused by every function that takes options', () => {
    const adapters = { expressAdapter, fastifyAdapter, fetchAdapter, honoAdapter, koaAdapter, nodeAdapter, createAdapter }
    const no = { unknownOption: 1 } as never
    const tickets = new CrudResource({ model: Ticket })
    const calls: Record<string, () => unknown> = {
      ...Object.fromEntries(Object.entries(adapters).map(([name, adapter]) => [name, () => adapter({} as never, no)])),
      ...Object.fromEntries(
        (['oidc', 'google', 'microsoft', 'apple', 'github', 'gitlab'] as const).map((name) => [
          name,
          () => (functions[name] as (options: never) => unknown)(no),
        ]),
      ),
      ...Object.fromEntries(
        (
          ['bcryptHasher', 'argon2idHasher', 'pbkdf2', 'phpass', 'scrypt', 'saltedDigest', 'firebaseScrypt', 'permsMigrations'] as const
        ).map((name) => [name, () => (functions[name] as (options: never) => unknown)(no)]),
      ),
      "related('ticket')": () => library.related('ticket' as never, library.everyone() as never, no),
      'new Api': () => new Api(no),
      'new Resource': () => new Resource({ path: 'a', ...(no as object) }),
      endpoint: () => tickets.endpoint({ method: 'GET', path: '', handler: () => 1, ...(no as object) }),
      action: () => tickets.action('close', { handler: () => 1, ...(no as object) }),
      nodemailerMailer: () => library.nodemailerMailer({ sendMail: async () => 1 }, no),
      'column.string': () => column.string(no),
      'column.text': () => column.text(no),
      'column.integer': () => column.integer(no),
      'column.float': () => column.float(no),
      references: () => column.uuid().references('user.id', no),
    }
    for (const [name, call] of Object.entries(calls)) {
      const error = thrown(call)
      expect(error, name).to.be.an.instanceOf(ConfigurationError)
      expect(error.message, name).to.contain(name).and.to.contain('unknownOption')
    }
  })

  it('are refused by the checks of callers and by perms.maintain() and others [promise 158]', async () => {
    const knex = Knex({ client: 'sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true })
    const perms = initPerms({ knex, jwt: { secret: 'a'.repeat(32) }, passwordHasher: testHasher() })
    const no = { unknownOption: 1 } as never
    try {
      const { requireUser, requireRole } = expressAdapter(perms)
      expect(() => requireUser(no)).to.throw(ConfigurationError, /requireUser.*unknownOption.*abilities, stepUp/)
      expect(() => requireRole('admin', no)).to.throw(ConfigurationError, /requireRole\('admin', .*unknownOption/)
      expect(() => honoAdapter(perms).router(new Api(), no)).to.throw(ConfigurationError, /router.*unknownOption/)
      const calls = [
        () => perms.maintain(no),
        () => perms.deleteDueAccounts(no),
        () => perms.auth.importUsers([], no),
        () => createAdapter(perms).upgrade({} as never, no),
      ]
      for (const call of calls) {
        const error = await rejection(Promise.resolve().then(call as () => Promise<unknown>))
        expect(error, String(call)).to.be.an.instanceOf(ConfigurationError)
        expect(error.message, String(call)).to.contain('unknownOption')
      }
    } finally {
      await perms.close()
      await knex.destroy()
    }
  })

  it('are refused for methods of a resource that do not exist', () => {
    expect(() => new CrudResource({ model: Ticket, methods: ['lsit' as never] })).to.throw(ConfigurationError, /'lsit'.*'list'/)
    expect(() => new CrudResource({ model: Ticket, skipMethods: ['deleet' as never] })).to.throw(ConfigurationError, /'deleet'.*'delete'/)
  })

  it('have a list of names for every type of options', () => {
    const sources = readdirSync('src', { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts') && !/^(?:cli|migrate|testing|query|database)\//.test(file))
      .map((file) => readFileSync(join('src', file), 'utf8'))
    const text = sources.join('\n')
    const types = sources.flatMap((source) => [...source.matchAll(/^export interface (\w+Options)\b/gm)].map(([, name = '']) => name))
    const withoutNames = types.filter((name) => !new RegExp(`OptionNames<(?:Omit<)?${name}\\b`).test(text) && !(name in checkedElsewhere))
    expect(withoutNames).to.deep.equal([])
    expect(Object.keys(checkedElsewhere).filter((name) => !types.includes(name))).to.deep.equal([])
  })
})

/** Types of options without names of their own, and why. */
const checkedElsewhere: Readonly<Record<string, string>> = {
  LegacyTokenOptions: 'part of jwt',
  RememberMeOptions: 'part of jwt',
  JwtOptions: 'part of jwt',
  TrustedDeviceOptions: 'part of secondFactor',
  AccountDeletionOptions: 'part of PermsOptions',
  StepUpOptions: 'part of PermsOptions',
  CookieOptions: 'part of PermsOptions',
  LanguageOptions: 'part of PermsOptions',
  MeOptions: 'part of UserResourceOptions',
  AdapterOptions: 'checked in place',
  NodeAdapterOptions: 'checked in place',
  HonoAdapterOptions: 'checked in place',
  FetchAdapterOptions: 'checked in place',
  UpgradeOptions: 'checked in place',
  ResourceOptions: 'checked in place',
  ImportOptions: 'checked in place',
  MaintenanceOptions: 'checked in place',
  DueAccountsOptions: 'checked in place',
  MountOptions: 'internal',
  AuthOptions: 'internal',
  SessionsOptions: 'internal',
  AccessTokensOptions: 'internal',
  LifecycleOptions: 'internal',
  StartOptions: 'internal',
  ProofOptions: 'internal',
  ListOptions: 'internal',
  PermsErrorOptions: 'arguments of one error',
  FromJsonOptions: 'options of Objection',
  ResponseOptions: 'arguments of one response',
  IssueOptions: 'arguments of one call',
  StartProviderOptions: 'arguments of one call',
  FinishProviderOptions: 'arguments of one call',
  PasskeySignInOptions: 'arguments of one call',
  PasskeyCreationOptions: 'a result',
  PasskeyRequestOptions: 'a result',
}
