import { ForbiddenError } from '../core/errors.js'
import { newId } from '../core/ids.js'
import { BasePermsModel } from '../enforce/base-perms-model.js'
import { member, nobody, type Policy } from '../policy/rules.js'
import { column } from '../schema/column.js'
import { declareColumns } from '../schema/definition.js'
import { Role } from './roles.js'

/**
 * What happened, as the events told it: `initPerms({ auditLog: true })`. Rows are added and never changed, by nobody, the
 * application's own code neither. Global admins read all of them, the admins of a domain those of their domain.
 *
 * @example new CrudResource({ model: AuditLog, path: 'audit', methods: ['list', 'get'] })
 */
export class AuditLog extends BasePermsModel.withColumns({
  event: column.string({ maxLength: 64 }).index(),
  /** Who did it; null for the application itself, and for somebody unknown. Kept when the user is gone. */
  actorId: column.uuid().nullable().index(),
  /** The superadmin who acted in the actor's place. */
  impersonatorId: column.uuid().nullable().index(),
  /** Whom it was about. */
  subjectId: column.uuid().nullable().index(),
  domainId: column.uuid().nullable(),
  address: column.string({ maxLength: 64 }).nullable(),
  details: column.json<Record<string, unknown>>().nullable(),
}) {
  static override adminBypass: boolean | 'read' = 'read'
  static override policy: Policy = { read: member('domainId', [Role.ADMIN]), create: nobody(), update: nobody(), delete: nobody() }

  // An id of its own, whatever is given: an insert that merges meets no row.
  override async $beforeInsert(context: never): Promise<void> {
    this.id = newId()
    await super.$beforeInsert(context)
  }

  override async $beforeUpdate(): Promise<void> {
    throw appendOnly()
  }

  static override beforeDelete(): never {
    throw appendOnly()
  }
}
declareColumns(AuditLog, {}, { indexes: [['createdAt'], ['domainId', 'createdAt']] })

class AppendOnlyBuilder extends BasePermsModel.QueryBuilder<AuditLog> {
  override truncate(): never {
    throw appendOnly()
  }
}
Object.defineProperty(AuditLog, 'QueryBuilder', { value: AppendOnlyBuilder })

const appendOnly = () => new ForbiddenError('The audit log is append only: nothing in it is changed or removed.')
