import { BasePermsModel } from '../enforce/base-perms-model.js'
import { globalRole } from '../policy/compile.js'
import { declareWriteLimits } from '../policy/policy.js'
import { member, nobody, type Policy } from '../policy/rules.js'
import { column } from '../schema/column.js'
import { explainPattern } from '../schema/validator.js'
import { forbidImpersonation } from './caller-restrictions.js'
import { ReplaceableMixin, redirectToRegistered } from './replaceable.js'
import { Role } from './roles.js'

// Wherever a domain is named these mean something else: all domains, any of them, the one of that id.
const NAME_PATTERN = explainPattern(
  '^(?!(?:\\*|any|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$)',
  "may not be '*', 'any' or an id",
)

/** A tenant: what rows with HasDomainMixin belong to, and where roles may be held. */
export class Domain extends ReplaceableMixin(BasePermsModel, 'domain').withColumns({
  name: column.string({ maxLength: 100, minLength: 1, pattern: NAME_PATTERN }).unique(),
  displayName: column.string({ maxLength: 200 }).nullable(),
  /** Grants in a domain that is not active count for nothing. */
  active: column.boolean().default(true),
}) {
  static override policy: Policy = { read: member('id'), create: nobody(), update: member('id', [Role.ADMIN]), delete: nobody() }

  // With a domain go the roles that are held in it.
  static override beforeDelete(args: never): unknown {
    forbidImpersonation('Roles')
    return super.beforeDelete(args)
  }
}

// Policies name domains, and a domain that is not active takes all roles in it away.
declareWriteLimits(Domain, {
  on: ['update'],
  columns: ['name', 'active'],
  takes: 'Only global admins rename, activate and deactivate domains.',
  condition: (scope) => globalRole(scope, [Role.ADMIN]),
})
redirectToRegistered(Domain, 'domain')
