/** Which rows belong to a user, and what happens to them when the user is deleted. */
import type { Model } from 'objection'
import { ConfigurationError } from '../../core/errors.js'
import type { OnUserDeleted } from '../../mixins/has-user.js'
import { isSoftDeletable } from '../../mixins/soft-delete.js'
import { isUserModel } from '../../policy/policy.js'
import { registeredModel } from '../../policy/registered-models.js'
import { protectedClasses } from '../../query/inspection/protected-tables.js'
import { type Runtime, runtimeSlot } from '../../runtime.js'
import { lineage, ownStatic, tableOf } from '../../schema/class-statics.js'
import type { ColumnSpec, OnDelete } from '../../schema/column.js'
import { onDefinition, structureOf } from '../../schema/definition/definition.js'
import { resolveTable } from '../../schema/definition/table-names.js'
import { type ModelClass, modelClass } from '../../schema/model-class.js'
import { internalModels } from '../tables/internal-models.js'

/** The static members that decide about a user's rows. HasUserMixin declares most of them. */
interface UserDataStatics {
  readonly userField?: string
  readonly ownerFields?: readonly string[]
  readonly onUserDeleted?: OnUserDeleted
  readonly exported?: boolean
}

const staticsOf = (cls: object): UserDataStatics => cls as UserDataStatics

const given = runtimeSlot<readonly ModelClass[]>(() => [])

/** Sets the models of `initPerms({ models })`, whose rows may belong to users before their first use. */
export function registerUserData(runtime: Runtime, models: readonly ModelClass[]): void {
  given.set(runtime, models)
}

/**
 * Returns the models whose rows may belong to users, one for each table: the library's, those given to initPerms(), and those used so far.
 * The audit log and the deletions themselves are not among them.
 */
export function modelsWithUserData(): ModelClass[] {
  const registered = (['user', 'userRole', 'token', 'userSetting'] as const).map((kind) => modelClass(registeredModel(kind)))
  const byTable = new Map<string, ModelClass>()
  for (const cls of [...registered, ...internalModels, ...given.get(), ...protectedClasses().classes.map(modelClass)]) {
    const table = tableOf(cls)
    if (!byTable.has(table)) byTable.set(table, cls)
  }
  return [...byTable.values()].filter((cls) => fieldsOf(cls).length > 0).sort((a, b) => (tableOf(a) < tableOf(b) ? -1 : 1))
}

/** Returns the properties whose user owns a row: `static ownerFields`, or the field of HasUserMixin. */
export function ownerFieldsOf(cls: object): readonly string[] {
  const { ownerFields, userField } = staticsOf(cls)
  if (ownerFields !== undefined) return ownerFields
  return userField !== undefined && structureOf(cls).specs[userField] ? [userField] : []
}

/** Returns whether exports contain the rows of their owner. */
export function isExported(cls: object): boolean {
  return staticsOf(cls).exported !== false && ownerFieldsOf(cls).length > 0
}

/** Returns the properties that refer to a user, with the action of their foreign key. */
export function userReferencesOf(cls: object): ReadonlyMap<string, OnDelete | undefined> {
  const table = tableOf(registeredModel('user'))
  const found = new Map<string, OnDelete | undefined>()
  for (const [name, { reference }] of Object.entries(structureOf(cls).specs))
    if (reference && resolveTable(reference.table) === table) found.set(name, reference.onDelete)
  return found
}

/** Returns the properties by which rows are found when a user is deleted: the owners, and the references that would delete the rows. */
export function fieldsOf(cls: object): readonly string[] {
  const cascading = [...userReferencesOf(cls)].flatMap(([name, action]) => (action === 'cascade' ? [name] : []))
  return [...new Set([...ownerFieldsOf(cls), ...cascading])]
}

/** The effect of a user's deletion on the rows of a model. */
export type DeletionRule =
  | { readonly kind: 'delete' | 'softDelete' | 'keep' | 'restrict' }
  /** The model keeps deleted rows, and does not say what happens to them. */
  | { readonly kind: 'refuse' }
  | { readonly kind: 'anonymise'; readonly values: Readonly<Record<string, unknown>> }
  | { readonly kind: 'handle'; readonly handle: Extract<OnUserDeleted, (...args: never[]) => unknown> }

/** Returns whether a model says what happens to the rows of a deleted user. */
export const saysOnUserDeleted = (cls: object): boolean => staticsOf(cls).onUserDeleted !== undefined

