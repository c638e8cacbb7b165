import { isDeepStrictEqual } from 'node:util'
import type { Model } from 'objection'
import { ConfigurationError, ForbiddenError, MissingReferenceError, NotFoundError } from '../core/errors.js'
import { runMaybeAsync } from '../core/maybe-async.js'
import { message } from '../core/messages/message.js'
import { type OpenKnexBuilder, singlePartsOf } from '../database/knex-internals.js'
import { all, type Condition, holds, type Sql, sql } from '../policy/compiler/condition.js'
import { scopeOf, tableIn } from '../policy/compiler/scope.js'
import { type Actor, authorityFor, currentActor } from '../policy/context.js'
import { effective } from '../policy/effective.js'
import { refusedBy } from '../policy/refusal.js'
import { fragment } from '../query/fragments.js'
import { enforcerKey, hasModel, noteJoinClass, protectTable } from '../query/inspection/protected-tables.js'
import type { PolicyEnforcer, QueryHandle } from '../query/policy-enforcer.js'
import { enforcingQueryBuilder } from '../query/query-builder.js'
import { dialectOfClass } from '../record/codec.js'
import { tableOf } from '../schema/class-statics.js'
import { valuesByName } from '../schema/model-class.js'
import { checkSchema, isEnforcedAnywhere } from './enforcer.js'
import { lookUpKeys } from './key-queries.js'
import { orStepUp, rulesOfWrite } from './step-up.js'

/** The members of Objection's ManyToManyRelation that this file uses. */
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

// Returns the condition that the actor may access the row of `cls` whose columns equal these values or columns.
function mayReach(
  cls: typeof Model,
  action: 'read' | 'update',
  actor: Actor | null,
  columns: readonly string[],
  equals: readonly Sql[],
  live: boolean,
  schema: string | undefined,
  withDeleted = false,
): Condition {
  const alias = 'perms_end'
  const scope = scopeOf(cls, actor, { dialect: dialectOfClass(cls), ref: alias, live, writes: action === 'update', schema })
  const keys = columns.map((column, i) => sql(`?? = ${(equals[i] as Sql).sql}`, `${alias}.${column}`, ...(equals[i] as Sql).bindings))
  const condition = all(...keys, enforcerKey in cls ? effective(action, scope, { withDeleted }) : true)
  if (typeof condition === 'boolean') return condition
  return { sql: `exists (select 1 from ?? as ?? where ${condition.sql})`, bindings: [tableIn(scope, cls), alias, ...condition.bindings] }
}

const readsAll = (cls: typeof Model, actor: Actor | null): boolean =>
  !(enforcerKey in cls) ||
  authorityFor(cls) === 'free' ||
  effective('read', scopeOf(cls, actor, { dialect: dialectOfClass(cls), ref: 'perms_end' }), { withDeleted: true }) === true

function add(statement: OpenKnexBuilder, condition: Condition): void {
  if (condition === false) statement.whereRaw('1 = 0')
  else if (condition !== true) statement.whereRaw(fragment(statement.client, condition))
}

/** The keys that the rows have for both ends of a relation, by column or by property. */
function linksOf(relation: ThroughRelation, rows: readonly Record<string, unknown>[], by: 'cols' | 'props'): unknown[][] {
  const names = [...relation.joinTableOwnerProp[by], ...relation.joinTableRelatedProp[by]]
  return rows.map((row) => names.map((name) => row[name]))
}

/**
 * Returns the condition for the links that a caller may see: those of which the caller may read both ends. Left joins and relations
 * by id omit one end from the statement.
 */
function visibleLinks(relation: ThroughRelation, actor: Actor | null, ref: string, schema: string | undefined): Condition {
  const ends = [
    [relation.ownerModelClass, relation.ownerProp, relation.joinTableOwnerProp],
    [relation.relatedModelClass, relation.relatedProp, relation.joinTableRelatedProp],
  ] as const
  return all(
    ...ends.map(([cls, { cols }, through]) => {
      const columns = through.cols.map((name) => sql('??', `${ref}.${name}`))
      return readsAll(cls, actor) || mayReach(cls, 'read', actor, cols, columns, false, schema, true)
    }),
  )
}

/** @throws ForbiddenError when a statement inserts other links than beforeWrite() has checked */
function assertCheckedLinks(relation: ThroughRelation, builder: QueryHandle, statement: OpenKnexBuilder): void {
  const { session } = builder.execution
  const written = linksOf(relation, [singlePartsOf(statement).insert].flat() as Record<string, unknown>[], 'cols')
  if (session?.kind !== 'links' || !isDeepStrictEqual(session.links, written))
    throw new ForbiddenError(message('row.linksDiffer', { relation: relation.name }))
}

/**
 * @throws ForbiddenError or NotFoundError for an owner that the caller may not update, MissingReferenceError for a related row that the
 * caller may not read
 */
