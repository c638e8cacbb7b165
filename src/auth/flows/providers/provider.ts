/** Identity providers as data: `initPerms({ providers })`. */

/** The facts that a provider states about a user: the claims of the ID token and of the userinfo endpoint. */
export type ProviderClaims = Readonly<Record<string, unknown>>

/** A user as a provider describes it. */
export interface ProviderProfile {
  /** With `subject`, the key of the identity. */
  readonly issuer: string
  readonly subject: string
  /** The address in canonical form, or null. */
  readonly email: string | null
  /** Whether the provider proved the address and is trusted for it. */
  readonly isEmailProven: boolean
  readonly name: string | null
  readonly claims: ProviderClaims
}

/** The options that all providers share. */
export interface ProviderOptions {
  readonly clientId: string
  /** The name for buttons, such as 'Google'. */
  readonly title?: string | undefined
  /** The requested scopes. */
  readonly scopes?: readonly string[] | undefined
  /** Further parameters of the authorization request, such as `{ prompt: 'select_account' }`. */
  readonly parameters?: Readonly<Record<string, string>> | undefined
  /**
   * Whether a verified address of this provider proves that the user owns the mailbox now: with it, users sign up, and sign in to the
   * account with that address. A function gets the claims.
   *
   * @defaultValue depends on the provider; false for `oidc()` and `microsoft()`
   */
  readonly trustsEmail?: boolean | ((claims: ProviderClaims) => boolean) | undefined
  /**
   * Whether the provider's tokens are stored, encrypted, for `perms.auth.providers.tokens()`.
   *
   * @defaultValue false
   */
  readonly storeTokens?: boolean | undefined
  /**
   * Whether a sign-in counts as recent although the provider does not say when its user signed in there (`auth_time`). Without this,
   * such a session is not recent until it is confirmed: the provider may return at once for anyone who uses the browser.
   *
   * @defaultValue false
   */
  readonly countsAsRecent?: boolean | undefined
}

/** Returns the client secret for a request. */
export type ClientSecret = () => string

/** An OAuth endpoint that answers a GET request with JSON. */
export type FetchJson = (url: string) => Promise<unknown>

/** An identity provider. Create one with `oidc()`, `google()`, `microsoft()`, `apple()`, `github()` or `gitlab()`. */
export interface IdentityProvider {
  readonly title: string
  readonly issuer: string
  readonly clientId: string
  readonly clientSecret: ClientSecret | null
  readonly clientAuth: 'post' | 'basic'
  readonly scopes: readonly string[]
  readonly parameters: Readonly<Record<string, string>>
  /** How the provider returns to the callback. 'form_post' is a POST from the provider's page. */
  readonly responseMode: 'query' | 'form_post'
  readonly storeTokens: boolean
  readonly countsAsRecent: boolean
  readonly trustsEmail: (claims: ProviderClaims) => boolean
  /** Returns whether the provider calls the address verified. */
  readonly isEmailVerified: (claims: ProviderClaims) => boolean
  /** Returns whether the claims belong to an issuer of this provider. Only Microsoft has several. */
  readonly isOwnIssuer?: ((claims: ProviderClaims) => boolean) | undefined
  /** The endpoints of a provider without OpenID Connect. */
  readonly oauth?: OAuthEndpoints | undefined
}

export interface OAuthEndpoints {
  readonly authorizationUrl: string
  readonly tokenUrl: string
  /** Reads the user with an access token. */
  readonly readClaims: (fetchJson: FetchJson) => Promise<ProviderClaims>
}
