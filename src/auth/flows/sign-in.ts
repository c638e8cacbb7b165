import { AccountDisabledError, InvalidCredentialsError, TooManyAttemptsError } from '../../core/errors.js'
import { currentAddress } from '../../policy/context.js'
import { accountName } from '../../users/account/identifiers.js'
import { isActive } from '../../users/caller/actor.js'
import type { User } from '../../users/user.js'
import type { Auth, SignInResult } from '../auth-types.js'
import type { AuthCore } from '../core.js'
import type { Attempt, Throttle } from '../throttle/throttle.js'
import { type Credentials, findNamedUser, freshHash, readCredentials, signInIdentifiers, type Verdict } from './credentials.js'
import { completeSignIn, type StartOptions } from './start-session.js'

/** How often a sign-in is tried again when the user's row changes meanwhile. */
const MAX_TRIES = 3

/** Returns the functions of `perms.auth` that check a password. */
export function signInFlows(core: AuthCore): Pick<Auth, 'signIn' | 'checkPassword'> {
  return {
    async signIn(given) {
      core.assertNoTransaction('signIn')
      const credentials = readCredentials(given)
      const life = core.life.of(given)
      return await signIn(core, credentials, {
        device: typeof given.device === 'string' ? given.device : undefined,
        deviceToken: given.deviceToken,
        life,
      })
    },

    async checkPassword(email, password) {
      core.assertNoTransaction('checkPassword')
      const [first = 'email'] = signInIdentifiers()
      return await checkPassword(core, readCredentials({ [first]: email, password }))
    },
  }
}

async function signIn(
  core: AuthCore,
  credentials: Credentials,
  session: Pick<StartOptions, 'device' | 'deviceToken' | 'life'>,
): Promise<SignInResult> {
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
    const result = await completeSignIn(core, user, { ...session, amr: ['pwd'], rehashed }).catch(async (error: unknown) => {
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

/**
 * Looks the user up and verifies the password, under the throttle. It runs the same statements and takes the time of one hash in every
 * case. If the password is correct, the caller must end `attempt`.
 */
async function verify({ throttle, hasher }: AuthCore, credentials: Credentials): Promise<Verdict & { attempt: Attempt }> {
  const account = accountName(credentials.identifier, credentials.value)
  let attempt = await throttle.begin('signIn', { account, address: currentAddress() })
  try {
    const user = await findNamedUser(credentials)
    let isWithinLimit = true
    if (signInIdentifiers().length > 1) {
      const ofUser = await countForUser(throttle, user, account)
      if (ofUser) attempt = both(attempt, ofUser)
      isWithinLimit = ofUser !== null
    }
    const isRight = await hasher.verify(credentials.password, user?.passwordHash ?? null)
    return { user, isRight: isRight && isWithinLimit && user !== null, attempt }
  } catch (error) {
    await attempt.withdrawn()
    throw error
  }
}

/**
 * Counts an attempt for the user, since each further identifier would allow further guesses. Returns null when the limit is reached:
 * the password counts as wrong then, because a 429 would reveal which identifiers belong to one user.
 */
async function countForUser(throttle: Throttle, user: User | null, account: string): Promise<Attempt | null> {
  const counted = user ? `id:${user.id}` : `unknown:${account}`
  try {
    return await throttle.begin('signInOfUser', { account: counted, address: currentAddress() })
  } catch (error) {
    if (error instanceof TooManyAttemptsError) return null
    throw error
  }
}

function both(one: Attempt, other: Attempt): Attempt {
  const end = (how: keyof Attempt) => async () => void (await Promise.all([one[how](), other[how]()]))
  return { succeeded: end('succeeded'), withdrawn: end('withdrawn') }
}

function emitFailure({ emit }: AuthCore, { identifier, value }: Credentials, user: User | null, reason: 'credentials' | 'disabled'): void {
  const named = { email: identifier === 'email' ? value : '', account: accountName(identifier, value) }
  emit('signInFailed', { userId: user?.id ?? null, ...named, reason, address: currentAddress() })
}
