import { ConfigurationError } from '../../core/errors.js'
import { modelSlot } from '../../runtime.js'
import { mergedList } from '../class-statics.js'
import { assertColumnName, type ColumnSpec, columnNameOf } from '../column.js'
import { type ModelClass, modelClass } from '../model-class.js'
import {
  type AnyColumn,
  declarationOf,
  declaresWholeTable,
  givenColumnName,
  inputsOf,
  onlyId,
  type RecordClass,
  replaceIntegerModels,
  type VirtualInput,
} from './declarations.js'
import { assertDistinctColumns, assertKnownColumnNames, assertKnownKeyColumns, assertNoInitialisedFields } from './definition-checks.js'
import { claimSecrets, existingColumnName, existingName, existingSpec, jsonAttributesOf } from './existing-models.js'
import { handSchemaOf } from './hand-schema.js'
import { replaceReferenceTargets, resolvedSpec } from './key-types.js'
import { hasNamedColumns, noteName, noteTable } from './known-names.js'
import { isConcrete, replaceGivenTables, saidTableName } from './table-names.js'

/** The merged declarations of a class and its base classes. Computed once per class. */
export interface Definition {
  readonly modelClass: ModelClass
  readonly tableName: string
  readonly columns: Readonly<Record<string, AnyColumn>>
  /** By property: the columns of `columns`, and those that `static jsonSchema` describes. */
  readonly specs: Readonly<Record<string, ColumnSpec>>
  /** property → column of the database */
  readonly columnOf: ReadonlyMap<string, string>
  /** column of the database → property */
  readonly propertyOf: ReadonlyMap<string, string>
  /** The properties of `static jsonSchema`. */
  readonly handWritten: Readonly<Record<string, object>>
  readonly handRequired: readonly string[]
  /** The other keywords of `static jsonSchema`, such as `anyOf` and `additionalProperties`. */
  readonly handKeywords: Readonly<Record<string, unknown>>
  /** The properties of `static jsonSchema` that are stored as JSON: `static jsonAttributes`, or those that allow objects or arrays. */
  readonly jsonAttributes: ReadonlySet<string>
  /** Whether the class declares all its columns: then an unknown key is an error. False if only mixins declare columns. */
  readonly isStrict: boolean
  /** Whether undeclared columns have the names of their properties, as in Objection: the class stands over the application's own base. */
  readonly keepsNames: boolean
  readonly uniques: readonly (readonly string[])[]
  readonly indexes: readonly (readonly string[])[]
  readonly inputs: Readonly<Record<string, VirtualInput>>
  /** The inputs that a new row needs. */
  readonly requiredInputs: readonly string[]
}

/** Returns the properties of the columns in `static idColumn`: several where the key is composite. */
export function idProperties(cls: object): readonly string[] {
  const { idColumn } = cls as RecordClass
  // getIdProperty() makes an instance, which a class that initPerms() replaced refuses.
  if (idColumn === 'id') return onlyId
  return [(cls as RecordClass).getIdProperty()].flat()
}

/**
 * Whether a new row gets its id in this process: `id` is a UUID, or the column of the id has a default. Other ids come from the
 * application or the database.
 */
export function makesId(cls: object): boolean {
  const name = (cls as RecordClass).getIdProperty()
  const spec = typeof name === 'string' ? structureOf(cls).specs[name] : undefined
  return spec !== undefined && !spec.isExisting && (spec.hasDefault || (name === 'id' && spec.type === 'uuid' && !spec.reference))
}

const structures = modelSlot(() => new WeakMap<object, Definition>())
/** The definitions of classes that have passed all checks. */
const definitions = modelSlot(() => new WeakMap<object, Definition>())
type DefinitionHook = (cls: ModelClass, definition: Definition) => void
const checks: DefinitionHook[] = [assertNoInitialisedFields, assertKnownColumnNames, assertDistinctColumns, assertKnownKeyColumns]
const effects: DefinitionHook[] = []

/** Returns the database column of a property of a class. An undeclared property is its own column. */
export function columnOf(cls: object, property: string): string {
  return structureOf(cls).columnOf.get(property) ?? property
}

/** Returns the column that a rule or query names by property. On a class of the application, columnNameMappers apply to undeclared ones. */
export function namedColumn(cls: object, property: string): string {
  const { columnOf, propertyOf, keepsNames } = structureOf(cls)
  const column = columnOf.get(property)
  if (column !== undefined) return column
  return keepsNames && !propertyOf.has(property) ? existingColumnName(cls as RecordClass, property) : property
}

/** Returns the property of a column: the reverse of namedColumn(). */
export function namedProperty(cls: object, column: string): string {
  const { propertyOf, keepsNames, modelClass } = structureOf(cls)
  return propertyOf.get(column) ?? (keepsNames ? modelClass.columnNameToPropertyName(column) : column)
}

/** Adds a check that runs at the first use of each class. A check must not change state, since a later check may fail. */
export function onDefinition(check: DefinitionHook): void {
  checks.push(check)
}

/** Adds a function that runs once for each class that has passed all checks. */
export function afterDefinition(effect: DefinitionHook): void {
  effects.push(effect)
}

