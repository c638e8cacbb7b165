import { type FieldProblem, ValidationError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import type { Actor } from '../../policy/context.js'
import { isKnownRole } from '../../policy/declared-roles.js'

/**
 * The roles with a built-in meaning. Any other string (or string enum) is a role of the application.
 *
 * @example await user.grantRole(Role.ADMIN)
 */
export const Role = {
  /** May do everything, including appointing and removing admins. */
  SUPERADMIN: 'superadmin',
  /** Passes every policy, except for other admins and their rows. */
  ADMIN: 'admin',
  /** A regular user, without a built-in meaning: policies decide. */
  USER: 'user',
} as const
export type Role = (typeof Role)[keyof typeof Role]

/** Returns whether an actor is a superadmin everywhere. */
export function isSuperadmin({ grants }: Actor): boolean {
  return grants.some(({ role, domainId }) => role === Role.SUPERADMIN && domainId === null)
}

const reserved = Object.values(Role) as readonly string[]

/** In characters: the length of the column. */
const MAX_ROLE = 100

// Removes differences that readers overlook: case, surrounding blanks, accents, full-width forms.
function foldRoleName(role: string): string {
  return role
    .normalize('NFKD')
    .replace(/\p{M}|\p{Cf}|\s/gu, '')
    .toLowerCase()
}

/**
 * Returns the name of a role unchanged, as it is stored.
 *
 * @throws ValidationError for a blank name, one that looks like a built-in role ('ADMIN', 'admin '), and one that is not declared
 */
export function checkRole(role: unknown): string {
  const errors: FieldProblem[] = []
  if (typeof role !== 'string' || role.trim() === '') errors.push({ field: 'role', message: message('field.roleName') })
  else if (role.length > 2 * MAX_ROLE) errors.push({ field: 'role', message: message('field.maxLength', { limit: MAX_ROLE }) })
  else if (!reserved.includes(role) && reserved.includes(foldRoleName(role)))
    errors.push({
      field: 'role',
      message: message('field.reservedRole', { role: foldRoleName(role) }),
    })
  else if (!isKnownRole(role)) errors.push({ field: 'role', message: message('field.roleNotDeclared') })
  if (errors[0]) throw new ValidationError(message('input.field', { field: 'role', problem: errors[0].message }), errors)
  return role as string
}
