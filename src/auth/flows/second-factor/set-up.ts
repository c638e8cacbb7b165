import { ValidationError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { currentActor } from '../../../policy/context.js'
import { invalidField } from '../../../schema/text-input.js'
import { accountNameOf } from '../../../users/account/identifiers.js'
import { storedHash } from '../../../users/account/stored-password.js'
import { SecondFactor } from '../../../users/second-factor.js'
import { endTrustedDevices } from '../../../users/trusted-device.js'
import type { User } from '../../../users/user.js'
import type { AuthCore } from '../../core.js'
import { seal } from '../../tokens/secret-box.js'
import { forActiveCaller } from '../active-caller.js'
import { notify } from '../mail/notices.js'
import { beginAttempt, consumeCode, type FactorContext, factorOf, isTotpCode, readCode, secretOf, wrongCode } from './factors.js'
import { makeRecoveryCodes } from './recovery-codes.js'
import { newTotpSecret, totpUri } from './totp.js'

/** Creates a factor that is not confirmed yet. @throws like SecondFactors.begin */
export async function beginSetUp(
  { core, issuer, secretKeys }: FactorContext,
  user: User,
  password: string | undefined,
): Promise<{ secret: string; uri: string }> {
  await provePassword(core, user, password)
  if ((await factorOf(user.id))?.confirmedAt)
    throw new ValidationError(message('factor.setUpAlready'), [{ field: 'code', message: message('field.setUpAlready') }])
  const secret = newTotpSecret()
  await forActiveCaller(core.knex, user.id, async () => {
    await SecondFactor.query().delete().where('userId', user.id).whereNull('confirmedAt')
    await SecondFactor.create({ userId: user.id, secret: seal(secretKeys, String(user.id), secret) })
  })
  return { secret, uri: totpUri(secret, { issuer, account: user.email ?? accountNameOf(user) }) }
}

/** Confirms the factor and ends the user's other sessions. @returns the recovery codes */
export async function confirmSetUp(context: FactorContext, user: User, code: string): Promise<readonly string[]> {
  const { knex, sessions, emit } = context.core
  const text = readCode(code)
  const factor = await factorOf(user.id)
  // A factor whose secret cannot be decrypted must be set up again.
  if (!factor || factor.confirmedAt || secretOf(context, factor) === null)
    throw new ValidationError(message('factor.nothingToConfirm'), [{ field: 'code', message: message('field.nothingToConfirm') }])
  const attempt = await beginAttempt(context.core, user)
  const recoveryCodes = await forActiveCaller(knex, user.id, async () => {
    if (!isTotpCode(text) || !(await consumeCode(context, factor, text))) throw wrongCode()
    await SecondFactor.query().patch({ confirmedAt: new Date() }).where('id', factor.id)
    await endTrustedDevices(user.id)
    return await makeRecoveryCodes(user.id)
  })
  await attempt.succeeded()
  const actor = currentActor()
  await sessions.end({ userId: user.id, except: actor?.id === user.id ? actor?.sessionId : undefined })
  emit('signOut', { userId: user.id, sessionIds: 'all' })
  emit('factorAdded', { userId: user.id })
  notify(context.core, user, 'factorAdded')
  return recoveryCodes
}

async function provePassword(core: AuthCore, user: User, password: string | undefined): Promise<void> {
  const stored = await storedHash(user)
  if (stored === null) return
  if (typeof password !== 'string' || password === '') throw invalidField('password', message('field.required'))
  const attempt = await beginAttempt(core, user)
  if (!(await core.hasher.verify(password, stored))) throw invalidField('password', message('field.wrong'))
  await attempt.succeeded()
}
