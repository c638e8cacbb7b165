import { ConfigurationError } from '../../../core/errors.js'
import type { Fetch } from './bounded-fetch.js'
import { isLoopback } from './presets.js'
import type { IdentityProvider, ProviderProfile } from './provider.js'

/** Who may create an account by signing in with a provider: anyone, people of some e-mail domains, or invited people only. */
export type SignUpRule = 'open' | 'invitation' | { readonly domains: readonly string[] } | false

/** Options of sign-in with identity providers: `initPerms({ providerSignIn })`. */
export interface ProviderSignInOptions {
  /**
   * The public URL of the UserResource, such as 'https://app.example.com/api/users'. The callback URL of a provider is below it:
   * `<usersUrl>/providers/<name>/callback/`. Never read from a request.
   */
  readonly usersUrl: string
  /**
   * The places to which users may return: paths of the server such as '/', URLs of pages, and URLs of native apps such as
   * 'com.example.app:/signed-in'. Compared as exact texts. The first one is the default.
   *
   * @defaultValue ['/']
   */
  readonly redirects?: readonly string[] | undefined
  /**
   * Who may sign up. Everyone needs an address that the provider proves and is trusted for. An invitation proves its address itself.
   *
   * @defaultValue false
   */
  readonly signUp?: SignUpRule | undefined
  /** The role of new users, as in `register(values, { role })`. @defaultValue none */
  readonly role?: string | undefined
  /**
   * Returns further values of a new user, such as the name. They pass the checks of a registration. If the user model has other required
   * columns, it is also called at the start, with an example profile without claims, to find columns that stay empty.
   */
  readonly newUser?: ((profile: ProviderProfile) => object) | undefined
  /**
   * Whether a user with a proved address signs in to the account with that address, which links the provider's account.
   *
   * @defaultValue true
   */
  readonly linkByEmail?: boolean | undefined
  /** Seconds for each request to a provider. @defaultValue 10 */
  readonly timeout?: number | undefined
  /** Sends the requests to providers, for a proxy. @defaultValue the global fetch */
  readonly fetch?: Fetch | undefined
}

/** The checked options. */
export interface ProviderSettings {
  readonly usersUrl: string
  readonly redirects: readonly string[]
  readonly signUp: SignUpRule
  readonly role: string | undefined
  readonly newUser: (profile: ProviderProfile) => object
  readonly linkByEmail: boolean
  readonly timeout: number
  readonly fetch: Fetch
  readonly providers: ReadonlyMap<string, IdentityProvider>
}

const NAME = /^[a-z][a-z\d-]{0,63}$/
const MAX_REDIRECT = 500

/**
 * Checks the options of providers.
 *
 * @returns undefined without providers
 * @throws ConfigurationError
 */
export function providerSettings(
  providers: Readonly<Record<string, IdentityProvider>> | undefined,
  options: ProviderSignInOptions | undefined,
): ProviderSettings | undefined {
  if (providers === undefined && options === undefined) return undefined
  if (providers === undefined)
    throw new ConfigurationError(
      'initPerms({ providerSignIn }) needs providers: initPerms({ providers: { github: github({ clientId, clientSecret }) } }).',
    )
  if (options === undefined)
    throw new ConfigurationError(
      "initPerms({ providers }) needs providerSignIn: { usersUrl: 'https://app.example.com/api/users' }, the public URL of your UserResource.",
    )
  for (const [name, provider] of Object.entries(providers)) {
    if (!NAME.test(name))
      throw new ConfigurationError(
        `initPerms({ providers: { '${name}' } }): use lower-case letters, digits and '-', at most 64 characters.`,
      )
    if (typeof provider?.issuer !== 'string')
      throw new ConfigurationError(
        `initPerms({ providers: { ${name} } }): create it with oidc(), google(), github() or another such function.`,
      )
  }
  const { redirects = ['/'], signUp = false, role, newUser = () => ({}), linkByEmail = true, timeout = 10, fetch } = options
  if (!(timeout > 0 && timeout <= 60)) throw new ConfigurationError(`providerSignIn.timeout: ${timeout} must be seconds up to 60.`)
  return {
    ...{ redirects: checkedRedirects(redirects), signUp: checkedRule(signUp), role, newUser, linkByEmail, timeout },
    usersUrl: checkedUsersUrl(options.usersUrl),
    fetch: fetch ?? ((url, init) => globalThis.fetch(url, init as RequestInit)),
    providers: new Map(Object.entries(providers)),
  }
}

function checkedUsersUrl(given: string): string {
  const url = typeof given === 'string' && URL.canParse(given) ? new URL(given) : null
  const isSafe = url !== null && (url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url)))
  if (!isSafe || url.search !== '' || url.hash !== '' || url.username !== '')
    throw new ConfigurationError(
      `providerSignIn.usersUrl: '${String(given)}' must be the https:// URL of your UserResource, such as 'https://app.example.com/api/users'.`,
    )
  return url.href.replace(/\/$/, '')
}

function checkedRedirects(given: readonly string[]): readonly string[] {
  if (!Array.isArray(given) || given.length === 0)
    throw new ConfigurationError("providerSignIn.redirects: name at least one, such as ['/'].")
  for (const one of given) {
    if (typeof one === 'string' && one.length <= MAX_REDIRECT && (isOwnPath(one) || isWholeUrl(one))) continue
    throw new ConfigurationError(
      `providerSignIn.redirects: '${String(one)}' is neither a path of this server such as '/signed-in', nor a complete URL without a fragment.`,
    )
  }
  return [...given]
}

// Browsers read '//host' and '/\host' as another host.
const isOwnPath = (text: string): boolean => /^\/(?![/\\])[\x21-\x7e]*$/.test(text) && !text.includes('#') && !text.includes('\\')

const scripts = ['javascript:', 'data:', 'vbscript:', 'blob:', 'file:', 'about:']

function isWholeUrl(text: string): boolean {
  if (!URL.canParse(text) || !/^[\x21-\x7e]+$/.test(text) || text.includes('#')) return false
  const url = new URL(text)
  if (url.username !== '' || url.password !== '' || scripts.includes(url.protocol)) return false
  return url.protocol !== 'http:' || isLoopback(url)
}

function checkedRule(rule: SignUpRule): SignUpRule {
  if (rule === 'open' || rule === 'invitation' || rule === false) return rule
  const domains = typeof rule === 'object' && rule !== null && Array.isArray(rule.domains) ? rule.domains : null
  if (domains === null || domains.length === 0 || !domains.every((one) => typeof one === 'string' && /^[^\s@]+\.[^\s@]+$/.test(one)))
    throw new ConfigurationError("providerSignIn.signUp: use 'open', 'invitation', { domains: ['example.com'] } or false.")
  return { domains: domains.map((one) => one.toLowerCase()) }
}
