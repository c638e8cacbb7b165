import type { Throttle } from '../auth/throttle/throttle.js'
import { ValidationError } from '../core/errors.js'
import { inTransaction } from '../database/transaction.js'
import { currentAddress } from '../policy/context.js'
import { accountNameOf } from '../users/account/identifiers.js'
import { type registerOldPasswordCheck, wrongOldPassword } from '../users/account/old-password.js'

/** Returns the check of old passwords that counts a wrong one like a failed sign-in. */
export function throttledProof(throttle: Throttle): Parameters<typeof registerOldPasswordCheck>[1] {
  return async (row, verify) => {
    if (inTransaction()) {
      throw new ValidationError('The old password cannot be checked inside a transaction or with If-Match: send the change alone.', [
        { field: 'oldPassword', message: 'cannot be checked inside a transaction' },
      ])
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
