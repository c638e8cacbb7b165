import { expect } from 'chai'
import { fetchAdapter } from '../../../src/adapters/fetch.js'
import { Api } from '../../../src/http/serve/api.js'
import { UserResource } from '../../../src/http/users/user-resource.js'
import { TimestampMixin } from '../../../src/mixins/timestamps.js'
import { asSystem } from '../../../src/policy/context.js'
import { capturedMailer, signInAs } from '../../../src/testing/index.js'
import { Domain } from '../../../src/users/domain.js'
import { Role } from '../../../src/users/roles/roles.js'
import { User } from '../../../src/users/user.js'
import { openZoo, password, type Zoo } from '../../conformance/zoo.js'

class Member extends TimestampMixin(User) {
  static override tableName = 'user'
}

describe('Mailed links that a request causes', () => {
  const mailer = capturedMailer()
  const features = { verifyEmail: true, resetPassword: true, changeEmail: true, magicLink: true, invitations: true }
  let zoo: Zoo
  let handle: (request: Request) => Response | Promise<Response>
  before(async () => {
    zoo = await openZoo('better-sqlite3', { user: Member as never, mail: { mailer, baseUrl: 'https://app.example/zoo' }, throttle: false })
    const { authenticate, router } = fetchAdapter(zoo.perms)
    handle = authenticate(router(new Api({ resources: [new UserResource({ features })] })))
    await asSystem(() => Domain.create({ name: 'press' }))
  })
  after(() => zoo.close())

  const asked: readonly [path: string, to: string, body: object][] = [
    ['verify-email/request', 'ada@example.com', { email: 'ada@example.com' }],
    ['reset-password/request', 'ada@example.com', { email: 'ada@example.com' }],
    ['magic-link/request', 'ada@example.com', { email: 'ada@example.com' }],
    ['me/email', 'boss2@example.com', { email: 'boss2@example.com', oldPassword: password }],
    ['invitations', 'new@example.com', { email: 'new@example.com', role: 'editor', domain: 'press' }],
  ]
  for (const [path, to, body] of asked) {
    it(`${path}: lead to the configured address, whatever Host and forwarding headers contain`, async () => {
      const { user, accessToken } = await signInAs({ password }, { role: Role.ADMIN })
      const request = new Request(`https://evil.example/users/${path}`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${accessToken}`,
          'content-type': 'application/json',
          'x-forwarded-host': 'evil.example',
          'x-forwarded-proto': 'http',
          forwarded: 'host=evil.example;proto=http',
          origin: 'https://evil.example',
          referer: 'https://evil.example/',
        },
        body: JSON.stringify(body),
      })
      const { status } = await handle(request)
      expect(status, path).to.be.oneOf([201, 202])
      await zoo.perms.auth.settled()
      const mail = mailer.last(to)
      expect(mail.text).to.contain('https://app.example/zoo/')
      for (const { text, html = '' } of [mail, mailer.last(path === 'me/email' ? user.email : to)]) {
        expect(`${text}${html}`).not.to.contain('evil')
      }
    })
  }
})
