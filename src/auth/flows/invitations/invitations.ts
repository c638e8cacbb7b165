import {
  ConfigurationError,
  ForbiddenError,
  InvalidTokenError,
  MissingReferenceError,
  NotFoundError,
  UnauthorizedError,
} from '../../../core/errors.js'
import { lockRow } from '../../../database/lock-row.js'
import { transaction } from '../../../database/transaction.js'
import { asSystem, currentActor, currentAddress, runAsActor, withConsent } from '../../../policy/context.js'
import { registeredModel } from '../../../policy/registered-models.js'
import type { DomainName } from '../../../policy/registered-types.js'
import { canonicalEmail, isEmailAddress } from '../../../schema/email.js'
import { decodeId, unusedId } from '../../../schema/ids.js'
import { invalidField, requireStorableText } from '../../../schema/text-input.js'
import { requireEmailColumn } from '../../../users/account/identifiers.js'
import { isActive, loadActor } from '../../../users/caller/actor.js'
import { forbidApiKey } from '../../../users/caller/caller-restrictions.js'
import { Invitation } from '../../../users/invitation.js'
import { checkRole } from '../../../users/roles/roles.js'
import { hashToken, randomToken } from '../../../users/token.js'
import type { User } from '../../../users/user.js'
import type { UserRole } from '../../../users/user-role.js'
import type { AuthCore } from '../../core.js'
import { forActiveCaller } from '../active-caller.js'
import { userClass } from '../credentials.js'
import { activeDomain, assertActor, canGrantInEveryDomain, grants, isDomainRef, roleNotGrantable } from '../domain-roles.js'
import { optionalTables, proveAddress, recordProof } from '../first-proof.js'
import { mailDelivery } from '../mail/mail-delivery.js'
import { type RegistrationSteps, readRegistration } from '../register.js'

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
  acceptNew(given: { token: string; [name: string]: unknown }, prepare?: PrepareRegistration): Promise<User>
  /** Returns the newest open invitations that the caller may see, at most 500, of one domain or of all. */
  list(domain?: DomainName): Promise<Invitation[]>
  /** Revokes an open invitation that the caller made or could make. @throws NotFoundError, ForbiddenError by rank */
  revoke(id: string): Promise<void>
}

/** Turns the body of a registration by invitation into the values of the new user. */
export type PrepareRegistration = (
  values: object,
  known: { email: string },
) => Promise<{ values: object; afterCreate?: RegistrationSteps['afterCreate'] }>

const PREFIX = 'in_'
const FORM = /^in_[\w-]{43}$/
const maxListed = 500

