/** Applies the rule of a model to rows of a user who is deleted, one batch at a time. */
import type { Knex } from 'knex'
import type { Model, QueryBuilder } from 'objection'
import { ConfigurationError } from '../../core/errors.js'
import { deletingPermanently, includingDeleted, isSoftDeletable } from '../../mixins/soft-delete.js'
import type { UserId } from '../../policy/registered-types.js'
import { idProperties } from '../../schema/definition/definition.js'
import type { ModelClass } from '../../schema/model-class.js'
import type { ModelReport } from '../account-deletion.js'
import { type DeletionRule, fieldsOf } from './user-data.js'

/** The rows of one batch. */
export interface Batch {
  readonly model: ModelClass
  readonly rule: DeletionRule
  readonly userId: UserId
  readonly limit: number
  readonly trx: Knex.Transaction
}

/**
 * Applies a rule to at most `limit` rows of a user. Call it as the system.
 *
 * @returns how many rows it found, and what it did to them
 * @throws ConfigurationError if a function of the application left rows that still belong to the user
 */
export async function applyRule(batch: Batch): Promise<{ readonly found: number; readonly done: ModelReport }> {
  const { model, rule, userId, trx } = batch
  if (rule.kind === 'keep' || rule.kind === 'restrict' || rule.kind === 'refuse') return { found: 0, done: {} }
  const rows = await rowsOf(batch)
  if (rows.length === 0) return { found: 0, done: {} }
  const ids = rows.map((row) => row.$id() as string)
  const these = () => includingDeleted(model.query(trx)).findByIds(ids)
  switch (rule.kind) {
    case 'delete': {
      await (isSoftDeletable(model) ? deletingPermanently(these()) : these()).delete()
      return { found: rows.length, done: { deleted: rows.length } }
    }
    case 'softDelete': {
      await these()
        .whereNull('deletedAt')
        .patch({ deletedAt: new Date() } as object)
      await removeOwner(batch, these, {})
      return { found: rows.length, done: { softDeleted: rows.length } }
    }
    case 'anonymise': {
      await removeOwner(batch, these, rule.values)
      return { found: rows.length, done: { anonymised: rows.length } }
    }
    case 'handle': {
      await rule.handle(rows, { userId, trx })
      if (
        (await ofUser(includingDeleted(model.query(trx)), model, userId)
          .findByIds(ids)
          .resultSize()) > 0
      )
        throw new ConfigurationError(
          `${model.name}.onUserDeleted left rows that still belong to the deleted user. Delete them, or set ${fieldsOf(model).join(' and ')} to another value.`,
        )
      return { found: rows.length, done: { handled: rows.length } }
    }
  }
}

/** Counts the rows that stay as they are. */
export async function countKept(model: ModelClass, userId: UserId): Promise<number> {
  return await ofUser(includingDeleted(model.query()), model, userId).resultSize()
}

/** Restricts a query to the rows that belong to a user or would be deleted with the user. */
export function ofUser<Q extends QueryBuilder<Model, unknown>>(query: Q, model: ModelClass, userId: UserId): Q {
  return query.where((row) => {
    for (const name of fieldsOf(model)) row.orWhere(name, userId)
  }) as Q
}

function rowsOf({ model, rule, userId, limit, trx }: Batch): Promise<Model[]> {
  // Locked, so that no row gets another owner before it is changed.
  const query = ofUser(includingDeleted(model.query(trx)), model, userId)
    .orderBy([...idProperties(model)])
    .limit(limit)
    .forUpdate()
  // A function of the application gets whole rows.
  return (rule.kind === 'handle' ? query : query.select(...idProperties(model))) as unknown as Promise<Model[]>
}

// A row may belong to several users: only the deleted one is removed.
async function removeOwner(
  { model, userId }: Batch,
  these: () => QueryBuilder<Model, unknown>,
  values: Readonly<Record<string, unknown>>,
): Promise<void> {
  if (Object.keys(values).length > 0) await these().patch({ ...values } as object)
  for (const name of fieldsOf(model))
    await these()
      .where(name, userId)
      .patch({ [name]: null } as object)
}
