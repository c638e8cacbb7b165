import { Model, type RelationMappings } from 'objection'
import { ValidationError } from '../core/errors.js'
import { message } from '../core/messages/message.js'
import { authorityFor, currentActor, currentDomainId } from '../policy/context.js'
import { declareGlobalScope } from '../policy/policy.js'
import { registeredModel } from '../policy/registered-models.js'
import type { DomainId } from '../policy/registered-types.js'
import { member } from '../policy/rules.js'
import { rolesSatisfying } from '../policy/user-tables.js'
import type { AbstractConstructor } from '../record/record-types.js'
import { column } from '../schema/column.js'
import { declareColumns, markIntermediate, type RecordClass } from '../schema/definition/declarations.js'
import { libraryDefault } from '../schema/definition/library-defaults.js'

/** The instance members that HasDomainMixin adds. */
export interface InDomain {
  /** The domain of the row; null: only global admins may access it. */
  domainId: DomainId | null
}

/** The static members that HasDomainMixin adds. */
export interface InDomainStatics {
  domainField: string
}

// Returns the domain of inDomain(), else the caller's only domain.
function domainOfCaller(): string | undefined {
  const said = currentDomainId()
  if (said !== undefined) return said
  const ids = domainsOfCaller()
  return ids.length === 1 ? ids[0] : undefined
}

function domainsOfCaller(): string[] {
  return [...new Set((currentActor()?.grants ?? []).flatMap(({ domainId }) => (domainId === null ? [] : [domainId])))]
}

const maxListed = 10

function noDomain(): ValidationError {
  const grants = currentActor()?.grants ?? []
  const names = [...new Set(grants.flatMap(({ domainName }) => (domainName === null ? [] : [domainName])))].sort()
  const listed = names.slice(0, maxListed)
  const why =
    names.length <= 1
      ? message('domain.required')
      : names.length <= maxListed
        ? message('domain.requiredSeveral', { names: listed })
        : message('domain.requiredMany', { names: listed, count: names.length - maxListed })
  return new ValidationError(why, [{ field: 'domainId', message: message('field.required') }])
}

/**
 * Adds a domain (tenant) to a model. Only members of the domain may access its rows, in addition to the policy. Admins of the domain
 * bypass the policy within it. New rows get the domain of `inDomain()`, else the caller's only domain.
 *
 * @example class Article extends HasDomainMixin(BasePermsModel).withColumns({ title: column.string() }) {}
 */
export function HasDomainMixin<T extends AbstractConstructor<Model>>(Base: T): T & AbstractConstructor<InDomain> & InDomainStatics
export function HasDomainMixin(
  Base: AbstractConstructor<Model & { $complete(): void }>,
): AbstractConstructor<Model & InDomain> & InDomainStatics {
  abstract class HasDomain extends Base {
    declare domainId: DomainId | null
    static domainField = 'domainId'
    static relationMappings(this: RecordClass): RelationMappings {
      return {
        domain: {
          relation: Model.BelongsToOneRelation,
          modelClass: registeredModel('domain'),
          join: { from: `${this.getTableName()}.domainId`, to: 'domain.id' },
        },
      }
    }

    // A caller who may create the row in one of these domains is told that the domain is missing.
    $choices(): readonly Record<string, unknown>[] {
      return this.domainId === undefined ? domainsOfCaller().map((domainId) => ({ domainId })) : []
    }

    override $complete(): void {
      if (this.domainId !== undefined) {
        super.$complete()
        return
      }
      const authority = authorityFor(this.constructor)
      const isGlobal =
        authority === 'free' ||
        (authority?.grants ?? []).some((grant) => grant.domainId === null && rolesSatisfying(['admin']).includes(grant.role))
      if (!isGlobal) {
        throw noDomain()
      }
      super.$complete()
    }
  }
  markIntermediate(HasDomain)
  declareColumns(HasDomain, {
    domainId: column
      .uuid()
      .references('domain.id', { onDelete: 'restrict' })
      .index()
      .default(libraryDefault(domainOfCaller) as () => string)
      .nullable(),
  })
  declareGlobalScope(HasDomain, { name: 'domain', rule: member('domainId'), liftedFor: 'admin' })
  return HasDomain
}
