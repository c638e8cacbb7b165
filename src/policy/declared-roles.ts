/** The roles that `initPerms({ roles })` declares: their names, and which roles their holders may grant. */
import { ConfigurationError } from '../core/errors.js'
import { nearestNames } from '../core/nearest-names.js'
import { type Runtime, runtimeSlot } from '../runtime.js'
import type { BuiltInRole, RoleName } from './registered-types.js'
import type { AnyRule } from './rules.js'

/** A declared role. */
export interface RoleDeclaration {
  /**
   * The roles that its holders may grant, change and revoke: in the domain in which they hold the role, or globally if they hold it
   * globally. Default: none.
   */
  readonly grants?: readonly RoleName[] | undefined
}

/** The roles of an application by name, besides the built-in ones. */
export type RoleDeclarations = { readonly [K in Exclude<RoleName, BuiltInRole>]?: RoleDeclaration }

const builtIn: readonly string[] = ['superadmin', 'admin', 'user'] satisfies readonly BuiltInRole[]
const none: readonly string[] = []
const slot = runtimeSlot<ReadonlyMap<string, readonly string[]> | null>(() => null)

/**
 * Declares the roles of an application.
 *
 * @param roles undefined: every name is a role, and only admins grant roles
 * @throws ConfigurationError for names that are not declared, and for roles that would grant themselves
 */
export function declareRoles(runtime: Runtime, roles: RoleDeclarations | undefined): void {
  if (roles === undefined) return
  const declared = new Map(
    Object.entries<RoleDeclaration | undefined>(roles).map(([name, role]) => [name, [...(role?.grants ?? [])] as readonly string[]]),
  )
  for (const [name, grants] of declared) {
    if (builtIn.includes(name))
      throw new ConfigurationError(`initPerms({ roles }): '${name}' is built in. Leave it out; only admins grant roles by their rank.`)
    for (const granted of grants) {
      if (granted === 'admin' || granted === 'superadmin')
        throw new ConfigurationError(`initPerms({ roles }): '${name}' cannot grant '${granted}'. Only admins of a higher rank do.`)
      if (!declared.has(granted) && granted !== 'user')
        throw new ConfigurationError(
          `initPerms({ roles }): '${name}' grants '${granted}', which is not declared. ${nearestNames(granted, [...declared.keys()], 'The roles')}`,
        )
    }
    if (reaches(declared, name, name, new Set()))
      throw new ConfigurationError(`initPerms({ roles }): '${name}' could grant itself, directly or through other roles. Remove that.`)
  }
  slot.set(runtime, declared)
}

function reaches(declared: ReadonlyMap<string, readonly string[]>, from: string, wanted: string, seen: Set<string>): boolean {
  return (declared.get(from) ?? none).some((name) => {
    if (name === wanted) return true
    if (seen.has(name)) return false
    seen.add(name)
    return reaches(declared, name, wanted, seen)
  })
}

/** Returns the roles that holders of a role may grant. Admins grant by their rank instead. */
export function rolesGrantedBy(role: string): readonly string[] {
  return slot.get()?.get(role) ?? none
}

/** Returns the names of the declared roles; none without a declaration. */
export function rolesDeclared(): readonly string[] {
  return [...(slot.get()?.keys() ?? [])]
}

/** Returns the declared roles whose holders may grant roles. */
export function rolesWithGrants(): readonly string[] {
  return [...(slot.get() ?? [])].flatMap(([role, grants]) => (grants.length > 0 ? [role] : []))
}

/** Returns whether a role may be used: declared, built in, or any if none are declared. */
export function isKnownRole(name: string): boolean {
  const declared = slot.get()
  return declared === null || declared.has(name) || builtIn.includes(name)
}

/** Checks the roles that a part of a rule names. @throws ConfigurationError for a role that is not declared, with similar names */
export function assertKnownRoles(at: string, part: AnyRule): void {
  if (part.kind !== 'role' && part.kind !== 'member' && part.kind !== 'colleague') return
  const wrong = part.roles?.find((name) => !isKnownRole(name))
  if (wrong === undefined) return
  const names = [...builtIn, ...(slot.get()?.keys() ?? [])]
  throw new ConfigurationError(
    `${at}: ${part.kind}() names the role '${wrong}', which is not declared. ${nearestNames(wrong, names, 'The roles')}`,
  )
}
