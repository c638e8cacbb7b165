/** The findings of lint(). */
import type { Model } from 'objection'
import type { Resolved } from '../../policy/policy.js'
import { modelClass } from '../../schema/model-class.js'

/** The kinds of findings. */
export const lintCodes = [
  'always-true',
  'always-false',
  'adds-nothing',
  'wider-than-read',
  'create-without-owner',
  'missing-index',
  'role-not-granted',
  'no-policy',
  'lifted-scope',
  'check-in-code',
  'unused-acknowledgement',
] as const

export type LintCode = (typeof lintCodes)[number]

/** A weakness of a policy. */
export interface LintFinding {
  readonly code: LintCode
  /** 'error': probably a mistake that opens or closes too much. 'info' never fails a build. */
  readonly severity: 'error' | 'warning' | 'info'
  readonly model: string
  /** The key of the policy; null if the finding concerns the whole model. */
  readonly action: string | null
  /** The part of the rule: its place in the rule of the action, and its words. */
  readonly leaf: { readonly path: string; readonly words: string } | null
  readonly reason: string
  readonly fix: string
}

/**
 * The static `lint` of a model: findings that are intended, with the reason. A key is the code of a finding, or the code and an action.
 *
 * @example
 * class Article extends HasDomainMixin(BasePermsModel).withColumns({ title: column.string() }) {
 *   static override unguarded = ['domain']
 *   static lint: LintSettings = { acknowledge: { 'lifted-scope': 'Articles are published to all domains.' } }
 * }
 */
export interface LintSettings {
  readonly acknowledge: { readonly [key in LintCode | `${LintCode}:${string}`]?: string }
}

/** A model that is examined. */
export interface Examined {
  readonly cls: typeof Model
  readonly name: string
  readonly policy: Resolved
}

/** Returns the findings that the models do not acknowledge, and the acknowledgements without a finding. */
export function withoutAcknowledged(models: readonly (typeof Model)[], findings: readonly LintFinding[]): LintFinding[] {
  const used = new Set<string>()
  const settings = new Map(models.map((cls) => [modelClass(cls).name, acknowledgedBy(cls)]))
  const open = findings.filter(({ model, code, action }) => {
    const known = settings.get(model) ?? {}
    const keys = [code, `${code}:${action}`].filter((key) => key in known)
    for (const key of keys) used.add(`${model} ${key}`)
    return keys.length === 0
  })
  const unused = [...settings].flatMap(([model, known]) =>
    Object.keys(known).flatMap((key) => (used.has(`${model} ${key}`) ? [] : [{ model, key }])),
  )
  return [...open, ...unused.map(({ model, key }) => unusedFinding(model, key))]
}

function acknowledgedBy(cls: object): Readonly<Record<string, string>> {
  const { lint } = cls as { lint?: { acknowledge?: Readonly<Record<string, string>> } }
  return lint?.acknowledge ?? {}
}

function unusedFinding(model: string, key: string): LintFinding {
  const code = key.split(':')[0] ?? ''
  const isKnown = lintCodes.some((one) => one === code)
  return {
    code: 'unused-acknowledgement',
    severity: 'warning',
    model,
    action: null,
    leaf: null,
    reason: isKnown
      ? `${model}.lint acknowledges '${key}', which is not found.`
      : `${model}.lint acknowledges '${key}', which lint() does not know.`,
    fix: isKnown
      ? 'Remove the acknowledgement.'
      : `Use a code: ${lintCodes.slice(0, -1).join(', ')}; or a code and an action, such as 'always-true:read'.`,
  }
}
