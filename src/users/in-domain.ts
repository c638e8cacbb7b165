import { ConfigurationError } from '../core/errors.js'
import { inDomainId } from '../policy/context.js'
import { registeredModel } from '../policy/registered-models.js'
import type { DomainRef } from './has-roles-mixin.js'
import type { UserRole } from './user-role.js'

/**
 * New rows of models with a domain are made in this one while fn runs. It gives no rights.
 *
 * @param domain a domain, its id or its name
 * @example await inDomain('press', () => Article.create({ title }))
 */
export async function inDomain<T>(domain: DomainRef, fn: () => T): Promise<Awaited<T>> {
  const id = await (registeredModel('userRole') as unknown as typeof UserRole).domainIdOf(domain)
  if (id === null) throw new ConfigurationError("inDomain('*'): name one domain.")
  return await inDomainId(id, fn)
}
