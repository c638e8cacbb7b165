import {
  ConfigurationError,
  ForbiddenError,
  InvalidTokenError,
  NotFoundError,
  UnauthorizedError,
  ValidationError,
} from '../model/errors.js'
import { newId } from '../model/ids.js'
import { transaction } from '../model/transaction.js'
import { isUuid } from '../model/values.js'
import { type Actor, asSystem, currentActor, currentAddress, runAsActor } from '../perms/context.js'
import { registeredModel } from '../perms/registry.js'
import { loadActor } from '../users/actor.js'
import type { Domain } from '../users/domain.js'
import { canonicalEmail, EMAIL_PATTERN } from '../users/email.js'
import { demandInPerson } from '../users/in-person.js'
import { Invitation } from '../users/invitation.js'
import { checkRole } from '../users/roles.js'
import { hashToken, randomToken } from '../users/token.js'
import type { User } from '../users/user.js'
import type { UserRole } from '../users/user-role.js'
import type { AuthCore } from './core.js'
import { userClass } from './credentials.js'
import { readRegistration } from './register.js'

/** Invitations into a domain, by mail: `perms.auth.invitations`. Who calls decides what they may. */
export interface Invitations {
  /**
   * Mails an invitation; an earlier one of the same address, role and domain ends.
   *
   * @param given `domain`: its id or name
   * @throws ForbiddenError for a role that the current user may not grant there, ValidationError, ConfigurationError without a mailer
   * @example await perms.auth.invitations.invite({ email: 'bob@example.com', role: 'editor', domain: 'press' })
   */
  invite(given: { email: string; role: string; domain: string }): Promise<Invitation>
  /**
   * Takes an invitation as the current user, whose address must be the invited one: the mail that came there verifies it.
   *
   * @throws InvalidTokenError, ForbiddenError for another address, or where the inviter may not grant the role any more
   */
  accept(token: string): Promise<UserRole>
  /**
   * Registers a user with the invited address and gives the role, both or neither.
   *
   * @param given the token, and what a registration takes but the address
   * @throws InvalidTokenError, ValidationError, UniqueViolationError (409): the address has an account, which accepts instead
   */
  acceptNew(given: { token: string; [name: string]: unknown }): Promise<User>
  /** The open invitations that the current user may see, of one domain or of all. */
  list(domain?: string): Promise<Invitation[]>
  /** Ends one that the current user may see and could make. @throws NotFoundError */
  revoke(id: string): Promise<void>
  /** Who holds a role in a domain, for its admins. @throws NotFoundError for anybody else */
  members(domain: string): Promise<Member[]>
  /** Gives a member of the domain another role. @throws NotFoundError, ForbiddenError by rank */
  changeMember(domain: string, grantId: string, role: string): Promise<Member>
  /** Takes a member's role in the domain away. @throws NotFoundError, ForbiddenError by rank */
  removeMember(domain: string, grantId: string): Promise<void>
}

/** A role held in a domain, and by whom. */
export interface Member {
  readonly grantId: string
  readonly role: string
  readonly user: { readonly id: string; readonly email: string }
}

const PREFIX = 'in_'
const FORM = /^in_[\w-]{43}$/

