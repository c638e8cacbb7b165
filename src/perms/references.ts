import type { Knex } from 'knex'
import type { Model } from 'objection'
import { definitionOf, resolveTable } from '../model/definition.js'
import { type FieldError, ForbiddenError, MissingReferenceError } from '../model/errors.js'
import { guardOf, protectedClass, protectedClasses, protectionVersion } from '../model/query-builder.js'
import { remember } from '../model/remember.js'
import { beyondAdmins, domainAdmin, globalRole, type Scope, scopeOf } from './compile.js'
import { all, any, type Condition, holds, sql } from './condition.js'
import { effective, isAdminHere } from './effective.js'
import { ADMIN } from './tables.js'

interface Reference {
  readonly field: string
  readonly target: typeof Model
  readonly column: string
}

let known = new WeakMap<object, { readonly version: number; readonly references: readonly Reference[] }>()

/** For perms.close(): the next application has other models. */
export function forgetProtectedTables(): void {
  known = new WeakMap()
}

/** A relation, seen from inside. */
interface OpenRelation {
  readonly ownerProp: { readonly props: readonly string[]; readonly cols: readonly string[] }
  readonly relatedProp: { readonly props: readonly string[]; readonly cols: readonly string[] }
  readonly relatedModelClass: typeof Model
  readonly joinTableModelClass?: typeof Model | null
  readonly constructor: unknown
}

const relationsOf = (cls: typeof Model) => Object.values(cls.getRelations()) as unknown as OpenRelation[]
const isBelongsTo = (cls: typeof Model, relation: OpenRelation) =>
  relation.constructor === (cls as unknown as { BelongsToOneRelation: unknown }).BelongsToOneRelation
const tableOf = (cls: typeof Model) => (cls as unknown as { getTableName(): string }).getTableName()

/** The columns of a class that name a row of a protected model. */
function referencesOf(cls: typeof Model): readonly Reference[] {
  const found = known.get(cls)
  if (found && found.version === protectionVersion()) return found.references
  const { version, classes } = protectedClasses()
  const list = new Map<string, Reference>()
  const note = (field: string | undefined, target: typeof Model | undefined, column: string | undefined) => {
    if (field && target && column && !list.has(field)) list.set(field, { field, target, column })
  }
  for (const relation of relationsOf(cls)) {
    if (!isBelongsTo(cls, relation) || !(guardOf in relation.relatedModelClass)) continue
    if (relation.ownerProp.props.length === 1) note(relation.ownerProp.props[0], relation.relatedModelClass, relation.relatedProp.cols[0])
  }
  for (const [field, { reference }] of Object.entries(definitionOf(cls).specs)) {
    if (reference) note(field, protectedClass(resolveTable(reference.table)), reference.column)
  }
  // A relation said from the other side only: hasMany(() => Comment, 'docId').
  for (const target of classes) {
    for (const relation of relationsOf(target)) {
      if (relation.joinTableModelClass || isBelongsTo(target, relation) || tableOf(relation.relatedModelClass) !== tableOf(cls)) continue
      const [field, further] = relation.relatedProp.props
      if (field !== 'id' && further === undefined) note(field, target, relation.ownerProp.cols[0])
    }
  }
  const references = [...list.values()]
  known.set(cls, { version, references })
  return references
}

const fields = new WeakMap<readonly Reference[], ReadonlySet<string>>()

/** The columns that name a row of a protected model, the owner among them. */
export function referenceFields(cls: typeof Model): ReadonlySet<string> {
  const references = referencesOf(cls)
  return remember(fields, references, () => new Set(references.map(({ field }) => field)))
}

/** Whether setting these values names another row, which takes a look-up. */
export function namesRows(scope: Scope, values: Readonly<Record<string, unknown>>): boolean {
  return referencesOf(scope.cls).some(
    ({ field }) => values[field] !== undefined && values[field] !== null && !isOwn(scope, field, values[field]),
  )
}

function isOwn(scope: Scope, field: string, value: unknown): boolean {
  return field === scope.policy.ownerField && value === scope.actor?.id
}

/**
 * Another's name and other rows: the owner is oneself, but for admins; a row that is referred to must be one that the
 * actor may read, and one that is not there is answered alike.
 *
 * @param scope with the new values as its row
 * @param place the row itself: its new values, or for an update the row in the table
 * @returns what must hold for the row when the statement runs
 * @throws ForbiddenError, MissingReferenceError
 */
export async function checkReferences(
  knex: Knex,
  scope: Scope,
  values: Readonly<Record<string, unknown>>,
  place: Scope,
): Promise<Condition> {
  const { specs } = definitionOf(scope.cls)
  const missing: FieldError[] = []
  const conditions: Condition[] = []
  for (const { field, target, column } of referencesOf(scope.cls)) {
    const value = values[field]
    if (value === undefined || value === null) continue
    if (field === scope.policy.ownerField) {
      if (isOwn(scope, field, value) || specs[field]?.writable !== undefined) continue
      const asAdmin = any(isAdminHere(scope) ? globalRole({ ...place, live: true }, [ADMIN]) : false, domainAdmin({ ...place, live: true }))
      // Admins too stop short of the names of other admins.
      if (asAdmin === false || !(await holds(knex, beyondAdmins({ ...scope, live: false, writes: true }, field))))
        throw new ForbiddenError('You may make this only in your own name.', { errors: [{ field, message: 'must be your own id' }] })
      conditions.push(asAdmin)
      continue
    }
    const policy = scopeOf(target, scope.actor, { dialect: scope.dialect, ref: 'perms_ref' })
    const table = (target as unknown as { getTableName(): string }).getTableName()
    const rows = all(sql('?? = ?', `perms_ref.${column}`, value), effective('read', policy, { withDeleted: false }))
    const isThere =
      rows !== false &&
      typeof rows !== 'boolean' &&
      (await holds(knex, { sql: `exists (select 1 from ?? as ?? where ${rows.sql})`, bindings: [table, 'perms_ref', ...rows.bindings] }))
    if (!isThere) missing.push({ field, message: 'refers to a row that does not exist' })
  }
  if (missing.length > 0) {
    throw new MissingReferenceError(`${missing.map(({ field }) => field).join(', ')} refers to a row that does not exist.`, {
      errors: missing,
    })
  }
  return all(...conditions)
}
