/** Finds rows that can be restored today, and that the foreign keys would destroy with their user. */
import type { Knex } from 'knex'
import { ConflictError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { isSoftDeletable } from '../../mixins/soft-delete.js'
import { registeredModel } from '../../policy/registered-models.js'
import { protectedClasses } from '../../query/inspection/protected-tables.js'
import { tableOf } from '../../schema/class-statics.js'
import { columnOf, structureOf } from '../../schema/definition/definition.js'
import { resolveTable } from '../../schema/definition/table-names.js'
import { type ModelClass, modelClass } from '../../schema/model-class.js'
import { existsNow } from './existing-tables.js'
import { deletionRuleOf, modelsWithUserData, saysOnUserDeleted } from './user-data.js'

/** A foreign key that deletes rows of `model` with the row that they refer to. */
interface Link {
  readonly model: ModelClass
  /** The column of `model`. */
  readonly column: string
  /** The column of the row that it refers to. */
  readonly target: string
}

/** A model that keeps deleted rows, and the foreign keys by which its rows disappear with a user, beginning at the user. */
export interface SilentLoss {
  readonly model: ModelClass
  readonly links: readonly Link[]
}

/** Returns the models whose deleted rows could be restored, but would be destroyed with their user. */
export function silentLosses(): SilentLoss[] {
  const classes = allModels()
  const losses: SilentLoss[] = []
  const seen = new Set<string>()
  const follow = (table: string, links: readonly Link[]): void => {
    for (const model of classes) {
      for (const link of cascadingLinks(model, table)) {
        const path = [...links, link]
        const name = path.map((one) => `${tableOf(one.model)}.${one.column}`).join()
        // The second visit of a table, by any way, leads to nothing new.
        if (path.length > 1 && links.some((one) => tableOf(one.model) === tableOf(model))) continue
        if (seen.has(name)) continue
        seen.add(name)
        const fate = fateOf(model, path.length === 1)
        if (fate === 'lost') losses.push({ model, links: path })
        else if (fate === 'deleted') follow(tableOf(model), path)
      }
    }
  }
  follow(tableOf(registeredModel('user')), [])
  return losses
}

/** Returns what becomes of the rows of a model when the foreign key would delete them. */
function fateOf(model: ModelClass, isOfUser: boolean): 'lost' | 'deleted' | 'safe' {
  const { kind } = deletionRuleOf(model)
  if (isSoftDeletable(model)) {
    if (kind === 'delete' && saysOnUserDeleted(model)) return 'deleted'
    // A row of another user, which goes with a row of the deleted one: the rule of the model is not asked.
    return isOfUser && kind !== 'refuse' ? 'safe' : 'lost'
  }
  return isOfUser && kind !== 'delete' ? 'safe' : 'deleted'
}

function cascadingLinks(model: ModelClass, table: string): Link[] {
  return Object.entries(structureOf(model).specs).flatMap(([name, { reference }]) => {
    if (reference?.onDelete !== 'cascade' || resolveTable(reference.table) !== table) return []
    return [{ model, column: columnOf(model, name), target: reference.column }]
  })
}

function allModels(): ModelClass[] {
  const byTable = new Map<string, ModelClass>()
  for (const cls of [...modelsWithUserData(), ...protectedClasses().classes.map(modelClass)])
    if (!byTable.has(tableOf(cls))) byTable.set(tableOf(cls), cls)
  return [...byTable.values()]
}

/** Says which rows keep their user from being deleted, and what to do. */
export function describeLoss(loss: SilentLoss): string {
  return `${lossOf(loss)} ${fixOf(loss)}`
}

/** Says which rows keep their user from being deleted. */
export function lossOf({ model: { name }, links }: SilentLoss): string {
  const how = links.map(({ model, column }) => `${model.name}.${column}`).join(', ')
  return `Users who have rows of ${name} cannot be deleted: the foreign keys (${how}) would destroy rows that can be restored.`
}

/** Says what to do about a loss. A row that goes with a row of the user is not asked for its own rule, except 'delete'. */
export function fixOf({ model: { name }, links }: SilentLoss): string {
  return links.length > 1
    ? `Say static onUserDeleted = 'delete' on ${name}, or change its foreign key so that the rows stay.`
    : `Say what happens to them: static onUserDeleted on ${name}, such as 'softDelete' or 'delete'.`
}

/**
 * Throws if rows that can be restored would be destroyed with these users. Call it in the transaction that deletes them, after the rules of
 * the models have run.
 *
 * @param ids ids of users, as the database stores them
 * @throws ConflictError
 */
export async function assertNoSilentLoss(db: Knex, ids: readonly Knex.Value[], losses: readonly SilentLoss[]): Promise<void> {
  for (const { model, links } of losses) {
    if (!(await areThere(db, links))) continue
    let rows: Knex.QueryBuilder | readonly Knex.Value[] = ids
    for (const [i, link] of links.entries()) {
      const table = tableOf(link.model)
      const next = links[i + 1]
      const selected = next ? columnOf(link.model, next.target) : link.column
      rows = db(table)
        .whereIn(link.column, rows as Knex.QueryBuilder)
        .select(selected)
    }
    const found: unknown[] = await (rows as Knex.QueryBuilder).limit(1)
    if (found.length > 0) throw refusal(model, links.length === 1)
  }
}

async function areThere(db: Knex, links: readonly Link[]): Promise<boolean> {
  for (const { model } of links) if (!(await existsNow(db, tableOf(model)))) return false
  return true
}

function refusal({ name: model }: ModelClass, isDirect: boolean): ConflictError {
  const why = isDirect ? message('accountDeletion.restorable', { model }) : message('accountDeletion.restorableIndirectly', { model })
  return new ConflictError(why, { errors: [{ field: 'id', message: message('field.ownsRestorable', { model }) }] })
}
