import { loadOptionalPackage } from '../../../core/optional-package.js'

const PERIOD = 30
const WINDOW = 1

interface OtpAuth {
  readonly TOTP: new (options: object) => { toString(): string; validate(options: object): number | null }
  readonly Secret: { new (options: { size: number }): { base32: string }; fromBase32(text: string): object }
}

const otpauth = () => loadOptionalPackage<OtpAuth>('otpauth', 'A second factor')

/** Returns a new shared secret: 160 bits (RFC 4226, 4), in base32. @throws ConfigurationError when otpauth is not installed */
export function newTotpSecret(): string {
  const { Secret } = otpauth()
  return new Secret({ size: 20 }).base32
}

/** Returns the URI that an authenticator app reads from a QR code. */
export function totpUri(secret: string, { issuer, account }: { issuer: string; account: string }): string {
  return totp(secret, { issuer, label: account }).toString()
}

/**
 * Returns the time step of a code: the current one or one step of 30 s before or after (RFC 6238, 5.2). Returns null for a wrong
 * code.
 *
 * @param at milliseconds since the epoch
 */
export function totpStep(secret: string, code: string, at: number): number | null {
  const delta = totp(secret, {}).validate({ token: code, timestamp: at, window: WINDOW })
  return delta === null ? null : Math.floor(at / (PERIOD * 1000)) + delta
}

function totp(secret: string, more: object) {
  const { TOTP, Secret } = otpauth()
  return new TOTP({ ...more, algorithm: 'SHA1', digits: 6, period: PERIOD, secret: Secret.fromBase32(secret) })
}
