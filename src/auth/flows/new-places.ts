/** Tells users of sign-ins from networks and programs that they have not used before. */
import { createHmac } from 'node:crypto'
import { type Message, message } from '../../core/messages/message.js'
import { asSystem, currentAddress, currentUserAgent } from '../../policy/context.js'
import { skipCallerChange } from '../../users/caller/caller-changes.js'
import { PLACE } from '../../users/token.js'
import type { User } from '../../users/user.js'
import type { AuthCore } from '../core.js'
import { clientNetwork } from '../throttle/client-network.js'
import { tokens } from '../tokens/token-updates.js'
import { mailDelivery } from './mail/mail-delivery.js'
import { formatDateTime, networkAddress } from './mail/mail-text.js'

/** Places that are kept for one user: the ones used last. */
const MAX_PLACES = 20
/** Days after its last use for which a place is known. */
const KNOWN_FOR = 180
const DAY = 86_400_000

/** Where a user signs in: a network and a kind of program. */
interface Place {
  readonly network: string | undefined
  readonly device: string
}

/** Notes the place of a sign-in, and tells the user of a new one. It works after the response, and never fails the sign-in. */
export class NewPlaces {
  /** @param key a server key, so that nobody who reads the database can test networks */
  constructor(private readonly key: Uint8Array) {}

  /** @param sessionId the session of the sign-in, for the event */
  note(core: AuthCore, user: User, sessionId: string): void {
    const address = networkAddress(currentAddress())
    const place = { network: address && clientNetwork(address), device: deviceOf(currentUserAgent()) }
    // A sign-in by code has no place.
    if (place.network === undefined && place.device === '') return
    core.background.run(async () => {
      try {
        if (await asSystem(() => this.#isNew(user.id, place))) tell(core, user, place, sessionId)
      } catch {
        core.emit('newPlaceCheckFailed', { userId: user.id, sessionId })
      }
    })
  }

  /** One statement for a known place. The first place of a user is not new. */
  async #isNew(userId: string, { network, device }: Place): Promise<boolean> {
    const text = JSON.stringify([String(userId), network ?? null, device])
    const token = createHmac('sha256', this.key).update(text).digest('hex')
    const now = new Date()
    const use = { lastUsedAt: now, expiresAt: new Date(now.getTime() + KNOWN_FOR * DAY) }
    const seen = await skipCallerChange(tokens().query()).patch(use).where({ token, kind: PLACE, userId }).where('expiresAt', '>', now)
    if (seen > 0) return false
    await skipCallerChange(tokens().query()).delete().where({ token, kind: PLACE })
    const known = await tokens()
      .query()
      .select('id')
      .where({ userId, kind: PLACE })
      .where('expiresAt', '>', now)
      .orderBy([
        { column: 'lastUsedAt', order: 'desc' },
        { column: 'id', order: 'desc' },
      ])
    // Of two sign-ins from one place at once, the unique hash lets one through.
    await tokens().create({ userId, kind: PLACE, token, revoked: true, ...use })
    const over = known.slice(MAX_PLACES - 1).map(({ id }) => id)
    if (over.length > 0) await skipCallerChange(tokens().query()).delete().whereIn('id', over)
    return known.length > 0
  }
}

function tell(core: AuthCore, user: User, { network, device }: Place, sessionId: string): void {
  core.emit('signInFromNewPlace', { userId: user.id, sessionId, network, device, address: currentAddress() })
  const { email } = user
  if (typeof email !== 'string' || email === '') return
  const details = { at: formatDateTime(new Date()), device: deviceText(device), ...(network !== undefined && { network }) }
  core.background.run(() => mailDelivery(core).notify('newPlace', user, email, details))
}

/** Longer headers are cut: browsers send less than 300 characters. */
const MAX_USER_AGENT = 512

// The first match decides: browsers name the ones that they descend from too.
const browsers = [
  ['Edg', 'Edge'],
  ['OPR/', 'Opera'],
  ['SamsungBrowser/', 'Samsung Internet'],
  ['Firefox/', 'Firefox'],
  ['FxiOS/', 'Firefox'],
  ['CriOS/', 'Chrome'],
  ['Chrome/', 'Chrome'],
  ['Safari/', 'Safari'],
] as const
const systems = [
  ['iPhone', 'iOS'],
  ['iPad', 'iOS'],
  ['Android', 'Android'],
  ['Windows', 'Windows'],
  ['Macintosh', 'macOS'],
  ['CrOS', 'ChromeOS'],
  ['Linux', 'Linux'],
] as const

/** Returns the family of a program without its version, such as 'Firefox, Windows'; '' for one that is not known. */
export function deviceOf(userAgent: string | undefined): string {
  const text = (userAgent ?? '').slice(0, MAX_USER_AGENT)
  const named = (list: readonly (readonly [string, string])[]) => list.find(([part]) => text.includes(part))?.[1]
  return [named(browsers), named(systems)].filter((one) => one !== undefined).join(', ')
}

function deviceText(device: string): string | Message {
  return device === '' ? message('device.unknown') : device
}
