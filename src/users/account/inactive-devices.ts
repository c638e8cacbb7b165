/** Ends the trust in the devices of users whom a write disables or soft-deletes, also in bulk. They stay untrusted when the user comes back. */
import { addWriteCheck } from '../../enforce/enforcer.js'
import { includingDeleted } from '../../mixins/soft-delete.js'
import { asSystem } from '../../policy/context.js'
import { registeredModel } from '../../policy/registered-models.js'
import { holdsUsers, userTables } from '../../policy/user-tables.js'
import { tableOf } from '../../schema/class-statics.js'
import { existsNow } from '../lifecycle/existing-tables.js'
import { TrustedDevice } from '../trusted-device.js'
import { writtenValuesOf } from '../written-values.js'

addWriteCheck({
  concerns(cls, write) {
    if (write.kind === 'delete' || !holdsUsers(cls)) return false
    return writtenValuesOf(write).some(({ isEnabled, deletedAt }) => {
      const disables = isEnabled !== undefined && isEnabled !== true
      return disables || (deletedAt !== undefined && deletedAt !== null)
    })
  },

  async before() {},

  // No inactive user has a trusted device, so the statement need not know which rows the write changed.
  async after(builder, write) {
    const { hasIsEnabled, hasDeletedAt } = userTables().user
    if (!(hasIsEnabled || hasDeletedAt) || !(await existsNow(builder.db, tableOf(TrustedDevice)))) return
    await asSystem(async () => {
      const inactive = includingDeleted(builder.query(registeredModel('user')))
        .select('id')
        .where((either) => {
          if (hasIsEnabled) either.where('isEnabled', false).orWhereNull('isEnabled')
          if (hasDeletedAt) either.orWhereNotNull('deletedAt')
        })
      const ended = builder.query(TrustedDevice).delete().whereIn('userId', inactive)
      const id: unknown = write.instance?.$id() ?? write.id
      await (typeof id === 'string' || typeof id === 'number' ? ended.where('userId', id) : ended)
    })
  },
})
