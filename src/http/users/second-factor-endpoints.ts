import { UnauthorizedError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { invalidField } from '../../schema/text-input.js'
import { forbidApiKey } from '../../users/caller/caller-restrictions.js'
import type { User } from '../../users/user.js'
import { noStore, tokenAnswer, tokenOrDeviceSchema, tokenSchema } from '../caller/token-response.js'
import { Endpoint, type EndpointContext, type EndpointOptions } from '../core/endpoint.js'
import type { PermsPort } from '../core/ports.js'
import { HttpResponse } from '../core/response.js'
import { textSchema, textsOf } from '../core/texts.js'
import { objectOf } from '../crud/input.js'
import { readPasskey } from './passkey-endpoints.js'
import { assertionSchema, requestOptionsSchema } from './passkey-schemas.js'

type Factors = PermsPort['auth']['secondFactors']

/** Returns the endpoints for second factors. @param name the name of the resource, for operation ids */
export function secondFactorEndpoints(name: string): Endpoint[] {
  return [...setUpEndpoints(name), ...codeEndpoints(name)]
}

interface VerifyOptions {
  /** Whether a passkey may take the place of the code. */
  readonly takesPasskeys: boolean
  /** Whether users may trust devices. */
  readonly knowsDevices: boolean
}

/** Returns the endpoints that complete a sign-in with a second factor. */
export function verifyFactorEndpoints(name: string, options: VerifyOptions): Endpoint[] {
  return options.takesPasskeys ? [verifyEndpoint(name, options), passkeyOptionsEndpoint(name)] : [verifyEndpoint(name, options)]
}

function passkeyOptionsEndpoint(name: string): Endpoint {
  return new Endpoint({
    method: 'POST',
    path: 'second-factor/options',
    name: `get${name}SecondFactorOptions`,
    summary: 'Options for a passkey as the second factor',
    public: true,
    ignoresCredentials: true,
    queryKeys: [],
    handler: async ({ input, perms }) => {
      const { challenge } = textsOf(input, ['challenge'])
      return HttpResponse.json(await perms.auth.passkeys.secondFactorOptions(challenge), { headers: noStore })
    },
    description: {
      input: textSchema(['challenge'], { challenge: 128 }),
      output: requestOptionsSchema,
      problems: [401, 413, 415, 422, 429],
    },
  })
}

/** Returns the endpoint that completes a sign-in. */
function verifyEndpoint(name: string, { takesPasskeys, knowsDevices }: VerifyOptions): Endpoint {
  const input = takesPasskeys ? codeOrPasskeySchema : textSchema(['challenge', 'code'], { challenge: 128, code: 128 })
  return new Endpoint({
    method: 'POST',
    path: 'second-factor',
    name: `verify${name}SecondFactor`,
    summary: 'Complete a sign-in with a second factor',
    public: true,
    ignoresCredentials: true,
    queryKeys: [],
    handler: async ({ input, perms, request }) => {
      const device = request.header('user-agent') || undefined
      const { trustDevice, given } = splitTrust(objectOf(input), knowsDevices)
      if (takesPasskeys && Object.hasOwn(given, 'passkey')) {
        const { passkey, challenge = '' } = readPasskey(given, ['challenge'])
        return tokenAnswer(await perms.auth.passkeys.verifySecondFactor(challenge, passkey, { device, trustDevice }))
      }
      const { challenge, code } = textsOf(given, ['challenge', 'code'])
      return tokenAnswer(await perms.auth.secondFactors.verify(challenge, code, { device, trustDevice }))
    },
    description: {
      input: knowsDevices ? withTrust(input) : input,
      output: knowsDevices ? tokenOrDeviceSchema : tokenSchema,
      problems: [401, 403, 413, 415, 422, 429],
    },
  })
}

/** Separates the choice to trust the device from the texts of the body. @throws ValidationError */
function splitTrust(
  body: Readonly<Record<string, unknown>>,
  knowsDevices: boolean,
): { trustDevice: boolean; given: Readonly<Record<string, unknown>> } {
  if (!knowsDevices) return { trustDevice: false, given: body }
  const { trustDevice = false, ...given } = body
  if (typeof trustDevice !== 'boolean') throw invalidField('trustDevice', message('field.boolean'))
  return { trustDevice, given }
}

function withTrust(schema: object): object {
  const trustDevice = { type: 'boolean', description: 'Whether to skip the second factor on this device later.' }
  const { properties, maxProperties, ...rest } = schema as { properties: object; maxProperties?: number }
  return { ...rest, properties: { ...properties, trustDevice }, ...(maxProperties !== undefined && { maxProperties: maxProperties + 1 }) }
}

/** Returns the endpoints that show the status and start the set-up. */
function setUpEndpoints(name: string): Endpoint[] {
  return [
    own({
      method: 'GET',
      path: 'me/second-factor',
      name: `get${name}SecondFactor`,
      summary: 'Show the status of your second factor',
      handler: async ({ caller, perms }) => HttpResponse.json(await perms.auth.secondFactors.status(userOf(caller)), { headers: noStore }),
      description: { output: statusSchema },
    }),
    own({
      method: 'POST',
      path: 'me/second-factor',
      name: `begin${name}SecondFactor`,
      summary: 'Start to set up an authenticator app',
      status: 201,
      handler: async ({ caller, input, perms }) => {
        const given = objectOf(input ?? {})
        const { password } = 'password' in given ? textsOf(given, ['password']) : (textsOf(given, []) as { password?: string })
        return HttpResponse.json(await perms.auth.secondFactors.begin(userOf(caller), { password }), { status: 201, headers: noStore })
      },
      description: { input: passwordInput, output: secretSchema, problems: [413, 415, 422, 429] },
    }),
  ]
}

/** Returns the endpoints that take a code of the factor. */
function codeEndpoints(name: string): Endpoint[] {
  return [
    own({
      method: 'POST',
      path: 'me/second-factor/confirm',
      name: `confirm${name}SecondFactor`,
      summary: 'Confirm the authenticator app with a code',
      handler: withCode((factors, user, code) => factors.confirm(user, code)),
      description: { input: codeInput, output: codesSchema, problems: [413, 415, 422, 429] },
    }),
    own({
      method: 'POST',
      path: 'me/second-factor/remove',
      name: `remove${name}SecondFactor`,
      summary: 'Remove the second factor',
      status: 204,
      handler: withCode(async (factors, user, code) => {
        await factors.remove(user, code)
        return undefined
      }),
      description: { input: codeInput, problems: [413, 415, 422, 429] },
    }),
    own({
      method: 'POST',
      path: 'me/second-factor/recovery-codes',
      name: `renew${name}RecoveryCodes`,
      summary: 'Replace the recovery codes',
      handler: withCode((factors, user, code) => factors.renewRecoveryCodes(user, code)),
      description: { input: codeInput, output: codesSchema, problems: [413, 415, 422, 429] },
    }),
  ]
}

type OwnOptions = Pick<EndpointOptions, 'method' | 'path' | 'name' | 'summary' | 'handler' | 'description' | 'status'>

/** Creates an endpoint for the caller's own factor. */
function own(options: OwnOptions): Endpoint {
  return new Endpoint({ abilities: 'none', queryKeys: [], ...(options.method !== 'GET' && { assertAllowed }), ...options })
}

/** Returns a handler that reads a code. */
function withCode(
  use: (factors: Factors, user: User, code: string) => Promise<object | undefined>,
): (context: EndpointContext) => Promise<HttpResponse> {
  return async ({ caller, input, perms }) => {
    const shown = await use(perms.auth.secondFactors, userOf(caller), textsOf(input, ['code']).code)
    return shown ? HttpResponse.json(shown, { headers: noStore }) : HttpResponse.empty({ headers: noStore })
  }
}

const codeOrPasskeySchema = {
  type: 'object',
  properties: {
    challenge: { type: 'string', minLength: 1, maxLength: 128 },
    code: { type: 'string', minLength: 1, maxLength: 128, description: 'A code of the authenticator app, or a recovery code.' },
    passkey: assertionSchema,
  },
  required: ['challenge'],
  minProperties: 2,
  maxProperties: 2,
  additionalProperties: false,
  examples: [{ challenge: 'sf_...', code: '123456' }],
}

const codeInput = textSchema(['code'], { code: 128 })

const assertAllowed = async () => forbidApiKey(message('subject.factors'))

function userOf(caller: EndpointContext['caller']): User {
  if (caller === null) throw new UnauthorizedError()
  return caller as User
}

const passwordInput = {
  type: 'object',
  properties: { password: { type: 'string', minLength: 1, maxLength: 4096, description: 'Your password, if you have one.' } },
  additionalProperties: false,
}

const statusSchema = {
  type: 'object',
  properties: { isOn: { type: 'boolean' }, recoveryCodesLeft: { type: 'integer', format: 'int32' } },
  required: ['isOn', 'recoveryCodesLeft'],
}

const secretSchema = {
  type: 'object',
  properties: {
    secret: { type: 'string', description: 'The secret for the authenticator app, in base32.' },
    uri: { type: 'string', description: 'The secret as a URI, to show as a QR code.' },
  },
  required: ['secret', 'uri'],
}

const codesSchema = {
  type: 'object',
  properties: {
    recoveryCodes: {
      type: 'array',
      items: { type: 'string', maxLength: 64 },
      maxItems: 10,
      description: 'Each works once. They are not shown again.',
    },
  },
  required: ['recoveryCodes'],
}
