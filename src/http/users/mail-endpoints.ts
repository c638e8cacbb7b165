import type { RememberMeOptions } from '../../auth/tokens/session-life.js'
import { UnauthorizedError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { MAX_EMAIL_LENGTH } from '../../schema/email.js'
import { forbidApiKey } from '../../users/caller/caller-restrictions.js'
import type { User } from '../../users/user.js'
import { noStore, tokenAnswer } from '../caller/token-response.js'
import { Endpoint, type EndpointContext } from '../core/endpoint.js'
import type { PermsPort } from '../core/ports.js'
import { HttpResponse } from '../core/response.js'
import { textSchema, textsOf } from '../core/texts.js'
import { objectOf } from '../crud/input.js'
import { splitLifetime, withLifetime } from './lifetime-input.js'

type Mail = PermsPort['auth']['mail']

/** Returns the response to all mail requests. It does not depend on whether the address has an account. */
export const accepted = () => HttpResponse.json({ status: 'accepted' }, { status: 202, headers: noStore })

export const acceptedSchema = {
  type: 'object',
  properties: { status: { type: 'string', enum: ['accepted'], description: 'The same for every address. The result is sent by mail.' } },
  required: ['status'],
}

/** `POST verify-email/request/` and `POST verify-email/` */
export function verifyEmailEndpoints(name: string): Endpoint[] {
  return [
    request('verify-email', `request${name}Verification`, 'Mail a link that verifies an address', (mail, email) =>
      mail.requestVerification(email),
    ),
    redeem('verify-email', `verify${name}Email`, 'Verify an address with the token of the mail', (mail, token) => mail.verifyEmail(token)),
  ]
}

/** `POST reset-password/request/` and `POST reset-password/` */
export function resetPasswordEndpoints(name: string): Endpoint[] {
  return [
    request('reset-password', `request${name}PasswordReset`, 'Mail a link to choose a new password', (mail, email) =>
      mail.requestPasswordReset(email),
    ),
    new Endpoint({
      ...openPost('reset-password'),
      name: `reset${name}Password`,
      summary: 'Choose a new password with the token of the mail',
      status: 204,
      handler: async ({ input, perms }) => {
        await perms.auth.mail.resetPassword(textsOf(input, ['token', 'password']))
        return HttpResponse.empty({ headers: noStore })
      },
      description: { input: textSchema(['token', 'password'], { token: 128, password: 4096 }), problems: [401, 413, 415, 422, 429] },
    }),
  ]
}

/** `POST me/email/` and `POST change-email/` */
export function changeEmailEndpoints(name: string): Endpoint[] {
  return [
    new Endpoint({
      method: 'POST',
      path: 'me/email',
      name: `request${name}EmailChange`,
      summary: 'Mail a link that confirms a new address',
      abilities: 'none',
      queryKeys: [],
      handler: async ({ caller, input, perms }) => {
        await perms.auth.mail.requestEmailChange(userOf(caller), textsOf(input, ['email', 'oldPassword']))
        return accepted()
      },
      status: 202,
      assertAllowed: async () => forbidApiKey(message('subject.passwords')),
      description: {
        input: textSchema(['email', 'oldPassword'], { email: MAX_EMAIL_LENGTH, oldPassword: 4096 }),
        output: acceptedSchema,
        problems: [413, 415, 422, 429],
      },
    }),
    redeem(
      'change-email',
      `confirm${name}EmailChange`,
      'Confirm the new address with the token of the mail',
      (mail, token) => mail.confirmEmailChange(token),
      [409],
    ),
  ]
}

/**
 * `POST magic-link/request/` and `POST magic-link/`
 *
 * @param output the schema of the sign-in response
 * @param bounds of the session's lifetime; undefined: clients cannot choose
 */
export function magicLinkEndpoints(name: string, output: object, bounds: RememberMeOptions | undefined): Endpoint[] {
  return [
    request('magic-link', `request${name}MagicLink`, 'Mail a link to sign in with', (mail, email) => mail.requestMagicLink(email)),
    new Endpoint({
      ...openPost('magic-link'),
      name: `login${name}ByMagicLink`,
      summary: 'Sign in with the token of the mail',
      handler: async ({ input, perms, request }) => {
        const { chosen, texts } = splitLifetime(objectOf(input), bounds !== undefined)
        const { token } = textsOf(texts, ['token'])
        const device = request.header('user-agent') || undefined
        return tokenAnswer(await perms.auth.mail.signInWithMagicLink(token, { ...chosen, device }))
      },
      description: { input: withLifetime(textSchema(['token'], { token: 128 }), bounds), output, problems: [401, 403, 413, 415, 422, 429] },
    }),
  ]
}

function openPost(path: string) {
  return { method: 'POST', path, public: true, ignoresCredentials: true, queryKeys: [] } as const
}

function request(path: string, name: string, summary: string, ask: (mail: Mail, email: string) => Promise<void>): Endpoint {
  return new Endpoint({
    ...openPost(`${path}/request`),
    name,
    summary,
    handler: async ({ input, perms }) => {
      await ask(perms.auth.mail, textsOf(input, ['email']).email)
      return accepted()
    },
    status: 202,
    description: {
      input: textSchema(['email'], { email: MAX_EMAIL_LENGTH }),
      output: acceptedSchema,
      problems: [413, 415, 422, 429],
    },
  })
}

function redeem(
  path: string,
  name: string,
  summary: string,
  use: (mail: Mail, token: string) => Promise<unknown>,
  otherProblems: readonly number[] = [],
): Endpoint {
  return new Endpoint({
    ...openPost(path),
    name,
    summary,
    status: 204,
    handler: async ({ input, perms }) => {
      await use(perms.auth.mail, textsOf(input, ['token']).token)
      return HttpResponse.empty({ headers: noStore })
    },
    description: { input: textSchema(['token'], { token: 128 }), problems: [401, ...otherProblems, 413, 415, 422, 429] },
  })
}

function userOf(caller: EndpointContext['caller']): User {
  if (caller === null) throw new UnauthorizedError()
  return caller as User
}
