import { createHmac, timingSafeEqual } from 'node:crypto'
import { ConfigurationError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { transaction } from '../../../database/transaction.js'
import { asSystem, currentAddress } from '../../../policy/context.js'
import { decodeId } from '../../../schema/ids.js'
import { storedHash } from '../../../users/account/stored-password.js'
import { requireRankOver } from '../../../users/caller/account-rank.js'
import { type UserRow, userIdOf } from '../../../users/caller/actor.js'
import { forbidApiKey } from '../../../users/caller/caller-restrictions.js'
import { hashToken, randomToken } from '../../../users/token.js'
import { TrustedDevice } from '../../../users/trusted-device.js'
import type { User } from '../../../users/user.js'
import type { AuthCore } from '../../core.js'
import { deriveKeys } from '../../tokens/derived-keys.js'
import type { KeySet } from '../../tokens/key-set.js'

/** Options of trusted devices: `initPerms({ secondFactor: { trustedDevices } })`. */
export interface TrustedDeviceOptions {
  /** Seconds after which a device has to show the second factor again, at most a year. Use does not extend it. */
  readonly lifetime: number
}

/** A device that a user trusts, without its token. */
export interface TrustedDeviceInfo {
  readonly id: string
  /** The device given at the sign-in that made it trusted. */
  readonly description: string | null
  readonly address: string | null
  readonly createdAt: Date
  /** The last sign-in that needed no second factor. */
  readonly lastUsedAt: Date | null
  readonly expiresAt: Date
}

/** The choices of a sign-in that is completed with a second factor. */
export interface FactorChoice {
  /** A description for the list of sessions. */
  readonly device?: string | undefined
  /** Whether the result has a token with which this device skips the second factor later. */
  readonly trustDevice?: boolean | undefined
}

/** A new trusted device. */
export interface DeviceTrust {
  /** The token for the device. It is not stored. */
  readonly deviceToken: string
  /** Seconds until the token expires. */
  readonly deviceExpiresIn: number
}

/**
 * The devices on which a user need not show the second factor again: `perms.auth.devices`. The token of a device replaces only the
 * second factor, for one user, after the correct password.
 */
export interface TrustedDevices {
  /** Whether devices can become trusted: `initPerms({ secondFactor: { trustedDevices: { lifetime } } })`. */
  readonly isReady: boolean
  /** Returns the trusted devices of a user, the newest first. It does not check who the caller is. */
  list(user: UserRow): Promise<TrustedDeviceInfo[]>
  /**
   * Ends the trust in one device. It does not check who the caller is, apart from the rank.
   *
   * @returns false when the user has no such device
   * @throws ForbiddenError with an API key, and when the caller's rank is not higher than another user's
   */
  revoke(user: UserRow, deviceId: string): Promise<boolean>
  /** Ends the trust in all devices of a user. @returns the number of devices @throws like revoke() */
  revokeAll(user: UserRow): Promise<number>
}

const PREFIX = 'td_'
const FORM = /^td_[\w-]{43}$/
const YEAR = 31_536_000

/** Creates and recognises trusted devices for the sign-in flows. */
export class DeviceRegistry {
  /** In seconds; undefined: no device can become trusted. */
  readonly lifetime: number | undefined
  readonly #keys: readonly Buffer[]

  /** @throws ConfigurationError for a lifetime that is not a whole number of seconds from 1 to a year */
  constructor(keys: KeySet, options: TrustedDeviceOptions | undefined) {
    this.lifetime = options?.lifetime
    this.#keys = deriveKeys(keys, 'trusted device')
    if (options === undefined) return
    const { lifetime } = options
    if (!Number.isInteger(lifetime) || lifetime < 1 || lifetime > YEAR)
      throw new ConfigurationError(
        `initPerms({ secondFactor: { trustedDevices: { lifetime: ${lifetime} } } }): must be a whole number of seconds from 1 to ${YEAR}, such as 2_592_000 for 30 days.`,
      )
  }

  /** Throws unless devices can become trusted. @throws ConfigurationError */
  requireReady(): void {
    if (this.lifetime !== undefined) return
    throw new ConfigurationError(
      'Devices cannot become trusted: set initPerms({ secondFactor: { trustedDevices: { lifetime: 2_592_000 } } }), in seconds.',
    )
  }

  /**
   * Makes a device trusted, in the transaction that has just verified the second factor and holds the user's row.
   *
   * @returns null for a user without a password: the token would replace nothing
   */
  async trust(user: User, description: string | undefined): Promise<DeviceTrust | null> {
    this.requireReady()
    const { passwordHash } = user
    const { lifetime = 0 } = this
    if (!passwordHash) return null
    const deviceToken = PREFIX + randomToken()
    const values = {
      userId: user.id,
      token: hashToken(deviceToken),
      passwordMark: this.#marks(user.id, passwordHash)[0] as string,
      description: description?.slice(0, 255) ?? null,
      address: currentAddress()?.slice(0, 64) ?? null,
      expiresAt: new Date(Date.now() + lifetime * 1000),
    }
    await asSystem(() => TrustedDevice.create(values))
    return { deviceToken, deviceExpiresIn: lifetime }
  }

  /** Returns whether a text may be the token of a device. Other texts are ignored without a query. */
  mayBeToken(token: unknown): token is string {
    return this.lifetime !== undefined && typeof token === 'string' && FORM.test(token)
  }

  /**
   * Returns whether a token belongs to a trusted device of this user, and records its use. Call it after the password was verified, in
   * the transaction that holds the user's row. A token of another user costs the same look-up.
   *
   * @param nextHash the hash that replaces the verified one, which is of the same password
   */
  async recognise(user: User, token: string, nextHash: string | null): Promise<boolean> {
    const { passwordHash } = user
    if (!passwordHash) return false
    return await asSystem(async () => {
      const found = await TrustedDevice.query().findOne({ token: hashToken(token), userId: user.id })
      const now = new Date()
      if (!found || !this.#isOf(found, passwordHash) || found.expiresAt.getTime() <= now.getTime()) return false
      const changes = { lastUsedAt: now, passwordMark: this.#marks(user.id, nextHash ?? passwordHash)[0] as string }
      // Another request may revoke the device at the same moment.
      return (await TrustedDevice.query().patch(changes).where('id', found.id)) > 0
    })
  }

  /** Returns the trusted devices of a user. */
  async list(user: User): Promise<TrustedDeviceInfo[]> {
    const passwordHash = await storedHash(user)
    const rows = await asSystem(() =>
      TrustedDevice.query().where('userId', user.id).where('expiresAt', '>', new Date()).orderBy('createdAt', 'desc'),
    )
    return rows
      .filter((row) => passwordHash !== null && this.#isOf(row, passwordHash))
      .map(({ id, description, address, createdAt, lastUsedAt, expiresAt }) => ({
        id: String(id),
        description,
        address,
        createdAt,
        lastUsedAt,
        expiresAt,
      }))
  }

  /** Returns whether the user has the password with which the device became trusted. */
  #isOf({ userId, passwordMark }: TrustedDevice, passwordHash: string): boolean {
    const stored = Buffer.from(passwordMark)
    return this.#marks(userId, passwordHash)
      .map((mark) => mark.length === passwordMark.length && timingSafeEqual(Buffer.from(mark), stored))
      .includes(true)
  }

  #marks(userId: string, passwordHash: string): string[] {
    return this.#keys.map((key) => createHmac('sha256', key).update(`${userId}\n${passwordHash}`).digest('hex'))
  }
}

/** Returns `perms.auth.devices`. */
export function trustedDevices(core: AuthCore): TrustedDevices {
  const { devices, emit, knex } = core
  const prepare = async (name: string, user: UserRow) => {
    core.assertNoTransaction(`devices.${name}`)
    forbidApiKey(message('subject.trustedDevices'))
    const userId = userIdOf(user)
    await requireRankOver(userId)
    return userId
  }
  const hasTable = async () => (await core.tables()).trustedDevices

  return {
    isReady: devices.lifetime !== undefined,

    async list(user: User) {
      return (await hasTable()) ? await devices.list(user) : []
    },

    async revoke(user, deviceId) {
      const userId = await prepare('revoke', user)
      const id = decodeId(TrustedDevice, deviceId)
      if (id === undefined || !(await hasTable())) return false
      const remove = () =>
        asSystem(() =>
          TrustedDevice.query()
            .delete()
            .where({ id: id as string, userId }),
        )
      if ((await transaction(remove, { knex })) === 0) return false
      emit('deviceRevoked', { userId, deviceIds: [String(id)] })
      return true
    },

    async revokeAll(user) {
      const userId = await prepare('revokeAll', user)
      if (!(await hasTable())) return 0
      const count = await transaction(() => asSystem(() => TrustedDevice.query().delete().where('userId', userId)), { knex })
      if (count > 0) emit('deviceRevoked', { userId, deviceIds: 'all' })
      return count
    },
  }
}
