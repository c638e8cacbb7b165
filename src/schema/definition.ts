import type { Model } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { snakeCase } from '../core/names.js'
import { modelSlot } from '../runtime.js'
import { lineage, mergedList, ownStatic } from './class-statics.js'
import { assertColumnName, Column, type ColumnSpec, type Columns, columnNameOf, column as columns } from './column.js'
import { allowsNull, existingColumn } from './existing-columns.js'
import { handSchemaOf } from './hand-schema.js'
import { type ModelClass, modelClass } from './model-class.js'

// biome-ignore lint/suspicious/noExplicitAny: a column of any type
type AnyColumn = Column<any, boolean>

/** A model class of this library, with the static methods that this layer calls. */
export interface RecordClass {
  // biome-ignore lint/suspicious/noExplicitAny: any constructor
  new (...args: any[]): Model
  readonly name: string
  readonly prototype: Model
  getTableName(): string
  getIdProperty(): string | string[]
  idColumn: string | string[]
}

/** A property that a client may send although it is not a column, such as `password`. */
export interface VirtualInput {
  readonly schema: object
  readonly on: readonly ('create' | 'update')[]
}

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

const onlyId: readonly string[] = ['id']

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
/** Returns columns that depend on static properties of the final class. */
export type ColumnsFor = (cls: RecordClass) => Columns
const ownColumns = new WeakMap<object, Columns | ColumnsFor>()
const ownUniques = new WeakMap<object, readonly (readonly string[])[]>()
const ownIndexes = new WeakMap<object, readonly (readonly string[])[]>()
const ownInputs = new WeakMap<object, Record<string, VirtualInput>>()
const ownSecrets = new WeakMap<object, readonly string[]>()
const ownWhole = new WeakSet<object>()
const intermediates = new WeakSet<object>()
type DefinitionHook = (cls: ModelClass, definition: Definition) => void
const checks: DefinitionHook[] = [assertNoInitialisedFields, assertKnownColumnNames, assertDistinctColumns]
const effects: DefinitionHook[] = []
const tableAliases = modelSlot(() => new Map<string, string>())
/** The model for each table name that references() may name: the registered user model for 'user'. */
const referenceTargets = modelSlot<ReadonlyMap<string, object>>(() => new Map())

/** Property → column in snake_case, for the identifiers in queries of models. The same for every model. */
const knownNames = modelSlot(() => new Map<string, string>())
/**
 * The columns that named() set, and those of each property. They differ between models, so the models of a statement decide: see
 * query/statement-names.ts.
 */
const namedColumns = modelSlot(() => ({ columns: new Set<string>(), ofProperty: new Map<string, Set<string>>() }))
/** The first class with declared columns over each table. */
const classesOfTables = modelSlot(() => new Map<string, RecordClass>())
let namesVersion = 0

/** Returns whether any model names a column with named(). */
export function hasNamedColumns(): boolean {
  return namedColumns.get().columns.size > 0
}

/** Returns a model class over a table; undefined for a table without a known model. The name may omit the schema. */
export function classOfTable(table: string): RecordClass | undefined {
  return classesOfTables.get().get(table)
}

/** Returns every identifier that a query may send for an identifier: its column in each model. */
export function possibleColumns(identifier: string): string[] {
  return [columnForIdentifier(identifier), ...(namedColumns.get().ofProperty.get(identifier) ?? [])]
}

/** Returns the database column of a property of a class. An undeclared property is its own column. */
export function columnOf(cls: object, property: string): string {
  return structureOf(cls).columnOf.get(property) ?? property
}

/** Returns a number that changes when a new property name becomes known. */
export function versionOfNames(): number {
  return namesVersion
}

/** Marks a class that a mixin or withColumns() created: it has no table of its own. */
export function markIntermediate(cls: object): void {
  intermediates.add(cls)
}

/** Returns whether a mixin or withColumns() created this class. */
export function isIntermediate(cls: object): boolean {
  return intermediates.has(cls)
}

