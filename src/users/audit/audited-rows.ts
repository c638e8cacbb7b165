/** `static audited`: stores changes of rows in the audit log, in the transaction of the change. */
import type { Knex } from 'knex'
import type { MaybeCompositeId, Model } from 'objection'
import { ConfigurationError, ValidationError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { nearestNames } from '../../core/nearest-names.js'
import { addWriteCheck } from '../../enforce/enforcer.js'
import { hasId } from '../../enforce/evaluate.js'
import { unrestricted } from '../../enforce/updates.js'
import { asSystem, currentActor, currentAddress } from '../../policy/context.js'
import type { Execution, QueryHandle, WriteOperation } from '../../query/policy-enforcer.js'
import { type Runtime, runtimeSlot } from '../../runtime.js'
import { tableOf } from '../../schema/class-statics.js'
import { onDefinition } from '../../schema/definition/definition.js'
import type { AuditLog } from '../audit-log.js'
import { entryOf, isAudited, type RowChange } from './row-changes.js'

/** The most rows that one update or delete of an audited model may change. */
const MAX_ROWS = 10_000

/** The most entries in one statement. */
const ENTRIES_AT_ONCE = 500

/** The most ids in one statement. */
const IDS_AT_ONCE = 1000

const auditModel = runtimeSlot<typeof AuditLog | null>(() => null)

/** Sets the model of the entries. Without it, writes to audited models are refused. */
export function setAuditModel(runtime: Runtime, model: typeof AuditLog): void {
  auditModel.set(runtime, model)
}

onDefinition((cls, { specs }) => {
  const { audited } = cls as { readonly audited?: unknown }
  if (audited === undefined || typeof audited === 'boolean') return
  const names = Array.isArray(audited) ? (audited as unknown[]) : [audited]
  const bad = names.find((name) => typeof name !== 'string' || !specs[name] || specs[name].isHidden)
  if (bad !== undefined || !Array.isArray(audited) || names.length === 0)
    throw new ConfigurationError(
      `${cls.name}.audited must be true, false or a list of columns that are not hidden. '${String(bad ?? '')}' is none. ${nearestNames(String(bad ?? ''), Object.keys(specs), 'The columns')}`,
    )
})

const rowsBefore = new WeakMap<Execution, readonly Model[]>()

addWriteCheck({
  concerns: (cls) => isAudited(cls),

  async before(builder, write) {
    if (auditModel.get() === null)
      throw new ConfigurationError(`${builder.cls.name}.audited stores changes in the audit log: call initPerms({ auditLog: true }).`)
    if (write.kind === 'insert') return
    const rows = await lockTargets(builder, write)
    rowsBefore.set(builder.execution, rows)
    // The statement changes only rows that were read before it, whatever other transactions insert meanwhile.
    const ids = rows.map((row) => row.$id())
    builder.execution.ids = builder.execution.ids ? bothOf(builder.execution.ids, ids) : ids
  },

  async after(builder, write) {
    const changes = write.kind === 'insert' ? created(builder, write) : await changesOf(builder)
    await store(builder, changes)
  },
})

async function lockTargets(builder: QueryHandle, write: WriteOperation): Promise<Model[]> {
  const found: unknown = await builder
    .targets(builder.execution.action ?? write.kind)
    .limit(MAX_ROWS + 1)
    .forUpdate()
  const rows = (Array.isArray(found) ? found : found ? [found] : []) as Model[]
  if (rows.length > MAX_ROWS) throw new ValidationError(message('row.tooManyChecked', { model: builder.cls.name, limit: MAX_ROWS }))
  return rows
}

function bothOf(ids: readonly unknown[], others: readonly unknown[]): unknown[] {
  const keys = new Set(others.map((id) => JSON.stringify(id)))
  return ids.filter((id) => keys.has(JSON.stringify(id)))
}

const created = ({ cls }: QueryHandle, { models }: WriteOperation): RowChange[] =>
  // A row that onConflict().ignore() left out has no id.
  models.filter(hasId).map((after) => ({ cls, before: undefined, after }))

async function changesOf(builder: QueryHandle): Promise<RowChange[]> {
  const { cls, execution } = builder
  const before = rowsBefore.get(execution) ?? []
  const now = new Map<string, Model>()
  for (let from = 0; from < before.length; from += IDS_AT_ONCE) {
    const ids = before.slice(from, from + IDS_AT_ONCE).map((row) => row.$id() as MaybeCompositeId)
    for (const row of await loadUnrestricted(builder, ids)) now.set(JSON.stringify(row.$id()), row)
  }
  return before.map((row) => ({ cls, before: row, after: now.get(JSON.stringify(row.$id())) }))
}

// The caller may no longer read the rows.
function loadUnrestricted(builder: QueryHandle, ids: readonly MaybeCompositeId[]): Promise<Model[]> {
  const query = builder.query(builder.cls).findByIds([...ids])
  const execution: Execution = { ids: undefined, action: undefined, session: unrestricted }
  return Object.assign(query, { execution }).execute()
}

/** Returns the values of an entry that say who made a change, and when. */
function whoIsCalling(): object {
  const actor = currentActor()
  return {
    createdAt: new Date(),
    actorId: actor?.id ?? null,
    impersonatorId: actor?.impersonatorId ?? null,
    address: currentAddress()?.slice(0, 64) ?? null,
  }
}

/**
 * Stores one entry in the transaction of a change, if the application has an audit log.
 *
 * @param entry the columns of the entry, without who made the change
 */
export async function storeEntry(db: Knex, entry: object): Promise<void> {
  const model = auditModel.get()
  if (model === null) return
  const row: object = { ...whoIsCalling(), ...entry }
  await asSystem(async () => await model.query(db).insert(row))
}

async function store(builder: QueryHandle, changes: readonly RowChange[]): Promise<void> {
  const model = auditModel.get()
  if (model === null) return
  const who = whoIsCalling()
  const entries = changes.flatMap((change) => {
    const entry = entryOf(change)
    return entry === null ? [] : [{ ...who, ...entry } as object]
  })
  const [first] = entries
  if (first === undefined) return
  if (entries.length === 1) await asSystem(async () => await model.query(builder.db).insert(first))
  else await insertAll(model, builder.db, entries)
}

// Objection inserts several rows at once on PostgreSQL only.
async function insertAll(model: typeof AuditLog, db: Knex, entries: readonly object[]): Promise<void> {
  const rows: object[] = []
  for (const entry of entries) {
    const row = model.fromJson(entry, { skipValidation: true })
    await row.$beforeInsert({ transaction: db } as never)
    rows.push(row.$toDatabaseJson())
  }
  for (let from = 0; from < rows.length; from += ENTRIES_AT_ONCE) await db(tableOf(model)).insert(rows.slice(from, from + ENTRIES_AT_ONCE))
}
