import type { DomainName } from './registered-types.js'
import type { AnyRule, Rule } from './rules.js'

const nameOf = (domain: DomainName): string => String(typeof domain === 'object' ? domain.id : domain)

/** Returns a description of a rule, for developers. */
export function words(given: Rule): string {
  const rule = given as AnyRule
  switch (rule.kind) {
    case 'constant':
      return rule.value ? 'everyone' : 'nobody'
    case 'authenticated':
      return 'any signed-in user'
    case 'owner':
      return `the owner (${rule.field ?? 'userField'})`
    case 'self':
      return 'the user that the row represents'
    case 'role':
      return `holders of ${rule.roles.join(' or ')}${rule.domain ? ` in ${nameOf(rule.domain)}` : ''}`
    case 'ability':
      return `callers with the ability ${rule.ability}`
    case 'recent':
      return `callers who confirmed their session within ${rule.seconds} seconds`
    case 'factor':
      return `sessions with ${rule.factor === 'any' ? 'any second factor' : `the second factor ${rule.factor}`}`
    case 'where':
      return `rows where ${JSON.stringify(rule.conditions, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value))}`
    case 'related':
      return rule.depth === undefined
        ? `rows with a ${rule.relation} for which: ${words(rule.rule)}`
        : `rows with a ${rule.relation}, at up to ${rule.depth} levels, for which: ${words(rule.rule)}`
    case 'allowed':
      return `the caller may ${rule.action} it`
    case 'before':
      return `before the change ${words(rule.rule)}`
    case 'shared':
      return `users with whom the row is shared as ${rule.relation}`
    case 'grantor':
      return 'holders of a role that may grant it'
    case 'rank':
      return 'users of a higher rank than the grant'
    case 'member':
      return rule.roles ? `${rule.roles.join(' or ')} of the domain` : 'members of the domain'
    case 'colleague':
      return `users with a role in a domain of the caller${rule.roles ? `, who is ${rule.roles.join(' or ')} there` : ''}`
    case 'delegate':
      return 'callers who may update the owner'
    case 'anyOf':
      return rule.rules.length === 0 ? 'nobody' : `(${rule.rules.map(words).join(' or ')})`
    case 'allOf':
      return rule.rules.length === 0 ? 'everyone' : `(${rule.rules.map(words).join(' and ')})`
    case 'not':
      return `not ${words(rule.rule)}`
    case 'check':
      return 'check(), decided by code'
  }
}
