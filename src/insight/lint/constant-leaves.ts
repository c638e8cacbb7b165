/** Finds parts of rules that are always true or false, and parts that change nothing. */
import type { Model } from 'objection'
import type { AnyRule, Rule } from '../../policy/rules.js'
import { relationNamesOf, relationOf } from '../../query/objection-internals.js'
import { actionRulesOf, ruleWords } from '../leaves.js'
import { holdsFor, isOfRow, rowsFor, whereRulesIn } from '../values.js'
import type { Examined, LintFinding } from './finding.js'
import { implies } from './implication.js'

/** A part of a rule. */
interface Part {
  readonly cls: typeof Model
  readonly rule: AnyRule
  readonly path: string
  /** The rule that directly contains the part. */
  readonly parent: 'anyOf' | 'allOf' | 'not' | 'related' | null
}

type Found = Pick<LintFinding, 'code' | 'severity' | 'reason' | 'fix'> & { readonly part: Part }

/** Returns the findings about the rules of a model. */
export function constantLeaves({ cls, name, policy }: Examined): LintFinding[] {
  const findings = actionRulesOf(policy).flatMap(({ action, rule }) =>
    examine({ cls, rule: rule as AnyRule, path: '', parent: null }).map(
      ({ part, ...rest }): LintFinding => ({
        ...rest,
        model: name,
        action,
        leaf: { path: part.path || part.rule.kind, words: ruleWords(part.rule) },
      }),
    ),
  )
  // read and delete fall back to update: report the same part once.
  const seen = new Map(findings.map((finding) => [`${finding.code} ${finding.leaf?.path} ${finding.leaf?.words}`, finding]))
  return findings.filter((finding) => seen.get(`${finding.code} ${finding.leaf?.path} ${finding.leaf?.words}`) === finding)
}

function examine(part: Part): Found[] {
  const value = constantValue(part)
  if (value !== undefined) return constantFinding(part, value)
  return [...rowParts(part), ...siblings(part), ...insideOf(part).flatMap(examine)]
}

/** Reports conditions on the row that together decide, whatever the other parts say. */
function rowParts(part: Part): Found[] {
  const { cls, rule } = part
  if (rule.kind !== 'anyOf' && rule.kind !== 'allOf') return []
  const rules = rule.rules.filter((one) => one.kind !== 'constant' && isOfRow(one))
  if (rules.length < 2 || rules.length === rule.rules.length) return []
  const together = { ...rule, rules } as AnyRule
  const decides = rule.kind === 'anyOf'
  return constantValue({ cls, rule: together, path: '', parent: null }) === decides
    ? constantFinding({ ...part, rule: together }, decides)
    : []
}

function insideOf({ cls, rule, path }: Part): Part[] {
  const at = (one: string) => (path === '' ? one : `${path}.${one}`)
  if (rule.kind === 'anyOf' || rule.kind === 'allOf')
    return rule.rules.map((inner, i) => ({ cls, rule: inner as AnyRule, path: at(`${rule.kind}[${i}]`), parent: rule.kind as 'anyOf' }))
  if (rule.kind === 'not' || rule.kind === 'before') return [{ cls, rule: rule.rule as AnyRule, path: at(rule.kind), parent: 'not' }]
  if (rule.kind !== 'related' || !relationNamesOf(cls).includes(rule.relation)) return []
  const { relatedModelClass } = relationOf(cls, rule.relation)
  return [{ cls: relatedModelClass, rule: rule.rule as AnyRule, path: at(`related('${rule.relation}')`), parent: 'related' }]
}

/** Returns the value of a part that does not depend on the caller and the row; undefined for all others. */
function constantValue({ cls, rule }: Part): boolean | undefined {
  if (rule.kind === 'constant') return rule.value
  if (!isOfRow(rule)) return undefined
  const answers = rowsFor(cls, whereRulesIn(rule))?.map((row) => holdsFor(cls, rule, row))
  if (answers === undefined || answers.length === 0) return rule.kind === 'where' && answers ? false : undefined
  return answers.every(Boolean) ? true : answers.some(Boolean) ? undefined : false
}

// everyone() and nobody() as a whole rule, or as the rule of related rows, are what they say.
function constantFinding(part: Part, value: boolean): Found[] {
  const { rule, parent } = part
  if (rule.kind === 'constant' && (parent === null || parent === 'related')) return []
  if (parent === (value ? 'allOf' : 'anyOf') && rule.kind === 'constant')
    return [
      { part, code: 'adds-nothing', severity: 'warning', reason: `${named(rule)} changes nothing inside ${parent}().`, fix: 'Remove it.' },
    ]
  const opens = value ? parent !== 'not' : parent === 'not'
  return [
    {
      part,
      code: value ? 'always-true' : 'always-false',
      severity: opens ? 'error' : 'warning',
      reason: `This is ${value} for every row: ${reasonFor(rule)}.`,
      fix: value
        ? 'Remove the condition, or write everyone() if all rows are meant.'
        : 'Correct the values, or write nobody() if no row is meant.',
    },
  ]
}

const named = (rule: AnyRule): string => (rule.kind === 'constant' ? (rule.value ? 'everyone()' : 'nobody()') : `${rule.kind}()`)

const reasonFor = (rule: AnyRule): string =>
  rule.kind === 'constant' ? `it is ${named(rule)}` : `no value of the column makes ${ruleWords(rule)} anything else`

/** Returns the parts of anyOf() and allOf() that another part includes. Of two equal parts, the later one adds nothing. */
function siblings(part: Part): Found[] {
  const { cls, rule } = part
  if (rule.kind !== 'anyOf' && rule.kind !== 'allOf') return []
  return insideOf(part).flatMap((one, i): Found[] => {
    if (one.rule.kind === 'constant') return []
    const other = rule.rules.find(
      (candidate, j) => i !== j && candidate.kind !== 'constant' && isCovered(cls, rule.kind, one.rule, candidate, i > j),
    )
    if (other === undefined) return []
    const why = rule.kind === 'anyOf' ? 'which allows it already' : 'which allows nothing else'
    return [
      {
        part: one,
        code: 'adds-nothing',
        severity: 'warning',
        reason: `It stands beside "${ruleWords(other)}", ${why}.`,
        fix: 'Remove it.',
      },
    ]
  })
}

function isCovered(cls: typeof Model, kind: 'anyOf' | 'allOf', one: Rule, other: Rule, isLater: boolean): boolean {
  const [narrow, wide] = kind === 'anyOf' ? [one, other] : [other, one]
  return implies(cls, narrow, wide) && (isLater || !implies(cls, wide, narrow))
}
