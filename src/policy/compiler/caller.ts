/** The caller of a rule, either known with its grants or a column of the statement. */
import type { DomainName } from '../registered-types.js'
import type { SessionFacts } from '../session-rules.js'
import type { Condition, Sql } from './condition.js'
import { literalCaller } from './literal-caller.js'
import type { Scope } from './scope.js'
import { symbolicCaller } from './symbolic-caller.js'

/** The questions of rules about a caller. Each method takes the scope, which holds the actor or the columns of the user. */
export interface Caller {
  /** Whether the caller is signed in. */
  isPresent(scope: Scope): boolean
  /** The session and the API key; null for an anonymous caller. */
  session(scope: Scope): SessionFacts | null
  /** Whether the caller's grants must be restricted to judge what a right depends on: see rank.ts. */
  hasDomainGrants(scope: Scope): boolean
  /** Whether a property of the row is the id of the caller. */
  idIs(scope: Scope, property: string): Condition
  /** Whether the caller holds one of the roles globally. */
  holdsGlobally(scope: Scope, roles: readonly string[]): Condition
  /** Whether the caller holds one of the roles, or any, in the domain that a property of the row names. */
  holdsInDomain(scope: Scope, property: string, roles: readonly string[] | null): Condition
  /** Whether the caller holds one of the roles in a domain that the rule names. Returns alternatives. */
  holdsInNamed(scope: Scope, roles: readonly string[], domain: DomainName): readonly Condition[]
  /** The roles with grants of their own that the caller holds or may hold. */
  grantingRoles(scope: Scope): Iterable<string>
  /** Whether the user of the row holds a role in a domain in which the caller holds one of the roles, or any. */
  sharesDomain(scope: Scope, roles: readonly string[] | null): Condition
  /** Whether the caller is a subject of a share: the user, a holder of the role, or a member of the domain. @param alias the table of shares */
  receivesShare(scope: Scope, alias: string): Condition
  /** Returns the scope with the caller's global grants only. */
  withGlobalGrants(scope: Scope): Scope
  /**
   * Whether a condition holds with the caller's global grants and those of a single domain.
   *
   * @param condition gets the scope with these grants and the id of the domain
   */
  inOneDomain(scope: Scope, condition: (scope: Scope, domainId: Sql) => Condition): readonly Condition[]
}

/** Returns the caller of a scope. */
export const callerOf = (scope: Scope): Caller => (scope.user === undefined ? literalCaller : symbolicCaller)
