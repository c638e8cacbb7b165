import { Model, type RelationMapping, type RelationMappings } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { snakeCase } from '../core/names.js'
import { nearestNames } from '../core/nearest-names.js'
import { lineage, ownStatic, tableOf } from '../schema/class-statics.js'
import type { RecordClass } from '../schema/definition/declarations.js'
import { idProperties, structureOf } from '../schema/definition/definition.js'
import { classOfTable } from '../schema/definition/known-names.js'
import { resolveTable } from '../schema/definition/table-names.js'
import type { AbstractConstructor } from './record-types.js'
import type { IdColumn, RelationName } from './row-names.js'

/** A model class, or a function that returns it, for modules that import each other. */
type RelatedModel<M extends Model = Model> = AbstractConstructor<M> | (() => AbstractConstructor<M>)

declare const ownerOf: unique symbol

/** A relation of rows of type `R`. */
// biome-ignore lint/suspicious/noExplicitAny: a relation of rows of any type
export interface Relation<R extends object = any> extends RelationMapping<Model> {
  readonly [ownerOf]?: (row: R) => void
}

/**
 * The relations of a model, by the properties that the model declares for them. The columns that belongsTo() names must be those of the model.
 *
 * @example
 * class Ticket extends BasePermsModel.withColumns({ employeeId: column.uuid() }) {
 *   declare employee?: Employee
 *   static override relationMappings: Relations<Ticket> = { employee: belongsTo(() => Employee, 'employeeId') }
 * }
 */
export type Relations<R extends object> = { [K in RelationName<R>]?: Relation<R> }

/** A relation mapping that is completed when the owner class and its table are known. */
export interface ShortMapping {
  readonly $own: (cls: RecordClass) => RelationMapping<Model>
}

/**
 * Returns a relation to one row, whose id is in a column of this model.
 *
 * @param model the class, or a function that returns it
 * @param column the property of this model with the id
 * @throws ConfigurationError in initPerms(), or at the first use of the relation: for something else than a model, for a model with a
 * composite key, and for a property that is not a column of this model
 * @example
 * class Ticket extends BasePermsModel.withColumns({ employeeId: column.uuid() }) {
 *   static override relationMappings = { employee: belongsTo(() => Employee, 'employeeId') }
 * }
 */
// biome-ignore lint/suspicious/noExplicitAny: without a row type, any column
export function belongsTo<R extends object = any>(model: RelatedModel, column: NoInfer<IdColumn<R>>): Relation<R> {
  return short((cls) => {
    const related = relatedClass('belongsTo', model, column)
    const to = referenceTo(registeredClass(related), idOf('belongsTo', registeredClass(related)))
    assertColumn('belongsTo', cls, column)
    return { relation: Model.BelongsToOneRelation, modelClass: related, join: { from: referenceTo(cls, column), to } }
  })
}

/**
 * Returns a relation to the rows of another model that refer to this row.
 *
 * @param model the class, or a function that returns it
 * @param column the property of the other model with the id of this row
 * @throws ConfigurationError in initPerms(), or at the first use of the relation: for something else than a model, in a model with a
 * composite key, and for a property that is not a column of the other model
 * @example
 * class Team extends BasePermsModel.withColumns({ name: column.string() }) {
 *   static override relationMappings = { members: hasMany(() => Employee, 'teamId') }
 * }
 */
export function hasMany<M extends Model>(model: RelatedModel<M>, column: NoInfer<IdColumn<M>>): Relation {
  return short((cls) => {
    const related = relatedClass('hasMany', model, column)
    const from = referenceTo(cls, idOf('hasMany', cls))
    assertColumn('hasMany', registeredClass(related), column)
    return { relation: Model.HasManyRelation, modelClass: related, join: { from, to: referenceTo(registeredClass(related), column) } }
  })
}

// A class is undefined here if its module was not evaluated yet, because two modules import each other.
function relatedClass(method: string, given: RelatedModel, column: string): typeof Model {
  const model: unknown = typeof given !== 'function' || isClass(given) ? given : (given as () => unknown)()
  if (isModel(model)) return model
  throw new ConfigurationError(
    `${method}(..., '${column}'): the first argument is ${model === undefined ? 'undefined' : 'not a model'}. Pass a model class, or a function that returns it, for example ${method}(() => Order, '${column}'), so that two modules can import each other.`,
  )
}

// A class that declares all of its columns has no others. In other classes, the name may be that of an undeclared column.
function assertColumn(method: string, cls: object, name: string): void {
  const { specs, propertyOf, isStrict, modelClass: model } = structureOf(cls)
  if (!isStrict || specs[name] || propertyOf.has(name)) return
  throw new ConfigurationError(
    `${method}(..., '${name}'): ${model.name} has no column '${name}'. ${nearestNames(name, Object.keys(specs), 'Its columns')}`,
  )
}

/**
 * Checks the relations of a model before anything uses them.
 *
 * @throws ConfigurationError for a relation that names an unknown column or something else than a model
 */
export function assertRelations(cls: object): void {
  const { getRelationMappings } = cls as { getRelationMappings?(): unknown }
  try {
    getRelationMappings?.call(cls)
  } catch (error) {
    // A related class whose module is not evaluated yet throws a ReferenceError. The first use of the relation tries again.
    if (error instanceof ConfigurationError) throw error
  }
}

// The prototype of a class cannot be replaced.
const isClass = (value: object): boolean => Object.getOwnPropertyDescriptor(value, 'prototype')?.writable === false

const isModel = (value: unknown): value is typeof Model => typeof value === 'function' && value.prototype instanceof Model

