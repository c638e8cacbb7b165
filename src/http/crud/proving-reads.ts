/** Decides which endpoints read for a remembered caller: those whose first statement proves the caller, before any other code sees it. */
import type { Model } from 'objection'
import { queriesWithoutCode } from '../../query/query-builder.js'
import type { Endpoint } from '../core/endpoint.js'

const provingParts = new WeakSet<object>()

/** Marks a handler, load or precondition that runs nothing of the application before the statement that proves the caller. */
export function proving<F extends object>(part: F): F {
  provingParts.add(part)
  return part
}

/** Returns whether nothing of the application runs before the first statement of a resource's list and get. */
export function canProve(resource: object, library: object, models: readonly object[]): boolean {
  return Object.getPrototypeOf(resource) === library && models.every((model) => queriesWithoutCode(model as typeof Model))
}

/** Returns whether an endpoint may read for a remembered caller. An endpoint with a changed part loads its caller first. */
export function isProvingRead({ options }: Endpoint): boolean {
  const { method, handler, load, precondition, assertAllowed, readsBody, argSchema, ignoresCredentials, forgivesCookies } = options
  if (method !== 'GET' || readsBody || argSchema || assertAllowed || ignoresCredentials || forgivesCookies) return false
  return [handler, load, precondition].every((part) => part === undefined || provingParts.has(part))
}
