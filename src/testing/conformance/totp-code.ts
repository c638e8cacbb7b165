import { loadOptionalPackage } from '../../core/optional-package.js'

interface OtpAuth {
  readonly TOTP: new (options: object) => { generate(): string }
  readonly Secret: { fromBase32(text: string): object }
}

/** Returns the current code of an authenticator app. @throws ConfigurationError when otpauth is not installed */
export function totpCode(secret: string): string {
  const { TOTP, Secret } = loadOptionalPackage<OtpAuth>('otpauth', 'The conformance suite')
  return new TOTP({ secret: Secret.fromBase32(secret) }).generate()
}
