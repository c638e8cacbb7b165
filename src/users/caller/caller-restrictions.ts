import type { Model } from 'objection'
import { ForbiddenError } from '../../core/errors.js'
import { type Message, message } from '../../core/messages/message.js'
import { currentActor, currentImpersonatorId } from '../../policy/context.js'
import type { AbstractConstructor } from '../../record/record-types.js'
import { markIntermediate } from '../../schema/definition/declarations.js'

/**
 * Throws when the caller uses an API key or impersonates a user. Only users themselves change passwords, addresses, keys, factors
 * and sessions. Code without a caller (asSystem, a script) passes.
 *
 * @param subject the subject of the message: 'Passwords', 'Sessions'
 * @throws ForbiddenError
 * @example forbidApiKey(message('subject.apiKeys'))
 */
export function forbidApiKey(subject: string | Message): void {
  if (currentActor()?.abilities) throw new ForbiddenError(message('apiKey.notChangeable', { subject }))
  forbidImpersonation(subject)
}

/** Throws when the caller impersonates a user, also inside runAs(). @throws ForbiddenError */
export function forbidImpersonation(subject: string | Message): void {
  if (currentActor() && currentImpersonatorId()) throw new ForbiddenError(message('impersonation.notChangeable', { subject }))
}

/**
 * Calls `check` before every insert, update and delete of the model. Hooks run for each kind of query, also under bypassPerms().
 *
 * @param check throws to refuse the write, such as `() => forbidApiKey(message('subject.tokens'))`
 */
export function CheckedWritesMixin<T extends AbstractConstructor<Model>>(Base: T, check: () => void): T
export function CheckedWritesMixin(Base: typeof Model, check: () => void): AbstractConstructor<Model> {
  abstract class CheckedWrites extends Base {
    static override beforeDelete(args: never): unknown {
      check()
      return super.beforeDelete(args)
    }

    override async $beforeInsert(context: never): Promise<void> {
      check()
      await super.$beforeInsert(context)
    }

    override async $beforeUpdate(options: never, context: never): Promise<void> {
      check()
      await super.$beforeUpdate(options, context)
    }
  }
  markIntermediate(CheckedWrites)
  return CheckedWrites
}
