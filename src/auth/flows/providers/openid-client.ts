/** Loads openid-client, an optional package. Describes only the parts that are used, so that applications compile without it. */
import { importOptionalPackage } from '../../../core/optional-package.js'
import type { Fetch } from './bounded-fetch.js'
import type { ProviderClaims } from './provider.js'

/** A client of one provider. */
export interface Configuration {
  serverMetadata(): { readonly issuer: string; readonly userinfo_endpoint?: string | undefined }
  timeout?: number | undefined
}

export type ClientAuth = (server: object, client: object, body: URLSearchParams, headers: Headers) => void

export interface TokenResponse {
  readonly access_token: string
  readonly refresh_token?: string | undefined
  readonly id_token?: string | undefined
  readonly scope?: string | undefined
  readonly expires_in?: number | undefined
  claims(): ProviderClaims | undefined
}

export interface OpenIdClient {
  readonly customFetch: symbol
  readonly Configuration: new (server: object, clientId: string, metadata: object, auth: ClientAuth) => Configuration
  readonly discovery: (issuer: URL, clientId: string, metadata: object, auth: ClientAuth, options: object) => Promise<Configuration>
  readonly ClientSecretPost: (secret: string) => ClientAuth
  readonly ClientSecretBasic: (secret: string) => ClientAuth
  readonly None: () => ClientAuth
  readonly enableNonRepudiationChecks: (config: Configuration) => void
  readonly allowInsecureRequests: (config: Configuration) => void
  readonly buildAuthorizationUrl: (config: Configuration, parameters: Record<string, string>) => URL
  readonly calculatePKCECodeChallenge: (verifier: string) => Promise<string>
  readonly authorizationCodeGrant: (config: Configuration, url: URL, checks: object) => Promise<TokenResponse>
  readonly fetchUserInfo: (config: Configuration, accessToken: string, subject: string) => Promise<ProviderClaims>
}

/** @throws ConfigurationError when the package is not installed */
export const loadOpenIdClient = (): Promise<OpenIdClient> =>
  importOptionalPackage<OpenIdClient>('openid-client', 'Sign-in with identity providers')

/** Gives a configuration the function that sends its requests. */
export function setFetch(client: OpenIdClient, configuration: Configuration, fetch: Fetch): void {
  Object.assign(configuration, { [client.customFetch]: fetch })
}
