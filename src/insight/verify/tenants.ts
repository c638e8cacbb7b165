/** The tenants of models, and the callers for whom their isolation is verified. */
import type { Model } from 'objection'
import { ConfigurationError } from '../../core/errors.js'
import type { Actor, Grant } from '../../policy/context.js'
import { policyOf, type Resolved } from '../../policy/policy.js'
import { everyMethod } from '../../policy/session-rules.js'
import type { ColumnSpec } from '../../schema/column.js'
import { structureOf } from '../../schema/definition/definition.js'
import { idSpecOf } from '../../schema/ids.js'
import { modelClass } from '../../schema/model-class.js'
import { rolesIn } from '../matrix/callers.js'

/** A model whose rows belong to a tenant. */
export interface Tenancy {
  readonly cls: typeof Model
  readonly policy: Resolved
  /** The property with the tenant of a row. */
  readonly column: string
  /** Whether the tenant is the owner of the row. */
  readonly isOwner: boolean
}

/** The ids of the database that is searched: two tenants, a caller of the first, a colleague there, and a user of the second. */
export interface People {
  readonly a: unknown
  readonly b: unknown
  readonly me: unknown
  readonly mate: unknown
  readonly other: unknown
}

/** A caller whose rights are examined. */
export interface Attacker {
  readonly actor: Actor
  /** The same user without the roles of the first tenant, if the user is a member of both: these rights are allowed. */
  readonly entitled: Actor | null
  readonly grants: readonly { readonly role: string; readonly tenant: 'a' | 'b' | null }[]
}

/** Returns an id of the model's type. @throws ConfigurationError for a composite key */
export function idFor(cls: typeof Model, n: number): string | number {
  const spec = idSpecOf(cls)
  if (!spec) throw new ConfigurationError(`${cls.name}: verify() needs a declared id of one column.`)
  return valueFor(spec, n)
}

function valueFor(spec: ColumnSpec, n: number): string | number {
  if (spec.type === 'uuid') return `00000000-0000-7000-8000-${String(n).padStart(12, '0')}`
  return spec.type === 'integer' ? n : String(n)
}

/** Returns the models whose rows belong to a tenant: a domain, the given column, or the owner. */
export function tenanciesOf(
  policies: ReadonlyMap<typeof Model, Resolved>,
  given: Readonly<Record<string, string | null>>,
  byOwner: boolean,
): readonly Tenancy[] {
  const names = [...policies.keys()].map((cls) => modelClass(cls).name)
  const unknown = Object.keys(given).find((name) => !names.includes(name))
  if (unknown !== undefined)
    throw new ConfigurationError(
      `verify({ tenant: { ${unknown} } }): there is no such model with a policy. The models are ${names.join(', ')}.`,
    )
  return [...policies].flatMap(([cls, policy]): Tenancy[] => {
    const named = given[modelClass(cls).name]
    if (named === null) return []
    if (named !== undefined && !structureOf(cls).specs[named])
      throw new ConfigurationError(`verify({ tenant: { ${modelClass(cls).name}: '${named}' } }): the model has no such column.`)
    const column = named ?? policy.domainField ?? (byOwner ? policy.ownerField : undefined)
    if (column === undefined || (policy.isUserModel && named === undefined)) return []
    return [{ cls, policy, column, isOwner: column === policy.ownerField }]
  })
}

/** Returns the callers: each role that the rules name, alone and together, in one tenant, in both, and globally. Global admins are exempt. */
export function attackersOf(policies: ReadonlyMap<typeof Model, Resolved>, people: People, isOwner: boolean): readonly Attacker[] {
  const roles = [...rolesIn(policies)].filter((role) => role !== 'admin' && role !== 'superadmin').sort()
  if (isOwner) return sessionsOf([[]], people)
  const inA = (role: string) => ({ role, tenant: 'a' as const })
  const member = inA('member')
  const sets = [[member], ...roles.map((role) => [inA(role)]), [inA('admin')], ...(roles.length > 1 ? [roles.map(inA)] : [])]
  const inBoth = sets.map((set) => [...set, { role: 'visitor', tenant: 'b' as const }])
  const global = roles.map((role) => [member, { role, tenant: null }])
  return sessionsOf([...sets, ...global, ...inBoth], people)
}

// A session that is just proved, and one that is not.
const sessionsOf = (sets: readonly Attacker['grants'][], people: People): readonly Attacker[] =>
  sets.flatMap((grants) => [true, false].map((isFresh) => attackerWith(grants, people, isFresh)))

function attackerWith(grants: Attacker['grants'], people: People, isFresh: boolean): Attacker {
  const actorWith = (held: Attacker['grants']): Actor => ({
    id: people.me as string,
    user: { id: people.me, isEnabled: true },
    grants: held.map(
      ({ role, tenant }, i): Grant => ({
        id: String(i),
        role,
        domainId: tenant === null ? null : (people[tenant] as string),
        domainName: tenant === null ? null : `tenant-${tenant}`,
      }),
    ),
    ...{ sessionId: null, abilities: null, impersonatorId: null },
    ...{ authTime: isFresh ? new Date() : null, amr: isFresh ? everyMethod : null },
  })
  const isInBoth = grants.some(({ tenant }) => tenant === 'b')
  return { actor: actorWith(grants), grants, entitled: isInBoth ? actorWith(grants.filter(({ tenant }) => tenant !== 'a')) : null }
}

/** Returns the policy frame of a class, or its policy if it has one. */
export const policyIfAny = (cls: typeof Model): Resolved | undefined => ('policy' in cls ? policyOf(cls) : undefined)
