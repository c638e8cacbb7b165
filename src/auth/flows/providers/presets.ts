import { createPrivateKey, sign } from 'node:crypto'
import { ConfigurationError } from '../../../core/errors.js'
import { assertKnownOptions, type OptionNames } from '../../../core/known-options.js'
import { MAX_SUBJECT_LENGTH } from '../../../users/identity.js'
import { gitHubClaims } from './github-claims.js'
import type { ClientSecret, IdentityProvider, ProviderClaims, ProviderOptions } from './provider.js'

export interface OidcProviderOptions extends ProviderOptions {
  /** The URL of the issuer, exactly as its metadata and ID tokens name it. */
  readonly issuer: string
  /** Leave it out for a public client. */
  readonly clientSecret?: string | undefined
  /** How the client sends its secret. @defaultValue 'basic' */
  readonly clientAuth?: 'post' | 'basic' | undefined
  /** @defaultValue 'query' */
  readonly responseMode?: 'query' | 'form_post' | undefined
}

export interface ConfidentialProviderOptions extends ProviderOptions {
  readonly clientSecret: string
}

export interface MicrosoftOptions extends ConfidentialProviderOptions {
  /**
   * The id of one tenant, or 'common', 'organizations' or 'consumers'.
   *
   * @defaultValue 'common'
   */
  readonly tenant?: string | undefined
  /** The ids of the tenants whose users may sign in. @defaultValue all that `tenant` lets in */
  readonly tenants?: readonly string[] | undefined
}

export interface AppleOptions extends ProviderOptions {
  readonly teamId: string
  readonly keyId: string
  /** The content of the .p8 file. */
  readonly privateKey: string
}

export interface GitLabOptions extends ConfidentialProviderOptions {
  /** The URL of a GitLab server. @defaultValue 'https://gitlab.com' */
  readonly issuer?: string | undefined
}

const shared: OptionNames<ProviderOptions> = {
  clientId: true,
  title: true,
  scopes: true,
  parameters: true,
  trustsEmail: true,
  storeTokens: true,
  countsAsRecent: true,
}

const confidential: OptionNames<ConfidentialProviderOptions> = { ...shared, clientSecret: true }

const oidcNames: OptionNames<OidcProviderOptions> = {
  ...confidential,
  issuer: true,
  clientAuth: true,
  responseMode: true,
}

const microsoftNames: OptionNames<MicrosoftOptions> = { ...confidential, tenant: true, tenants: true }
const appleNames: OptionNames<AppleOptions> = { ...shared, teamId: true, keyId: true, privateKey: true }
const gitlabNames: OptionNames<GitLabOptions> = { ...confidential, issuer: true }

const isVerified = (claims: ProviderClaims): boolean => claims.email_verified === true

/**
 * Any provider with OpenID Connect discovery.
 *
 * @throws ConfigurationError for an issuer without https (except on this machine), and for missing options
 * @example const company = oidc({ issuer: 'https://login.example.com', clientId: 'shop', clientSecret: 'the secret' })
 */
export function oidc(options: OidcProviderOptions): IdentityProvider {
  assertKnownOptions(options, oidcNames, 'oidc')
  const { issuer, clientSecret, clientAuth = 'basic', responseMode = 'query' } = options
  assertIssuer(issuer)
  if (clientSecret !== undefined) assertText('oidc', 'clientSecret', clientSecret)
  return build('oidc', options, {
    ...{ title: new URL(issuer).hostname, issuer, clientAuth, responseMode },
    clientSecret: clientSecret === undefined ? null : () => clientSecret,
    scopes: ['openid', 'email', 'profile'],
    trustsEmail: false,
    isEmailVerified: isVerified,
  })
}

/**
 * Google. It is trusted for addresses that it hosts: those of Gmail and of Google Workspace.
 *
 * @example const provider = google({ clientId: '123.apps.googleusercontent.com', clientSecret: 'the secret' })
 */
