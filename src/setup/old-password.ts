import type { Throttle } from '../auth/throttle/throttle.js'
import { ValidationError } from '../core/errors.js'
import { message } from '../core/messages/message.js'
import { inTransaction } from '../database/transaction.js'
import { currentAddress } from '../policy/context.js'
import { accountNameOf } from '../users/account/identifiers.js'
import { type registerOldPasswordCheck, wrongOldPassword } from '../users/account/old-password.js'

/** Returns the check of old passwords that counts a wrong one like a failed sign-in. */
export function throttledProof(throttle: Throttle): Parameters<typeof registerOldPasswordCheck>[1] {
  return async (row, verify) => {
    if (inTransaction()) {
      throw new ValidationError(message('password.oldUncheckable'), [{ field: 'oldPassword', message: message('field.inTransaction') }])
    }
    const attempt = await throttle.begin('signIn', { account: accountNameOf(row), address: currentAddress() })
    const isRight = await verify().catch(async (error: unknown) => {
      await attempt.withdrawn()
      throw error
    })
    if (!isRight) throw wrongOldPassword()
    await attempt.succeeded()
  }
}