/** Declares columns of a class, which its subclasses inherit. */
export function declareColumns(
  cls: object,
  columns: Columns | ColumnsFor,
  more: {
    uniques?: readonly (readonly string[])[]
    indexes?: readonly (readonly string[])[]
    inputs?: Record<string, VirtualInput>
    /** Columns that stay hidden however a subclass declares them, such as password hashes. */
    secrets?: readonly string[]
    /** Whether the table has no columns besides these and those of the base classes. */
    isWhole?: boolean
  } = {},
): void {
  if (more.isWhole) ownWhole.add(cls)
  ownColumns.set(cls, columns)
  if (more.uniques) ownUniques.set(cls, more.uniques)
  if (more.indexes) ownIndexes.set(cls, more.indexes)
  if (more.inputs) ownInputs.set(cls, more.inputs)
  if (more.secrets) ownSecrets.set(cls, more.secrets)
}

/** Adds a check that runs at the first use of each class. A check must not change state, since a later check may fail. */
export function onDefinition(check: DefinitionHook): void {
  checks.push(check)
}

/** Adds a function that runs once for each class that has passed all checks. */
export function afterDefinition(effect: DefinitionHook): void {
  effects.push(effect)
}

/** The tables of the library's models that `initPerms({ tables })` names. */
const givenTables = modelSlot<ReadonlyMap<object, string>>(() => new Map())

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
  givenTables.set(tables)
}

/** Sets the table that a name in references() stands for, such as 'user' for the registered user model. null removes the alias. */
export function aliasTable(name: string, table: string | null): void {
  if (table === null) tableAliases.get().delete(name)
  else tableAliases.get().set(name, table)
}

/** Returns the table that a name in references() stands for. */
export function resolveTable(name: string): string {
  return tableAliases.get().get(name) ?? name
}

/**
 * Sets the registered models that references() may name. A column that refers to one of them takes the type of the column that it
 * refers to, so that `column.uuid().references('user.id')` is an integer where the registered user model has integer ids.
 */
export function setReferenceTargets(targets: ReadonlyMap<string, object>): void {
  const before = referenceTargets.get()
  const typeIn = (map: ReadonlyMap<string, object>, name: string) => {
    const cls = map.get(name)
    const ids = cls ? Object.keys(mergedColumns(cls)).filter((property) => isOnlyId(cls as RecordClass, property)) : []
    return JSON.stringify(ids.map((property) => keyTypeOf(cls as object, property)))
  }
  const isSame = [...targets.keys()].every((name) => typeIn(before, name) === typeIn(targets, name))
  referenceTargets.set(targets)
  if (isSame) return
  // Definitions that were made before have other types.
  structures.set(new WeakMap())
  definitions.set(new WeakMap())
}

/** The library's models whose ids the database numbers. */
const integerModels = modelSlot<ReadonlySet<object>>(() => new Set())
const integerId = columns.integer()

/** Gives these classes and their subclasses integer ids, except those that declare an id themselves. */
export function setIntegerModels(classes: ReadonlySet<object>): void {
  const before = integerModels.get()
  integerModels.set(classes)
  if (before.size === classes.size && [...classes].every((cls) => before.has(cls))) return
  // Definitions that were made before have other types.
  structures.set(new WeakMap())
  definitions.set(new WeakMap())
}

// Whether the id of a class is inherited from a base class of such a model.
function hasIntegerId(cls: object): boolean {
  if (integerModels.get().size === 0) return false
  const classes = lineage(cls)
  const model = classes.findIndex((c) => integerModels.get().has(c))
  return model >= 0 && !classes.slice(model).some((c) => declaresId(c, cls))
}

function declaresId(cls: object, final: object): boolean {
  const own = ownColumns.get(cls)
  return (typeof own === 'function' ? own(final as RecordClass) : own)?.id !== undefined
}

/** The parts of a column's type that a column shares with the column that it refers to. */
type KeyType = Pick<ColumnSpec, 'type' | 'maxLength' | 'minimum' | 'maximum' | 'isRowId'>

// Reads the declaration, not the definition: a model may refer to itself.
function keyTypeOf(cls: object, property: string): KeyType | undefined {
  const spec = mergedColumns(cls)[property]?.spec ?? existingKey(cls, property)
  if (!spec) return undefined
  const { type, maxLength, minimum, maximum } = spec
  const range = { ...(minimum === undefined ? {} : { minimum }), ...(maximum === undefined ? {} : { maximum }) }
  return {
    type,
    ...(maxLength === undefined ? {} : { maxLength }),
    ...range,
    ...(isMadeByDatabase(cls as RecordClass, property, spec) ? { isRowId: true } : {}),
  }
}

