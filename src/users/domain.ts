import { message } from '../core/messages/message.js'
import { setClassName } from '../core/names.js'
import { BasePermsModelWithoutId, type LibraryRow } from '../enforce/base-perms-model.js'
import { globalRole } from '../policy/compiler/role-conditions.js'
import { declareWriteLimits } from '../policy/policy.js'
import { member, nobody, type Policy } from '../policy/rules.js'
import type { AbstractConstructor } from '../record/record-types.js'
import { column } from '../schema/column.js'
import { describePattern } from '../schema/validator.js'
import { forbidImpersonation } from './caller/caller-restrictions.js'
import { ReplaceableMixin, redirectToRegistered } from './replaceable.js'
import { Role } from './roles/roles.js'

// These names have a meaning of their own wherever an API takes a domain: every domain ('*'), any domain ('any'), or an id. Clients
// write `id:` before an id.
const NAME_PATTERN = describePattern(
  '^(?!id:)(?!(?:\\*|any|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$)',
  message('field.domainName'),
)

/**
 * Domain without its id, which withColumns() may declare with another type.
 *
 * @example class Team extends Domain.withColumns({ id: column.integer() }) {} // a DomainWithoutId with a number as id
 */
export class DomainWithoutId extends ReplaceableMixin(BasePermsModelWithoutId, 'domain').withColumns({
  name: column.string({ maxLength: 100, minLength: 1, pattern: NAME_PATTERN }).unique(),
  displayName: column.string({ maxLength: 200 }).nullable(),
  /** Roles in a domain that is not active have no effect. */
  active: column.boolean().default(true),
}) {
  static {
    setClassName(this, 'Domain')
  }

  static override policy: Policy = { read: member('id'), create: nobody(), update: member('id', [Role.ADMIN]), delete: nobody() }

  // Deleting a domain deletes the roles that users hold in it.
  static override beforeDelete(args: never): unknown {
    forbidImpersonation(message('subject.roles'))
    return super.beforeDelete(args)
  }
}

// Policies refer to domains by name, and deactivating a domain removes the effect of all its roles.
declareWriteLimits(DomainWithoutId, {
  on: ['update'],
  columns: ['name', 'active'],
  takes: message('limit.domains'),
  condition: (scope) => globalRole(scope, [Role.ADMIN]),
})
redirectToRegistered(DomainWithoutId, 'domain')

/**
 * A domain (tenant). Rows with HasDomainMixin belong to one, and users hold roles in one.
 *
 * @example const press = await Domain.create({ name: 'press' })
 */
export const Domain: typeof DomainWithoutId & AbstractConstructor<LibraryRow> = DomainWithoutId as never
export interface Domain extends DomainWithoutId, LibraryRow {}
