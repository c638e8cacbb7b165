/** Finds or creates the user whom a provider has proved. */
import { AccountDisabledError, UnauthorizedError, UniqueViolationError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { lockRow } from '../../../database/lock-row.js'
import { transaction } from '../../../database/transaction.js'
import { asSystem } from '../../../policy/context.js'
import { registeredModel } from '../../../policy/registered-models.js'
import { definitionOf } from '../../../schema/definition/definition.js'
import { isActive } from '../../../users/caller/actor.js'
import { Identity } from '../../../users/identity.js'
import type { User } from '../../../users/user.js'
import type { UserRole } from '../../../users/user-role.js'
import { seal } from '../../tokens/secret-box.js'
import { tokens } from '../../tokens/token-updates.js'
import { userClass } from '../credentials.js'
import { proveAddress } from '../first-proof.js'
import { acceptAsNewUser, type PrepareRegistration } from '../invitations/accept.js'
import { notify } from '../mail/notices.js'
import type { PreparedUser } from '../register-proven.js'
import { registerProven } from '../register-proven.js'
import type { ProvedUser } from './connection.js'
import type { ProvidersContext } from './context.js'
import type { IdentityProvider, ProviderProfile } from './provider.js'
import { ProviderRefusal } from './provider-error.js'
import type { SignInDetails } from './sign-in-store.js'

/** A proved user of a provider, and the sign-in that it belongs to. */
export interface Proof {
  /** The name of the provider in the options. */
  readonly name: string
  readonly provider: IdentityProvider
  readonly proved: ProvedUser
  readonly details: SignInDetails
  /** Checks the values of a new user. Null if nobody may sign up here. Undefined for no further checks. */
  readonly prepare: PrepareRegistration | null | undefined
}

/**
 * Returns the active user of a proved identity, after linking or creating it if the rules allow that.
 *
 * @throws ProviderRefusal, AccountDisabledError, UnauthorizedError for a link whose session has ended
 */
export async function resolveUser(context: ProvidersContext, proof: Proof): Promise<User> {
  try {
    return await resolve(context, proof)
  } catch (error) {
    // A concurrent sign-in created the identity or the user: find it now.
    if (error instanceof UniqueViolationError) return await resolve(context, proof)
    throw error
  }
}

async function resolve(context: ProvidersContext, proof: Proof): Promise<User> {
  const { link } = proof.details
  if (link) return await linkToCaller(context, proof, link)
  const { issuer, subject } = proof.proved.profile
  const identity = await asSystem(() => Identity.query().findOne({ issuer, subject }))
  if (!identity) return await admitUnknown(context, proof)
  const user = await asSystem(() => userClass().get(identity.userId))
  if (!user || !isActive(user)) throw new AccountDisabledError()
  await asSystem(() =>
    Identity.query()
      .findById(identity.id)
      .patch(identityValues(context, proof, user.id)),
  )
  return user
}

/** Links the identity to the user who asked for it, while the session that asked is active. */
async function linkToCaller(
  context: ProvidersContext,
  proof: Proof,
  { userId, sessionId }: NonNullable<SignInDetails['link']>,
): Promise<User> {
  const { knex } = context.core
  const { issuer, subject } = proof.proved.profile
  const { user, identity, isNew } = await transaction(
    (trx) =>
      asSystem(async () => {
        await lockRow(trx, registeredModel('user'), userId)
        const user = await userClass().query().findById(userId)
        const session = await tokens().query().findOne({ id: sessionId, userId, revoked: false })
        if (!user || !isActive(user) || !session?.isActive) throw new UnauthorizedError(message('session.ended'))
        const found = await Identity.query().findOne({ issuer, subject })
        if (found && found.userId !== user.id) throw new ProviderRefusal('identity_taken')
        if (found)
          await Identity.query()
            .findById(found.id)
            .patch(identityValues(context, proof, user.id))
        return { user, identity: found ?? (await createIdentity(context, proof, user.id)), isNew: !found }
      }),
    { knex },
  )
  if (isNew) reportLink(context, proof, { user, identity, how: 'user' })
  return user
}

/** Links an unknown identity to the account with its proved address, or creates an account. */
async function admitUnknown(context: ProvidersContext, proof: Proof): Promise<User> {
  const { settings } = context
  const { email, isEmailProven } = proof.proved.profile
  const { invitation } = proof.details
  const isProven = isEmailProven && email !== null && 'email' in definitionOf(userClass()).specs
  if (isProven) {
    const owner = await asSystem(() => userClass().query().findOne({ email }))
    if (owner && !settings.linkByEmail) throw new ProviderRefusal('email_not_verified')
    if (owner) return await linkByEmail(context, proof, owner, email)
  }
  if (invitation !== null) return await signUpInvited(context, proof, invitation)
  // The same answer for known and unknown addresses.
  if (!isProven) throw new ProviderRefusal('email_not_verified')
  return await signUp(context, proof, email)
}

/** Links the identity to the account whose address the provider proved. The first proof ends all earlier access to the account. */
async function linkByEmail(context: ProvidersContext, proof: Proof, owner: User, email: string): Promise<User> {
  const { core, delivery } = context
  if (!isActive(owner)) throw new AccountDisabledError()
  const present = await context.tables()
  const { identity, ended } = await transaction(
    (trx) =>
      asSystem(async () => {
        await lockRow(trx, registeredModel('user'), owner.id)
        const ended = await proveAddress(owner, { email, tables: present })
        return { identity: await createIdentity(context, proof, owner.id), ended }
      }),
    { knex: core.knex },
  )
  if (ended) delivery.reportProof(owner, 'provider', ended)
  reportLink(context, proof, { user: owner, identity, how: 'email' })
  return (await asSystem(() => userClass().get(owner.id))) ?? owner
}

async function signUpInvited(context: ProvidersContext, proof: Proof, token: string): Promise<User> {
  const { core, settings } = context
  if (settings.signUp === false || proof.prepare === null) throw new ProviderRefusal('sign_up_closed')
  let identity: Identity | undefined
  const user = await acceptAsNewUser(core, token, settings.newUser(proof.proved.profile), async (values, known) => {
    const prepared = await prepareUser(proof, values, known.email)
    return {
      ...prepared,
      afterCreate: async (row) => {
        identity = await createIdentity(context, proof, row.id)
        await prepared.afterCreate?.(row)
      },
    }
  })
  if (identity) reportLink(context, proof, { user, identity, how: 'signUp' })
  return user
}

async function signUp(context: ProvidersContext, proof: Proof, email: string): Promise<User> {
  const { core, settings } = context
  if (proof.prepare === null || !isOpenTo(context, email)) throw new ProviderRefusal('sign_up_closed')
  const prepared = await prepareUser(proof, settings.newUser(proof.proved.profile), email)
  let identity: Identity | undefined
  const user = await registerProven(core, email, prepared, {
    after: async (row) => {
      if (settings.role !== undefined) await (registeredModel('userRole') as typeof UserRole).create({ user: row, role: settings.role })
      identity = await createIdentity(context, proof, row.id)
    },
  })
  core.emit('registered', { userId: user.id })
  if (identity) reportLink(context, proof, { user, identity, how: 'signUp' })
  return user
}

function isOpenTo({ settings: { signUp: rule } }: ProvidersContext, email: string): boolean {
  if (rule === 'open') return true
  // Compares whole domains: 'evil-example.com' and 'example.com.evil' are others.
  return typeof rule === 'object' && rule.domains.includes(email.slice(email.lastIndexOf('@') + 1))
}

async function prepareUser({ prepare }: Proof, values: object, email: string): Promise<PreparedUser> {
  return (await prepare?.(values, { email })) ?? { values }
}

function createIdentity(context: ProvidersContext, proof: Proof, userId: string): Promise<Identity> {
  const { issuer, subject } = proof.proved.profile
  return Identity.create({ userId, issuer, subject, ...identityValues(context, proof, userId) })
}

/** Returns the values that each sign-in brings up to date. The tokens are sealed for this user. */
function identityValues({ sealKeys }: ProvidersContext, { name, provider, proved }: Proof, userId: string) {
  const { profile } = proved
  return {
    provider: name,
    label: labelOf(profile),
    lastUsedAt: new Date(),
    tokens: provider.storeTokens ? seal(sealKeys, `tokens ${userId}`, JSON.stringify(proved.tokens)) : null,
  }
}

function labelOf({ email, name, claims }: ProviderProfile): string | null {
  const given = email ?? (typeof claims.preferred_username === 'string' ? claims.preferred_username : name)
  return given === null ? null : given.replace(/[\p{Cc}\p{Cf}\p{Cs}]/gu, '').slice(0, 320)
}

function reportLink(
  { core }: ProvidersContext,
  { name }: Proof,
  { user, identity, how }: { user: User; identity: Identity; how: 'user' | 'email' | 'signUp' },
): void {
  core.emit('identityLinked', { userId: user.id, identityId: identity.id, provider: name, how })
  if (how !== 'signUp') notify(core, user, 'identityLinked', { provider: name })
}
