import type { Knex } from 'knex'
import type { Model } from 'objection'
import { type FieldProblem, ForbiddenError, MissingReferenceError } from '../core/errors.js'
import { awaitMaybe, type MaybeAsyncSteps } from '../core/maybe-async.js'
import { memoize } from '../core/memoize.js'
import { message } from '../core/messages/message.js'
import { compile } from '../policy/compiler/compile.js'
import { all, any, type Condition, holds, sql } from '../policy/compiler/condition.js'
import { domainAdmin, excludesAdmins, globalRole } from '../policy/compiler/role-conditions.js'
import { isSameId, type Scope, scopeOf, tableIn } from '../policy/compiler/scope.js'
import { effective, isAdminHere } from '../policy/effective.js'
import { policyOf } from '../policy/policy.js'
import { refusedBy } from '../policy/refusal.js'
import { owner, type Rule, usesCheck } from '../policy/rules.js'
import { ADMIN } from '../policy/user-tables.js'
import { enforcerKey, protectedClass, protectedClasses, protectionVersion } from '../query/inspection/protected-tables.js'
import { isBelongsToOne, type ObjectionRelation, relationsOf } from '../query/objection-internals.js'
import { usableRelations } from '../query/usable-relations.js'
import { modelSlot } from '../runtime.js'
import { tableOf } from '../schema/class-statics.js'
import { columnOf, definitionOf, idProperties, namedProperty, structureOf } from '../schema/definition/definition.js'
import { resolveTable } from '../schema/definition/table-names.js'
import { runChecks } from './evaluate.js'

/** Columns of a model that refer to a row of a protected model, by a key of one or more columns. */
interface Reference {
  readonly fields: readonly string[]
  readonly target: typeof Model
  readonly columns: readonly string[]
}

const known = modelSlot(() => new WeakMap<object, { readonly version: number; readonly references: readonly Reference[] }>())

// Values that both rows share, such as their owner, do not identify a row.
const isKey = (cls: typeof Model, props: readonly string[]) =>
  props.length > 1 || props.every((name) => idProperties(cls).includes(name) || structureOf(cls).specs[name]?.isUnique)

/** Returns the references of a class to rows of protected models. */
function referencesOf(cls: typeof Model): readonly Reference[] {
  const found = known.get().get(cls)
  if (found && found.version === protectionVersion()) return found.references
  const { version, classes } = protectedClasses()
  const list = new Map<string, Reference>()
  const note = (fields: readonly string[], target: typeof Model | undefined, columns: readonly string[]) => {
    const key = fields.join()
    if (target && fields.length > 0 && fields.length === columns.length && !list.has(key)) list.set(key, { fields, target, columns })
  }
  for (const relation of Object.values(relationsOf(cls))) {
    if (relation && isBelongsToOne(relation) && enforcerKey in relation.relatedModelClass)
      note(relation.ownerProp.props, relation.relatedModelClass, relation.relatedProp.cols)
  }
  for (const [field, { reference }] of Object.entries(definitionOf(cls).specs)) {
    if (!reference) continue
    const target = protectedClass(resolveTable(reference.table))
    if (target) note([field], target, [columnOf(target, reference.column)])
  }
  // Relations that only the other model declares, such as hasMany(() => Comment, 'docId').
  for (const target of classes) {
    for (const relation of usableRelations(target).relations) {
      for (const { columns, of, by } of endsIn(cls, relation)) {
        const props = columns.map((column) => namedProperty(cls, column))
        if (enforcerKey in of && !props.includes('id') && isKey(of, by.props)) note(props, of, by.cols)
      }
    }
  }
  const references = [...list.values()]
  known.get().set(cls, { version, references })
  return references
}

/** Returns the columns of a class through which a relation of another model finds rows: the class is related to it, or links it. */
function endsIn(cls: typeof Model, relation: ObjectionRelation) {
  const { ownerModelClass: owner, relatedModelClass: related, ownerProp, relatedProp, joinTableModelClass: links } = relation
  if (!links) {
    const isOther = isBelongsToOne(relation) || tableOf(related) !== tableOf(cls)
    return isOther ? [] : [{ columns: relatedProp.cols, of: owner, by: ownerProp }]
  }
  if (tableOf(links) !== tableOf(cls)) return []
  return [
    { columns: relation.joinTableOwnerProp?.cols ?? [], of: owner, by: ownerProp },
    { columns: relation.joinTableRelatedProp?.cols ?? [], of: related, by: relatedProp },
  ]
}

const fields = new WeakMap<readonly Reference[], ReadonlySet<string>>()

/** Returns the columns that refer to rows of protected models, including the owner. */
export function referenceFields(cls: typeof Model): ReadonlySet<string> {
  const references = referencesOf(cls)
  return memoize(fields, references, () => new Set(references.flatMap((one) => one.fields)))
}

