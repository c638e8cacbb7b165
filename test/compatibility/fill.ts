/** Fills a database with rows of every kind, through the release that is tested. */
import { Secret, TOTP } from 'otpauth'
import { type Application, type Library, password, type Reply } from './application.js'

/** The plain credentials of the stored hashes, which only clients know. */
export interface Credentials {
  /** When the database was filled. */
  readonly filledAt: string
  readonly ids: Record<'ada' | 'root' | 'boss' | 'carol' | 'eve' | 'frank' | 'press', string>
  readonly ada: {
    readonly accessToken: string
    readonly refreshToken: string
    readonly apiKey: string
    readonly revokedApiKey: string
    readonly customToken: string
    readonly paperId: string
  }
  /** A session of ada that was refreshed: the first refresh token was used. */
  readonly rotated: { readonly usedRefreshToken: string; readonly refreshToken: string }
  /** A session of ada that was signed out. */
  readonly signedOut: { readonly accessToken: string; readonly refreshToken: string }
  readonly carol: { readonly totpSecret: string; readonly recoveryCodes: readonly string[]; readonly challenge: string }
  readonly impersonation: { readonly accessToken: string }
  readonly mailTokens: Record<'verifyEmail' | 'resetPassword' | 'magicLink' | 'changeEmail' | 'invitation', string>
}

interface Tokens {
  readonly access_token: string
  readonly refresh_token: string
}

function expectStatus(reply: Reply, ...statuses: number[]): Reply {
  if (!statuses.includes(reply.status)) throw new Error(`${reply.status} instead of ${statuses}: ${JSON.stringify(reply.body)}`)
  return reply
}

/** Returns the code that an authenticator app shows. @param steps of 30 seconds from now */
export function totpCode(totpSecret: string, steps = 0): string {
  return new TOTP({ secret: Secret.fromBase32(totpSecret) }).generate({ timestamp: Date.now() + steps * 30_000 })
}

export class Filler {
  constructor(
    private readonly library: Library,
    private readonly app: Application,
  ) {}

  async fill(): Promise<Credentials> {
    const { ids } = await this.users()
    const ada = await this.adasSession()
    const rotated = await this.refreshedSession()
    const signedOut = await this.endedSession()
    const carol = await this.secondFactor()
    const impersonation = await this.impersonate(ids.ada)
    const mailTokens = await this.mail(ada.accessToken)
    await this.lockFrank()
    await this.app.perms.auth.settled()
    return { filledAt: new Date().toISOString(), ids, ada, rotated, signedOut, carol, impersonation, mailTokens }
  }

  async signIn(name: string): Promise<Tokens> {
    const body = { email: `${name}@example.com`, password }
    return expectStatus(await this.app.ask('POST', '/users/login', { body }), 200).body
  }

  private async post(path: string, body: object, token?: string): Promise<Record<string, string>> {
    return expectStatus(await this.app.ask('POST', path, { body, ...(token && { token }) }), 200, 201, 202, 204).body
  }

  private async users(): Promise<Pick<Credentials, 'ids'>> {
    const { asSystem, Domain, UserRole, UserSetting, Role } = this.library.root
    const { User } = this.app
    return await asSystem(async () => {
      const press = await Domain.create({ name: 'press', displayName: 'The Press' })
      await Domain.create({ name: 'closed', active: false })
      const create = (name: string) => User.create({ email: `${name}@example.com`, password })
      const [ada, root, boss, carol, eve, frank] = [
        ...[await create('ada'), await create('root'), await create('boss')],
        ...[await create('carol'), await create('eve'), await create('frank')],
      ] as const
      await UserRole.create({ user: ada, role: 'editor', domain: press })
      await UserRole.create({ user: ada, role: 'author' })
      await UserRole.create({ user: root, role: Role.SUPERADMIN })
      await UserRole.create({ user: boss, role: Role.ADMIN, domain: press })
      await UserSetting.create({ user: ada, key: 'theme', value: { dark: true } } as never)
      await eve.update({ isEnabled: false })
      await (await create('gone')).delete()
      const ids = { ada: ada.id, root: root.id, boss: boss.id, carol: carol.id, eve: eve.id, frank: frank.id, press: press.id }
      return { ids }
    })
  }