/** Returns what the deletion of a user does to the rows of a model: what the model says, or what its foreign keys do. */
export function deletionRuleOf(cls: object): DeletionRule {
  const { onUserDeleted } = staticsOf(cls)
  if (typeof onUserDeleted === 'function') return { kind: 'handle', handle: onUserDeleted }
  if (typeof onUserDeleted === 'object') return { kind: 'anonymise', values: onUserDeleted.anonymise }
  if (onUserDeleted === 'anonymise') return { kind: 'anonymise', values: {} }
  if (onUserDeleted !== undefined) return { kind: onUserDeleted }
  const actions = [...userReferencesOf(cls).values()]
  if (actions.includes('cascade')) return { kind: isSoftDeletable(cls) ? 'refuse' : 'delete' }
  if (actions.includes('set null')) return { kind: 'anonymise', values: {} }
  return { kind: actions.length > 0 ? 'restrict' : 'keep' }
}

onDefinition((cls, { specs }) => {
  const { onUserDeleted, ownerFields } = staticsOf(cls)
  const fail = (why: string): never => {
    throw new ConfigurationError(`${cls.name}.${why}`)
  }
  if (ownerFields !== undefined) {
    const isList = Array.isArray(ownerFields)
    const unknown = isList ? ownerFields.find((name) => !specs[name]) : String(ownerFields)
    if (!isList || unknown !== undefined)
      fail(
        `ownerFields${inheritedFrom(cls, 'ownerFields')} names '${unknown}', which is no column of ${cls.name}. List its columns with ids of users, or set static ownerFields = [].`,
      )
  }
  if (onUserDeleted !== undefined) assertOnUserDeleted(cls, onUserDeleted, specs, fail)
})

function withoutOwner(cls: typeof Model): string {
  const ignored = `onUserDeleted has no effect${inheritedFrom(cls, 'onUserDeleted')}: `
  if (isUserModel(cls))
    return `${ignored}a row of the user model is the user, and no column names an owner. Set static onUserDeleted = undefined on ${cls.name}, and the rule on the models whose rows belong to users.`
  return `${ignored}no column of ${cls.name} says whom a row belongs to. Add HasUserMixin or static ownerFields, or set static onUserDeleted = undefined.`
}

/** Returns the class from which a model has a static member, for messages; '' if it is its own. */
function inheritedFrom(cls: typeof Model, name: keyof UserDataStatics): string {
  const source = lineage(cls).findLast((one) => ownStatic(one, name) !== undefined)
  return source === undefined || source === cls ? '' : ` (inherited from ${modelClass(source).name || 'a mixin'})`
}

function assertOnUserDeleted(
  cls: typeof Model,
  said: OnUserDeleted,
  specs: Readonly<Record<string, ColumnSpec>>,
  fail: (why: string) => never,
): void {
  const isObject = typeof said === 'object' && said !== null && typeof said.anonymise === 'object'
  if (!isObject && typeof said !== 'function' && !['delete', 'softDelete', 'anonymise', 'keep'].includes(said as string))
    fail("onUserDeleted must be 'delete', 'softDelete', 'anonymise', 'keep', { anonymise: { column: value } } or a function.")
  const fields = fieldsOf(cls)
  if (fields.length === 0) fail(withoutOwner(cls))
  if (said === 'softDelete' && !isSoftDeletable(cls)) fail("onUserDeleted = 'softDelete' needs SoftDeleteMixin.")
  const cascading = [...userReferencesOf(cls)].find(([, action]) => action === 'cascade')?.[0]
  if (said === 'keep' && cascading !== undefined)
    fail(
      `onUserDeleted = 'keep': the foreign key of ${cascading} deletes the rows. Use 'anonymise', or static userOnDelete = 'set null' and a migration.`,
    )
  const losesOwner = said === 'anonymise' || said === 'softDelete' || isObject
  const required = fields.find((name) => specs[name]?.isNullable === false)
  if (losesOwner && required !== undefined)
    fail(
      `onUserDeleted: ${required} may not be null, but the rows would lose it. Set static userIdNullable = true (or .nullable()), and add a migration.`,
    )
  const unknown = isObject ? Object.keys(said.anonymise).find((name) => !specs[name] || fields.includes(name)) : undefined
  if (unknown !== undefined) fail(`onUserDeleted.anonymise names '${unknown}', which is no other column of ${cls.name}.`)
}
