import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Provider } from 'oidc-provider'

/** A real provider of OpenID Connect on loopback, where everybody is ada. */
export interface RealProvider {
  readonly issuer: string
  /** How often a user signed in here, rather than being known from a cookie. */
  readonly signIns: number
  /**
   * Follows the provider's own redirects.
   *
   * @param cookies those of a browser, which keeps them. Default: a new browser
   * @returns the URL of the callback with its parameters
   */
  approve(url: string, cookies?: Map<string, string>): Promise<URL>
  close(): Promise<void>
}

export async function startOidcProvider(client: { id: string; secret: string; redirectUri: string }): Promise<RealProvider> {
  let handle: (request: IncomingMessage, response: ServerResponse) => unknown = () => undefined
  const server: Server = createServer((request, response) => void handle(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  // It warns of its development keys and of the version of Node.
  const { warn } = console
  console.warn = () => {}
  const provider = new Provider(issuer, {
    clients: [{ client_id: client.id, client_secret: client.secret, redirect_uris: [client.redirectUri] }],
    claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name'] },
    scopes: ['openid', 'email', 'profile'],
    cookies: { keys: ['a key of this test'] },
    pkce: { required: () => true },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_ctx: unknown, { uid }: { uid: string }) => `/interaction/${uid}` },
    findAccount: (_ctx: unknown, id: string) => ({
      accountId: id,
      claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: true, name: 'Ada' }),
    }),
    async loadExistingGrant(ctx: any) {
      const grant = new ctx.oidc.provider.Grant({ clientId: client.id, accountId: ctx.oidc.session.accountId })
      grant.addOIDCScope('openid email profile')
      await grant.save()
      return grant
    },
  } as never)
  console.warn = warn
  const callback = provider.callback()
  let signIns = 0
  handle = async (request, response) => {
    if (!request.url?.startsWith('/interaction/')) return callback(request, response)
    signIns += 1
    return await provider.interactionFinished(request, response, { login: { accountId: 'ada' } }, { mergeWithLastSubmission: false })
  }
  return {
    issuer,
    get signIns() {
      return signIns
    },
    async approve(url, cookies = new Map()) {
      let next = url
      for (let steps = 0; steps < 8 && next.startsWith(issuer); steps += 1) {
        const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')
        const response = await fetch(next, { redirect: 'manual', headers: { cookie } })
        for (const line of response.headers.getSetCookie()) {
          const [pair = ''] = line.split(';')
          cookies.set(pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1))
        }
        next = new URL(response.headers.get('location') ?? 'about:blank', issuer).href
      }
      return new URL(next)
    },
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