/** Returns whether these values refer to another row, which must be looked up. */
export function namesRows(scope: Scope, values: Readonly<Record<string, unknown>>): boolean {
  return referencesOf(scope.cls).some(({ fields: [field = '', ...further] }) => {
    if (further.length > 0) return [field, ...further].some((name) => values[name] !== undefined && values[name] !== null)
    return values[field] !== undefined && values[field] !== null && !isOwn(scope, field, values[field])
  })
}

function isOwn(scope: Scope, field: string, value: unknown): boolean {
  return field === scope.policy.ownerField && scope.actor !== null && isSameId(value, scope.actor.id)
}

/** Returns whether the actor may read the row with these values. */
function* isReadable(
  knex: Knex,
  scope: Scope,
  target: typeof Model,
  columns: readonly string[],
  values: readonly unknown[],
): MaybeAsyncSteps<boolean> {
  const policy = scopeOf(target, scope.actor, { dialect: scope.dialect, ref: 'perms_ref', schema: scope.schema })
  const table = tableIn(scope, target)
  const keys = columns.map((column, i) => sql('?? = ?', `perms_ref.${column}`, values[i]))
  const rows = all(...keys, effective('read', policy, { withDeleted: false }))
  if (typeof rows === 'boolean') return false
  return yield* awaitMaybe(
    holds(knex, { sql: `exists (select 1 from ?? as ?? where ${rows.sql})`, bindings: [table, 'perms_ref', ...rows.bindings] }),
  )
}

/** Returns whether a rule lets the actor create a row for another user. */
function* mayName(knex: Knex, scope: Scope, rule: Rule, row: Readonly<Record<string, unknown>>): MaybeAsyncSteps<boolean> {
  const checks = usesCheck(rule) ? yield* awaitMaybe(runChecks(rule, row, scope.actor)) : undefined
  return yield* awaitMaybe(holds(knex, compile(rule, { ...scope, row, live: true, checks })))
}

/**
 * Checks the owner and other references of new values. Only admins may set another owner. A referenced row must be readable for the
 * actor; an unreadable row gives the same error as a missing one.
 *
 * @param scope the scope with the new values as its row
 * @param place the scope of the row itself: its new values, or for an update the row in the table
 * @returns the condition that the row must satisfy when the statement runs
 * @throws ForbiddenError, MissingReferenceError
 */
export function* checkReferences(
  knex: Knex,
  scope: Scope,
  values: Readonly<Record<string, unknown>>,
  place: Scope,
): MaybeAsyncSteps<Condition> {
  const { specs } = definitionOf(scope.cls)
  const missing: FieldProblem[] = []
  const conditions: Condition[] = []
  for (const { fields, target, columns } of referencesOf(scope.cls)) {
    const named = fields.map((name) => values[name])
    const [field = ''] = fields
    const [value] = named
    // A key with NULL refers to no row. Columns that a new row does not set are NULL.
    if (named.includes(null) || named.every((one) => one === undefined) || (place.row && named.includes(undefined))) continue
    if (named.includes(undefined)) {
      for (const name of fields) missing.push({ field: name, message: message('field.incompleteReference', { fields }) })
      continue
    }
    if (field === scope.policy.ownerField) {
      if (isOwn(scope, field, value) || specs[field]?.writable !== undefined) continue
      const { createForOthers } = policyOf(scope.cls)
      // Whether the policy lets this caller create the row was decided before. Its owner is a reference like any other.
      if (place.row && createForOthers && (yield* mayName(knex, scope, createForOthers, values))) {
        if (!(yield* isReadable(knex, scope, target, columns, named))) missing.push({ field, message: message('field.missingRow') })
        continue
      }
      const asAdmin = any(isAdminHere(scope) ? globalRole({ ...place, live: true }, [ADMIN]) : false, domainAdmin({ ...place, live: true }))
      // Admins may not set other admins as owners.
      if (asAdmin === false || !(yield* awaitMaybe(holds(knex, excludesAdmins({ ...scope, live: false, writes: true }, field)))))
        throw new ForbiddenError(message('row.createOwner'), {
          errors: [{ field, message: message('field.ownId') }],
          refusedRule: refusedBy(scope.cls, place.row ? 'create' : 'update', { rule: createForOthers ?? owner(field), actor: scope.actor }),
        })
      conditions.push(asAdmin)
      continue
    }
    const isThere = yield* isReadable(knex, scope, target, columns, named)
    if (!isThere) for (const name of fields) missing.push({ field: name, message: message('field.missingRow') })
  }
  if (missing.length > 0) {
    throw new MissingReferenceError(message('row.missingReference', { fields: missing.map(({ field }) => field) }), {
      errors: missing,
    })
  }
  return all(...conditions)
}
