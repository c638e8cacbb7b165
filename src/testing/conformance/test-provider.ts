import { generateKeyPairSync, sign } from 'node:crypto'
import type { Fetch } from '../../auth/flows/providers/bounded-fetch.js'
import type { ProviderSignInOptions } from '../../auth/flows/providers/options.js'
import { oidc } from '../../auth/flows/providers/presets.js'
import type { IdentityProvider } from '../../auth/flows/providers/provider.js'

const ISSUER = 'https://provider.example.com'
export const APP_REDIRECT = 'com.example.app:/done'

const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
const json = (value: object) => new Response(JSON.stringify(value), { headers: { 'content-type': 'application/json' } })

/** Options of initPerms() for a provider that needs no network. */
export interface TestProviderOptions {
  readonly providers: Readonly<Record<string, IdentityProvider>>
  readonly providerSignIn: ProviderSignInOptions
}

/** Returns the options for one provider, under two names: it returns with a GET, or with a POST from its own page. */
export function testProviders(): TestProviderOptions {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const answers: Record<string, (body: URLSearchParams) => object> = {
    '/.well-known/openid-configuration': () => ({
      issuer: ISSUER,
      authorization_endpoint: `${ISSUER}/authorize`,
      token_endpoint: `${ISSUER}/token`,
      jwks_uri: `${ISSUER}/jwks`,
      id_token_signing_alg_values_supported: ['ES256'],
    }),
    '/jwks': () => ({ keys: [{ ...publicKey.export({ format: 'jwk' }), use: 'sig' }] }),
    '/token': (body) => {
      const { nonce, sub } = JSON.parse(Buffer.from(body.get('code') ?? '', 'base64url').toString()) as Record<string, string>
      const iat = Math.floor(Date.now() / 1000)
      const claims = { iss: ISSUER, aud: 'zoo', sub, nonce, iat, exp: iat + 300, email: `${sub}@example.com`, email_verified: true }
      const input = `${encoded({ alg: 'ES256' })}.${encoded(claims)}`
      const signature = sign('sha256', Buffer.from(input), { key: privateKey, dsaEncoding: 'ieee-p1363' }).toString('base64url')
      return { access_token: 'x', token_type: 'Bearer', id_token: `${input}.${signature}` }
    },
  }
  const fetch: Fetch = async (url, { body }) => {
    const answer = answers[new URL(url).pathname]
    return answer ? json(answer(new URLSearchParams(String(body ?? '')))) : new Response(null, { status: 404 })
  }
  const options = { issuer: ISSUER, clientId: 'zoo', clientSecret: 'a secret', trustsEmail: true }
  return {
    providers: { query: oidc(options), posting: oidc({ ...options, responseMode: 'form_post' }) },
    providerSignIn: { usersUrl: 'https://app.example.com/api/users', redirects: ['/', APP_REDIRECT], signUp: 'open', fetch },
  }
}

/** Returns the parameters with which the provider returns after a user signed in there. */
export function approved(url: string, sub: string): string {
  const { searchParams } = new URL(url)
  const code = encoded({ nonce: searchParams.get('nonce'), sub })
  return new URLSearchParams({ code, state: searchParams.get('state') ?? '' }).toString()
}
