/** Finds columns without which nobody can sign up with a provider. */
import { hasBeforeValidate } from '../../../schema/validator.js'
import { userClass } from '../credentials.js'
import type { ProviderSettings } from './options.js'
import type { ProviderProfile } from './provider.js'

const EXAMPLE: ProviderProfile = {
  issuer: 'https://provider.example',
  subject: 'example',
  email: 'user@example.com',
  isEmailProven: true,
  name: 'Example User',
  claims: {},
}

/**
 * Returns the required columns of the user model that neither a default nor `newUser` fills.
 *
 * @returns an empty list if nobody may sign up, and if only a sign-in can tell: the model has `$beforeValidate()`, or `newUser` needs claims
 */
export function unfilledColumns({ signUp, newUser }: ProviderSettings): string[] {
  const cls = userClass()
  if (signUp === false || hasBeforeValidate(cls)) return []
  const needed = cls.schema.create.required.filter((name) => name !== 'email')
  if (needed.length === 0) return []
  const filled = exampleValues(newUser)
  return filled ? needed.filter((name) => filled[name] === undefined) : []
}

function exampleValues(newUser: ProviderSettings['newUser']): Record<string, unknown> | null {
  try {
    return { ...newUser(EXAMPLE) }
  } catch {
    return null
  }
}

/** Describes the missing columns, and what to do, for the log. */
export function describeUnfilled(columns: readonly string[]): string {
  const model = userClass().name
  const [first = ''] = columns
  return (
    `Signing up with a provider would fail: ${columns.map((name) => `${model}.${name}`).join(', ')} ${columns.length === 1 ? 'is' : 'are'} required, ` +
    `and a new user of a provider has no value there. Give ${columns.length === 1 ? 'it' : 'each'} a default, make it nullable ` +
    `(also remove it from \`required\` of jsonSchema), or return it: providerSignIn: { newUser: ({ name, claims }) => ({ ${first}: ... }) }. ` +
    'If beforeCreate of the UserResource fills it, return a placeholder from newUser.'
  )
}
