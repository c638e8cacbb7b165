/** The parameter `allowed` of lists and single rows: which actions the caller may do with a row. */
import type { FieldProblem } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { isAble } from '../../policy/abilities.js'
import type { Actor } from '../../policy/context.js'
import { allowsSession } from '../../policy/session-part.js'
import { ADMIN } from '../../policy/user-tables.js'
import { allowedOf } from '../../query/allowed-flags.js'
import { holdsRole } from '../caller/request-authenticator.js'
import type { EndpointOptions } from '../core/endpoint.js'
import type { Shaper } from './shape.js'

/** The actions that a resource offers for a row. */
export interface OfferedActions {
  readonly names: readonly string[]
  /** Returns whether the resource lets a caller use an action at all, whatever the policy says about the row. */
  isOpenTo(name: string, actor: Actor | null): boolean
}

/** Parses `allowed=update,delete`. */
export function parseAllowed(text: string, { names }: OfferedActions): readonly string[] | FieldProblem {
  const asked = text.split(',')
  const unknown = asked.find((name) => !names.includes(name))
  if (unknown !== undefined) return { field: 'allowed', message: message('field.unknownName', { name: unknown.slice(0, 64) }) }
  return names.filter((name) => asked.includes(name))
}

/** Returns the actions that a request asks for; none if one is unknown, which is refused later. */
export function askedActions(query: URLSearchParams, offered: OfferedActions): readonly string[] {
  const text = query.get('allowed')
  const names = text === null ? [] : parseAllowed(text, offered)
  return 'message' in names ? [] : names
}

/** The options of an endpoint that decide who may use it. */
export type AccessOptions = Pick<EndpointOptions, 'public' | 'adminOnly' | 'role' | 'stepUp' | 'abilities'>

/** Returns whether the options of an endpoint let a caller use it now, with this session. */
export function isOpenNow({ public: isPublic, adminOnly, role, stepUp, abilities }: AccessOptions, actor: Actor | null): boolean {
  if (actor === null) return isPublic === true
  if (adminOnly && !holdsRole(actor, ADMIN)) return false
  if (role !== undefined && !holdsRole(actor, role)) return false
  if (stepUp && !allowsSession(stepUp, actor)) return false
  const { abilities: held } = actor
  if (!held || isPublic) return true
  if (abilities === 'none') return false
  const wanted = abilities?.() ?? ['*']
  return wanted.length === 0 || wanted.some((one) => isAble(held, one))
}

/** Returns a shaper that adds the flags of a row to the result of another one. */
export function withFlags(show: Shaper, names: readonly string[], offered: OfferedActions, actor: Actor | null): Shaper {
  const open = new Set(names.filter((name) => offered.isOpenTo(name, actor)))
  return (row) => {
    const flags = allowedOf(row)
    return { ...show(row), allowed: Object.fromEntries(names.map((name) => [name, open.has(name) && flags?.[name] === true])) }
  }
}

/** The JSON Schema of the flags of a row. */
export function flagsSchema(names: readonly string[]): object {
  return {
    type: 'object',
    description: 'Whether the caller may do these actions with the row. Present only if the request has the parameter allowed.',
    properties: Object.fromEntries(names.map((name) => [name, { type: 'boolean' }])),
  }
}
