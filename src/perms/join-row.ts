import { isDeepStrictEqual } from 'node:util'
import type { Model } from 'objection'
import { dialectOfClass } from '../model/active-record.js'
import { ForbiddenError, MissingReferenceError, NotFoundError } from '../model/errors.js'
import { fragment } from '../model/fragments.js'
import { guardedQueryBuilder, guardOf, hasModel, noteJoinClass, type QueryGuard } from '../model/query-builder.js'
import { scopeOf } from './compile.js'
import { all, type Condition, holds, type Sql, sql } from './condition.js'
import { type Actor, authorityFor, currentActor } from './context.js'
import { effective } from './effective.js'
import { isEnforcedAnywhere } from './guard.js'

/** A many-to-many relation, seen from inside. */
interface ThroughRelation {
  readonly name: string
  readonly ownerModelClass: typeof Model
  readonly relatedModelClass: typeof Model
  readonly ownerProp: { readonly cols: readonly string[] }
  readonly relatedProp: { readonly cols: readonly string[] }
  joinTableModelClass: typeof Model | null
  readonly joinTableOwnerProp: { readonly cols: readonly string[]; readonly props: readonly string[] }
  readonly joinTableRelatedProp: { readonly cols: readonly string[]; readonly props: readonly string[] }
}

const tableOf = (cls: typeof Model) => (cls as unknown as { getTableName(): string }).getTableName()

// The row of `cls` whose columns have these values (or equal these columns) lets the actor do this.
function reach(
  cls: typeof Model,
  action: 'read' | 'update',
  actor: Actor | null,
  columns: readonly string[],
  equals: readonly Sql[],
  live: boolean,
): Condition {
  const alias = 'perms_end'
  const scope = scopeOf(cls, actor, { dialect: dialectOfClass(cls as never), ref: alias, live, writes: action === 'update' })
  const keys = columns.map((column, i) => sql(`?? = ${(equals[i] as Sql).sql}`, `${alias}.${column}`, ...(equals[i] as Sql).bindings))
  const condition = all(...keys, guardOf in cls ? effective(action, scope, { withDeleted: false }) : true)
  if (typeof condition === 'boolean') return condition
  return { sql: `exists (select 1 from ?? as ?? where ${condition.sql})`, bindings: [tableOf(cls), alias, ...condition.bindings] }
}

function guardFor(relation: ThroughRelation): QueryGuard {
  const owner = relation.ownerModelClass
  const authority = () => authorityFor(owner)
  const linksOf = (rows: readonly Record<string, unknown>[], by: 'cols' | 'props') =>
    rows.map((row) => [...relation.joinTableOwnerProp[by], ...relation.joinTableRelatedProp[by]].map((name) => row[name]))
  return {
    isFree: () => authority() === 'free',
    // Its rows are read through the models at both ends, and those carry their own rules.
    isEnforced: () => false,
    isEnforcedAnywhere,
    caller: currentActor,
    checkTruncate() {},
    needsTransaction: (_builder, write) => write?.kind === 'insert' && authority() !== 'free',
    restrict(builder, statement, kind) {
      const actor = authority()
      if (kind === 'read' || actor === 'free') return
      if (kind === 'insert') {
        if (!isDeepStrictEqual(builder.execution.notes, linksOf([statement._single.insert].flat() as Record<string, unknown>[], 'cols')))
          throw new ForbiddenError(`What ${relation.name} links is not what was judged: say it in relate() or insert().`)
        return
      }
      const columns = relation.joinTableOwnerProp.cols.map((column) => sql('??', `${builder.ref}.${column}`))
      const condition = reach(owner, 'update', actor, relation.ownerProp.cols, columns, true)
      if (condition === false) statement.whereRaw('1 = 0')
      else if (condition !== true) statement.whereRaw(fragment(statement.client, condition))
    },
    async beforeWrite(builder, write) {
      const actor = authority()
      if (actor === 'free') return
      if (write.kind === 'update') throw new ForbiddenError(`Rows of ${relation.name} are linked and unlinked, not changed.`)
      if (write.kind !== 'insert') return
      builder.execution.notes = linksOf(write.models as never[], 'props')
      for (const model of write.models) {
        const row = model as unknown as Record<string, unknown>
        const mine = relation.joinTableOwnerProp.props.map((name) => sql('?', row[name]))
        const theirs = relation.joinTableRelatedProp.props.map((name) => sql('?', row[name]))
        if (!(await holds(builder.db, reach(owner, 'update', actor, relation.ownerProp.cols, mine, true)))) {
          const isThere = await holds(builder.db, reach(owner, 'read', actor, relation.ownerProp.cols, mine, false))
          throw isThere
            ? new ForbiddenError(`You may not change what this ${owner.name} is related to.`)
            : new NotFoundError(`There is no ${owner.name} with this id.`)
        }
        if (!(await holds(builder.db, reach(relation.relatedModelClass, 'read', actor, relation.relatedProp.cols, theirs, false)))) {
          throw new MissingReferenceError(`${relation.name} refers to a row that does not exist.`, {
            errors: [{ field: relation.name, message: 'refers to a row that does not exist' }],
          })
        }
      }
    },
    async afterWrite() {},
    async translate(_builder, _write, error) {
      return error
    },
  }
}

/**
 * Linking and unlinking by a join table without a policy of its own is a write to the owner of the relation: who may update
 * it may link it to rows that he may read.
 */
export function guardJoinTable(relation: unknown): void {
  const through = relation as ThroughRelation
  const Plain = through.joinTableModelClass
  // Where the table has a model with a policy of its own, `modelClass` has to name that.
  if (!Plain || guardOf in Plain || hasModel(tableOf(Plain))) return
  const Guarded = class extends (Plain as unknown as new () => Model) {}
  Object.defineProperty(Guarded, 'QueryBuilder', { value: guardedQueryBuilder(Plain.QueryBuilder), writable: true, configurable: true })
  Object.defineProperty(Guarded, guardOf, { value: guardFor(through) })
  noteJoinClass(Guarded)
  through.joinTableModelClass = Guarded as unknown as typeof Model
}
