// Error codes: a switch over `error.code` knows every code.
import { PermsError, type PermsErrorCode } from 'objection-perms'

export function hint(error: PermsError): string {
  switch (error.code) {
    case 'too_many_attempts': {
      const narrowed: 'too_many_attempts' = error.code
      return `Wait ${error.retryAfter ?? 0} s (${narrowed}).`
    }
    case 'taken':
      return `Choose another ${error.errors[0]?.field ?? 'value'}.`
    // @ts-expect-error a misspelled code does not compile
    case 'too_many_atempts':
      return ''
    default: {
      const rest: Exclude<PermsErrorCode, 'too_many_attempts' | 'taken'> = error.code
      return rest
    }
  }
}

export function codeOf(error: unknown): PermsErrorCode {
  return error instanceof PermsError ? error.code : 'internal'
}