/**
 * Sets the tables of model classes that have no `static tableName`.
 *
 * @throws ConfigurationError when a class has been used with another table: queries, relations and protected tables refer to that
 */
export function setTables(tables: ReadonlyMap<object, string>): void {
  for (const [cls, table] of tables) {
    const used = structures.get().get(cls)
    if (used && used.tableName !== table && saidTableName(cls as ModelClass) === undefined)
      throw new ConfigurationError(
        `initPerms({ tables }): ${(cls as ModelClass).name} has already been used with the table '${used.tableName}'. Call initPerms() before anything uses the models.`,
      )
  }
  replaceGivenTables(tables)
}

/**
 * Sets the registered models that references() may name. A column that refers to one of them takes the type of the column that it
 * refers to, so that `column.uuid().references('user.id')` is an integer where the registered user model has integer ids.
 */
export function setReferenceTargets(targets: ReadonlyMap<string, object>): void {
  if (replaceReferenceTargets(targets, structureOf)) forgetDefinitions()
}

/** Gives these classes and their subclasses integer ids, except those that declare an id themselves. */
export function setIntegerModels(classes: ReadonlySet<object>): void {
  if (replaceIntegerModels(classes)) forgetDefinitions()
}

// Definitions that were made before have other types.
function forgetDefinitions(): void {
  structures.set(new WeakMap())
  definitions.set(new WeakMap())
}

/**
 * Returns the property whose column a key of a row sets. The key is a property, a column, or another spelling that databases
 * accept ('USER_ID', 'doc.user_id').
 *
 * @returns undefined for a key that is not a declared column
 */
export function propertyMeant(cls: object, key: string): string | undefined {
  const { propertyOf, columnOf } = definitionOf(cls)
  if (columnOf.has(key)) return key
  const bare = key.slice(key.lastIndexOf('.') + 1).replaceAll(/["`\s]/g, '')
  const exact = propertyOf.get(bare) ?? propertyOf.get(bare.toLowerCase()) ?? (columnOf.has(bare) ? bare : undefined)
  if (exact !== undefined || !hasNamedColumns()) return exact
  // Databases compare names without case: 'loginemail' is the column 'LoginEmail'.
  for (const [column, property] of propertyOf) if (column.toLowerCase() === bare.toLowerCase()) return property
  return undefined
}

/**
 * Returns the definition of a class. The first call checks the class.
 *
 * @throws ConfigurationError when the declarations of the class contradict each other
 */
export function definitionOf(cls: object): Definition {
  const known = definitions.get().get(cls)
  if (known) return known
  const made = structureOf(cls)
  // The checks call definitionOf() themselves.
  definitions.get().set(cls, made)
  try {
    for (const check of checks) check(made.modelClass, made)
  } catch (error) {
    // The next call must throw again.
    definitions.get().delete(cls)
    throw error
  }
  for (const effect of effects) effect(made.modelClass, made)
  return made
}

/**
 * Returns the definition of a class without checking the class. For code that looks at one class while it handles another: an
 * error in the first class must not stop the second.
 */
export function structureOf(cls: object): Definition {
  const known = structures.get().get(cls)
  if (known) return known
  const made = define(cls as RecordClass)
  structures.get().set(cls, made)
  return made
}

function define(cls: RecordClass): Definition {
  const { columns, uniques, indexes } = declarationOf(cls)
  const specs: Record<string, ColumnSpec> = {}
  const columnOf = new Map<string, string>()
  const propertyOf = new Map<string, string>()
  const { properties: handWritten, required: handRequired, keywords: handKeywords } = handSchemaOf(cls)
  const jsonAttributes = jsonAttributesOf(cls, handWritten)
  const keepsNames = columns.id === undefined && !declaresWholeTable(cls)
  const columnFor = keepsNames ? existingName(cls) : () => undefined
  const requiredInputs = claimSecrets(cls, { columns, handWritten, handRequired, columnFor })
  for (const name of new Set([...Object.keys(columns), ...Object.keys(handWritten), ...mergedList(cls, 'jsonAttributes')])) {
    const declared = columns[name]
    const given = declared ? declared.spec.columnName : (givenColumnName(cls, name) ?? columnFor(name))
    if (given !== undefined) assertColumnName(given)
    const spec = declared
      ? resolvedSpec(cls, name, declared.spec, structureOf)
      : existingSpec(cls, name, { handWritten, handRequired, jsonAttributes, columnName: given })
    if (spec) specs[name] = spec
    const inDatabase = given ?? columnNameOf(name)
    columnOf.set(name, inDatabase)
    propertyOf.set(inDatabase, name)
    noteName(name, inDatabase, given !== undefined)
  }
  if (columnOf.size > 0) noteTable(cls)
  return {
    modelClass: modelClass(cls),
    tableName: cls.getTableName(),
    columns,
    specs,
    columnOf,
    propertyOf,
    handWritten,
    handRequired,
    handKeywords,
    jsonAttributes,
    isStrict: isConcrete(cls) && !keepsNames,
    keepsNames,
    uniques,
    indexes,
    inputs: inputsOf(cls),
    requiredInputs,
  }
}