  private async adasSession(): Promise<Credentials['ada']> {
    const { access_token: accessToken, refresh_token: refreshToken } = await this.signIn('ada')
    const key = async () =>
      await this.post('/users/api-keys', { abilities: ['papers:read', 'users:read'], description: 'Backup' }, accessToken)
    const [apiKey, revoked] = [await key(), await key()]
    expectStatus(await this.app.ask('DELETE', `/users/api-keys/${revoked['id']}`, { token: accessToken }), 204)
    const paper = await this.post('/papers', { title: 'Diary' }, accessToken)
    const { asSystem, Token } = this.library.root
    const custom = await asSystem(async () => {
      const owner = await this.app.User.getByOr404({ email: 'ada@example.com' })
      return await Token.issue(owner as never, { kind: 'cli', expiresIn: 86_400 })
    })
    return {
      ...{ accessToken, refreshToken, apiKey: apiKey['key'] as string, revokedApiKey: revoked['key'] as string },
      ...{ customToken: custom.plain, paperId: paper['id'] as string },
    }
  }

  private async refreshedSession(): Promise<Credentials['rotated']> {
    const { refresh_token: usedRefreshToken } = await this.signIn('ada')
    const next = await this.post('/users/refresh', { refresh_token: usedRefreshToken })
    return { usedRefreshToken, refreshToken: next['refresh_token'] as string }
  }

  private async endedSession(): Promise<Credentials['signedOut']> {
    const { access_token: accessToken, refresh_token: refreshToken } = await this.signIn('ada')
    await this.post('/users/logout', {}, accessToken)
    return { accessToken, refreshToken }
  }

  private async secondFactor(): Promise<Credentials['carol']> {
    const { access_token: token } = await this.signIn('carol')
    const begun = await this.post('/users/me/second-factor', { password }, token)
    const totpSecret = begun['secret'] as string
    // The code of the last half minute stays unusable afterwards; those of this half minute and later ones are still free.
    const confirmed = await this.post('/users/me/second-factor/confirm', { code: totpCode(totpSecret, -1) }, token)
    const asked = await this.app.ask('POST', '/users/login', { body: { email: 'carol@example.com', password } })
    const challenge = asked.body.challenge as string
    if (!challenge) throw new Error(`No second factor was asked for: ${JSON.stringify(asked)}`)
    return { totpSecret, recoveryCodes: (confirmed as unknown as { recoveryCodes: string[] }).recoveryCodes, challenge }
  }

  private async impersonate(userId: string): Promise<Credentials['impersonation']> {
    const { access_token: token } = await this.signIn('root')
    const begun = await this.post('/users/impersonation', { userId, reason: 'ticket 4711', expiresIn: 3600 }, token)
    return { accessToken: begun['access_token'] as string }
  }

  private async mail(adasToken: string): Promise<Credentials['mailTokens']> {
    const { auth } = this.app.perms
    await auth.mail.requestVerification('frank@example.com')
    await auth.mail.requestPasswordReset('boss@example.com')
    await auth.mail.requestMagicLink('root@example.com')
    await this.post('/users/me/email', { email: 'ada@press.example.com', oldPassword: password }, adasToken)
    const { access_token: token } = await this.signIn('boss')
    await this.post('/users/invitations', { email: 'guest@example.com', role: 'editor', domain: 'press' }, token)
    await auth.settled()
    const tokenOf = (kind: string) => {
      const text = this.app.mails.findLast((mail) => mail.kind === kind)?.text
      const found = /[?#&]token=([^\s&]+)/.exec(text ?? '')?.[1]
      if (!found) throw new Error(`No mail of kind ${kind} in ${this.app.mails.map((mail) => mail.kind).join(', ')}.`)
      return decodeURIComponent(found)
    }
    return {
      ...{ verifyEmail: tokenOf('verifyEmail'), resetPassword: tokenOf('resetPassword'), magicLink: tokenOf('magicLink') },
      ...{ changeEmail: tokenOf('changeEmail'), invitation: tokenOf('invitation') },
    }
  }

  /** Uses up the tries of frank from this address. */
  private async lockFrank(): Promise<void> {
    for (let tries = 0; tries < 11; tries += 1) {
      const reply = await this.app.ask('POST', '/users/login', { body: { email: 'frank@example.com', password: 'wrong' } })
      expectStatus(reply, tries < 10 ? 401 : 429)
    }
  }
}
