import { createHash, createHmac, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A sign-in that the provider has approved. */
interface Grant {
  readonly nonce: string | null
  readonly challenge: string | null
  readonly redirectUri: string | null
  readonly clientId: string
}

/** The parts of an ID token that a test replaces. */
export interface Forgery {
  readonly claims?: (claims: Record<string, unknown>) => Record<string, unknown>
  readonly header?: Record<string, unknown>
  /** Signs the token in place of the provider's key. */
  readonly sign?: (input: string) => string
  /** Further values of the token response. */
  readonly response?: Record<string, unknown>
}

export interface Person {
  readonly sub: string
  readonly email?: string
  readonly email_verified?: boolean
  readonly name?: string
  readonly [claim: string]: unknown
}

export const clientId = 'the client'
export const clientSecret = 'the secret of the client'

const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

/** A provider of OpenID Connect on loopback, which also says what no honest provider says. */
export class FakeProvider {
  readonly keys = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  readonly otherKeys = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  /** The next token is forged with it. */
  forgery: Forgery = {}
  /** Answers in place of the provider, if it returns true. */
  intercept: ((path: string, response: ServerResponse) => boolean) | null = null
  /** Further metadata. */
  metadata: Record<string, unknown> = {}
  person: Person = { sub: 'ada', email: 'ada@example.com', email_verified: true, name: 'Ada' }
  readonly requests: string[] = []
  readonly #grants = new Map<string, Grant>()
  #server: Server | undefined
  issuer = ''

  async listen(): Promise<this> {
    const server = createServer((request, response) => void this.#answer(request, response))
    this.#server = server
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    this.issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    return this
  }

  async close(): Promise<void> {
    this.#server?.closeAllConnections()
    await new Promise((resolve) => this.#server?.close(resolve))
  }

  /** Approves the sign-in of a URL. @returns the parameters of the callback */
  approve(url: string, person = this.person): URLSearchParams {
    this.person = person
    const asked = new URL(url).searchParams
    const code = randomBytes(16).toString('hex')
    this.#grants.set(code, {
      nonce: asked.get('nonce'),
      challenge: asked.get('code_challenge'),
      redirectUri: asked.get('redirect_uri'),
      clientId: asked.get('client_id') ?? '',
    })
    return new URLSearchParams({ code, state: asked.get('state') ?? '', iss: this.issuer })
  }

  get publicPem(): string {
    return this.keys.publicKey.export({ type: 'spki', format: 'pem' }) as string
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<unknown> {
    const path = request.url ?? ''
    this.requests.push(`${request.method} ${path}`)
    let body = ''
    for await (const chunk of request) body += String(chunk)
    if (this.intercept?.(path, response)) return undefined
    const json = (value: object, status = 200) => {
      response.writeHead(status, { 'content-type': 'application/json' })
      response.end(JSON.stringify(value))
    }
    if (path === '/.well-known/openid-configuration') return json(this.#discovery())
    if (path === '/jwks') return json({ keys: [{ ...this.keys.publicKey.export({ format: 'jwk' }), kid: 'one', use: 'sig' }] })
    if (path === '/token') return this.#token(request, new URLSearchParams(body), json)
    if (path === '/userinfo') return json({ ...this.person })
    return json({ error: 'not_found' }, 404)
  }

  #discovery(): object {
    return {
      issuer: this.issuer,
      authorization_endpoint: `${this.issuer}/authorize`,
      token_endpoint: `${this.issuer}/token`,
      jwks_uri: `${this.issuer}/jwks`,
      response_types_supported: ['code'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['ES256', 'HS256', 'none'],
      authorization_response_iss_parameter_supported: true,
      ...this.metadata,
    }
  }

  #token(request: IncomingMessage, body: URLSearchParams, json: (value: object, status?: number) => void): void {
    const basic = `Basic ${Buffer.from(`${clientId.replace(/ /g, '+')}:${clientSecret.replace(/ /g, '+')}`).toString('base64')}`
    if (request.headers.authorization !== basic) {
      json({ error: 'invalid_client' }, 401)
      return
    }
    const code = body.get('code') ?? ''
    const grant = this.#grants.get(code)
    this.#grants.delete(code)
    const challenge = createHash('sha256')
      .update(body.get('code_verifier') ?? '')
      .digest('base64url')
    if (!grant || grant.challenge !== challenge || grant.redirectUri !== body.get('redirect_uri')) {
      json({ error: 'invalid_grant' }, 400)
      return
    }
    json({
      access_token: 'access token of the provider',
      refresh_token: 'refresh token of the provider',
      token_type: 'Bearer',
      expires_in: 3600,
      id_token: this.idToken(grant),
      ...this.forgery.response,
    })
  }

  idToken(grant: Pick<Grant, 'nonce' | 'clientId'>): string {
    const now = Math.floor(Date.now() / 1000)
    const claims = { iss: this.issuer, aud: grant.clientId, iat: now, exp: now + 300, nonce: grant.nonce, ...this.person }
    const { claims: change = (given) => given, header = {}, sign: forge } = this.forgery
    const input = `${encoded({ alg: 'ES256', kid: 'one', ...header })}.${encoded(change(claims))}`
    return `${input}.${forge ? forge(input) : signed(this.keys.privateKey)(input)}`
  }
}

export const signed =
  (key: KeyObject) =>
  (input: string): string =>
    sign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')

export const hmac =
  (key: string) =>
  (input: string): string =>
    createHmac('sha256', key).update(input).digest('base64url')
