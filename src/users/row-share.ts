import { message } from '../core/messages/message.js'
import { setClassName } from '../core/names.js'
import { LibraryModel } from '../enforce/base-perms-model.js'
import { anyOf, nobody, owner, type Policy } from '../policy/rules.js'
import { MAX_SHARE_KEY_LENGTH } from '../policy/share-keys.js'
import { column } from '../schema/column.js'
import { declareColumns } from '../schema/definition/declarations.js'
import { CheckedWritesMixin, forbidImpersonation } from './caller/caller-restrictions.js'

/**
 * A row of a model with ShareableMixin that is shared: with a user, with the holders of a role, or with the members of a domain. Only
 * `row.share()` and `row.unshare()` write its rows. Users read the shares that they received or made.
 *
 * @example new CrudResource({ model: RowShare, path: 'shares', methods: ['list'] })
 */
export class RowShare extends CheckedWritesMixin(LibraryModel, () => forbidImpersonation(message('subject.shares'))).withColumns({
  /** The table of the shared row. */
  rowTable: column.string({ maxLength: 191 }).readOnly(),
  /** The id of the shared row as text. */
  rowId: column.string({ maxLength: 255 }).readOnly(),
  /** One of the relations of the row's model, such as 'viewer'. */
  relation: column.string({ maxLength: 64 }),
  userId: column.uuid().references('user.id', { onDelete: 'cascade' }).nullable().index(),
  /** The role whose holders receive the row: globally, or in the domain if there is one. */
  role: column.string({ maxLength: 100 }).nullable(),
  /** The domain whose members receive the row; with a role, those who hold it there. */
  domainId: column.uuid().references('domain.id', { onDelete: 'cascade' }).nullable().index(),
  /** The subject as text, for the unique index. */
  subjectKey: column.string({ maxLength: MAX_SHARE_KEY_LENGTH }).hidden(),
  /** From then on, the share has no effect. Null: it does not expire. */
  expiresAt: column.datetime().nullable().index(),
  /** The user who shared the row; null for code without a caller. */
  sharedById: column.uuid().references('user.id', { onDelete: 'set null' }).nullable().index(),
}) {
  static {
    setClassName(this, 'RowShare')
  }

  static override adminBypass: boolean | 'read' = 'read'
  static override policy: Policy = {
    read: anyOf(owner('userId'), owner('sharedById')),
    create: nobody(),
    update: nobody(),
    delete: nobody(),
  }
}
declareColumns(RowShare, {}, { uniques: [['rowTable', 'rowId', 'subjectKey']], indexes: [['subjectKey', 'rowTable']] })