export function google(options: ConfidentialProviderOptions): IdentityProvider {
  assertKnownOptions(options, confidential, 'google')
  return build('google', options, {
    ...{ title: 'Google', issuer: 'https://accounts.google.com', clientAuth: 'post', responseMode: 'query' },
    clientSecret: secretOf('google', options),
    scopes: ['openid', 'email', 'profile'],
    // Other addresses were verified when the account was created, and may belong to another person by now.
    trustsEmail: ({ email, hd }) =>
      typeof email === 'string' && (/@(?:gmail|googlemail)\.com$/i.test(email) || (typeof hd === 'string' && hd !== '')),
    isEmailVerified: isVerified,
  })
}

const tenantId = /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i

/**
 * Microsoft Entra ID and personal accounts. Administrators of any tenant set addresses as they like, so no address is trusted by
 * default. For a tenant of your own, set `tenant` to its id and `trustsEmail: true`.
 *
 * @example const provider = microsoft({ clientId: 'the id', clientSecret: 'the secret', tenant: 'organizations' })
 */
export function microsoft(options: MicrosoftOptions): IdentityProvider {
  assertKnownOptions(options, microsoftNames, 'microsoft')
  const { tenant = 'common', tenants } = options
  if (!tenantId.test(tenant) && !['common', 'organizations', 'consumers'].includes(tenant))
    throw new ConfigurationError(`microsoft({ tenant: '${tenant}' }): use the id of a tenant, 'common', 'organizations' or 'consumers'.`)
  return build('microsoft', options, {
    ...{ title: 'Microsoft', clientAuth: 'post', responseMode: 'query' },
    issuer: `https://login.microsoftonline.com/${tenant}/v2.0`,
    clientSecret: secretOf('microsoft', options),
    scopes: ['openid', 'email', 'profile'],
    trustsEmail: false,
    // Its tokens do not say whether an address is verified: trustsEmail decides.
    isEmailVerified: () => true,
    isOwnIssuer: ({ tid, iss }) =>
      typeof tid === 'string' &&
      tenantId.test(tid) &&
      iss === `https://login.microsoftonline.com/${tid}/v2.0` &&
      (!tenantId.test(tenant) || tid === tenant.toLowerCase()) &&
      (tenants === undefined || tenants.includes(tid)),
  })
}

/**
 * Sign in with Apple. Apple posts its response from its own page, and proves the addresses that it returns.
 *
 * @example const provider = apple({ clientId: 'com.example.web', teamId: 'TEAM', keyId: 'KEY', privateKey: 'content of the .p8 file' })
 */
export function apple(options: AppleOptions): IdentityProvider {
  assertKnownOptions(options, appleNames, 'apple')
  return build('apple', options, {
    ...{ title: 'Apple', issuer: 'https://appleid.apple.com', clientAuth: 'post', responseMode: 'form_post' },
    clientSecret: appleSecret(options),
    scopes: ['openid', 'email', 'name'],
    trustsEmail: true,
    isEmailVerified: ({ email_verified }) => email_verified === true || email_verified === 'true',
  })
}

/**
 * GitHub. It has no OpenID Connect: the user and the addresses come from its API. Only a verified primary address is used.
 *
 * @example const provider = github({ clientId: 'the id', clientSecret: 'the secret' })
 */
export function github(options: ConfidentialProviderOptions): IdentityProvider {
  assertKnownOptions(options, confidential, 'github')
  return build('github', options, {
    ...{ title: 'GitHub', issuer: 'https://github.com/login/oauth', clientAuth: 'post', responseMode: 'query' },
    clientSecret: secretOf('github', options),
    scopes: ['read:user', 'user:email'],
    trustsEmail: true,
    isEmailVerified: isVerified,
    oauth: {
      authorizationUrl: 'https://github.com/login/oauth/authorize',
      tokenUrl: 'https://github.com/login/oauth/access_token',
      readClaims: gitHubClaims,
    },
  })
}

/**
 * GitLab. Addresses of gitlab.com are trusted, those of other servers are not unless `trustsEmail` says so.
 *
 * @example const provider = gitlab({ clientId: 'the id', clientSecret: 'the secret' })
 */