/** The classes whose definitions are being made. */
const unfinished = new Set<object>()

// The column of an existing model that only its JSON Schema describes.
function existingKey(cls: object, property: string): ColumnSpec | undefined {
  if (unfinished.has(cls)) return undefined
  unfinished.add(cls)
  try {
    return structureOf(cls).specs[property]
  } finally {
    unfinished.delete(cls)
  }
}

// An integer id that nothing else sets is made by the database.
function isMadeByDatabase(cls: RecordClass, property: string, spec: ColumnSpec): boolean {
  const isNumber = spec.type === 'integer' || spec.type === 'bigint'
  return isNumber && !spec.hasDefault && !spec.reference && isOnlyId(cls, property)
}

// getIdProperty() needs the definition that is being made.
function isOnlyId(cls: RecordClass, property: string): boolean {
  const [column, ...further] = declaredIdColumn(cls)
  if (further.length > 0) return false
  return column === property || column === (mergedColumns(cls)[property]?.spec.columnName ?? columnNameOf(property))
}

// The getter of idColumn needs the definition too. It stands for the property id.
function declaredIdColumn(cls: RecordClass): readonly string[] {
  for (let c: object | null = cls; c !== null; c = Object.getPrototypeOf(c) as object | null) {
    const value: unknown = Object.getOwnPropertyDescriptor(c, 'idColumn')?.value
    if (value !== undefined) return [value].flat() as string[]
  }
  return onlyId
}

function resolvedSpec(cls: RecordClass, name: string, spec: ColumnSpec): ColumnSpec {
  if (isMadeByDatabase(cls, name, spec)) return Object.freeze({ ...spec, isGenerated: true, isRowId: true })
  const reference = spec.reference ?? spec.typeOf
  const target = reference && referenceTargets.get().get(reference.table)
  const type = target && keyTypeOf(target, propertyOfReference(target, reference.column))
  if (!type || isSameType(type, spec)) return spec
  if (spec.type !== 'uuid' && spec.type !== type.type) {
    throw new ConfigurationError(
      `${cls.name}.${name} is a ${spec.type} column that refers to ${reference.table}.${reference.column} of ${(target as RecordClass).name}, a ${type.type} column. ` +
        `Declare it with column.${type.type}(...).`,
    )
  }
  const { maxLength: _length, minimum: _minimum, maximum: _maximum, ...rest } = spec
  return Object.freeze({ ...rest, ...type })
}

const isSameType = (type: KeyType, spec: ColumnSpec): boolean =>
  (['type', 'maxLength', 'minimum', 'maximum', 'isRowId'] as const).every((key) => type[key] === spec[key])

const propertyOfReference = (cls: object, column: string): string =>
  mergedColumns(cls)[column] ? column : (Object.keys(mergedColumns(cls)).find((name) => columnNameOf(name) === column) ?? column)

/** Returns the database column of a property name in a query; other identifiers unchanged. Columns of named() are not found. */
export function columnForIdentifier(identifier: string): string {
  return knownNames.get().get(identifier) ?? identifier
}

