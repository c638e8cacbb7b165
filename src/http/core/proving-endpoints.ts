/** Decides which endpoints run for a remembered caller: those whose first statement proves the caller, before any code of the application runs. */
import type { Model } from 'objection'
import { queriesWithoutCode } from '../../query/query-builder.js'
import type { Endpoint } from './endpoint.js'

const provingParts = new WeakMap<object, () => boolean>()

/**
 * Marks a part of an endpoint, such as its handler, that runs nothing of the application before the statement that proves the caller.
 *
 * @param isProving whether that is so. It is asked for each request, when all models are known
 */
export function proving<F extends object>(part: F, isProving: () => boolean = () => true): F {
  provingParts.set(part, isProving)
  return part
}

const isPart = (part: object | undefined): boolean => part === undefined || (provingParts.get(part)?.() ?? false)

/** Returns whether nothing of the application runs before the first statement of a resource that reads these models. */
export function canProve(resource: object, library: object, models: readonly object[]): boolean {
  return Object.getPrototypeOf(resource) === library && models.every((model) => queriesWithoutCode(model as typeof Model))
}

/** Returns whether an endpoint may run for a remembered caller. Others load their caller first. */
export function isProving({ options }: Endpoint): boolean {
  const { handler, load, precondition, assertAllowed, argSchema, abilities, ignoresCredentials, forgivesCookies } = options
  if (ignoresCredentials || forgivesCookies || (typeof abilities === 'function' && !isPart(abilities))) return false
  // The statement that loads the row or its parents is the first one. All later parts have a proven caller.
  if (load) return isPart(load)
  return argSchema === undefined && [handler, precondition, assertAllowed].every(isPart)
}

/** Returns whether a request for a remembered caller reads its body before the caller is proven, so that it may have to read it twice. */
export const readsBodyUnproven = ({ options }: Endpoint): boolean => options.load === undefined && options.method !== 'GET'
