import { ForbiddenError, InvalidTokenError, UnauthorizedError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { lockRow } from '../../../database/lock-row.js'
import { transaction } from '../../../database/transaction.js'
import { asSystem, currentAddress, runAsActor, withConsent } from '../../../policy/context.js'
import { invalidField, requireStorableText } from '../../../schema/text-input.js'
import { isActive, loadActor } from '../../../users/caller/actor.js'
import { forbidApiKey } from '../../../users/caller/caller-restrictions.js'
import { Invitation } from '../../../users/invitation.js'
import { hashToken } from '../../../users/token.js'
import type { User } from '../../../users/user.js'
import type { UserRole } from '../../../users/user-role.js'
import type { AuthCore } from '../../core.js'
import { withAttempt } from '../../throttle/attempts.js'
import { userClass } from '../credentials.js'
import { activeDomain, assertActor, grants } from '../domain-roles.js'
import { proveAddress } from '../first-proof.js'
import type { MailContext } from '../mail/mail-requests.js'
import { type PreparedUser, registerProven } from '../register-proven.js'

/** Turns the body of a registration by invitation into the values of the new user. */
export type PrepareRegistration = (values: object, known: { email: string }) => Promise<PreparedUser>

const FORM = /^in_[\w-]{43}$/

/** Accepts an invitation as the current user. @throws like Invitations.accept */
export function acceptInvitation({ core, delivery, tables }: MailContext, token: string): Promise<UserRole> {
  return redeem(core, 'accept', async () => {
    const actor = assertActor()
    const invitation = await readInvitation(token)
    const user = await asSystem(() => userClass().get(actor.id))
    const present = await tables()
    if (!user || !isActive(user)) throw new UnauthorizedError()
    if (user.email !== invitation.email) throw new ForbiddenError(message('invitation.otherAddress'))
    const { grant, revoked } = await transaction(
      (trx) =>
        asSystem(async () => {
          await lockRow(trx, userClass(), user.id)
          await markAsUsed(invitation)
          const revoked = await proveAddress(user, { email: invitation.email, tables: present, keepSession: actor.sessionId })
          return { grant: await grantOnBehalfOfInviter(user, invitation), revoked }
        }),
      { knex: core.knex },
    )
    if (revoked) delivery.reportProof(user, 'invitation', revoked)
    core.emit('invitationAccepted', { userId: user.id, role: invitation.role, domainId: invitation.domainId })
    return grant
  })
}

/** Registers a user with the invited address, and grants the role. @throws like Invitations.acceptNew */
export function acceptAsNewUser(core: AuthCore, token: string, values: object, prepare?: PrepareRegistration): Promise<User> {
  return redeem(core, 'acceptNew', async () => {
    const invitation = await readInvitation(token)
    if ('email' in values) throw invalidField('email', message('field.invitedAddress'))
    const attempt = await core.throttle.begin('registration', { address: currentAddress() })
    try {
      const user = await registerInvited(core, invitation, values, prepare)
      core.emit('registered', { userId: user.id })
      core.emit('invitationAccepted', { userId: user.id, role: invitation.role, domainId: invitation.domainId })
      return user
    } catch (error) {
      await attempt.withdrawn()
      throw error
    }
  })
}

async function registerInvited(core: AuthCore, invitation: Invitation, values: object, prepare?: PrepareRegistration): Promise<User> {
  const { email } = invitation
  const prepared = (await prepare?.(values, { email })) ?? { values }
  return await registerProven(core, email, prepared, {
    before: () => markAsUsed(invitation),
    after: async (row) => void (await grantOnBehalfOfInviter(row, invitation)),
  })
}

/** Runs work under the throttle of mailed tokens, which counts by client address. */
async function redeem<T>(core: AuthCore, name: string, work: () => Promise<T>): Promise<T> {
  core.assertNoTransaction(`invitations.${name}`)
  forbidApiKey(message('subject.invitations'))
  const attempt = await core.throttle.begin('mailToken', { address: currentAddress() })
  return await withAttempt(attempt, (error) => error instanceof InvalidTokenError, work)
}

/** Returns the open invitation of a token. @throws InvalidTokenError */
async function readInvitation(token: unknown): Promise<Invitation> {
  const plain = requireStorableText(token, 'token')
  const found = FORM.test(plain) ? await asSystem(() => Invitation.query().findOne({ token: hashToken(plain) })) : undefined
  if (!found || found.revoked || found.acceptedAt || found.expiresAt.getTime() <= Date.now()) throw invalidInvitation()
  if (!(await activeDomain({ id: found.domainId }))) throw invalidInvitation()
  return found
}

/** Marks the invitation as used, inside a transaction. Of several concurrent calls the UPDATE succeeds for one. */
async function markAsUsed(invitation: Invitation): Promise<void> {
  const now = new Date()
  const count = await Invitation.query()
    .patch({ acceptedAt: now })
    .where({ id: invitation.id, revoked: false })
    .whereNull('acceptedAt')
    .where('expiresAt', '>', now)
  if (count === 0) throw invalidInvitation()
}

/** Grants the role on behalf of the inviter, so that the inviter's current roles are checked. @throws ForbiddenError */
async function grantOnBehalfOfInviter(user: User, { invitedById, role, domainId }: Invitation): Promise<UserRole> {
  const inviter = await loadActor(invitedById)
  try {
    // The user consented: the token was mailed to the user's own address.
    return await runAsActor(inviter, () => withConsent({ userId: user.id, domainId }, () => grants().create({ user, role, domainId })))
  } catch (error) {
    if (!(error instanceof ForbiddenError || error instanceof UnauthorizedError)) throw error
    throw new ForbiddenError(message('invitation.notGrantable'))
  }
}

const invalidInvitation = () => new InvalidTokenError(message('invitation.invalid'))
