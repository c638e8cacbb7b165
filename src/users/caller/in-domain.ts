import { ConfigurationError } from '../../core/errors.js'
import { inDomainId } from '../../policy/context.js'
import { registeredModel } from '../../policy/registered-models.js'
import type { DomainRef } from '../roles/has-roles-mixin.js'
import type { UserRole } from '../user-role.js'

/**
 * Runs fn so that new rows of models with HasDomainMixin get this domain. It grants no permissions.
 *
 * @param domain a domain, its id or its name
 * @throws ConfigurationError for '*', ValidationError when the domain does not exist
 * @example await inDomain('press', () => Article.create({ title }))
 */
export async function inDomain<T>(domain: DomainRef, fn: () => T): Promise<Awaited<T>> {
  const id = await (registeredModel('userRole') as typeof UserRole).domainIdOf(domain)
  if (id === null) throw new ConfigurationError("inDomain('*'): pass one domain, its id or its name.")
  return await inDomainId(id, fn)
}