export function gitlab(options: GitLabOptions): IdentityProvider {
  assertKnownOptions(options, gitlabNames, 'gitlab')
  const { issuer = 'https://gitlab.com' } = options
  assertIssuer(issuer)
  return build('gitlab', options, {
    ...{ title: 'GitLab', issuer, clientAuth: 'post', responseMode: 'query' },
    clientSecret: secretOf('gitlab', options),
    scopes: ['openid', 'email', 'profile'],
    trustsEmail: issuer === 'https://gitlab.com',
    isEmailVerified: isVerified,
  })
}

interface Defaults extends Omit<IdentityProvider, 'clientId' | 'parameters' | 'storeTokens' | 'countsAsRecent' | 'trustsEmail'> {
  readonly trustsEmail: NonNullable<ProviderOptions['trustsEmail']>
}

function build(name: string, options: ProviderOptions, { trustsEmail: byDefault, ...defaults }: Defaults): IdentityProvider {
  const {
    clientId,
    title = defaults.title,
    scopes = defaults.scopes,
    parameters = {},
    trustsEmail = byDefault,
    storeTokens = false,
    countsAsRecent = false,
  } = options
  assertText(name, 'clientId', clientId)
  const { max_age: age } = parameters
  if (age !== undefined && (defaults.oauth || !/^\d{1,9}$/.test(age)))
    throw new ConfigurationError(
      defaults.oauth
        ? `${name}({ parameters: { max_age } }): this provider has no OpenID Connect and does not say when its users signed in. Leave max_age out.`
        : `${name}({ parameters: { max_age: '${age}' } }): write seconds as digits, such as '300'.`,
    )
  const trusts = typeof trustsEmail === 'function' ? trustsEmail : () => trustsEmail
  // Only true counts: a function without a return value trusts nothing.
  return Object.freeze({
    ...defaults,
    title,
    clientId,
    scopes,
    parameters,
    storeTokens,
    countsAsRecent,
    trustsEmail: (claims: ProviderClaims) => trusts(claims) === true,
  })
}

function secretOf(name: string, { clientSecret }: ConfidentialProviderOptions): ClientSecret {
  assertText(name, 'clientSecret', clientSecret)
  return () => clientSecret
}

function assertText(name: string, option: string, value: unknown): void {
  if (typeof value !== 'string' || value.trim() === '')
    throw new ConfigurationError(`${name}({ ${option} }): is missing. Copy it from the provider's console into an environment variable.`)
}

/** Returns whether a URL names this machine. */
export function isLoopback({ hostname }: URL): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || /^127(?:\.\d{1,3}){3}$/.test(hostname)
}

function assertIssuer(issuer: string): void {
  const url = typeof issuer === 'string' && URL.canParse(issuer) ? new URL(issuer) : null
  const isSafe = url !== null && (url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url)))
  if (isSafe && url.search === '' && url.hash === '' && issuer.length <= MAX_SUBJECT_LENGTH) return
  throw new ConfigurationError(`oidc({ issuer: '${String(issuer).slice(0, 100)}' }): use the https:// URL of the issuer, without a query.`)
}

/** Returns a function that signs client secrets, each valid for five minutes (ES256, as Apple requires). */
function appleSecret({ clientId, teamId, keyId, privateKey }: AppleOptions): ClientSecret {
  for (const [option, value] of Object.entries({ teamId, keyId, privateKey })) assertText('apple', option, value)
  let key: ReturnType<typeof createPrivateKey>
  try {
    key = createPrivateKey(privateKey)
  } catch (cause) {
    throw new ConfigurationError('apple({ privateKey }): is not a private key. Use the content of the .p8 file.', { cause })
  }
  return () => {
    const now = Math.floor(Date.now() / 1000)
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const claims = { iss: teamId, iat: now, exp: now + 300, aud: 'https://appleid.apple.com', sub: clientId }
    const input = `${part({ alg: 'ES256', kid: keyId })}.${part(claims)}`
    return `${input}.${sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
  }
}