async function assertMayLink(
  relation: ThroughRelation,
  { db, schema }: QueryHandle,
  actor: Actor | null,
  row: Record<string, unknown>,
): Promise<void> {
  const { ownerModelClass: owner, relatedModelClass: related, ownerProp, relatedProp } = relation
  const mine = relation.joinTableOwnerProp.props.map((name) => sql('?', row[name]))
  const theirs = relation.joinTableRelatedProp.props.map((name) => sql('?', row[name]))
  if (!(await holds(db, mayReach(owner, 'update', actor, ownerProp.cols, mine, true, schema)))) {
    if (!(await holds(db, mayReach(owner, 'read', actor, ownerProp.cols, mine, false, schema))))
      throw new NotFoundError(message('row.noneWithId', { model: owner.name }))
    const error = new ForbiddenError(message('row.changeRelation', { relation: relation.name, model: owner.name }), {
      refusedRule: refusedBy(owner, 'update', { actor }),
    })
    throw await orStepUp(error, rulesOfWrite(owner, 'update'), actor, async (fresh) =>
      holds(db, mayReach(owner, 'update', fresh, ownerProp.cols, mine, true, schema)),
    )
  }
  if (!(await holds(db, mayReach(related, 'read', actor, relatedProp.cols, theirs, false, schema)))) {
    throw new MissingReferenceError(message('row.missingRelated', { relation: relation.name }), {
      errors: [{ field: relation.name, message: message('field.missingRow') }],
    })
  }
}

function enforcerFor(relation: ThroughRelation): PolicyEnforcer {
  const owner = relation.ownerModelClass
  const authority = () => authorityFor(owner)
  const keys = [...relation.joinTableOwnerProp.cols, ...relation.joinTableRelatedProp.cols]
  return {
    // Under Model.bypassPerms(), the table may still be protected by a relation of another model, so the bare table stays rejected.
    isFree: () => authority() === 'free' && !isEnforcedAnywhere(),
    // The join table has no policy of its own: the models at both ends decide.
    isEnforced: () => false,
    isEnforcedAnywhere,
    caller: currentActor,
    checkTruncate() {},
    assertActions() {
      throw new ConfigurationError('withAllowed() does not work for a join table, which has no policy of its own.')
    },
    allowedFlags: () => [],
    passesChecks: async () => false,
    needsTransaction: (_builder, write) => write?.kind === 'insert' && authority() !== 'free',
    restrict(builder, statement, kind) {
      const actor = authority()
      if (actor === 'free') return
      checkSchema(builder, statement, kind)
      if (kind === 'read') return add(statement, visibleLinks(relation, actor, builder.ref, builder.schema))
      if (kind === 'insert') return assertCheckedLinks(relation, builder, statement)
      if (kind === 'update' && Object.keys(singlePartsOf(statement).update as object).some((column) => keys.includes(column)))
        throw new ForbiddenError(message('row.linkKeys', { relation: relation.name }))
      const columns = relation.joinTableOwnerProp.cols.map((column) => sql('??', `${builder.ref}.${column}`))
      add(statement, mayReach(owner, 'update', actor, relation.ownerProp.cols, columns, true, builder.schema))
    },
    async beforeWrite(builder, write) {
      const actor = authority()
      if (actor === 'free' || write.kind !== 'insert') return
      for (const model of write.models) await runMaybeAsync(lookUpKeys(model, relation.joinTableOwnerProp.props, builder.db))
      const rows = write.models.map(valuesByName)
      builder.execution.session = { kind: 'links', links: linksOf(relation, rows, 'props') }
      for (const row of rows) await assertMayLink(relation, builder, actor, row)
    },
    // Callers who may update the owner may change and remove its links.
    affected: (_builder, { kind }) => ({ ids: undefined, action: kind === 'insert' ? undefined : 'delete', session: undefined }),
    async narrow() {},
    async afterWrite() {},
    async orStepUp(builder, { kind }, error) {
      const actor = authority()
      if (actor === 'free' || kind === 'insert') return error
      const mayChangeLink = async () => {
        // The rule of an update is the same, but restrict() reads its values.
        const found: unknown = await builder.targets('delete').limit(1)
        return Array.isArray(found) && found.length > 0
      }
      return await orStepUp(error, rulesOfWrite(relation.ownerModelClass, 'update'), actor, mayChangeLink)
    },
    async translate(_builder, _write, error) {
      return error
    },
  }
}

let joinClassCount = 0

/**
 * Protects a join table without a policy of its own. Linking and unlinking is an update of the relation's owner: callers who may
 * update it may link it to rows that they may read.
 */
export function protectJoinTable(relation: unknown): void {
  const through = relation as ThroughRelation
  const Plain = through.joinTableModelClass
  // A table with a protected model keeps its policy: the relation must name that model as `modelClass`.
  if (!Plain || enforcerKey in Plain || hasModel(tableOf(Plain))) return
  const Protected = class extends Plain {}
  // Objection identifies classes bound to a transaction by table and name, and two relations may use one table.
  joinClassCount += 1
  const name = `Links${joinClassCount}`
  for (const [key, value] of Object.entries({ name, QueryBuilder: enforcingQueryBuilder(Plain.QueryBuilder) }))
    Object.defineProperty(Protected, key, { value, writable: true, configurable: true })
  Object.defineProperty(Protected, enforcerKey, { value: enforcerFor(through) })
  noteJoinClass(Protected)
  const isEnforced = () => authorityFor(through.ownerModelClass) !== 'free'
  protectTable(Protected, { isEnforced, isEnforcedAnywhere, caller: currentActor })
  through.joinTableModelClass = Protected
}
