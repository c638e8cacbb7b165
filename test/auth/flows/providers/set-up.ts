import type { Knex } from 'knex'
import {
  createTables,
  Identity,
  initPerms,
  oidc,
  type Perms,
  type PermsOptions,
  ProviderSignIn,
  SecondFactor,
  TimestampMixin,
  User,
} from '../../../../src/index.js'
import { migrateAtOnce } from '../../../helpers/library-tables-at-once.js'
import { TestHasher } from '../../set-up.js'
import { clientId, clientSecret, FakeProvider } from './fake-provider.js'

export const usersUrl = 'https://app.example.com/api/users'
export const password = 'correct horse battery'

/** A user with a verified address. */
export class Reader extends TimestampMixin(User).withColumns({}) {
  static override tableName = 'user'
}

export interface ProviderWorld {
  readonly perms: Perms
  readonly company: FakeProvider
  readonly rival: FakeProvider
  readonly events: { name: string; payload: Record<string, unknown> }[]
  /** Signs a person in with the provider, as a browser. */
  signIn(person?: FakeProvider['person'], options?: Parameters<Perms['auth']['providers']['start']>[1]): Promise<Outcome>
  close(): Promise<void>
}

export type Outcome = Awaited<ReturnType<Perms['auth']['providers']['finish']>>

type SignInOptions = Partial<NonNullable<PermsOptions['providerSignIn']>>

/** Sets up two providers that are trusted for addresses. */
export async function openProviders(knex: Knex, signIn: SignInOptions = {}, more: Partial<PermsOptions> = {}): Promise<ProviderWorld> {
  const [company, rival] = [await new FakeProvider().listen(), await new FakeProvider().listen()]
  const options = { clientId, clientSecret, trustsEmail: true }
  const perms = initPerms({
    knex,
    jwt: { secret: 'a secret of this test, 32 bytes or more' },
    user: Reader as never,
    passwordHasher: new TestHasher(),
    throttle: false,
    providers: {
      company: oidc({ ...options, issuer: company.issuer }),
      rival: oidc({ ...options, issuer: rival.issuer, storeTokens: true }),
    },
    providerSignIn: { usersUrl, redirects: ['/', '/welcome?from=1', 'com.example.app:/done'], signUp: 'open', timeout: 5, ...signIn },
    ...more,
  })
  await migrateAtOnce(perms)
  const events: ProviderWorld['events'] = []
  for (const name of ['providerSignInFailed', 'identityLinked', 'identityUnlinked', 'accessRevoked', 'registered'] as const)
    perms.on(name, (payload) => events.push({ name, payload: payload as unknown as Record<string, unknown> }))
  return {
    ...{ perms, company, rival, events },
    async signIn(person, given) {
      const { url, binding } = await perms.auth.providers.start('company', given)
      return await perms.auth.providers.finish('company', company.approve(url, person), { binding: binding ?? undefined, signsIn: true })
    },
    async close() {
      await perms.close()
      await Promise.all([company.close(), rival.close()])
    },
  }
}

export { createTables, Identity, ProviderSignIn, SecondFactor }
