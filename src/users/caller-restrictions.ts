import type { Model } from 'objection'
import { ForbiddenError } from '../core/errors.js'
import { currentActor, currentImpersonatorId } from '../policy/context.js'
import type { AbstractConstructor } from '../record/active-record.js'
import { markIntermediate } from '../schema/definition.js'

/**
 * Refuses what only the user in person may do: an API key, and a superadmin who acts in a user's place, change no
 * password, address, key, factor or session. Code of the application's own (asSystem, a script) is not asked.
 *
 * @param what for the message: 'Passwords', 'Sessions'
 * @throws ForbiddenError
 * @example assertInPerson('API keys')
 */
export function forbidApiKey(what: string): void {
  if (currentActor()?.abilities) throw new ForbiddenError(`${what} cannot be touched with an API key: sign in.`)
  forbidImpersonation(what)
}

/** Refuses what nobody may do in another's place, nor by way of runAs() from there. @throws ForbiddenError */
export function forbidImpersonation(what: string): void {
  if (currentActor() && currentImpersonatorId())
    throw new ForbiddenError(`${what} cannot be touched in another's place: end the impersonation.`)
}

/**
 * Rows that are not written unless `demand` lets the caller, by whichever path: hooks that come with every query, a bypass too.
 *
 * @param demand `() => assertInPerson('Tokens')`, or the like
 */
export function WriteGuardMixin<T extends AbstractConstructor<Model>>(Base: T, demand: () => void): T {
  const Open = Base as unknown as typeof Model
  abstract class WrittenInPerson extends Open {
    static override beforeDelete(args: never): unknown {
      demand()
      return super.beforeDelete(args)
    }

    override async $beforeInsert(context: never): Promise<void> {
      demand()
      await super.$beforeInsert(context)
    }

    override async $beforeUpdate(options: never, context: never): Promise<void> {
      demand()
      await super.$beforeUpdate(options, context)
    }
  }
  markIntermediate(WrittenInPerson)
  return WrittenInPerson as unknown as T
}
