import { asSystem, currentActor, currentAddress } from '../policy/context.js'
import { isEmailAddress } from '../schema/email.js'
import type { AuditLog } from '../users/audit-log.js'
import { Background } from './background.js'
import type { AuthEventName } from './events.js'

/** What a stranger can bring about: it says nothing of who did it, unless somebody is signed in. */
const byAnybody: ReadonlySet<string> = new Set<AuthEventName>([
  'signInFailed',
  'locked',
  'tokenReused',
  'registrationFailed',
  'passwordResetRequested',
  'mailFailed',
  'alreadyRegistered',
])

/** Writes events down. What cannot be written breaks nothing: it is told to `onLost`. */
export class AuditTrail {
  readonly #model: typeof AuditLog
  readonly #background = new Background()
  readonly #onLost: (error: unknown) => void

  constructor(model: typeof AuditLog, onLost: (error: unknown) => void) {
    this.#model = model
    this.#onLost = onLost
  }

  record(event: string, payload: object): void {
    const { userId, by, domainId, address, impersonatorId, ...details } = payload as Record<string, unknown>
    const subjectId = textOr(userId)
    const row = {
      createdAt: new Date(),
      event,
      // Signing in and the like is the user's own doing; what the payload says of it comes first.
      actorId: by !== undefined ? textOr(by) : (currentActor()?.id ?? (byAnybody.has(event) ? null : subjectId)),
      impersonatorId: textOr(impersonatorId),
      subjectId,
      domainId: textOr(domainId),
      address: (textOr(address) ?? currentAddress())?.slice(0, 64) ?? null,
      details: Object.keys(details).length > 0 ? shown(details) : null,
    }
    this.#background.run(async () => {
      try {
        await asSystem(() => this.#model.create(row as never))
      } catch (error) {
        this.#onLost(error)
      }
    })
  }

  settled(seconds?: number): Promise<void> {
    return this.#background.settled(seconds)
  }
}

// What was typed where an address is expected may be a password.
function shown({ email, account, ...details }: Record<string, unknown>): Record<string, unknown> {
  return { ...details, ...(isEmailAddress(email) && { email }), ...(isEmailAddress(account) && { account }) }
}

const textOr = (value: unknown): string | null => (typeof value === 'string' ? value : null)
