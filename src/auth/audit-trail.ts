import { asSystem, currentActor, currentImpersonatorId } from '../perms/context.js'
import type { AuditLog } from '../users/audit-log.js'
import { Background } from './background.js'

/** Writes events down. What cannot be written breaks nothing: it is told to `onLost`. */
export class AuditTrail {
  readonly #model: typeof AuditLog
  readonly #background = new Background()
  readonly #onLost: (error: unknown) => void

  constructor(model: typeof AuditLog, onLost: (error: unknown) => void) {
    this.#model = model
    this.#onLost = onLost
  }

  note(event: string, payload: object): void {
    const { userId, by, domainId, address, impersonatorId, ...details } = payload as Record<string, unknown>
    const subjectId = textOr(userId)
    const row = {
      event,
      // Signing in and the like is the user's own doing; what the payload says of it comes first.
      actorId: by !== undefined ? textOr(by) : (currentActor()?.id ?? subjectId),
      impersonatorId: textOr(impersonatorId) ?? currentImpersonatorId(),
      subjectId,
      domainId: textOr(domainId),
      address: textOr(address)?.slice(0, 64) ?? null,
      details: Object.keys(details).length > 0 ? details : null,
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

const textOr = (value: unknown): string | null => (typeof value === 'string' ? value : null)
