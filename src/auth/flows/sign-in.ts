import { AccountDisabledError, InvalidCredentialsError } from '../../core/errors.js'
import { currentAddress } from '../../policy/context.js'
import { accountName } from '../../users/account/identifiers.js'
import { isActive } from '../../users/caller/actor.js'
import type { User } from '../../users/user.js'
import type { Auth, SignInResult } from '../auth-types.js'
import type { AuthCore } from '../core.js'
import type { Attempt } from '../throttle/throttle.js'
import { type Credentials, freshHash, readCredentials, signInIdentifiers, type Verdict, verifyCredentials } from './credentials.js'
import { completeSignIn } from './start-session.js'

/** How often a sign-in is tried again when the user's row changes meanwhile. */
const MAX_TRIES = 3

/** Returns the functions of `perms.auth` that check a password. */
export function signInFlows(core: AuthCore): Pick<Auth, 'signIn' | 'checkPassword'> {
  return {
    async signIn(given) {
      core.assertNoTransaction('signIn')
      const credentials = readCredentials(given)
      return await signIn(core, credentials, typeof given.device === 'string' ? given.device : undefined)
    },

    async checkPassword(email, password) {
      core.assertNoTransaction('checkPassword')
      const [first = 'email'] = signInIdentifiers()
      return await checkPassword(core, readCredentials({ [first]: email, password }))
    },
  }
}

async function signIn(core: AuthCore, credentials: Credentials, device: string | undefined): Promise<SignInResult> {
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const { user, isRight, attempt } = await verify(core, credentials)
    if (!user || !isRight) {
      emitFailure(core, credentials, user, 'credentials')
      throw new InvalidCredentialsError()
    }
    if (!isActive(user)) {
      await attempt.succeeded()
      emitFailure(core, credentials, user, 'disabled')
      throw new AccountDisabledError()
    }
    const rehashed = await freshHash(core.hasher, user.passwordHash as string, credentials.password)
    const result = await completeSignIn(core, user, { device, rehashed }).catch(async (error: unknown) => {
      // The password was correct but the database failed: do not count the attempt.
      await attempt.withdrawn()
      throw error
    })
    // With a second factor to come, the attempt still counts: a correct password must not reset the limit on wrong codes.
    if (result?.status === 'secondFactor') await attempt.withdrawn()
    else await attempt.succeeded()
    // The row changed while the password was verified: a concurrent sign-in rehashed it, or the password was changed. Try again.
    if (result) return result
  }
  throw new InvalidCredentialsError()
}

async function checkPassword(core: AuthCore, credentials: Credentials): Promise<User | null> {
  const { user, isRight, attempt } = await verify(core, credentials)
  if (!user || !isRight) {
    emitFailure(core, credentials, user, 'credentials')
    return null
  }
  await attempt.succeeded()
  if (!isActive(user)) return null
  return await user.loadRoles()
}

/** Verifies credentials under the throttle. If the password is correct, the caller must end `attempt`. */
async function verify({ throttle, hasher }: AuthCore, credentials: Credentials): Promise<Verdict & { attempt: Attempt }> {
  const attempt = await throttle.begin('signIn', {
    account: accountName(credentials.identifier, credentials.value),
    address: currentAddress(),
  })
  try {
    return { ...(await verifyCredentials(hasher, credentials)), attempt }
  } catch (error) {
    await attempt.withdrawn()
    throw error
  }
}

function emitFailure({ emit }: AuthCore, { identifier, value }: Credentials, user: User | null, reason: 'credentials' | 'disabled'): void {
  const named = { email: identifier === 'email' ? value : '', account: accountName(identifier, value) }
  emit('signInFailed', { userId: user?.id ?? null, ...named, reason, address: currentAddress() })
}
