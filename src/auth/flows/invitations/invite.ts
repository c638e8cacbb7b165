import { ConfigurationError, MissingReferenceError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { lockRow } from '../../../database/lock-row.js'
import { type Actor, currentAddress, withConsent } from '../../../policy/context.js'
import { registeredModel } from '../../../policy/registered-models.js'
import type { DomainName } from '../../../policy/registered-types.js'
import { canonicalEmail, isEmailAddress } from '../../../schema/email.js'
import { unusedId } from '../../../schema/ids.js'
import { invalidField, requireStorableText } from '../../../schema/text-input.js'
import { requireEmailColumn } from '../../../users/account/identifiers.js'
import { forbidApiKey } from '../../../users/caller/caller-restrictions.js'
import type { Domain } from '../../../users/domain.js'
import { Invitation } from '../../../users/invitation.js'
import { checkRole } from '../../../users/roles/roles.js'
import { hashToken, randomToken } from '../../../users/token.js'
import type { AuthCore } from '../../core.js'
import { forActiveCaller } from '../active-caller.js'
import { userClass } from '../credentials.js'
import { activeDomain, assertActor, canGrantInEveryDomain, grants, isDomainRef, roleNotGrantable } from '../domain-roles.js'
import type { MailContext } from '../mail/mail-requests.js'
import type { MailService } from '../mail/mail-service.js'

const PREFIX = 'in_'

/** The role and the domain that an invitation offers, and the invited e-mail address. */
interface Offer {
  readonly email: string
  readonly role: string
  readonly domain: Domain
}

/** Creates an invitation and mails it. @throws like Invitations.invite */
export async function invite(
  { core, delivery }: MailContext,
  given: { email: string; role: string; domain: DomainName },
): Promise<Invitation> {
  core.assertNoTransaction('invitations.invite')
  requireEmailColumn(userClass(), 'auth.invitations.invite()')
  const { mailService } = core
  if (!mailService)
    throw new ConfigurationError(
      "Invitations go by mail: initPerms({ mail: { mailer: consoleMailer(), baseUrl: 'http://localhost:3000' } }).",
    )
  const actor = assertActor()
  forbidApiKey(message('subject.invitations'))
  const offer = await readOffer(actor, given)
  await delivery.count(offer.email, { address: currentAddress(), caller: actor.id })
  const plain = PREFIX + randomToken()
  const expiresAt = new Date(Date.now() + mailService.expires('invitation') * 1000)
  const invitation = await replaceInvitation(core, actor, offer, { token: hashToken(plain), expiresAt })
  core.emit('invited', { email: offer.email, role: offer.role, domainId: offer.domain.id, by: actor.id })
  core.background.run(() => sendInvitation(core, mailService, offer, plain))
  return invitation
}

/** @throws ValidationError, ForbiddenError for a role that the caller may not grant in the domain */
async function readOffer(actor: Actor, given: { email: string; role: string; domain: DomainName }): Promise<Offer> {
  const email = canonicalEmail(requireStorableText(given.email, 'email'))
  if (!isEmailAddress(email)) throw invalidField('email', message('field.email'))
  const role = requireStorableText(given.role, 'role')
  checkRole(role)
  const ref = typeof given.domain !== 'string' && isDomainRef(given.domain) ? given.domain : requireStorableText(given.domain, 'domain')
  const domain = await activeDomain(ref)
  if (!domain) throw canGrantInEveryDomain(actor, role) ? noSuchDomain() : roleNotGrantable()
  // Checks as for a new user, so that the answer does not tell whether the address has an account.
  if (!(await canGrantToNewUser(role, domain.id))) throw roleNotGrantable()
  return { email, role, domain }
}

/** Creates an invitation and revokes an earlier one of the same address, role and domain. */
async function replaceInvitation(
  { knex }: AuthCore,
  actor: Actor,
  { email, role, domain }: Offer,
  token: { readonly token: string; readonly expiresAt: Date },
): Promise<Invitation> {
  const place = { email, role, domainId: domain.id }
  return await forActiveCaller(knex, actor.id, async (trx) => {
    await lockRow(trx, registeredModel('domain'), domain.id)
    await Invitation.query()
      .patch({ revoked: true })
      .where({ ...place, revoked: false })
      .whereNull('acceptedAt')
    return await Invitation.create({ ...place, invitedById: actor.id, ...token })
  })
}

async function sendInvitation({ emit }: AuthCore, mailService: MailService, { email, role, domain }: Offer, plain: string): Promise<void> {
  try {
    await mailService.send(mailService.compose('invitation', email, plain, { role, domain: domain.displayName ?? domain.name }))
  } catch {
    emit('mailFailed', { userId: null, kind: 'invitation' })
  }
}

/** Returns whether the caller could grant the role to a new user who consents. */
export function canGrantToNewUser(role: string, domainId: string): Promise<boolean> {
  const userId = unusedId(registeredModel('user'))
  const grant: object = { userId, role, domainId }
  return withConsent({ userId, domainId }, () => grants().canCreate(grant))
}

const noSuchDomain = () =>
  new MissingReferenceError(message('domain.noneActive'), [{ field: 'domain', message: message('field.notActive') }])
