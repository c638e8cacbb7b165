import { ForbiddenError, NotFoundError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { transaction } from '../../../database/transaction.js'
import { asSystem, currentActor } from '../../../policy/context.js'
import type { DomainName, LibraryId } from '../../../policy/registered-types.js'
import { decodeId } from '../../../schema/ids.js'
import type { RegisteredUser } from '../../../users/caller/actor.js'
import { forbidApiKey } from '../../../users/caller/caller-restrictions.js'
import { Invitation } from '../../../users/invitation.js'
import type { UserRole } from '../../../users/user-role.js'
import type { AuthCore } from '../../core.js'
import { activeDomain } from '../domain-roles.js'
import { mailDelivery } from '../mail/mail-delivery.js'
import type { MailContext } from '../mail/mail-requests.js'
import { acceptAsNewUser, acceptInvitation, type PrepareRegistration } from './accept.js'
import { canGrantToNewUser, invite } from './invite.js'

/** Invites people into a domain by mail: `perms.auth.invitations`. The caller's roles decide what is allowed. */
export interface Invitations {
  /**
   * Mails an invitation for a role below the caller's own rank. It replaces an earlier invitation of the same address, role and
   * domain.
   *
   * @param given `domain` is an id or a name
   * @throws ForbiddenError for a role that the caller may not grant there, ValidationError for invalid values (global admins also
   * learn that a domain does not exist), TooManyAttemptsError, ConfigurationError without a mailer
   * @example await perms.auth.invitations.invite({ email: 'bob@example.com', role: 'editor', domain: 'press' })
   */
  invite(given: { email: string; role: string; domain: DomainName }): Promise<Invitation>
  /**
   * Accepts an invitation as the current user, whose address must be the invited one. Accepting also verifies that address.
   *
   * @throws InvalidTokenError, ForbiddenError for another address, or when the inviter may no longer grant the role
   */
  accept(token: string): Promise<UserRole>
  /**
   * Registers a user with the invited address and grants the role in one transaction.
   *
   * @param given the token and the values of a registration, without the address
   * @param prepare returns the values of the new user. It is called with the invited address after the token is checked and before
   * anything is written.
   * @throws like accept, ValidationError, UniqueViolationError (409) when the address has an account: sign in and accept instead
   */
  acceptNew(given: { token: string; [name: string]: unknown }, prepare?: PrepareRegistration): Promise<RegisteredUser>
  /** Returns the newest open invitations that the caller may see, at most 500, of one domain or of all. */
  list(domain?: DomainName): Promise<Invitation[]>
  /** Revokes an open invitation that the caller made or could make. @throws NotFoundError, ForbiddenError by rank */
  revoke(id: LibraryId): Promise<void>
}

const maxListed = 500

export function invitations(core: AuthCore): Invitations {
  const context: MailContext = { core, delivery: mailDelivery(core), tables: core.tables }
  return {
    invite: (given) => invite(context, given),
    accept: (token) => acceptInvitation(context, token),
    acceptNew: ({ token, ...values }, prepare) => acceptAsNewUser(core, token, values, prepare),
    list: (domain) => listInvitations(domain),
    revoke: (id) => revokeInvitation(core, id),
  }
}

async function listInvitations(domain: DomainName | undefined): Promise<Invitation[]> {
  const into = domain === undefined ? null : await activeDomain(domain)
  if (domain !== undefined && !into) return []
  const query = Invitation.query()
    .where('revoked', false)
    .whereNull('acceptedAt')
    .where('expiresAt', '>', new Date())
    .orderBy('createdAt', 'desc')
    .limit(maxListed)
  return await (into ? query.where('domainId', into.id) : query)
}

async function revokeInvitation(core: AuthCore, id: string): Promise<void> {
  core.assertNoTransaction('invitations.revoke')
  forbidApiKey(message('subject.invitations'))
  const known = decodeId(Invitation, id)
  const found = known === undefined ? undefined : await Invitation.query().findById(known)
  if (!found) throw new NotFoundError()
  const { email, role, domainId } = found
  const isMine = found.invitedById === currentActor()?.id
  if (!isMine && !(await canGrantToNewUser(role, domainId))) throw new ForbiddenError()
  const count = await transaction(
    () => asSystem(() => Invitation.query().patch({ revoked: true }).where({ id: found.id, revoked: false }).whereNull('acceptedAt')),
    { knex: core.knex },
  )
  if (count === 0) throw new NotFoundError()
  core.emit('invitationRevoked', { email, role, domainId })
}
