import { createHash } from 'node:crypto'
import type { Knex } from 'knex'
import { type Auth, type AuthOptions, createAuth, type SignedIn } from '../../src/auth/auth.js'
import type { AuthEventName, OnEvent } from '../../src/auth/events.js'
import {
  column,
  createTables,
  Domain,
  initPerms,
  type Perms,
  type PermsOptions,
  SoftDeleteMixin,
  TimestampMixin,
  Token,
  User,
  UserRole,
} from '../../src/index.js'
import type { PasswordHasher } from '../../src/users/account/password-hasher.js'

export const secret = 'a secret of this test, 32 bytes or more'
export const password = 'correct horse battery'

/** The registered user model of these tests: in a table of its own, with all that sign-in looks at. */
export class Member extends SoftDeleteMixin(TimestampMixin(User)).withColumns({
  level: column.decimal(6, 2).nullable(),
  joinedAt: column.datetime().nullable(),
}) {}

/** Fast, and tells what was asked of it. */
export class TestHasher implements PasswordHasher {
  readonly verified: (string | null | undefined)[] = []
  hashed = 0
  version = 1
  beforeVerify: (() => Promise<unknown>) | undefined
  beforeHash: (() => Promise<unknown>) | undefined

  async hash(text: string): Promise<string> {
    this.hashed += 1
    await this.beforeHash?.()
    return `v${this.version}$${createHash('sha256').update(text).digest('hex')}`
  }

  async verify(text: string, stored: string | null | undefined): Promise<boolean> {
    this.verified.push(stored)
    const isRight = stored?.split('$')[1] === createHash('sha256').update(text).digest('hex')
    await this.beforeVerify?.()
    return isRight
  }

  needsRehash(stored: string): boolean {
    return !stored.startsWith(`v${this.version}$`)
  }
}

/** As users without a second factor know it. */
export type OneFactorAuth = Omit<Auth, 'signIn'> & { signIn(...given: Parameters<Auth['signIn']>): Promise<SignedIn> }

export interface SetUp {
  readonly perms: Perms
  readonly auth: OneFactorAuth
  readonly hasher: TestHasher
  readonly events: { name: AuthEventName; payload: unknown }[]
  /** Another process of the same application, as far as sessions go. */
  another(options?: Partial<AuthOptions>): OneFactorAuth
}

/** initPerms on a test's database with the tables made; `perms.close()` it after. */
export async function setUp(knex: Knex, options: Partial<PermsOptions> = {}, more: Partial<AuthOptions> = {}): Promise<SetUp> {
  const hasher = new TestHasher()
  const events: SetUp['events'] = []
  const onEvent: OnEvent = (name, payload) => events.push({ name, payload })
  const jwt = { secret }
  const perms = initPerms({ knex, jwt, user: Member as never, passwordHasher: hasher, ...options })
  await createTables(knex, [Domain, perms.models.user, UserRole, Token] as never)
  const another = (given: Partial<AuthOptions> = {}) => createAuth({ knex, jwt, hasher, ...given }) as OneFactorAuth
  return { perms, auth: another({ onEvent, ...more }), hasher, events, another }
}

let count = 0

/** A new user with the usual password. */
export async function member(values: Partial<Member> = {}): Promise<Member> {
  count += 1
  return await Member.create({ email: `member${count}@example.com`, password, ...values } as Partial<Member>)
}

/** The name of the class of what a promise fails with, or 'fine'. */
export async function outcome(promise: PromiseLike<unknown>): Promise<string> {
  return await promise.then(
    () => 'fine',
    (error: unknown) => (error as Error).constructor.name,
  )
}
