import { PermsError, UniqueViolationError } from '../../../core/errors.js'
import { newId } from '../../../core/ids.js'
import { asSystem, currentAddress } from '../../../policy/context.js'
import { canonicalEmail } from '../../../schema/email.js'
import { identifierValues } from '../../../users/account/identifiers.js'
import { registeredPasswords } from '../../../users/account/passwords.js'
import { userClass } from '../credentials.js'
import { type RegistrationSteps, readRegistration, registerUser, rehearseRegistration } from '../register.js'
import { originTexts } from './mail-delivery.js'
import { type Found, findByEmail, type MailContext, mailLink, requireMail, runInBackground } from './mail-requests.js'
import type { MailService } from './mail-service.js'
import { deleteDecoy, issueMailToken } from './mail-tokens.js'

/** Registers a user without revealing whether the address is taken. */
export async function registerPrivately(context: MailContext, values: object, steps: RegistrationSteps = {}): Promise<void> {
  const { core, delivery } = context
  const mailService = requireMail(core, 'registerPrivately')
  const cls = userClass()
  const { password, ...rest } = readRegistration(values) as { password?: string; email?: string }
  const attempt = await core.throttle.begin('registration', { address: currentAddress() })
  try {
    // Throws for invalid values. Nothing that depends on the database is reported to the caller.
    const draft = await asSystem(() => cls.build(rest))
    if (password !== undefined) await registeredPasswords().check(password, identifierValues(draft))
    await steps.check?.(rest)
    // Free and taken addresses have the same limit, so that strangers cannot flood an owner with registration mails.
    await delivery.count(draft.email, { address: currentAddress() })
  } catch (error) {
    if (!(error instanceof PermsError) || error.status >= 500) await attempt.withdrawn()
    throw error
  }
  runInBackground(core, () => registerOrNotify(context, mailService, { values, email: canonicalEmail(String(rest.email)), steps }))
}

interface Registration {
  readonly values: object
  readonly email: string
  readonly steps: RegistrationSteps
}

// Runs the same number of statements, hashes and mails for a free and a taken address: the duration of the next request would
// reveal a difference.
async function registerOrNotify(context: MailContext, mailService: MailService, { values, email, steps }: Registration): Promise<void> {
  const { emit, knex } = context.core
  const found = await findByEmail(email)
  if (found.row) {
    await rehearseRegistration(knex, values, found.row)
    await notifyOwner(context, found)
    return
  }
  try {
    const user = await registerUser(knex, values, undefined, steps)
    // Without a client address User writes no registration row: this statement takes the place of that insert.
    if (currentAddress() === undefined) await deleteDecoy(newId())
    emit('registered', { userId: user.id })
    const link = { to: user.email, kind: 'verify-email', mail: 'verifyEmail' } as const
    await mailLink(context, mailService, { user, standIn: user.id }, link)
  } catch (error) {
    const isTaken = error instanceof UniqueViolationError && error.errors.some(({ field }) => field === 'email')
    if (isTaken) await notifyOwner(context, await findByEmail(email))
    else emit('registrationFailed', {})
  }
}

async function notifyOwner({ core, delivery }: MailContext, { user, row, standIn }: Found): Promise<void> {
  if (row === null) return
  core.emit('alreadyRegistered', { userId: row.id })
  await originTexts(row.id)
  await issueMailToken(core, null, standIn, { kind: 'verify-email', boundTo: row.email, expiresIn: 1 })
  await delivery.send('alreadyRegistered', user, row.email)
}
