/** Finds weaknesses that concern an action or a whole policy. */
import type { PermsStatics } from '../../policy/policy.js'
import { mentions, type Rule } from '../../policy/rules.js'
import { lineage, ownStatic } from '../../schema/class-statics.js'
import { structureOf } from '../../schema/definition/definition.js'
import { leavesOf, ruleWords } from '../leaves.js'
import type { Examined, LintFinding } from './finding.js'
import { implies, needsCaller } from './implication.js'

const whole = (rule: Rule, path = ''): LintFinding['leaf'] => ({ path: path || rule.kind, words: ruleWords(rule) })

/** Reports a policy without any rule: only global admins may act. */
export function missingPolicy({ name, cls }: Examined): LintFinding[] {
  const { delegateToUser, publicRegistration } = cls as PermsStatics
  const hasRules = lineage(cls).some((c) => Object.keys(ownStatic(c, 'policy') ?? {}).length > 0)
  if (hasRules || delegateToUser || publicRegistration) return []
  return [
    {
      ...{ code: 'no-policy', severity: 'warning', model: name, action: null, leaf: null },
      reason: `${name} has no policy, so only global admins may use it.`,
      fix: 'Write static policy = { ... }. If that is meant: static policy = { read: nobody() }.',
    },
  ]
}

/** Reports a model that is not protected at all. */
export function unprotected(name: string): LintFinding {
  return {
    ...{ code: 'no-policy', severity: 'warning', model: name, action: null, leaf: null },
    reason: `${name} does not enforce permissions: every caller may do everything with its rows.`,
    fix: 'Extend BasePermsModel, or wrap its base class in PermsMixin().',
  }
}

/** Reports global scopes that `static unguarded` lifts. */
export function liftedScopes({ name, cls }: Examined): LintFinding[] {
  const { unguarded = [] } = cls as { unguarded?: readonly string[] }
  return unguarded.map((scope) => ({
    ...{ code: 'lifted-scope', severity: 'warning', model: name, action: null, leaf: null },
    reason: `${name}.unguarded lifts the global scope '${scope}': only the rules restrict its rows.`,
    fix: 'Remove it from unguarded, or acknowledge this finding with the reason.',
  }))
}

/** Reports rules of writes that allow more than the read rule: a row must be readable to be changed. */
export function widerThanRead({ name, cls, policy }: Examined): LintFinding[] {
  const writes: [string, Rule][] = [['update', policy.updateFrom], ['delete', policy.delete], ...policy.named]
  return writes.flatMap(([action, rule]): LintFinding[] => {
    if (mentions(rule, 'check') || implies(cls, rule, policy.read)) return []
    if (policy.bypass.read && isForAdmins(rule)) return []
    return [
      {
        ...{ code: 'wider-than-read', severity: 'warning', model: name, action, leaf: whole(rule) },
        reason: `It allows more than read (${ruleWords(policy.read)}), and a row must be readable for it. The rest has no effect.`,
        fix: `Let read allow the same callers and rows, or narrow ${action}.`,
      },
    ]
  })
}

// Global admins bypass the read rule.
function isForAdmins(given: Rule): boolean {
  const rule = given as { kind: string; roles?: readonly string[]; rules?: readonly Rule[]; domain?: unknown }
  if (rule.kind === 'allOf') return rule.rules?.some(isForAdmins) ?? false
  if (rule.kind === 'anyOf') return rule.rules?.every(isForAdmins) ?? false
  return rule.kind === 'role' && rule.domain === undefined && (rule.roles ?? []).every((role) => role === 'admin' || role === 'superadmin')
}

/** Reports rules of create under which rows belong to nobody, or to users who did not create them. */
export function createWithoutOwner({ name, cls, policy }: Examined): LintFinding[] {
  const finding = (rule: Rule, path: string, reason: string, fix: string): LintFinding => ({
    ...{ code: 'create-without-owner', severity: 'error', model: name, action: 'create', leaf: whole(rule, path), reason, fix },
  })
  if (policy.isUserModel) return []
  if (policy.ownerField === undefined) return unownedCreate({ name, cls, policy }, finding)
  const { createForOthers } = policy
  if (createForOthers && !namesRoles(cls, createForOthers))
    return [
      finding(
        createForOthers,
        'others',
        `It lets callers without a role create rows in the name of other users.`,
        "Name a role, for example others: role('agent').",
      ),
    ]
  if (createForOthers || needsCaller(policy.create)) return []
  const isNullable = structureOf(cls).specs[policy.ownerField]?.isNullable === true
  const effect = isNullable ? 'such rows belong to nobody' : `the insert fails, because ${policy.ownerField} is required`
  return [finding(policy.create, '', `It allows anonymous callers, who have no id: ${effect}.`, 'Use authenticated(), or a narrower rule.')]
}

const namesRoles = (cls: Examined['cls'], rule: Rule): boolean =>
  [...leavesOf(cls, rule)].some(
    ({ rule: { kind } }) => !['constant', 'authenticated', 'owner', 'self', 'where', 'ability', 'recent', 'factor'].includes(kind),
  )

// Without HasUserMixin, nothing but the create rule ties the columns that owner() names to the caller.
function unownedCreate(
  { cls, policy }: Examined,
  finding: (rule: Rule, path: string, reason: string, fix: string) => LintFinding,
): LintFinding[] {
  const fields = new Set<string>()
  for (const rule of [policy.read, policy.updateFrom, policy.delete])
    for (const leaf of leavesOf(cls, rule))
      if (leaf.rule.kind === 'owner' && leaf.relations.length === 0 && leaf.rule.field !== undefined) fields.add(leaf.rule.field)
  const isClosed = policy.create.kind === 'constant' && !(policy.create as { value?: boolean }).value
  if (fields.size === 0 || isClosed) return []
  const checked = [...leavesOf(cls, policy.create)].some(({ rule }) => rule.kind === 'owner' || rule.kind === 'check')
  if (checked) return []
  const list = [...fields].join(', ')
  return [
    finding(
      policy.create,
      '',
      `Its rows belong to the user in ${list}, and this rule does not compare it with the caller: a row can be created in the name of another user.`,
      `Add owner('${[...fields][0]}') to the rule, or use HasUserMixin with static userField.`,
    ),
  ]
}

/** Names check() whose code only compares columns, as far as its text shows. */
export function checksInCode({ name, cls, policy }: Examined): LintFinding[] {
  const rules: [string, Rule][] = [['create', policy.create], ['update', policy.updateFrom], ['delete', policy.delete], ...policy.named]
  const seen = new Set<unknown>()
  return rules.flatMap(([action, rule]) =>
    [...leavesOf(cls, rule)].flatMap(({ rule: leaf, path }): LintFinding[] => {
      if (leaf.kind !== 'check' || seen.has(leaf.test) || !comparesColumns(String(leaf.test))) return []
      seen.add(leaf.test)
      return [
        {
          ...{ code: 'check-in-code', severity: 'info', model: name, action, leaf: { path, words: ruleWords(leaf) } },
          reason: 'It seems to compare columns only. Bulk writes load each row for it, and lists cannot use it.',
          fix: 'Use where() or owner(), if they can say the same.',
        },
      ]
    }),
  )
}

// An arrow function whose body calls nothing, awaits nothing and declares nothing.
function comparesColumns(source: string): boolean {
  const body = /^\(?\s*[\w\s,:]*\)?\s*=>\s*(?!\{)([\s\S]+)$/.exec(source)?.[1]
  return body !== undefined && /[=!]==?|[<>]=?/.test(body) && !/\w\s*\(|await|=>|`/.test(body)
}
