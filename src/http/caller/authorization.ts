import { ConfigurationError } from '../../core/errors.js'
import type { HttpRequest } from '../core/request.js'

/** Returns the token of a request's Authorization header: '' for an empty one, and null for a header of another scheme or without one. */
export type TokenReader = (request: HttpRequest) => string | null

const tokenCharacters = "[\\w!#$%&'*+.^`|~-]"
const schemeName = new RegExp(`^${tokenCharacters}{1,32}$`)

/** Schemes whose values are passwords or answers to a challenge, never tokens. */
const notForTokens = new Set(['basic', 'digest', 'negotiate', 'ntlm'])

/**
 * Returns a function that reads the token of the Authorization header.
 *
 * A header that starts with one of the schemes is a credential, valid or not: it may give 401, never an anonymous caller.
 *
 * @param schemes accepted in addition to Bearer, in upper or lower case
 * @throws ConfigurationError for a value that is not a list of names of schemes
 */
export function tokenReader(schemes: readonly string[] = []): TokenReader {
  assertSchemes(schemes)
  const names = ['bearer', ...schemes].map((name) => name.replace(/[$*+.^|]/g, '\\$&'))
  const credential = new RegExp(`^(?:${names.join('|')})(?!${tokenCharacters})(?: +(.*))?`, 'is')
  return (request) => {
    const match = credential.exec(request.header('authorization') ?? '')
    return match ? (match[1]?.trim() ?? '') : null
  }
}

/** Checks `initPerms({ jwt: { schemes } })`. @throws ConfigurationError */
function assertSchemes(schemes: unknown): void {
  if (!Array.isArray(schemes) || !schemes.every((name) => typeof name === 'string' && schemeName.test(name)))
    throw new ConfigurationError(
      `initPerms({ jwt: { schemes: ${JSON.stringify(schemes)} } }): use a list of names of schemes, such as ['Token'] for "Authorization: Token ...".`,
    )
  const wrong = schemes.find((name: string) => notForTokens.has(name.toLowerCase()))
  if (wrong !== undefined)
    throw new ConfigurationError(`initPerms({ jwt: { schemes: ['${wrong}'] } }): ${wrong} does not carry a token. Leave it out.`)
}
