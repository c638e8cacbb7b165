import { idSchemaOf } from './id-schemas.js'

/** The JSON Schema of `impersonator` in me/. */
export const impersonatorSchema = {
  type: 'object',
  description: 'The superadmin who impersonates the user. Only present during an impersonation.',
  properties: {
    get id() {
      return idSchemaOf('user')
    },
  },
  required: ['id'],
}

/** The JSON Schema of `roles` in me/. */
export const rolesSchema = {
  type: 'array',
  items: {
    type: 'object',
    properties: {
      role: { type: 'string' },
      get domain() {
        const { type, ...rest } = idSchemaOf('domain') as { type: string }
        return { ...rest, type: [type, 'null'], description: 'The id of a domain, or null for a global role.' }
      },
    },
    required: ['role', 'domain'],
  },
}
