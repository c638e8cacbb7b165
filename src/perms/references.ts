import type { Knex } from 'knex'
import type { Model } from 'objection'
import { definitionOf, resolveTable } from '../model/definition.js'
import { type FieldError, ForbiddenError, MissingReferenceError } from '../model/errors.js'
import { guardOf } from '../model/query-builder.js'
import { domainAdmin, type Scope, scopeOf } from './compile.js'
import { all, holds, sql } from './condition.js'
import { effective, isAdminHere } from './effective.js'

interface Reference {
  readonly field: string
  readonly target: typeof Model
  readonly column: string
}

const known = new WeakMap<object, readonly Reference[]>()
const byTable = new Map<string, typeof Model>()

/** A class whose rows have a policy, by its table: what refers to the table refers to its rows. */
export function noteProtectedTable(table: string, cls: typeof Model): void {
  if (!byTable.has(table)) byTable.set(table, cls)
}

/** For perms.close(): the next application has other models. */
export function forgetProtectedTables(): void {
  byTable.clear()
}

/** The columns of a class that name a row of a protected model. */
function referencesOf(cls: typeof Model): readonly Reference[] {
  let found = known.get(cls)
  if (found) return found
  const list = new Map<string, Reference>()
  for (const relation of Object.values(cls.getRelations()) as unknown as {
    ownerProp: { props: string[] }
    relatedProp: { cols: string[] }
    relatedModelClass: typeof Model
    constructor: unknown
  }[]) {
    if (relation.constructor !== (cls as unknown as { BelongsToOneRelation: unknown }).BelongsToOneRelation) continue
    const [field, column] = [relation.ownerProp.props[0], relation.relatedProp.cols[0]]
    if (field && column && relation.ownerProp.props.length === 1 && guardOf in relation.relatedModelClass)
      list.set(field, { field, target: relation.relatedModelClass, column })
  }
  for (const [field, { reference }] of Object.entries(definitionOf(cls).specs)) {
    const target = reference && byTable.get(resolveTable(reference.table))
    if (reference && target && !list.has(field)) list.set(field, { field, target, column: reference.column })
  }
  found = [...list.values()]
  known.set(cls, found)
  return found
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
 * @throws ForbiddenError, MissingReferenceError
 */
export async function checkReferences(knex: Knex, scope: Scope, values: Readonly<Record<string, unknown>>): Promise<void> {
  const { specs } = definitionOf(scope.cls)
  const missing: FieldError[] = []
  for (const { field, target, column } of referencesOf(scope.cls)) {
    const value = values[field]
    if (value === undefined || value === null) continue
    if (field === scope.policy.ownerField) {
      if (isOwn(scope, field, value)) continue
      const mayName = isAdminHere(scope) || specs[field]?.writable !== undefined || domainAdmin({ ...scope, live: false }) === true
      if (!mayName)
        throw new ForbiddenError('You may make this only in your own name.', { errors: [{ field, message: 'must be your own id' }] })
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
}
