import { ConfigurationError } from '../../core/errors.js'

/**
 * Returns the methods by which a user proved to be present as the column `amr` of tokens stores them. A text, because a JSON column
 * could not be copied as PostgreSQL's driver returns it.
 *
 * @param methods names of RFC 8176
 * @throws ConfigurationError for a name of other characters than letters, digits, '_' and '-', and for a text over 255 characters
 * @example storedMethods(['pwd', 'otp']) // 'pwd otp'
 */
export function storedMethods(methods: readonly string[]): string {
  const text = methods.join(' ')
  if (methods.every((name) => /^[\w-]+$/.test(name)) && text.length <= 255) return text
  throw new ConfigurationError(`amr: ${JSON.stringify(methods)} must be a list of names of RFC 8176, such as ['pwd', 'otp'].`)
}

/** Returns the methods in a text of the column; null if they are unknown. @example methodsIn('pwd otp') // ['pwd', 'otp'] */
export function methodsIn(stored: string | null | undefined): readonly string[] | null {
  return stored === null || stored === undefined ? null : stored.split(' ').filter(Boolean)
}
