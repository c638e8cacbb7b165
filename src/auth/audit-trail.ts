import { asSystem, currentActor, currentAddress } from '../policy/context.js'
import { registeredModel } from '../policy/registered-models.js'
import { isEmailAddress } from '../schema/email.js'
import { isId } from '../schema/ids.js'
import type { AuditLog } from '../users/audit-log.js'
import { Background } from './background.js'
import type { AuthEventName } from './events.js'

/** Events that anonymous callers can cause. Their actor is the signed-in caller, if any, and never the user whom the event is about. */
const anonymousEvents: ReadonlySet<string> = new Set<AuthEventName>([
  'signInFailed',
  'providerSignInFailed',
  'locked',
  'tokenReused',
  'passkeyCounterRegressed',
  'passkeyRefused',
  'registrationFailed',
  'passwordResetRequested',
  'mailFailed',
  'breachCheckFailed',
  'codeFailed',
  'alreadyRegistered',
])

/** Writes events to the audit log. Reports rows that cannot be written to `onLost` and does not throw. */
export class AuditTrail {
  readonly #model: typeof AuditLog
  readonly #background = new Background()
  readonly #onLost: (error: unknown) => void

  constructor(model: typeof AuditLog, onLost: (error: unknown) => void) {
    this.#model = model
    this.#onLost = onLost
  }

  /** The class of the rows. */
  get model(): typeof AuditLog {
    return this.#model
  }

  record(event: string, payload: object): void {
    const { userId, by: cause, domainId, address, impersonatorId, ...rest } = payload as Record<string, unknown>
    // `by` is a user's id, or null for the application. Events such as `locked` name a cause there: it is a detail.
    const by = cause === null || isId(registeredModel('user'), cause) ? cause : undefined
    const details = cause === by ? rest : { by: cause, ...rest }
    const subjectId = idOrNull(userId)
    const row: object = {
      createdAt: new Date(),
      event,
      // A user who signs in is the actor of the event. `by` in the payload takes precedence.
      actorId: by !== undefined ? idOrNull(by) : (currentActor()?.id ?? (anonymousEvents.has(event) ? null : subjectId)),
      impersonatorId: idOrNull(impersonatorId),
      subjectId,
      domainId: idOrNull(domainId),
      address: (stringOrNull(address) ?? currentAddress())?.slice(0, 64) ?? null,
      details: Object.keys(details).length > 0 ? withoutInvalidAddresses(details) : null,
    }
    this.#background.run(async () => {
      try {
        await asSystem(() => this.#model.create(row))
      } catch (error) {
        this.#onLost(error)
      }
    })
  }

  settled(seconds?: number): Promise<void> {
    return this.#background.settled(seconds)
  }
}

// A user may have typed the password into the address field: keep only valid addresses.
function withoutInvalidAddresses({ email, account, ...details }: Record<string, unknown>): Record<string, unknown> {
  return { ...details, ...(isEmailAddress(email) && { email }), ...(isEmailAddress(account) && { account }) }
}

const idOrNull = (value: unknown): string | number | null => (typeof value === 'string' || typeof value === 'number' ? value : null)

const stringOrNull = (value: unknown): string | null => (typeof value === 'string' ? value : null)
