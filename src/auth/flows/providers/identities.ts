/** The linked accounts of a user. */
import { message } from '../../../core/messages/message.js'
import { asSystem } from '../../../policy/context.js'
import type { LibraryId } from '../../../policy/registered-types.js'
import { decodeId } from '../../../schema/ids.js'
import { requireRankOver } from '../../../users/caller/account-rank.js'
import { forbidApiKey } from '../../../users/caller/caller-restrictions.js'
import { Identity } from '../../../users/identity.js'
import { ProviderSignIn } from '../../../users/provider-sign-in.js'
import type { User } from '../../../users/user.js'
import { unseal } from '../../tokens/secret-box.js'
import { forActiveCaller } from '../active-caller.js'
import { notify } from '../mail/notices.js'
import type { ProviderTokens } from './connection.js'
import type { ProvidersContext } from './context.js'

/** A linked account, as lists show it. */
export interface IdentityInfo {
  readonly id: LibraryId
  /** The name of the provider. */
  readonly provider: string
  readonly issuer: string
  /** A name of the account, such as its address. It identifies nobody. */
  readonly label: string | null
  readonly createdAt: Date
  readonly lastUsedAt: Date | null
}

const MAX_LISTED = 100

export async function listIdentities(user: User): Promise<readonly IdentityInfo[]> {
  const found = await asSystem(() => Identity.query().where('userId', user.id).orderBy(['createdAt', 'id']).limit(MAX_LISTED))
  return found.map(({ id, provider, issuer, label, createdAt, lastUsedAt }) => ({ id, provider, issuer, label, createdAt, lastUsedAt }))
}

/** Removes a linked account. @throws ConflictError for the last way to sign in */
export async function unlinkIdentity({ core }: ProvidersContext, user: User, identityId: LibraryId): Promise<boolean> {
  core.assertNoTransaction('providers.unlink')
  forbidApiKey(message('subject.linkedAccounts'))
  await requireRankOver(user.id)
  const id = decodeId(Identity, identityId)
  if (id === undefined) return false
  const assertCanSignIn = await core.signInMethods.prepare()
  const found = await forActiveCaller(core.knex, user.id, async () => {
    const identity = await Identity.query().findOne({ id, userId: user.id })
    if (!identity) return null
    await Identity.query().deleteById(identity.id)
    // A sign-in that waits for its exchange ends too.
    await ProviderSignIn.query().delete().where({ userId: user.id })
    await assertCanSignIn(user.id)
    return identity
  })
  if (!found) return false
  core.emit('identityUnlinked', { userId: user.id, identityId: found.id, provider: found.provider })
  notify(core, user, 'identityUnlinked', { provider: found.provider })
  return true
}

/** Returns the stored tokens of a linked account. */
export async function storedTokens({ sealKeys }: ProvidersContext, user: User, identityId: LibraryId): Promise<ProviderTokens | null> {
  const id = decodeId(Identity, identityId)
  const found = id === undefined ? undefined : await asSystem(() => Identity.query().findOne({ id, userId: user.id }))
  const text = found?.tokens ? unseal(sealKeys, `tokens ${user.id}`, found.tokens) : null
  return text === null ? null : (JSON.parse(text) as ProviderTokens)
}
