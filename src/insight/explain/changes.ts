/** The changes of a row or a caller that a counterfactual may consist of. */
import type { Actor, Grant } from '../../policy/context.js'
import { isRecent } from '../../policy/session-rules.js'
import type { State } from './state.js'

/** A change of the row or of the caller. */
export type Change =
  /** A column of the row has another value. `owner`: the value is, or was, the id of the caller. */
  | { readonly kind: 'column'; readonly column: string; readonly value: unknown; readonly owner?: boolean }
  /** The caller holds a further role: globally, or in a domain. */
  | { readonly kind: 'grant'; readonly role: string; readonly domainId: string | null; readonly domain: string | null }
  /** The caller does not hold a role. */
  | { readonly kind: 'revoke'; readonly role: string; readonly domainId: string | null; readonly domain: string | null }
  /** The caller has confirmed its session with every factor, or long ago with none. */
  | { readonly kind: 'session'; readonly confirmed: boolean }
  /** The API key of the caller has a further ability. */
  | { readonly kind: 'ability'; readonly ability: string }
  /** The row is shared with the caller in this relation; null: it is not shared with the caller at all. */
  | { readonly kind: 'share'; readonly relation: string | null }
  /** The caller is signed in as a user without roles. */
  | { readonly kind: 'signIn' }
  /** The user is enabled. */
  | { readonly kind: 'enable' }

/** Callers that a change may lead to. */
export interface OtherCallers {
  /** The actor of a disabled user, as it would be if the user were enabled. */
  readonly enabled: Actor | null
  /** A user without roles. */
  readonly stranger: Actor | null
}

/** Applies a change; null if it does not apply to the state. */
export function apply(change: Change, state: State, others: OtherCallers): State | null {
  const { actor, row } = state
  if (change.kind === 'column') return { ...state, row: { ...row, [change.column]: change.value } }
  if (change.kind === 'enable') return actor === null && others.enabled ? { ...state, actor: others.enabled } : null
  if (change.kind === 'signIn') return actor === null && others.stranger ? { ...state, actor: others.stranger } : null
  if (change.kind === 'share') return actor && { ...state, sharedAs: change.relation }
  const changed = actor && changedActor(change, actor)
  return changed && { ...state, actor: changed }
}

type ActorChange = Exclude<Change, { kind: 'column' | 'enable' | 'signIn' | 'share' }>

function changedActor(change: ActorChange, actor: Actor): Actor | null {
  switch (change.kind) {
    case 'grant': {
      const grant: Grant = { id: '', role: change.role, domainId: change.domainId as never, domainName: change.domain }
      return { ...actor, grants: [...actor.grants, grant] }
    }
    case 'revoke':
      return { ...actor, grants: actor.grants.filter(({ role, domainId }) => role !== change.role || domainId !== change.domainId) }
    case 'session':
      if (actor.abilities !== null || actor.impersonatorId !== null) return null
      return change.confirmed
        ? { ...actor, authTime: new Date(), amr: ['pwd', 'otp', 'hwk', 'swk', 'mfa'] }
        : { ...actor, authTime: isRecent(actor, 1) ? new Date(0) : null, amr: [] }
    case 'ability':
      return actor.abilities && { ...actor, abilities: [...actor.abilities, change.ability] }
  }
}

/** Returns whether two changes cannot both happen. */
export function conflict(a: Change, b: Change): boolean {
  if (a.kind === 'column' && b.kind === 'column') return a.column === b.column
  if (a.kind === 'share' && b.kind === 'share') return true
  return (a.kind === 'session' && b.kind === 'session') || (a.kind === 'signIn' && b.kind === 'enable')
}

const shown = (value: unknown): string =>
  typeof value === 'string' ? `'${value}'` : value instanceof Date ? value.toISOString() : String(value)

/** Returns a change in words, such as "status were 'published'". @param name the caller in words */
export function changeWords(change: Change, name: string): string {
  switch (change.kind) {
    case 'column':
      if (change.owner !== undefined) return change.owner ? `${name} owned the row (${change.column})` : `${name} did not own the row`
      return `${change.column} were ${shown(change.value)}`
    case 'grant':
    case 'revoke': {
      const where = change.domainId === null ? ' globally' : ` in ${change.domain ?? change.domainId}`
      return `${name} ${change.kind === 'grant' ? 'had' : 'did not have'} the role ${change.role}${where}`
    }
    case 'session':
      return change.confirmed
        ? `${name} had just confirmed the session with a second factor`
        : `${name} had not confirmed the session lately`
    case 'share':
      return change.relation === null ? `the row were not shared with ${name}` : `the row were shared with ${name} as ${change.relation}`
    case 'ability':
      return `the API key had the ability ${change.ability}`
    case 'signIn':
      return 'the caller were signed in'
    case 'enable':
      return `${name} were enabled`
  }
}