function idOf(method: string, cls: object): string {
  const [id = 'id', ...more] = idProperties(cls)
  if (more.length === 0) return id
  throw new ConfigurationError(
    `${method}(): ${(cls as typeof Model).name} has a composite key (${[id, ...more].join(', ')}). Write the relation in full, with lists of columns in join.from and join.to.`,
  )
}

// Returns `table.column` for a property or a column of a class.
function referenceTo(cls: object, name: string): string {
  return `${tableOf(cls)}.${columnFor(cls, name)}`
}

function columnFor(cls: object | undefined, name: string): string {
  if (cls === undefined) return snakeCase(name)
  const { columnOf, propertyOf } = structureOf(cls)
  return columnOf.get(name) ?? (propertyOf.has(name) || namesColumnsAsObjection(cls) ? name : snakeCase(name))
}

// Over an application's own base class, relations name columns as they are, unless columnNameMappers rename them.
function namesColumnsAsObjection(cls: object): boolean {
  const { getColumnNameMappers } = cls as { getColumnNameMappers?(): unknown }
  return structureOf(cls).keepsNames && !getColumnNameMappers?.call(cls)
}

function short(own: (cls: RecordClass) => RelationMapping<Model>): RelationMapping<Model> {
  return { $own: own } as unknown as RelationMapping<Model>
}

let registeredClass = (cls: typeof Model): typeof Model => cls

/** Sets the function that returns the registered class for a model class in a relation mapping. */
export function onModelClass(registered: (cls: typeof Model) => typeof Model): void {
  registeredClass = registered
}

const furtherRelations: ((cls: RecordClass) => RelationMappings)[] = []

/** Adds a source of relations that other classes define on a class, such as the relation from a user to its documents. */
export function onRelations(further: (cls: RecordClass) => RelationMappings): void {
  furtherRelations.push(further)
}

/** Returns the merged `static relationMappings` of a class and its base classes, with property names converted to columns. */
export function mergedRelationMappings(cls: RecordClass): RelationMappings {
  const merged: Record<string, RelationMapping<Model>> = {}
  for (const c of lineage(cls)) {
    if (!Object.hasOwn(c, 'relationMappings')) continue
    const declared = ownStatic(c, 'relationMappings')
    const mappings = (typeof declared === 'function' ? (declared as () => RelationMappings).call(cls) : declared) as RelationMappings | null
    for (const [name, mapping] of Object.entries(mappings ?? {})) merged[name] = inherit(mapping, c as RecordClass, cls)
  }
  for (const further of furtherRelations) {
    for (const [name, mapping] of Object.entries(further(cls))) {
      if (merged[name] || structureOf(cls).specs[name] || name in cls.prototype)
        throw new ConfigurationError(
          `${cls.name} already has a property '${name}'. Choose another name for the relation that another class adds to it.`,
        )
      merged[name] = inherit(mapping, cls, cls)
    }
  }
  return merged
}

function inherit(mapping: RelationMapping<Model>, from: RecordClass, to: RecordClass): RelationMapping<Model> {
  if ('$own' in mapping) {
    const own = (mapping as ShortMapping).$own(to)
    return { ...own, modelClass: modelClassOf(own) }
  }
  const { join } = mapping
  const oldTable = from === to ? null : from.getTableName()
  const modelClass = modelClassOf(mapping)
  const related = knownClass(modelClass)
  const ref = (side: string | string[], oldName: string | null, cls: object | undefined): string | string[] =>
    Array.isArray(side) ? side.map((one) => ref(one, oldName, cls) as string) : rename(side, oldName, to, cls)
  const through = join.through && knownClass(join.through.modelClass)
  return {
    ...mapping,
    modelClass,
    join: {
      ...join,
      from: ref(join.from as string | string[], oldTable, to),
      to: ref(join.to as string | string[], null, related),
      ...(join.through && {
        through: {
          ...join.through,
          from: ref(join.through.from as string, null, through),
          to: ref(join.through.to as string, null, through),
          ...(join.through.extra !== undefined && { extra: extras(join.through.extra, through, to) }),
        },
      }),
    },
  }
}

// Returns the class of a mapping. Objection resolves a path or a thunk later, so the table of the column names the class then.
function knownClass(modelClass: unknown): object | undefined {
  return isModel(modelClass) ? modelClass : undefined
}

// Objection resolves a path or a function itself.
function modelClassOf({ modelClass }: RelationMapping<Model>): RelationMapping<Model>['modelClass'] {
  return isModel(modelClass) ? registeredClass(modelClass) : modelClass
}

// Returns the extra columns of a join table by property name.
function extras(
  extra: string | readonly string[] | Record<string, string>,
  cls: object | undefined,
  owner: RecordClass,
): Record<string, string> {
  const nameFor = (name: string) => (cls === undefined && namesColumnsAsObjection(owner) ? name : columnFor(cls, name))
  const names = typeof extra === 'string' ? [extra] : extra
  const named = Array.isArray(names) ? Object.fromEntries(names.map((name) => [name, name])) : names
  return Object.fromEntries(Object.entries(named).map(([alias, name]) => [alias, nameFor(name as string)]))
}

// 'user.managerId' of User becomes employee.manager_id in a subclass Employee with its own table.
function rename(reference: string, oldTable: string | null, owner: RecordClass, known: object | undefined): string {
  if (typeof reference !== 'string') return reference
  const dot = reference.lastIndexOf('.')
  const table = reference.slice(0, dot)
  const name = reference.slice(dot + 1)
  const resolved = oldTable !== null && table === oldTable ? tableOf(owner) : resolveTable(table)
  // The column belongs to the class of the mapping only if it names that class's table.
  const cls = known !== undefined && tableOf(known) === resolved ? known : classOfTable(resolved)
  return `${resolved}.${cls === undefined && namesColumnsAsObjection(owner) ? name : columnFor(cls, name)}`
}
