/** The JSON Schemas of passkeys. Those of options and credentials follow WebAuthn level 3, 5.1.8 to 5.1.10. */
import { defaultModel } from '../../policy/registered-models.js'
import { idSpecOf } from '../../schema/ids.js'
import { schemaOf } from '../../schema/json-schemas.js'
import { MAX_CREDENTIAL_ID_LENGTH, MAX_PASSKEY_NAME_LENGTH } from '../../users/passkey.js'

const base64url = (maxLength: number) => ({ type: 'string', maxLength, pattern: '^[A-Za-z0-9_-]+$' })
const text = (maxLength: number) => ({ type: 'string', maxLength })
const texts = (maxItems: number) => ({ type: 'array', items: text(32), maxItems })

export const nameSchema = {
  type: 'string',
  minLength: 1,
  maxLength: MAX_PASSKEY_NAME_LENGTH,
  description: 'A name for the list of passkeys.',
}

const passkeyProperties = {
  get id() {
    const spec = idSpecOf(defaultModel('passkey'))
    return spec ? schemaOf({ ...spec, isNullable: false }) : { type: 'string' }
  },
  name: text(MAX_PASSKEY_NAME_LENGTH),
  createdAt: { type: 'string', format: 'date-time' },
  lastUsedAt: { type: ['string', 'null'], format: 'date-time' },
  deviceType: { type: 'string', enum: ['singleDevice', 'multiDevice'] },
  backedUp: { type: 'boolean', description: 'Whether the passkey is backed up, such as in an account at a vendor.' },
  transports: texts(10),
  aaguid: { type: 'string', maxLength: 36, description: 'The model of the authenticator, which nobody attested.' },
}
const passkeyRequired = ['id', 'name', 'createdAt', 'lastUsedAt', 'deviceType', 'backedUp', 'transports', 'aaguid']

export const passkeySchema = { type: 'object', properties: passkeyProperties, required: passkeyRequired }

export const passkeyListSchema = {
  type: 'object',
  properties: { data: { type: 'array', items: passkeySchema, maxItems: 20 } },
  required: ['data'],
}

export const addedSchema = {
  type: 'object',
  get properties() {
    return {
      ...passkeyProperties,
      recoveryCodes: {
        type: 'array',
        items: text(64),
        maxItems: 10,
        description: 'Recovery codes, if you had none. Each works once in place of a second factor. They are not shown again.',
      },
    }
  },
  required: passkeyRequired,
}

const descriptors = {
  type: 'array',
  maxItems: 20,
  items: {
    type: 'object',
    properties: { id: base64url(MAX_CREDENTIAL_ID_LENGTH), type: { type: 'string', enum: ['public-key'] }, transports: texts(10) },
    required: ['id', 'type'],
  },
}

/** The input of `PublicKeyCredential.parseRequestOptionsFromJSON()`. */
export const requestOptionsSchema = {
  type: 'object',
  properties: {
    challenge: base64url(43),
    rpId: text(253),
    timeout: { type: 'integer', format: 'int32', description: 'In milliseconds.' },
    userVerification: { type: 'string', enum: ['required'] },
    allowCredentials: descriptors,
  },
  required: ['challenge', 'rpId', 'userVerification'],
}

/** The input of `PublicKeyCredential.parseCreationOptionsFromJSON()`. */
export const creationOptionsSchema = {
  type: 'object',
  properties: {
    challenge: base64url(43),
    rp: { type: 'object', properties: { id: text(253), name: text(64) }, required: ['id', 'name'] },
    user: {
      type: 'object',
      properties: { id: base64url(86), name: text(320), displayName: text(320) },
      required: ['id', 'name', 'displayName'],
    },
    pubKeyCredParams: {
      type: 'array',
      maxItems: 3,
      items: {
        type: 'object',
        properties: { alg: { type: 'integer', format: 'int32' }, type: { type: 'string', enum: ['public-key'] } },
        required: ['alg', 'type'],
      },
    },
    timeout: { type: 'integer', format: 'int32', description: 'In milliseconds.' },
    attestation: { type: 'string', enum: ['none'] },
    excludeCredentials: descriptors,
    authenticatorSelection: { type: 'object' },
  },
  required: ['challenge', 'rp', 'user', 'pubKeyCredParams', 'excludeCredentials', 'authenticatorSelection'],
}

const credentialSchema = (response: object, required: readonly string[], description: string) => ({
  type: 'object',
  description,
  properties: {
    id: base64url(MAX_CREDENTIAL_ID_LENGTH),
    rawId: base64url(MAX_CREDENTIAL_ID_LENGTH),
    type: { type: 'string', enum: ['public-key'] },
    response: { type: 'object', properties: response, required },
  },
  required: ['id', 'type', 'response'],
})

export const registrationSchema = credentialSchema(
  { clientDataJSON: base64url(4096), attestationObject: base64url(8192), transports: texts(10) },
  ['clientDataJSON', 'attestationObject'],
  'The result of navigator.credentials.create(), as JSON: toJSON() returns it.',
)

export const assertionSchema = credentialSchema(
  {
    clientDataJSON: base64url(4096),
    authenticatorData: base64url(2048),
    signature: base64url(1024),
    userHandle: { type: ['string', 'null'], maxLength: 86 },
  },
  ['clientDataJSON', 'authenticatorData', 'signature'],
  'The result of navigator.credentials.get(), as JSON: toJSON() returns it.',
)