/** Does the same for SQL of the library, which names columns: a name that named() set stays, even if it is also a property elsewhere. */
export function columnForLibrary(identifier: string): string {
  return namedColumns.get().columns.has(identifier) ? identifier : columnForIdentifier(identifier)
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

function mergedColumns(cls: object): Record<string, AnyColumn> {
  const merged: Record<string, AnyColumn> = {}
  for (const c of lineage(cls)) {
    const own = ownColumns.get(c)
    Object.assign(merged, typeof own === 'function' ? own(cls as RecordClass) : own)
  }
  if (merged.id && hasIntegerId(cls)) merged.id = integerId
  for (const name of secretsOf(cls)) {
    const declared = merged[name]
    if (declared && !declared.spec.isHidden) merged[name] = declared.hidden()
  }
  for (const [property, declared] of Object.entries(merged)) {
    const name = givenColumnName(cls, property, declared.spec)
    if (name !== undefined) merged[property] = declared.named(name)
  }
  return merged
}

/** What a class and its base classes declare. */
export type Declaration = Pick<Definition, 'columns' | 'uniques' | 'indexes'>

/** Returns the declarations of a class as they were written: references do not have the types of their targets yet. */
export function declarationOf(cls: object): Declaration {
  const merged = (own: WeakMap<object, readonly (readonly string[])[]>) => lineage(cls).flatMap((c) => own.get(c) ?? [])
  return { columns: mergedColumns(cls), uniques: merged(ownUniques), indexes: merged(ownIndexes) }
}
const secretsOf = (cls: object): string[] => lineage(cls).flatMap((c) => ownSecrets.get(c) ?? [])

/** `static columnNames`: columns by property, or a function of the property's name. */
export type ColumnNames = Readonly<Record<string, string>> | ((property: string) => string)

// An entry of columnNames wins over named(), which wins over a function.
function givenColumnName(cls: object, property: string, spec?: ColumnSpec): string | undefined {
  let byFunction: ((property: string) => string) | undefined
  for (const c of lineage(cls).reverse()) {
    const names = ownStatic(c, 'columnNames') as ColumnNames | undefined
    if (typeof names === 'function') byFunction ??= names
    else if (names && Object.hasOwn(names, property)) return names[property]
  }
  return spec?.columnName ?? byFunction?.(property)
}

function assertKnownColumnNames(cls: RecordClass, { columnOf: columns }: Definition): void {
  for (const c of lineage(cls)) {
    const names = ownStatic(c, 'columnNames') as ColumnNames | undefined
    if (names === undefined || typeof names === 'function') continue
    const unknown = Object.keys(names).find((property) => !columns.has(property))
    if (unknown !== undefined)
      throw new ConfigurationError(
        `${(c as RecordClass).name}.columnNames: ${cls.name} has no column ${unknown}. Use names of properties as keys.`,
      )
  }
}

/**
 * Returns the table of a class: its `static tableName`; else the table of its base class if the class adds no column, or if the base
 * class is the application's own; else its name in snake_case.
 *
 * @throws ConfigurationError for a class name that a minifier made
 */
export function tableNameOf(cls: RecordClass): string {
  const said = saidTableName(cls)
  if (said !== undefined) return said
  const given = givenTables.get().get(cls)
  if (given !== undefined) return given
  const count = Object.keys(mergedColumns(cls)).length
  for (let base = Object.getPrototypeOf(cls) as RecordClass; typeof base === 'function' && base !== Function.prototype; ) {
    const inherited = Object.getOwnPropertyDescriptor(base, 'tableName')
    if (inherited && typeof inherited.value === 'string' && Object.keys(mergedColumns(base)).length === count) return inherited.value
    if (!intermediates.has(base)) {
      if (Object.keys(mergedColumns(base)).length === count && isConcrete(base)) return tableNameOf(base)
      break
    }
    base = Object.getPrototypeOf(base) as RecordClass
  }
  // Classes of mixins have no table of their own.
  if (!intermediates.has(cls)) assertWrittenName(cls.name)
  return snakeCase(cls.name)
}

// A static getter, or any name of a base class below the library, holds for all subclasses, as in Objection.
function saidTableName(cls: RecordClass): string | undefined {
  for (const c of lineage(cls).reverse()) {
    const said = intermediates.has(c) ? undefined : Object.getOwnPropertyDescriptor(c, 'tableName')
    if (!said) continue
    const isFixed = !said.get && isRecordClass(c)
    const table: unknown = said.get ? said.get.call(cls) : said.value
    if (typeof table === 'string' && (c === cls || !isFixed)) return table
    if (isFixed) return undefined
  }
  return undefined
}

const isRecordClass = (cls: object): boolean => 'columnSpecs' in cls

// Minifiers name classes 'a', 't1' or ''. Such a table exists by accident only, and changes with the next build.
function assertWrittenName(name: string): void {
  if (name.length > 2) return
  throw new ConfigurationError(
    `The model class is named '${name}', probably by a minifier, so its table is unknown. Set "static tableName = '...'" in every model, or let ` +
      'the bundler keep class names (esbuild: keepNames).',
  )
}

// A class that declares no columns besides those of BaseModel has no table: BasePermsModel or the application's base class.
function isConcrete(cls: RecordClass): boolean {
  return Object.keys(mergedColumns(cls)).some((name) => name !== 'id' && name !== 'createdAt' && name !== 'updatedAt')
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
  const columns = mergedColumns(cls)
  const specs: Record<string, ColumnSpec> = {}
  const columnOf = new Map<string, string>()
  const propertyOf = new Map<string, string>()
  const { properties: handWritten, required: handRequired, keywords: handKeywords } = handSchemaOf(cls)
  const uniques: (readonly string[])[] = []
  const indexes: (readonly string[])[] = []
  const inputs: Record<string, VirtualInput> = {}
  for (const c of lineage(cls)) {
    uniques.push(...(ownUniques.get(c) ?? []))
    indexes.push(...(ownIndexes.get(c) ?? []))
    Object.assign(inputs, ownInputs.get(c))
  }
  const jsonAttributes = jsonAttributesOf(cls, handWritten)
  const keepsNames = columns.id === undefined && !lineage(cls).some((c) => ownWhole.has(c))
  const columnFor = keepsNames ? existingName(cls) : () => undefined
  const requiredInputs = claimSecrets(cls, { columns, handWritten, handRequired, columnFor })
  for (const name of new Set([...Object.keys(columns), ...Object.keys(handWritten), ...mergedList(cls, 'jsonAttributes')])) {
    const declared = columns[name]
    const given = declared ? declared.spec.columnName : (givenColumnName(cls, name) ?? columnFor(name))
    if (given !== undefined) assertColumnName(given)
    const spec = declared
      ? resolvedSpec(cls, name, declared.spec)
      : existingSpec(cls, name, { handWritten, handRequired, jsonAttributes, columnName: given })
    if (spec) specs[name] = spec
    const inDatabase = given ?? columnNameOf(name)
    columnOf.set(name, inDatabase)
    propertyOf.set(inDatabase, name)
    if (noteName(name, inDatabase, given !== undefined)) namesVersion += 1
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
    isStrict: isConcrete(cls) && (columns.id !== undefined || lineage(cls).some((c) => ownWhole.has(c))),
    keepsNames,
    uniques,
    indexes,
    inputs,
    requiredInputs,
  }
}

// The application's jsonSchema may describe the column of a secret under another name: its property `password` is then the hash.
// Removes such properties. Returns their names if they are required.
function claimSecrets(
  cls: RecordClass,
  known: {
    readonly columns: Record<string, AnyColumn>
    readonly handWritten: Record<string, object>
    readonly handRequired: string[]
    readonly columnFor: (property: string) => string | undefined
  },
): string[] {
  const { columns, handWritten, handRequired, columnFor } = known
  const required: string[] = []
  for (const secret of secretsOf(cls)) {
    const declared = columns[secret]
    if (!declared) continue
    const column = columnNameOf(secret, declared.spec).toLowerCase()
    for (const [name, schema] of Object.entries(handWritten)) {
      const own = givenColumnName(cls, name) ?? columnFor(name) ?? columnNameOf(name)
      if (columns[name] || own.toLowerCase() !== column) continue
      delete handWritten[name]
      const isRequired = handRequired.includes(name)
      if (isRequired) required.push(name)
      handRequired.splice(0, handRequired.length, ...handRequired.filter((one) => one !== name))
      if (!isRequired || allowsNull(schema)) continue
      // The value is made when the row is saved, so it counts as a default until then.
      columns[secret] = new Column({ ...declared.spec, isNullable: false, hasDefault: true })
    }
  }
  return required
}

// Returns whether this is a new name.
function noteName(property: string, column: string, isNamed: boolean): boolean {
  const map = knownNames.get()
  if (isNamed) {
    const { columns, ofProperty } = namedColumns.get()
    ofProperty.set(property, (ofProperty.get(property) ?? new Set()).add(column))
    if (columns.has(column)) return false
    columns.add(column)
    return true
  }
  if (column === property || map.get(property) === column) return false
  map.set(property, column)
  return true
}

function noteTable(cls: RecordClass): void {
  const table = cls.getTableName()
  for (const name of [table, table.slice(table.lastIndexOf('.') + 1)])
    if (!classesOfTables.get().has(name)) classesOfTables.get().set(name, cls)
}

// Two properties cannot share a column, and a column with the name of another property would be ambiguous in queries.
function assertDistinctColumns(cls: RecordClass, { specs, columnOf: columns, tableName }: Definition): void {
  const bareTable = tableName.slice(tableName.lastIndexOf('.') + 1)
  const seen = new Map<string, string>()
  for (const [property, column] of columns) {
    const other = seen.get(column.toLowerCase())
    if (other !== undefined && (specs[property]?.columnName ?? specs[other]?.columnName) !== undefined)
      throw new ConfigurationError(`${cls.name}: ${other} and ${property} have the same column '${column}'. Give one of them another name.`)
    seen.set(column.toLowerCase(), property)
    if (specs[property]?.columnName !== undefined && column !== property && property === bareTable)
      throw new ConfigurationError(`${cls.name}: ${property} has the name of its table. A property with named() needs another name.`)
    if (specs[property]?.columnName !== undefined && column !== property && columns.has(column))
      throw new ConfigurationError(
        `${cls.name}: the column '${column}' of ${property} has the name of another property. Rename the property ${column}.`,
      )
  }
}

// Objection's rule for the column of a property: columnNameMappers, else the name itself.
function existingName(cls: RecordClass): (property: string) => string | undefined {
  const { getColumnNameMappers } = cls as { getColumnNameMappers?(): { format(row: object): object } | null }
  const mappers = getColumnNameMappers?.call(cls)
  return (property) => {
    const column = mappers ? (Object.keys(mappers.format({ [property]: null }))[0] ?? property) : property
    return column === snakeCase(property) ? undefined : column
  }
}

function existingSpec(
  cls: RecordClass,
  name: string,
  known: Pick<Definition, 'handWritten' | 'handRequired' | 'jsonAttributes'> & { readonly columnName: string | undefined },
): ColumnSpec | undefined {
  const schema = known.handWritten[name]
  if (typeof schema !== 'object' || schema === null) return undefined
  return existingColumn(schema, {
    isRequired: known.handRequired.includes(name),
    isJson: known.jsonAttributes.has(name),
    isId: [ownIdColumn(cls)].flat().some((column) => column === name || column === (known.columnName ?? snakeCase(name))),
    columnName: known.columnName,
  })
}

// Objection's getIdProperty() reads rows, for which it needs this definition.
function ownIdColumn(cls: RecordClass): unknown {
  const owner = lineage(cls).findLast((c) => !intermediates.has(c) && Object.hasOwn(c, 'idColumn'))
  return owner ? ownStatic(owner, 'idColumn') : 'id'
}

function jsonAttributesOf(cls: RecordClass, handWritten: Readonly<Record<string, object>>): Set<string> {
  const listed = mergedList(cls, 'jsonAttributes')
  const types = (schema: object): unknown[] => {
    const { type, anyOf, oneOf } = schema as { type?: unknown; anyOf?: object[]; oneOf?: object[] }
    return type !== undefined ? [type].flat() : [...(anyOf ?? []), ...(oneOf ?? [])].flatMap(types)
  }
  const bySchema = Object.keys(handWritten).filter((name) =>
    types(handWritten[name] as object).some((type) => type === 'object' || type === 'array'),
  )
  return new Set(listed.length > 0 ? listed : bySchema)
}

const withoutFields = new WeakSet<object>()

/** Marks a class as free of initialised fields, so that no instance is created to look for them. */
export function markWithoutFields(cls: object): void {
  withoutFields.add(cls)
}

function assertNoInitialisedFields(cls: RecordClass): void {
  if (withoutFields.has(cls)) return
  const fields = Object.keys(new cls()).filter((name) => !name.startsWith('$'))
  if (fields.length === 0) return
  throw new ConfigurationError(
    `${cls.name} has class fields (${fields.join(', ')}) that would overwrite the values from the database: write "declare ${fields[0]}: ..." ` +
      'for a column, column.*().default(...) for its default, and a getter for anything derived.',
  )
}
