/** Decides which callers may ask who can act on a row. The answer must tell them nothing that they may not read. */
import type { Model } from 'objection'
import { all, any, type Condition } from '../policy/compiler/condition.js'
import { domainAdmin, globalRole } from '../policy/compiler/role-conditions.js'
import { type Scope, scopeOf } from '../policy/compiler/scope.js'
import type { Actor } from '../policy/context.js'
import { effective } from '../policy/effective.js'
import { isReadableEverywhere, readable } from '../policy/fields.js'
import { columnsRead, type PolicyFrame, policyFrameOf, policyOf, type Resolved, ruleOf } from '../policy/policy.js'
import { modelOfTable, registeredModel } from '../policy/registered-models.js'
import { type AnyRule, type Rule, walk } from '../policy/rules.js'
import { isShareable } from '../policy/share-relations.js'
import { ADMIN } from '../policy/user-tables.js'
import { relationOf } from '../query/objection-internals.js'
import { dialectOfClass } from '../record/codec.js'
import { definitionOf, structureOf } from '../schema/definition/definition.js'

/**
 * Returns the condition under which a caller may ask who can do an action with the row: the caller may read it and every value that
 * the rules read, and administers it or may update it.
 *
 * @param scope the caller as an actor, over the row
 */
export function mayAsk(action: string, scope: Scope): Condition {
  const { cls } = scope
  const policy = policyOf(cls)
  const isAdmin = scope.actor?.abilities ? false : any(globalRole(scope, [ADMIN]), domainAdmin(scope))
  const update = effective('update', { ...scope, writes: true }, { withDeleted: false, withoutChecks: true })
  const rules = [policy.read, ruleOf(policy, action), ...policy.globalScopes.map(({ rule }) => rule)]
  return all(
    effective('read', scope, { withDeleted: false }),
    any(isAdmin, update),
    ...rules.map((rule) => readsVisible(rule, scope, policy)),
    ...limitColumns(policy).map((name) => isVisible(name, scope)),
    ...['isEnabled', 'deletedAt'].map((name) => isUserColumnVisible(name, scope)),
  )
}

const limitColumns = ({ limits }: Resolved): readonly string[] => limits.flatMap(({ reads = [] }) => reads)

function isUserColumnVisible(name: string, { actor, dialect }: Scope): boolean {
  const cls = registeredModel('user')
  if (!structureOf(cls).specs[name]) return true
  return isReadableEverywhere(scopeOf(cls, actor, { dialect, ref: 'perms_asked' }), name)
}

function isVisible(name: string, scope: Scope): Condition {
  const spec = definitionOf(scope.cls).specs[name]
  if (!spec) return true
  if (spec.isHidden) return false
  return !spec.readable || readable(spec.readable, scope)
}

// Returns whether the caller may read all that a rule reads, in the row itself and in related rows.
function readsVisible(rule: Rule, scope: Scope, policy: PolicyFrame): Condition {
  const columns = [...columnsRead(scope.cls, rule, policy)].filter((name) => name !== '*')
  const inner = [...walk(rule)].map((part) => relatedVisible(part, scope))
  return all(...columns.map((name) => isVisible(name, scope)), ...inner)
}

function relatedVisible(rule: AnyRule, scope: Scope): Condition {
  if (rule.kind === 'related') return classVisible(relationOf(scope.cls, rule.relation).relatedModelClass, [rule.rule], scope)
  if (rule.kind === 'delegate') return classVisible(registeredModel('user'), [policyOf(registeredModel('user')).updateFrom], scope)
  if (rule.kind !== 'allowed') return true
  const policy = policyOf(scope.cls)
  return all(...[policy.read, ruleOf(policy, rule.action)].map((one) => readsVisible(one, scope, policy)))
}

// The rows that a rule finds are unknown: only callers who read all of them learn nothing new.
function classVisible(cls: typeof Model, rules: readonly Rule[], { actor, dialect, depth }: Scope): Condition {
  if (!('policy' in cls)) return true
  const scope = scopeOf(cls, actor, { dialect, ref: 'perms_asked' })
  if (!readsAll(cls, scope)) return false
  return depth > 10 || all(...rules.map((rule) => readsVisible(rule, { ...scope, depth: depth + 1 }, policyFrameOf(cls))))
}

const readsAll = (cls: typeof Model, scope: Scope): boolean => policyOf(cls).bypass.read && effective('read', scope, readAll) === true

const readAll = { withDeleted: true }

/** Returns the condition under which a caller may read grants. @param alias the table of grants in the statement */
export function readableGrants(actor: Actor | null): (alias: string, depth: number) => Condition {
  const cls = registeredModel('userRole')
  return (alias, depth) =>
    effective('read', { ...scopeOf(cls, actor, { dialect: dialectOfClass(cls), ref: alias }), depth: depth + GRANT_DEPTH }, readAll)
}

/**
 * Returns the condition under which a caller may read shares: those that the caller received or made, and all of a row that the caller
 * may share.
 *
 * @param row the scope of the row that the question is about
 */
export function readableShares(actor: Actor | null, row: Scope): (alias: string, depth: number) => Condition {
  const cls = modelOfTable('rowShare')
  const all = isShareable(row.cls) ? effective('share', row, { withDeleted: false }) : false
  return (alias, depth) => {
    const own = effective(
      'read',
      { ...scopeOf(cls, actor, { dialect: dialectOfClass(cls), ref: alias }), depth: depth + GRANT_DEPTH },
      readAll,
    )
    // Inside related(), the shares are those of other rows.
    return depth === 0 ? any(own, all) : own
  }
}

/** Keeps the aliases inside the rule of grants apart from those around it. */
const GRANT_DEPTH = 50
