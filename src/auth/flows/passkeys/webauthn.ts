/** The optional package that checks responses of authenticators. */
import { loadOptionalPackage } from '../../../core/optional-package.js'

/** The functions of `@simplewebauthn/server` that are used. */
interface WebAuthn {
  generateRegistrationOptions(options: object): Promise<PasskeyCreationOptions>
  generateAuthenticationOptions(options: object): Promise<PasskeyRequestOptions>
  verifyRegistrationResponse(options: object): Promise<{ verified: boolean; registrationInfo?: RegistrationInfo }>
  verifyAuthenticationResponse(options: object): Promise<{ verified: boolean; authenticationInfo: AuthenticationInfo }>
}

interface WebAuthnHelpers {
  decodeAttestationObject(bytes: Uint8Array): Map<string, unknown>
  decodeCredentialPublicKey(bytes: Uint8Array): Map<number, unknown>
}

export interface RegistrationInfo {
  readonly aaguid: string
  readonly credential: { readonly id: string; readonly publicKey: Uint8Array; readonly counter: number }
  readonly credentialDeviceType: string
  readonly credentialBackedUp: boolean
}

export interface AuthenticationInfo {
  readonly newCounter: number
  readonly credentialDeviceType: string
  readonly credentialBackedUp: boolean
}

/** Names a credential for a browser. */
interface CredentialDescriptor {
  readonly id: string
  readonly type: string
  readonly transports?: readonly string[] | undefined
}

/** Options for `navigator.credentials.create()` as JSON: read them with `PublicKeyCredential.parseCreationOptionsFromJSON()`. */
export interface PasskeyCreationOptions {
  readonly challenge: string
  readonly rp: { readonly id?: string | undefined; readonly name: string }
  readonly user: { readonly id: string; readonly name: string; readonly displayName: string }
  readonly pubKeyCredParams: readonly { readonly alg: number; readonly type: string }[]
  readonly timeout?: number | undefined
  readonly attestation?: string | undefined
  readonly excludeCredentials?: readonly CredentialDescriptor[] | undefined
  readonly authenticatorSelection?: object | undefined
}

/** Options for `navigator.credentials.get()` as JSON: read them with `PublicKeyCredential.parseRequestOptionsFromJSON()`. */
export interface PasskeyRequestOptions {
  readonly challenge: string
  readonly rpId?: string | undefined
  readonly timeout?: number | undefined
  readonly userVerification?: string | undefined
  readonly allowCredentials?: readonly CredentialDescriptor[] | undefined
}

/** Loads the package. @throws ConfigurationError when it is not installed */
export function webAuthn(): WebAuthn {
  return loadOptionalPackage<WebAuthn>('@simplewebauthn/server', 'perms.auth.passkeys')
}

/** Loads the decoders of the package, after `webAuthn()`. */
export function webAuthnHelpers(): WebAuthnHelpers {
  return loadOptionalPackage<WebAuthnHelpers>('@simplewebauthn/server/helpers', 'perms.auth.passkeys')
}
