import { createTables, type Passkey, type PasskeyOptions, type Perms, type PermsOptions, type SignedIn } from '../../../../src/index.js'
import { runAsActor } from '../../../../src/policy/context.js'
import { internalModels } from '../../../../src/users/tables/internal-models.js'
import { type AuthenticatorOptions, SoftPasskey, type Variant } from '../../../helpers/authenticator.js'
import type { OwnDatabase } from '../../../helpers/databases.js'
import { type Member, password, type SetUp, setUp } from '../../set-up.js'

export const rpId = 'example.com'
export const origin = 'https://app.example.com'
export const passkeyOptions: PasskeyOptions = { rpId, rpName: 'Zoo', origins: [origin, 'https://example.com'] }
export const address = '192.0.2.1'

/** initPerms() with passkeys and the tables for them. */
export async function setUpPasskeys(knex: OwnDatabase['knex'], options: Partial<PermsOptions> = {}): Promise<SetUp> {
  const all = await setUp(knex, { passkeys: passkeyOptions, ...options })
  await createTables(knex, internalModels as never)
  return all
}

export const softPasskey = (options: Partial<AuthenticatorOptions> = {}) => new SoftPasskey({ rpId, origin, ...options })

/** Runs code with an access token, as a request from one address does. */
export async function withToken<T>(perms: Perms, token: string, fn: () => Promise<T>): Promise<T> {
  return await runAsActor(await perms.authenticate(token), fn, { address })
}

export async function signInWithPassword(perms: Perms, { email }: Pick<Member, 'email'>): Promise<SignedIn> {
  const result = await perms.auth.signIn({ email, password })
  if (result.status !== 'signedIn') throw new Error('A second factor is missing.')
  return result
}

/** Adds a passkey to the account of a token. */
export async function addPasskey(
  perms: Perms,
  token: string,
  { passkey = softPasskey(), variant = {} }: { passkey?: SoftPasskey; variant?: Variant } = {},
): Promise<{ soft: SoftPasskey; passkey: Passkey; recoveryCodes: readonly string[] | undefined }> {
  return await withToken(perms, token, async () => {
    const options = await perms.auth.passkeys.registrationOptions()
    const added = await perms.auth.passkeys.register(passkey.create(options, variant))
    return { soft: passkey, passkey: added.passkey, recoveryCodes: added.recoveryCodes }
  })
}

/** Signs in with a passkey. */
export async function signInWith(perms: Perms, passkey: SoftPasskey, variant: Variant = {}): Promise<SignedIn> {
  const options = await perms.auth.passkeys.signInOptions()
  const result = await perms.auth.passkeys.signIn(passkey.get(options, variant))
  if (result.status !== 'signedIn') throw new Error('A second factor is missing.')
  return result
}
