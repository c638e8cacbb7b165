/** The callers of a permission matrix: kinds of users rather than users. */
import type { Model } from 'objection'
import { rolesDeclared } from '../../policy/declared-roles.js'
import type { Resolved } from '../../policy/policy.js'
import { rolesSatisfying } from '../../policy/user-tables.js'
import { actionRulesOf, leavesOf } from '../leaves.js'

/** A kind of caller, for whom each rule of the matrix is evaluated. */
export interface MatrixCaller {
  /** A short name: 'anonymous', 'signed in', 'owner', a role, or a role in the domain of the row. */
  readonly name: string
  readonly isSignedIn: boolean
  /** Whether the row belongs to the caller, or is the caller's own account. */
  readonly isOwner: boolean
  readonly globalRoles: readonly string[]
  /** The caller's roles in the domain of the row. null: not known. */
  readonly domainRoles: readonly string[] | null
}

const anonymous: MatrixCaller = { name: 'anonymous', isSignedIn: false, isOwner: false, globalRoles: [], domainRoles: [] }
const signedIn: MatrixCaller = { ...anonymous, name: 'signed in', isSignedIn: true }

/** The name of a role that no rule names, for a member of a domain. */
const ANY_ROLE = ' any role'

/**
 * Returns the callers in the order of the columns: without a role, by role, by role in the domain of the row, and admins.
 *
 * @param roles further roles, besides those that the rules name and `initPerms({ roles })` declares
 */
export function callersOf(policies: ReadonlyMap<typeof Model, Resolved>, roles: readonly string[] = []): readonly MatrixCaller[] {
  const named = [...new Set([...rolesIn(policies), ...rolesDeclared(), ...roles])]
    .filter((role) => role !== 'admin' && role !== 'superadmin')
    .sort()
  const inDomain = (name: string, role: string): MatrixCaller => ({ ...signedIn, name: `${name} of the domain`, domainRoles: [role] })
  const members = usesDomains(policies)
    ? [inDomain('member', ANY_ROLE), ...named.map((role) => inDomain(role, role)), inDomain('admin', 'admin')]
    : []
  return [
    anonymous,
    signedIn,
    { ...signedIn, name: 'owner', isOwner: true, domainRoles: null },
    ...named.map((role) => ({ ...signedIn, name: role, globalRoles: [role] })),
    ...members,
    { ...signedIn, name: 'admin', globalRoles: ['admin'] },
    { ...signedIn, name: 'superadmin', globalRoles: ['superadmin'] },
  ]
}

/** Returns the roles that the rules of policies name. */
export function rolesIn(policies: ReadonlyMap<typeof Model, Resolved>): ReadonlySet<string> {
  const found = new Set<string>()
  for (const { rule } of allLeaves(policies)) {
    if ('roles' in rule) for (const role of rule.roles ?? []) found.add(role)
  }
  return found
}

function usesDomains(policies: ReadonlyMap<typeof Model, Resolved>): boolean {
  if ([...policies.values()].some(({ domainField }) => domainField !== undefined)) return true
  return allLeaves(policies).some(({ rule }) => rule.kind === 'member' || rule.kind === 'colleague' || ('domain' in rule && rule.domain))
}

const allLeaves = (policies: ReadonlyMap<typeof Model, Resolved>) =>
  [...policies].flatMap(([cls, policy]) => actionRulesOf(policy).flatMap(({ rule }) => [...leavesOf(cls, rule)]))

/** Returns whether one of the roles that a caller holds satisfies a rule for any of `wanted`; for undefined, whether there is one. */
export function holdsOne(held: readonly string[], wanted: readonly string[] | undefined): boolean {
  if (wanted === undefined) return held.length > 0
  const enough = rolesSatisfying(wanted)
  return held.some((role) => enough.includes(role))
}
