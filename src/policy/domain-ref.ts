import { decodeId, isUuidOf } from '../schema/ids.js'
import { registeredModel } from './registered-models.js'
import type { DomainName } from './registered-types.js'

/** A domain by its id or by its name, never by both. */
export type NamedDomain =
  | { readonly id: string; readonly name?: undefined }
  | { readonly id?: undefined; readonly name: string }
  | { readonly id: null; readonly name?: undefined }

/**
 * Decides whether a reference to a domain is an id or a name. A string is a name, unless the ids of domains are UUIDs and it is a
 * UUID, which no domain may have as its name. So a domain that is named '7' is never the domain with the id 7.
 *
 * @returns `{ id: null }` for a value that names no domain
 */
export function namedDomain(given: DomainName): NamedDomain {
  const cls = registeredModel('domain')
  if (typeof given === 'string' && !isUuidOf(cls, given)) return { name: given }
  const id = decodeId(cls, typeof given === 'object' && given !== null ? given.id : given)
  return { id: (id ?? null) as string | null }
}

/** The prefix of a domain's id in URLs and JSON. No name of a domain may begin with it. */
const ID_PREFIX = 'id:'

/**
 * Returns the reference to a domain that a client wrote. `id:7` is the domain with the id 7, whatever the ids are. Other text and
 * numbers are read like in code, so that `7` in a URL is the domain named '7'.
 */
export function domainFromClient(given: string | number): DomainName {
  return typeof given === 'string' && given.startsWith(ID_PREFIX) ? { id: given.slice(ID_PREFIX.length) } : given
}

/** Returns whether a grant is in the domain that a reference names. A global grant is in none. */
export function isGrantIn(
  grant: { readonly domainId: unknown; readonly domainName: string | null | undefined },
  given: DomainName,
): boolean {
  const { id, name } = namedDomain(given)
  if (grant.domainId === null || grant.domainId === undefined) return false
  return name === undefined ? id !== null && grant.domainId === id : grant.domainName === name
}
