import { type FieldError, ValidationError } from '../core/errors.js'

/** The roles that the library knows. Any other string, or string enum, is a role of the application's. */
export const Role = {
  /** May do everything, and make and unmake admins. */
  SUPERADMIN: 'superadmin',
  /** Is past every rule, but for other admins and what is theirs. */
  ADMIN: 'admin',
  /** A regular user; means only what policies make of it. */
  USER: 'user',
} as const
export type Role = (typeof Role)[keyof typeof Role]

const reserved = Object.values(Role) as readonly string[]

/** Characters, as many as the column takes. */
const MAX_ROLE = 100

// What the eye takes for the same: case, blanks around, accents, full-width forms.
function skeleton(role: string): string {
  return role
    .normalize('NFKD')
    .replace(/\p{M}|\p{Cf}|\s/gu, '')
    .toLowerCase()
}

/**
 * The name of a role as it is stored: exactly as given.
 *
 * @throws ValidationError for no name, and for one that looks like a reserved one ('ADMIN', 'admin ')
 */
export function checkRole(role: unknown): string {
  const errors: FieldError[] = []
  if (typeof role !== 'string' || role.trim() === '') errors.push({ field: 'role', message: 'must be the name of a role' })
  else if (role.length > 2 * MAX_ROLE) errors.push({ field: 'role', message: `must have at most ${MAX_ROLE} characters` })
  else if (!reserved.includes(role) && reserved.includes(skeleton(role)))
    errors.push({ field: 'role', message: `looks like the reserved role '${skeleton(role)}': write it exactly so, or take another name` })
  if (errors[0]) throw new ValidationError(`role ${errors[0].message}`, errors)
  return role as string
}