export function invitations(core: AuthCore): Invitations {
  const { emit, knex, throttle } = core

  async function read(token: unknown): Promise<Invitation> {
    const plain = textOf(token, 'token')
    const found = FORM.test(plain)
      ? ((await asSystem(() => Invitation.query().findOne({ token: hashToken(plain) } as never))) as Invitation | undefined)
      : undefined
    if (!found || found.revoked || found.acceptedAt || found.expiresAt.getTime() <= Date.now()) throw dead()
    return found
  }

  /** One statement decides which of many takes it. Inside a transaction. */
  async function take(invitation: Invitation): Promise<void> {
    const now = new Date()
    const count = await Invitation.query()
      .patch({ acceptedAt: now } as never)
      .where({ id: invitation.id, revoked: false } as never)
      .whereNull('acceptedAt')
      .where('expiresAt', '>', now)
    if (count === 0) throw dead()
  }

  /** The inviter's rights are those of now. @throws ForbiddenError */
  async function demandInviter({ invitedById, role, domainId }: Invitation, userId: string): Promise<void> {
    const inviter = await loadActor(invitedById)
    const may = inviter !== null && (await runAsActor(inviter, () => grants().canCreate({ userId, role, domainId } as never)))
    if (!may) throw new ForbiddenError('Who invited you may not give this role any more: ask for another invitation.')
  }

  async function guessing<T>(name: string, work: () => Promise<T>): Promise<T> {
    core.refuseTransaction(`invitations.${name}`)
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

  const verified = () => ('emailVerifiedAt' in userClass().columnSpecs ? { emailVerifiedAt: new Date() } : {})
  const give = async (user: User, { role, domainId }: Invitation) => (await grants().create({ user, role, domainId } as never)) as UserRole

  return {
    async invite({ email, role, domain }) {
      core.refuseTransaction('invitations.invite')
      if (!core.post)
        throw new ConfigurationError(
          "Invitations go by mail: initPerms({ mail: { mailer: consoleMailer(), baseUrl: 'http://localhost:3000' } }).",
        )
      const actor = demandActor()
      demandInPerson('Invitations')
      const address = canonicalEmail(textOf(email, 'email'))
      if (address.length > 254 || !new RegExp(EMAIL_PATTERN).test(address)) throw invalid('email', 'must be an e-mail address')
      const name = textOf(role, 'role')
      checkRole(name)
      const into = await domainOf(textOf(domain, 'domain'))
      // Judged as if for somebody new: whom the address belongs to is not told.
      if (!into || !(await grants().canCreate({ userId: newId(), role: name, domainId: into.id } as never)))
        throw new ForbiddenError('You may not give this role there.')
      await throttle.begin('mail', { account: address, address: currentAddress() })
      const plain = PREFIX + randomToken()
      const expiresIn = core.post.expires('invitation')
      const invitation = await transaction(
        () =>
          asSystem(async () => {
            await Invitation.query()
              .patch({ revoked: true } as never)
              .where({ email: address, role: name, domainId: into.id, revoked: false } as never)
              .whereNull('acceptedAt')
            const expiresAt = new Date(Date.now() + expiresIn * 1000)
            const values = { email: address, role: name, domainId: into.id, invitedById: actor.id, token: hashToken(plain), expiresAt }
            return (await Invitation.create(values as never)) as Invitation
          }),
        { knex },
      )
      emit('invited', { email: address, role: name, domainId: into.id, by: actor.id })
      core.background.run(async () => {
        try {
          await core.post?.send('invitation', address, plain, { role: name, domain: into.displayName ?? into.name })
        } catch {
          emit('mailFailed', { userId: null, kind: 'invitation' })
        }
      })
      return invitation
    },

    accept: (token) =>
      guessing('accept', async () => {
        const actor = demandActor()
        demandInPerson('Invitations')
        const invitation = await read(token)
        const user = (await asSystem(() => userClass().get(actor.id))) as User | null
        if (!user || user.email !== invitation.email)
          throw new ForbiddenError('The invitation is for another address: sign in with that one.')
        await demandInviter(invitation, user.id)
        const grant = await transaction(
          () =>
            asSystem(async () => {
              await take(invitation)
              await user.update(verified() as never)
              return await give(user, invitation)
            }),
          { knex },
        )
        emit('invitationAccepted', { userId: user.id, role: invitation.role, domainId: invitation.domainId })
        return grant
      }),

    acceptNew: ({ token, ...values }) =>
      guessing('acceptNew', async () => {
        const invitation = await read(token)
        if ('email' in values) throw invalid('email', 'is the invited one')
        const attempt = await throttle.begin('registration', { address: currentAddress() })
        try {
          const input = readRegistration({ ...values, email: invitation.email })
          const draft = await asSystem(() => userClass().build(input as never))
          // Hashed before a connection is held.
          await asSystem(() => draft.$settle())
          await demandInviter(invitation, newId())
          const user = await transaction(
            () =>
              asSystem(async () => {
                await take(invitation)
                const row = await draft.getClone().save()
                await row.update(verified() as never)
                await give(row, invitation)
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
      const into = domain === undefined ? undefined : await domainOf(domain)
      if (domain !== undefined && !into) return []
      const query = Invitation.query()
        .where('revoked', false)
        .whereNull('acceptedAt')
        .where('expiresAt', '>', new Date())
        .orderBy('createdAt', 'desc')
        .limit(500)
      return (await (into ? query.where('domainId', into.id) : query)) as Invitation[]
    },

    async revoke(id) {
      core.refuseTransaction('invitations.revoke')
      demandInPerson('Invitations')
      const found = isUuid(id) ? ((await Invitation.query().findById(id)) as Invitation | undefined) : undefined
      if (!found || found.revoked || found.acceptedAt) throw new NotFoundError()
      const { email, role, domainId } = found
      const isMine = found.invitedById === currentActor()?.id
      if (!isMine && !(await grants().canCreate({ userId: newId(), role, domainId } as never))) throw new ForbiddenError()
      await asSystem(() =>
        Invitation.query()
          .patch({ revoked: true } as never)
          .where('id', id)
          .whereNull('acceptedAt'),
      )
      emit('invitationRevoked', { email, role, domainId })
    },

    async members(domain) {
      const { id } = await administered(domain)
      const rows = (await asSystem(() =>
        grants().query().where('domainId', id).withGraphFetched('user').orderBy('createdAt').limit(1000),
      )) as unknown as UserRole[]
      return rows.map(memberOf)
    },

    async changeMember(domain, grantId, role) {
      demandInPerson('Roles')
      const grant = await grantIn(domain, grantId)
      await grant.update({ role: textOf(role, 'role') } as never)
      return await asSystem(async () => memberOf((await grant.$query().withGraphFetched('user')) as UserRole))
    },

    async removeMember(domain, grantId) {
      demandInPerson('Roles')
      await (await grantIn(domain, grantId)).delete()
    },
  }
}

/** The domain, for one who administers it. @throws NotFoundError */
async function administered(domain: string): Promise<Domain> {
  const actor = demandActor()
  const found = await domainOf(textOf(domain, 'domain'))
  const isAdmin = actor.grants.some(
    ({ role, domainId }) => (role === 'admin' || role === 'superadmin') && (domainId === null || domainId === found?.id),
  )
  if (!found || !isAdmin) throw new NotFoundError()
  return found
}

/** A grant in the domain, as the caller may read it: what may be done with it, the model's own policy says. */
async function grantIn(domain: string, grantId: string): Promise<UserRole> {
  const { id } = await administered(domain)
  const found = isUuid(grantId) ? ((await grants().query().findById(grantId)) as unknown as UserRole | undefined) : undefined
  if (!found || found.domainId !== id) throw new NotFoundError()
  return found
}

function memberOf({ id, role, user }: UserRole): Member {
  return { grantId: id, role, user: { id: user?.id ?? '', email: user?.email ?? '' } }
}

function demandActor(): Actor {
  const actor = currentActor()
  if (!actor) throw new UnauthorizedError()
  return actor
}

async function domainOf(name: string): Promise<Domain | null> {
  const where = isUuid(name) ? { id: name.toLowerCase() } : { name }
  return (
    ((await asSystem(() =>
      domains()
        .query()
        .findOne({ ...where, active: true } as never),
    )) as Domain | undefined) ?? null
  )
}

function textOf(value: unknown, field: string): string {
  if (typeof value !== 'string') throw invalid(field, value === undefined ? 'is required' : 'must be a string')
  if (value.trim() === '') throw invalid(field, 'may not be blank')
  return value
}

function invalid(field: string, message: string): ValidationError {
  return new ValidationError(`${field} ${message}.`, [{ field, message }])
}

const dead = () => new InvalidTokenError('The invitation is not valid any more: ask for another.')
const grants = () => registeredModel('userRole') as unknown as typeof UserRole
const domains = () => registeredModel('domain') as unknown as typeof Domain
