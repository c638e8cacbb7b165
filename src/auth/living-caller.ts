import type { Knex } from 'knex'
import { UnauthorizedError } from '../model/errors.js'
import { joinAmbient, transaction } from '../model/transaction.js'
import { holds } from '../perms/condition.js'
import { asSystem, currentActor } from '../perms/context.js'
import { callerLives } from '../perms/effective.js'
import { scopeFor } from '../perms/judge.js'
import { registeredModel } from '../perms/registry.js'

/**
 * Writes as the application itself what a caller asked for, in a transaction in which the caller's account and session are still
 * alive: one that was remembered may have ended elsewhere, and must leave nothing that outlives it. Without a caller nothing is asked.
 *
 * @throws UnauthorizedError
 * @example const { token, plain } = await forLivingCaller(knex, () => Token.issue(user, { kind: 'api', abilities }))
 */
export async function forLivingCaller<T>(knex: Knex, write: () => Promise<T>): Promise<T> {
  const actor = currentActor()
  return await transaction(
    () =>
      asSystem(async () => {
        const scope = scopeFor({ cls: registeredModel('token') as never, ref: 't' }, actor, { live: true })
        if (!(await holds(joinAmbient(knex), callerLives(scope))))
          throw new UnauthorizedError('Your account or session has ended: sign in again.')
        return await write()
      }),
    { knex },
  )
}
