import { addWriteCheck } from '../../enforce/enforcer.js'
import { setNames } from '../../enforce/evaluate.js'
import { asSystem } from '../../policy/context.js'
import { userTables } from '../../policy/user-tables.js'
import type { Execution, QueryHandle } from '../../query/policy-enforcer.js'
import { tableOf } from '../../schema/class-statics.js'
import { emitAfterCommit } from '../events.js'
import type { UserRole } from '../user-role.js'

const said = ['userId', 'role', 'domainId']
const before = new WeakMap<Execution, readonly UserRole[]>()

/** Emits events for revoked and changed roles, also for bulk queries. UserRole emits roleGranted itself. */
addWriteCheck({
  concerns(cls, write) {
    const isOfRoles = tableOf(cls) === userTables().userRole.table
    return (
      isOfRoles && (write.kind === 'delete' || (write.kind === 'update' && setNames(write.models[0]).some((name) => said.includes(name))))
    )
  },

  async before(builder, { kind }) {
    const found: unknown = await builder.targets(kind).forUpdate()
    before.set(builder.execution, Array.isArray(found) ? found : found ? [found] : [])
  },

  async after(builder, write) {
    const rows = before.get(builder.execution) ?? []
    const now = write.kind === 'delete' || rows.length === 0 ? [] : await asTheyAre(builder, rows)
    for (const row of rows) {
      const changed = now.find(({ id }) => id === row.id)
      if (changed && said.every((name) => changed[name as 'role'] === row[name as 'role'])) continue
      tellOf('roleRevoked', row, builder)
      if (changed) tellOf('roleGranted', changed, builder)
    }
  },
})

function asTheyAre(builder: QueryHandle, rows: readonly UserRole[]): Promise<UserRole[]> {
  return asSystem(() => builder.query(builder.cls).findByIds(rows.map(({ id }) => id))) as Promise<UserRole[]>
}

function tellOf(name: 'roleGranted' | 'roleRevoked', { userId, role, domainId }: UserRole, { db }: QueryHandle): void {
  emitAfterCommit(name, { userId, role, domainId: domainId ?? null }, db)
}
