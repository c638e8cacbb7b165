import type { RememberMeOptions } from '../../auth/tokens/session-life.js'
import { message } from '../../core/messages/message.js'
import { MAX_EMAIL_LENGTH } from '../../schema/email.js'
import { forbidApiKey } from '../../users/caller/caller-restrictions.js'
import { tokenAnswer } from '../caller/token-response.js'
import { Endpoint } from '../core/endpoint.js'
import { textSchema, textsOf } from '../core/texts.js'
import { objectOf } from '../crud/input.js'
import { splitLifetime, withLifetime } from './lifetime-input.js'
import { accepted, acceptedSchema } from './mail-endpoints.js'

const openPost = { method: 'POST', public: true, ignoresCredentials: true, queryKeys: [] } as const

/**
 * `POST codes/request/` and `POST codes/`
 *
 * @param output the schema of the sign-in response
 * @param bounds of the session's lifetime; undefined: clients cannot choose
 */
export function codeEndpoints(name: string, output: object, bounds: RememberMeOptions | undefined): Endpoint[] {
  return [
    new Endpoint({
      ...openPost,
      path: 'codes/request',
      name: `request${name}Code`,
      summary: 'Send a code to sign in with',
      handler: async ({ input, perms }) => {
        await perms.auth.codes.request(textsOf(input, ['email']).email)
        return accepted()
      },
      status: 202,
      description: { input: textSchema(['email'], { email: MAX_EMAIL_LENGTH }), output: acceptedSchema, problems: [413, 415, 422, 429] },
    }),
    new Endpoint({
      ...openPost,
      path: 'codes',
      name: `login${name}ByCode`,
      summary: 'Sign in with a code',
      handler: async ({ input, perms, request }) => {
        const { chosen, texts } = splitLifetime(objectOf(input), bounds !== undefined)
        const given = textsOf(texts, ['email', 'code'])
        const device = request.header('user-agent') || undefined
        return tokenAnswer(await perms.auth.codes.signIn({ ...given, ...chosen, device }))
      },
      description: {
        input: withLifetime(textSchema(['email', 'code'], { email: MAX_EMAIL_LENGTH, code: 64 }), bounds),
        output,
        problems: [401, 403, 413, 415, 422, 429],
      },
    }),
  ]
}

/** `POST me/confirm/code/` sends the caller a code for `POST me/confirm/`. */
export function confirmCodeEndpoint(name: string): Endpoint {
  return new Endpoint({
    method: 'POST',
    path: 'me/confirm/code',
    name: `request${name}ConfirmationCode`,
    summary: 'Send a code to confirm that it is you',
    abilities: 'none',
    queryKeys: [],
    readsBody: false,
    handler: async ({ perms }) => {
      await perms.auth.codes.requestConfirmation()
      return accepted()
    },
    status: 202,
    assertAllowed: async () => forbidApiKey(message('subject.sessions')),
    description: { output: acceptedSchema, problems: [429] },
  })
}
