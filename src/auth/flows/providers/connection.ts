/** Talks to one provider: authorization URL, token request, checks of the response. */
import { ServiceUnavailableError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { canonicalEmail, isEmailAddress } from '../../../schema/email.js'
import { isStorableText } from '../../../schema/values.js'
import { MAX_SUBJECT_LENGTH } from '../../../users/identity.js'
import { boundedFetch, type Fetch, ProviderDownError, providerDownIn } from './bounded-fetch.js'
import { type ClientAuth, type Configuration, loadOpenIdClient, type OpenIdClient, setFetch, type TokenResponse } from './openid-client.js'
import { isLoopback } from './presets.js'
import type { IdentityProvider, ProviderClaims, ProviderProfile } from './provider.js'
import { flawOf, ProviderResponseError } from './provider-error.js'

/** The values that tie a response to its request. */
export interface RequestSecrets {
  readonly state: string
  readonly nonce: string
  readonly verifier: string
  /** The greatest age in seconds of the sign-in at the provider. */
  readonly maxAge?: number | null | undefined
}

/** The tokens of a provider, as they are stored. */
export interface ProviderTokens {
  readonly accessToken: string
  readonly refreshToken: string | null
  readonly scope: string | null
  readonly expiresAt: string | null
}

/** The result of a checked response. */
export interface ProvedUser {
  readonly profile: ProviderProfile
  readonly tokens: ProviderTokens
  /** When the user signed in at the provider. Null: unknown. */
  readonly authTime: Date | null
}

/** The longest answer of a provider in bytes. */
const MAX_ANSWER = 256 * 1024
/** How long the metadata of a provider is used, in milliseconds. */
const METADATA_LIFE = 3_600_000
/** The oldest ID token in seconds: it was made for this sign-in, a moment ago. */
const MAX_TOKEN_AGE = 600
const CLOCK_SKEW = 60
/** The age in seconds that asks for `auth_time`, and hardly ever for a new sign-in: a provider must answer max_age with it. */
const ANY_AGE = 31_536_000

// Never 'none', and no algorithm whose key is the client secret.
const algorithms = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519']

/** The connection to one provider. It caches the provider's metadata and keys. */
export class ProviderConnection {
  readonly provider: IdentityProvider
  readonly redirectUri: string
  readonly #fetch: Fetch
  readonly #timeout: number
  #known: { readonly configuration: Promise<Configuration>; readonly until: number } | null = null

  constructor(provider: IdentityProvider, redirectUri: string, { fetch, timeout }: { fetch: Fetch; timeout: number }) {
    this.provider = provider
    this.redirectUri = redirectUri
    this.#timeout = timeout
    this.#fetch = boundedFetch(fetch, { timeout, maxBytes: MAX_ANSWER })
  }

  /** Returns the URL of the provider to which the browser goes. @throws ServiceUnavailableError */
  async authorizationUrl({ state, nonce, verifier, maxAge }: RequestSecrets): Promise<string> {
    const client = await loadOpenIdClient()
    const { provider } = this
    return await this.#reaching(async () => {
      const configuration = await this.#configuration(client)
      const url = client.buildAuthorizationUrl(configuration, {
        ...provider.parameters,
        redirect_uri: this.redirectUri,
        scope: provider.scopes.join(' '),
        state,
        code_challenge: await client.calculatePKCECodeChallenge(verifier),
        code_challenge_method: 'S256',
        ...(provider.oauth ? {} : { nonce, max_age: String(this.#requiredAge(maxAge) ?? ANY_AGE) }),
        ...(provider.responseMode === 'form_post' ? { response_mode: 'form_post' } : {}),
      })
      return url.href
    })
  }

  /**
   * Checks a response of the provider, exchanges its code and reads the user.
   *
   * @param parameters those of the callback
   * @throws ProviderResponseError, ServiceUnavailableError while the provider gives no usable answer
   */
  async prove(parameters: URLSearchParams, { state, nonce, verifier, maxAge }: RequestSecrets): Promise<ProvedUser> {
    const client = await loadOpenIdClient()
    return await this.#reaching(async () => {
      const configuration = await this.#configuration(client)
      const url = new URL(this.redirectUri)
      url.search = parameters.toString()
      const response = await client.authorizationCodeGrant(configuration, url, {
        expectedState: state,
        pkceCodeVerifier: verifier,
        ...(this.provider.oauth ? {} : { expectedNonce: nonce, idTokenExpected: true, maxAge: this.#requiredAge(maxAge) }),
      })
      const claims = this.provider.oauth
        ? await this.provider.oauth.readClaims((from) => this.#fetchJson(from, response.access_token))
        : await this.#idTokenClaims(client, configuration, response)
      return { profile: this.#profileOf(claims), tokens: tokensOf(response), authTime: this.#authTimeOf(response) }
    })
  }

  /** Returns the greatest age of the sign-in at the provider. A browser may change parameters of the URL, so the ID token is checked. */
  #requiredAge(maxAge: number | null | undefined): number | undefined {
    const { max_age: always } = this.provider.parameters
    const ages = [...(always === undefined ? [] : [Number(always)]), ...(typeof maxAge === 'number' ? [maxAge] : [])]
    return ages.length > 0 ? Math.min(...ages) : undefined
  }

  /** Returns when the user signed in at the provider. Only the ID token is signed: other sources do not count. */
  #authTimeOf(response: TokenResponse): Date | null {
    const claimed = this.provider.oauth ? undefined : response.claims()?.auth_time
    if (claimed === undefined) return this.provider.countsAsRecent ? new Date() : null
    return typeof claimed === 'number' ? pastTime(claimed) : null
  }

  async #idTokenClaims(client: OpenIdClient, configuration: Configuration, response: TokenResponse): Promise<ProviderClaims> {
    const claims = response.claims()
    if (!claims) throw new ProviderResponseError('response')
    const { azp, iat, email, sub } = claims
    if (azp !== undefined && azp !== this.provider.clientId) throw new ProviderResponseError('azp')
    const age = typeof iat === 'number' ? Date.now() / 1000 - iat : Number.NaN
    if (!(age <= MAX_TOKEN_AGE && age >= -CLOCK_SKEW)) throw new ProviderResponseError('iat')
    if (this.provider.isOwnIssuer?.(claims) === false) throw new ProviderResponseError('tenant')
    // Many providers put the address into the ID token only on request.
    if (email !== undefined || configuration.serverMetadata().userinfo_endpoint === undefined) return claims
    const further = await client.fetchUserInfo(configuration, response.access_token, String(sub))
    return { ...further, ...claims }
  }

  #profileOf(claims: ProviderClaims): ProviderProfile {
    const { iss, sub, name, email: given } = claims
    const { provider } = this
    const issuer = provider.oauth ? provider.issuer : iss
    if (!isKey(issuer) || !isKey(sub)) throw new ProviderResponseError('sub')
    const canonical = typeof given === 'string' && given.length <= 320 ? canonicalEmail(given) : null
    const email = canonical !== null && isStorableText(canonical) && isEmailAddress(canonical) ? canonical : null
    const isEmailProven = email !== null && provider.isEmailVerified(claims) && provider.trustsEmail(claims)
    return { issuer, subject: sub, email, isEmailProven, name: typeof name === 'string' ? name.slice(0, 255) : null, claims }
  }

  async #fetchJson(url: string, accessToken: string): Promise<unknown> {
    const headers = { authorization: `Bearer ${accessToken}`, accept: 'application/json', 'user-agent': 'objection-perms' }
    const response = await this.#fetch(url, { method: 'GET', headers })
    if (response.status !== 200) throw new ProviderDownError('status')
    return await response.json()
  }

  /** Returns the client of the provider. A failed discovery is not cached. */
  async #configuration(client: OpenIdClient): Promise<Configuration> {
    if (this.#known && this.#known.until > Date.now()) return await this.#known.configuration
    const configuration = this.#discover(client)
    const known = { configuration, until: Date.now() + METADATA_LIFE }
    this.#known = known
    configuration.catch(() => {
      if (this.#known === known) this.#known = null
    })
    return await configuration
  }

  async #discover(client: OpenIdClient): Promise<Configuration> {
    const { issuer, clientId, oauth } = this.provider
    const auth = this.#clientAuth(client)
    if (oauth) {
      const server = { issuer, authorization_endpoint: oauth.authorizationUrl, token_endpoint: oauth.tokenUrl }
      const configuration = new client.Configuration(server, clientId, {}, auth)
      setFetch(client, configuration, this.#fetch)
      return configuration
    }
    const execute = [client.enableNonRepudiationChecks, ...(isLoopback(new URL(issuer)) ? [client.allowInsecureRequests] : [])]
    const options = { execute, timeout: this.#timeout, [client.customFetch]: this.#fetch }
    try {
      return await client.discovery(new URL(issuer), clientId, { id_token_signed_response_alg: algorithms }, auth, options)
    } catch (error) {
      throw providerDownIn(error) ?? new ProviderDownError('metadata', error)
    }
  }

  #clientAuth(client: OpenIdClient): ClientAuth {
    const { clientSecret, clientAuth } = this.provider
    if (clientSecret === null) return client.None()
    const create = clientAuth === 'post' ? client.ClientSecretPost : client.ClientSecretBasic
    // Each request gets a new secret: Apple's are signed, and expire.
    return (...args) => create(clientSecret())(...args)
  }

  /** Runs work with the provider. @throws ServiceUnavailableError, ProviderResponseError */
  async #reaching<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      if (error instanceof ProviderResponseError) throw error
      const down = providerDownIn(error)
      if (down)
        throw new ServiceUnavailableError(message('provider.down', { provider: this.provider.title }), { cause: down, retryAfter: 30 })
      throw new ProviderResponseError(flawOf(error), error)
    }
  }
}

/** Returns the time of a number of seconds, at most the current time. Null for a time in the future, such as one in milliseconds. */
function pastTime(seconds: number): Date | null {
  const now = Date.now()
  return seconds > 0 && seconds * 1000 <= now + CLOCK_SKEW * 1000 ? new Date(Math.min(seconds * 1000, now)) : null
}

const isKey = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.length <= MAX_SUBJECT_LENGTH && isStorableText(value)

function tokensOf({ access_token, refresh_token, scope, expires_in }: TokenResponse): ProviderTokens {
  const expiresAt = expires_in === undefined ? null : new Date(Date.now() + expires_in * 1000).toISOString()
  return { accessToken: access_token, refreshToken: refresh_token ?? null, scope: scope ?? null, expiresAt }
}
