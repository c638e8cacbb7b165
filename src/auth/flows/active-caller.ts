import type { Knex } from 'knex'
import { UnauthorizedError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { lockRow } from '../../database/lock-row.js'
import { joinAmbient, transaction } from '../../database/transaction.js'
import { scopeFor } from '../../enforce/evaluate.js'
import { holds } from '../../policy/compiler/condition.js'
import { asSystem, currentActor } from '../../policy/context.js'
import { requireActiveCaller } from '../../policy/effective.js'
import { registeredModel } from '../../policy/registered-models.js'

/**
 * Runs a write as the system, in a transaction that locks the user of the new row and then checks that the caller's account and
 * session are active. If a concurrent sign-out or disabling commits first, nothing is written. Otherwise it waits for this
 * transaction and then also ends the new row. Without a caller, nothing is checked.
 *
 * @param userId the user whose key, session or factor is written
 * @throws UnauthorizedError when the caller's account or session has ended
 * @example const { token, plain } = await forActiveCaller(knex, user.id, () => Token.issue(user, { kind: 'api', abilities }))
 */
export async function forActiveCaller<T>(knex: Knex, userId: string, write: (trx: Knex.Transaction) => Promise<T>): Promise<T> {
  const actor = currentActor()
  return await transaction(
    (trx) =>
      asSystem(async () => {
        await lockRow(trx, registeredModel('user'), userId)
        const scope = scopeFor({ cls: registeredModel('token'), ref: 't' }, actor, { live: true })
        if (!(await holds(joinAmbient(knex), requireActiveCaller(scope)))) throw new UnauthorizedError(message('session.ended'))
        return await write(trx)
      }),
    { knex },
  )
}