export function invitations(core: AuthCore): Invitations {
  const { emit, knex, throttle } = core

  async function read(token: unknown): Promise<Invitation> {
    const plain = requireStorableText(token, 'token')
    const found = FORM.test(plain) ? await asSystem(() => Invitation.query().findOne({ token: hashToken(plain) })) : undefined
    if (!found || found.revoked || found.acceptedAt || found.expiresAt.getTime() <= Date.now()) throw invalidInvitation()
    if (!(await activeDomain(found.domainId))) throw invalidInvitation()
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
      throw new ForbiddenError('The user who invited you may no longer grant this role: ask for another invitation.')
    }
  }

  /** Runs work under the throttle of mailed tokens, which counts by client address. */
  async function redeem<T>(name: string, work: () => Promise<T>): Promise<T> {
    core.assertNoTransaction(`invitations.${name}`)
    forbidApiKey('Invitations')
    const attempt = await throttle.begin('mailToken', { address: currentAddress() })
    try {
      const result = await work()
      await attempt.succeeded()
      return result
    } catch (error) {
      if (!(error instanceof InvalidTokenError)) await attempt.withdrawn()
      throw error
    }
  }

  const tables = optionalTables(knex)
  const delivery = mailDelivery(core)

  const hasColumn = () => 'emailVerifiedAt' in userClass().columnSpecs
  const verified = (): object => (hasColumn() ? { emailVerifiedAt: new Date() } : {})

  return {
    async invite({ email, role, domain }) {
      core.assertNoTransaction('invitations.invite')
      requireEmailColumn(userClass(), 'auth.invitations.invite()')
      const { mailService } = core
      if (!mailService)
        throw new ConfigurationError(
          "Invitations go by mail: initPerms({ mail: { mailer: consoleMailer(), baseUrl: 'http://localhost:3000' } }).",
        )
      const actor = assertActor()
      forbidApiKey('Invitations')
      const address = canonicalEmail(requireStorableText(email, 'email'))
      if (!isEmailAddress(address)) throw invalidField('email', 'must be an e-mail address')
      const name = requireStorableText(role, 'role')
      checkRole(name)
      const into = await activeDomain(typeof domain !== 'string' && isDomainRef(domain) ? domain : requireStorableText(domain, 'domain'))
      if (!into) throw canGrantInEveryDomain(actor, name) ? noSuchDomain() : roleNotGrantable()
      // Checks as for a new user, so that the answer does not tell whether the address has an account.
      if (!(await canGrantToNewUser(name, into.id))) throw roleNotGrantable()
      await delivery.count(address, { address: currentAddress(), caller: actor.id })
      const plain = PREFIX + randomToken()
      const expiresAt = new Date(Date.now() + mailService.expires('invitation') * 1000)
      const invitation = await forActiveCaller(knex, actor.id, async (trx) => {
        await lockRow(trx, registeredModel('domain'), into.id)
        await Invitation.query()
          .patch({ revoked: true })
          .where({ email: address, role: name, domainId: into.id, revoked: false })
          .whereNull('acceptedAt')
        const values = { email: address, role: name, domainId: into.id, invitedById: actor.id, token: hashToken(plain), expiresAt }
        return await Invitation.create(values)
      })
      emit('invited', { email: address, role: name, domainId: into.id, by: actor.id })
      core.background.run(async () => {
        try {
          await mailService.send(mailService.compose('invitation', address, plain, { role: name, domain: into.displayName ?? into.name }))
        } catch {
          emit('mailFailed', { userId: null, kind: 'invitation' })
        }
      })
      return invitation
    },

    accept: (token) =>
      redeem('accept', async () => {
        const actor = assertActor()
        const invitation = await read(token)
        const user = await asSystem(() => userClass().get(actor.id))
        const present = await tables()
        if (!user || !isActive(user)) throw new UnauthorizedError()
        if (user.email !== invitation.email) throw new ForbiddenError('The invitation is for another address: sign in with that one.')
        const { grant, revoked } = await transaction(
          (trx) =>
            asSystem(async () => {
              await lockRow(trx, userClass(), user.id)
              await markAsUsed(invitation)
              const revoked = await proveAddress(user, { email: invitation.email, tables: present, keepSession: actor.sessionId })
              return { grant: await grantOnBehalfOfInviter(user, invitation), revoked }
            }),
          { knex },
        )
        if (revoked) delivery.reportProof(user, 'invitation', revoked)
        emit('invitationAccepted', { userId: user.id, role: invitation.role, domainId: invitation.domainId })
        return grant
      }),

    acceptNew: ({ token, ...values }, prepare) =>
      redeem('acceptNew', async () => {
        const invitation = await read(token)
        if ('email' in values) throw invalidField('email', 'is the invited one')
        const attempt = await throttle.begin('registration', { address: currentAddress() })
        try {
          const { email } = invitation
          const prepared = (await prepare?.(values, { email })) ?? { values }
          const input = readRegistration({ ...prepared.values, email })
          const draft = await asSystem(() => userClass().build({ ...input, ...verified() }))
          // Hashes the password before the transaction takes a connection.
          await asSystem(() => draft.$settle())
          const user = await transaction(
            () =>
              asSystem(async () => {
                await markAsUsed(invitation)
                const row = await draft.getClone().save()
                if (!hasColumn()) await recordProof(row.id, row.email)
                await grantOnBehalfOfInviter(row, invitation)
                await prepared.afterCreate?.(row)
                return row
              }),
            { knex },
          )
          emit('registered', { userId: user.id })
          emit('invitationAccepted', { userId: user.id, role: invitation.role, domainId: invitation.domainId })
          return user
        } catch (error) {
          await attempt.withdrawn()
          throw error
        }
      }),

    async list(domain) {
      const into = domain === undefined ? null : await activeDomain(domain)
      if (domain !== undefined && !into) return []
      const query = Invitation.query()
        .where('revoked', false)
        .whereNull('acceptedAt')
        .where('expiresAt', '>', new Date())
        .orderBy('createdAt', 'desc')
        .limit(maxListed)
      return await (into ? query.where('domainId', into.id) : query)
    },

    async revoke(id) {
      core.assertNoTransaction('invitations.revoke')
      forbidApiKey('Invitations')
      const known = decodeId(Invitation, id)
      const found = known === undefined ? undefined : await Invitation.query().findById(known)
      if (!found) throw new NotFoundError()
      const { email, role, domainId } = found
      const isMine = found.invitedById === currentActor()?.id
      if (!isMine && !(await canGrantToNewUser(role, domainId))) throw new ForbiddenError()
      const count = await transaction(
        () => asSystem(() => Invitation.query().patch({ revoked: true }).where({ id: found.id, revoked: false }).whereNull('acceptedAt')),
        { knex },
      )
      if (count === 0) throw new NotFoundError()
      emit('invitationRevoked', { email, role, domainId })
    },
  }
}

/** Returns whether the caller could grant the role to a new user who consents. */
function canGrantToNewUser(role: string, domainId: string): Promise<boolean> {
  const userId = unusedId(registeredModel('user'))
  const grant: object = { userId, role, domainId }
  return withConsent({ userId, domainId }, () => grants().canCreate(grant))
}

const noSuchDomain = () =>
  new MissingReferenceError('There is no active domain of this id or name.', [
    { field: 'domain', message: 'does not exist, or is not active' },
  ])

const invalidInvitation = () => new InvalidTokenError('The invitation is no longer valid: ask for another.')
