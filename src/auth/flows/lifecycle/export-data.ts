import type { Model, QueryBuilder } from 'objection'
import { boundIterable } from '../../../core/bound-iterable.js'
import { NotFoundError, UnauthorizedError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { asSystem, authorityFor, currentActor, currentUserId, runAsActor, runsForCaller } from '../../../policy/context.js'
import { registeredModel } from '../../../policy/registered-models.js'
import type { UserId } from '../../../policy/registered-types.js'
import { tableOf } from '../../../schema/class-statics.js'
import { idProperties, structureOf } from '../../../schema/definition/definition.js'
import { type ModelClass, modelClass, valuesByName } from '../../../schema/model-class.js'
import type { AuditLog } from '../../../users/audit-log.js'
import { isActive, toActor, type UserRow, userIdOf } from '../../../users/caller/actor.js'
import { forbidApiKey } from '../../../users/caller/caller-restrictions.js'
import { existsNow } from '../../../users/lifecycle/existing-tables.js'
import { isExported, modelsWithUserData, ownerFieldsOf } from '../../../users/lifecycle/user-data.js'
import type { AuthCore } from '../../core.js'
import { userClass } from '../credentials.js'

/** The first line of an export. */
export interface ExportHeader {
  readonly format: 'objection-perms/export'
  readonly version: 1
  readonly userId: UserId
  readonly exportedAt: Date
  /** The names of the models whose rows may follow, in their order. */
  readonly models: readonly string[]
}

/** A row of an export, with the columns that its user may read. */
export interface ExportedRow {
  readonly model: string
  readonly row: Readonly<Record<string, unknown>>
}

/** `perms.auth.exportData()` */
export type ExportData = (user: UserRow | UserId) => AsyncIterableIterator<ExportHeader | ExportedRow>

/** The rows in memory at a time. */
const PAGE = 200

export function exportData(core: AuthCore): ExportData {
  return (given) => {
    forbidApiKey(message('subject.exports'))
    return boundIterable(exportedLines(core, userIdOf(given)))
  }
}

async function* exportedLines(core: AuthCore, userId: UserId): AsyncGenerator<ExportHeader | ExportedRow> {
  const isOwn = runsForCaller() && currentActor()?.id === userId && authorityFor(registeredModel('user')) !== 'free'
  if (isOwn) await core.throttle.begin('export', { caller: String(userId) })
  const read = (page: () => Promise<readonly ExportedRow[]>) => asUser(userId, isOwn, page)
  await read(async () => [])
  const models: ModelClass[] = []
  for (const model of exportedModels()) if (await existsNow(core.knex, tableOf(model))) models.push(model)
  const hasAudit = await existsNow(core.knex, tableOf(core.auditModel))
  core.emit('dataExported', { userId, by: currentUserId() })
  const user = userClass()
  const names = [user.name, ...models.map(({ name }) => name), ...(hasAudit ? [core.auditModel.name] : [])]
  yield { format: 'objection-perms/export', version: 1, userId, exportedAt: new Date(), models: names }
  yield* await read(() => rowsOf(user, (query) => query.where('id', userId)))
  for (const model of models) yield* pages(model, userId, read)
  if (hasAudit) yield* auditRows(core.auditModel, userId, read)
}

/** Returns the models whose rows an export contains, besides the user. Other users whom the user owns are not among them. */
function exportedModels(): ModelClass[] {
  const users = tableOf(registeredModel('user'))
  return modelsWithUserData().filter((model) => isExported(model) && tableOf(model) !== users)
}

type Read = (page: () => Promise<readonly ExportedRow[]>) => Promise<readonly ExportedRow[]>

/**
 * Reads a page as the user, with the rights that the user has now.
 *
 * @param mustBeActive whether an export ends when its user is disabled or deleted in the meantime
 */
async function asUser(userId: UserId, mustBeActive: boolean, page: () => Promise<readonly ExportedRow[]>): Promise<readonly ExportedRow[]> {
  const user = await asSystem(() => userClass().get(userId))
  if (!user) throw new NotFoundError(message('user.unknown'))
  if (mustBeActive && !isActive(user)) throw new UnauthorizedError(message('user.accountEnded'))
  return await runAsActor(toActor(user), page)
}

/** Yields the rows of a model that belong to a user, page by page in the order of their ids. */
async function* pages(model: ModelClass, userId: UserId, read: Read): AsyncGenerator<ExportedRow> {
  const keys = idProperties(model)
  const last: { ids: readonly unknown[] | null } = { ids: null }
  for (;;) {
    const page = await read(() =>
      rowsOf(
        model,
        (query) => {
          query
            .where((row) => {
              for (const name of ownerFieldsOf(model)) row.orWhere(name, userId)
            })
            .orderBy([...keys])
            .limit(PAGE)
          if (last.ids) query.where((row) => whereAfter(row, keys, last.ids as readonly unknown[]))
        },
        (rows) => {
          const row = rows.at(-1)
          if (row) last.ids = keys.map((key) => valuesByName(row)[key])
        },
      ),
    )
    yield* page
    if (page.length < PAGE) return
  }
}

/** Adds the condition that a row comes after the row with these ids. */
function whereAfter(query: QueryBuilder<Model, unknown>, keys: readonly string[], ids: readonly unknown[]): void {
  for (const [i, key] of keys.entries())
    query.orWhere((row) => {
      for (const [j, equal] of keys.slice(0, i).entries()) row.where(equal, ids[j] as string)
      row.where(key, '>', ids[i] as string)
    })
}

async function rowsOf(
  model: typeof Model,
  restrict: (query: QueryBuilder<Model, Model[]>) => unknown,
  note?: (rows: readonly Model[]) => void,
): Promise<ExportedRow[]> {
  const query = model.query() as unknown as QueryBuilder<Model, Model[]>
  restrict(query)
  const rows = await query
  note?.(rows)
  return rows.map((row) => ({ model: model.name, row: shown(row) }))
}

/** Returns the declared columns of a row that are not hidden, and that the user may read. Undeclared columns are left out. */
function shown(row: Model): Record<string, unknown> {
  const json: Readonly<Record<string, unknown>> = row.toJSON({ shallow: true, virtuals: false })
  const { specs } = structureOf(modelClass(row.constructor))
  return Object.fromEntries(
    Object.keys(specs).flatMap((name) => (specs[name]?.isHidden || json[name] === undefined ? [] : [[name, json[name]]])),
  )
}

/**
 * Yields the entries of the audit log about a user. Only admins may read the log, so the entries are reduced: what another user did shows
 * neither who it was nor the address and the details.
 */
async function* auditRows(model: typeof AuditLog, userId: UserId, read: Read): AsyncGenerator<ExportedRow> {
  let last: unknown = null
  for (;;) {
    const page = await read(() =>
      asSystem(async () => {
        const query = model.query().where('subjectId', userId).orderBy('id').limit(PAGE)
        const rows = await (last === null ? query : query.where('id', '>', last as string))
        last = rows.at(-1)?.id ?? last
        return rows.map((row) => ({ model: model.name, row: auditEntry(row, userId) }))
      }),
    )
    yield* page
    if (page.length < PAGE) return
  }
}

function auditEntry(
  { id, createdAt, event, actorId, impersonatorId, address, details }: AuditLog,
  userId: UserId,
): Record<string, unknown> {
  const isOwn = actorId === userId && impersonatorId === null
  return { id, createdAt, event, isOwn, ...(isOwn ? { address, details } : {}) }
}
