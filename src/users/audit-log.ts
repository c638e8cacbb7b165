import { ForbiddenError } from '../core/errors.js'
import { newId } from '../core/ids.js'
import { message } from '../core/messages/message.js'
import { setClassName } from '../core/names.js'
import { LibraryModel } from '../enforce/base-perms-model.js'
import { member, nobody, type Policy } from '../policy/rules.js'
import { column } from '../schema/column.js'
import { declareColumns } from '../schema/definition/declarations.js'
import { makesId } from '../schema/definition/definition.js'
import { Role } from './roles/roles.js'

/**
 * The audit log of `initPerms({ auditLog: true })`: one row per event. Rows can only be added; not even asSystem() changes or
 * deletes them. Global admins read all rows, admins of a domain those of the domain.
 *
 * @example new CrudResource({ model: AuditLog, path: 'audit', methods: ['list', 'get'] })
 */
export class AuditLog extends LibraryModel.withColumns({
  event: column.string({ maxLength: 64 }).index(),
  /** The user who caused the event; null for the application itself and for anonymous callers. Kept after the user is deleted. */
  actorId: column.uuid().sameTypeAs('user.id').nullable().index(),
  /** The superadmin who impersonated the actor. */
  impersonatorId: column.uuid().sameTypeAs('user.id').nullable().index(),
  /** The user whom the event is about. */
  subjectId: column.uuid().sameTypeAs('user.id').nullable().index(),
  domainId: column.uuid().sameTypeAs('domain.id').nullable(),
  address: column.string({ maxLength: 64 }).nullable(),
  /** The table of the row that changed, for models with `static audited`. */
  rowTable: column.string({ maxLength: 128 }).nullable(),
  /** The id of that row. A composite key is a JSON array. */
  rowId: column.string({ maxLength: 191 }).nullable().index(),
  details: column.json<Record<string, unknown>>().nullable(),
}) {
  static {
    setClassName(this, 'AuditLog')
  }

  static override adminBypass: boolean | 'read' = 'read'
  static override policy: Policy = { read: member('domainId', [Role.ADMIN]), create: nobody(), update: nobody(), delete: nobody() }

  // Always a new id: a given id could make an upsert change an existing row.
  override async $beforeInsert(context: never): Promise<void> {
    if (makesId(this.constructor)) this.id = newId()
    else Reflect.deleteProperty(this, 'id')
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

class AppendOnlyBuilder extends LibraryModel.QueryBuilder<AuditLog> {
  override truncate(): never {
    throw appendOnly()
  }
}
Object.defineProperty(AuditLog, 'QueryBuilder', { value: AppendOnlyBuilder })

const appendOnly = () => new ForbiddenError(message('audit.appendOnly'))
