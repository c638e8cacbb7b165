import { NotFoundError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { currentAddress } from '../../../policy/context.js'
import type { LibraryId } from '../../../policy/registered-types.js'
import { decodeId } from '../../../schema/ids.js'
import { requireRankOver } from '../../../users/caller/account-rank.js'
import { forbidApiKey } from '../../../users/caller/caller-restrictions.js'
import { Passkey } from '../../../users/passkey.js'
import { endTrustedDevices } from '../../../users/trusted-device.js'
import type { User } from '../../../users/user.js'
import { forActiveCaller } from '../active-caller.js'
import { endFactorTokens } from '../second-factor/recovery-codes.js'
import { begin, type PasskeyContext, requireSessionCaller, sendNotice } from './context.js'
import { readName, requireProof } from './register.js'

/** Renames a passkey of the caller. @throws NotFoundError, ValidationError */
export async function rename({ core }: PasskeyContext, id: LibraryId, name: unknown): Promise<Passkey> {
  const { actor } = requireSessionCaller()
  const text = readName(name ?? null)
  return await forActiveCaller(core.knex, actor.id, async () => {
    const passkey = await findOwn(actor.id, id)
    return await passkey.update({ name: text } as Partial<Passkey>)
  })
}

/** Removes a passkey of the caller. @throws like Passkeys.remove */
export async function remove(context: PasskeyContext, id: LibraryId): Promise<void> {
  const { core } = context
  begin(context, 'remove')
  const caller = requireSessionCaller()
  await requireProof(context, caller)
  const assertCanSignIn = await core.signInMethods.prepare()
  const user = caller.actor.user as User
  const removed = await forActiveCaller(core.knex, user.id, async () => {
    const passkey = await findOwn(user.id, id)
    await passkey.delete()
    await assertCanSignIn(user.id)
    await afterRemoval(context, user.id)
    return passkey.id
  })
  core.emit('passkeyRemoved', { userId: user.id, passkeyId: removed, address: currentAddress() })
  sendNotice(context, 'passkeyRemoved', user)
}

/** Removes all passkeys of a user. @throws like Passkeys.reset */
export async function reset(context: PasskeyContext, user: User): Promise<number> {
  const { core } = context
  core.assertNoTransaction('passkeys.reset')
  forbidApiKey(message('subject.passkeys'))
  await requireRankOver(user.id)
  await core.challenges.prepare()
  const assertCanSignIn = await core.signInMethods.prepare()
  const removed = await forActiveCaller(core.knex, user.id, async () => {
    const passkeys = await Passkey.query().where('userId', user.id)
    if (passkeys.length === 0) return []
    await Passkey.query().delete().where('userId', user.id)
    await assertCanSignIn(user.id)
    await afterRemoval(context, user.id)
    return passkeys
  })
  for (const { id } of removed) core.emit('passkeyRemoved', { userId: user.id, passkeyId: id, address: currentAddress() })
  if (removed.length > 0) sendNotice(context, 'passkeyRemoved', user)
  return removed.length
}

// A removed passkey may be in other hands. Recovery codes replace a factor: without one they would wait for the next.
async function afterRemoval({ core }: PasskeyContext, userId: string): Promise<void> {
  await endTrustedDevices(userId)
  if ((await core.challenges.factorsOf(userId)).length === 0) await endFactorTokens(userId)
}

async function findOwn(userId: string, given: LibraryId): Promise<Passkey> {
  const id = decodeId(Passkey, given)
  const found = id === undefined ? undefined : await Passkey.query().findOne({ id, userId } as object)
  if (!found) throw new NotFoundError()
  return found
}
