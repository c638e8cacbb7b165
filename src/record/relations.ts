import { Model, type RelationMapping, type RelationMappings } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { snakeCase } from '../core/names.js'
import { lineage, ownStatic, type RecordClass, resolveTable, structureOf } from '../schema/definition.js'
import type { AbstractConstructor } from './active-record.js'

type ModelThunk = () => AbstractConstructor<Model>

const tableOf = (cls: AbstractConstructor<Model>): string => (cls as unknown as { getTableName(): string }).getTableName()

/** A mapping whose own side is filled in when the class that has it is known. */
export interface ShortMapping {
  readonly $own: (table: string) => RelationMapping<Model>
}

/**
 * A relation to one row whose id stands in a column of this model.
 *
 * @example static relationMappings = { manager: belongsTo(() => Employee, 'managerId') }
 */
export function belongsTo(model: ModelThunk, column: string): RelationMapping<Model> {
  return short((table) => ({
    relation: Model.BelongsToOneRelation,
    modelClass: model() as unknown as typeof Model,
    join: { from: `${table}.${snakeCase(column)}`, to: `${tableOf(registeredClass(model() as never) as never)}.id` },
  }))
}

/**
 * A relation to the rows of another model that hold this row's id in a column of theirs.
 *
 * @example static relationMappings = { orders: hasMany(() => Order, 'employeeId') }
 */
export function hasMany(model: ModelThunk, column: string): RelationMapping<Model> {
  return short((table) => ({
    relation: Model.HasManyRelation,
    modelClass: model() as unknown as typeof Model,
    join: { from: `${table}.id`, to: `${tableOf(registeredClass(model() as never) as never)}.${snakeCase(column)}` },
  }))
}

function short(own: (table: string) => RelationMapping<Model>): RelationMapping<Model> {
  return { $own: own } as unknown as RelationMapping<Model>
}

let registeredClass = (cls: typeof Model): typeof Model => cls

/** Sets which class a relation means where it names a class that the application has replaced. */
export function onModelClass(registered: (cls: typeof Model) => typeof Model): void {
  registeredClass = registered
}

const furtherRelations: ((cls: RecordClass) => RelationMappings)[] = []

/** Relations that other classes give to this one, such as the way back from a user. */
export function onRelations(further: (cls: RecordClass) => RelationMappings): void {
  furtherRelations.push(further)
}

/** `static relationMappings` of a class and its bases, each with property names turned into columns. */
export function mergedRelationMappings(cls: RecordClass): RelationMappings {
  const merged: Record<string, RelationMapping<Model>> = {}
  for (const c of lineage(cls)) {
    if (!Object.hasOwn(c, 'relationMappings')) continue
    const said = ownStatic(c, 'relationMappings')
    const mappings = (typeof said === 'function' ? (said as () => RelationMappings).call(cls) : said) as RelationMappings | null
    for (const [name, mapping] of Object.entries(mappings ?? {})) merged[name] = inherit(mapping, c as RecordClass, cls)
  }
  for (const further of furtherRelations) {
    for (const [name, mapping] of Object.entries(further(cls))) {
      if (merged[name] || structureOf(cls).specs[name] || name in cls.prototype)
        throw new ConfigurationError(`${cls.name} has '${name}' already: give the relation that another class adds another name.`)
      merged[name] = inherit(mapping as RelationMapping<Model>, cls, cls)
    }
  }
  return merged
}

function inherit(mapping: RelationMapping<Model>, from: RecordClass, to: RecordClass): RelationMapping<Model> {
  if ('$own' in mapping) {
    const own = (mapping as unknown as { $own(table: string): RelationMapping<Model> }).$own(to.getTableName())
    return { ...own, modelClass: modelClassOf(own) }
  }
  const { join } = mapping
  const oldTable = from === to ? null : from.getTableName()
  const newTable = to.getTableName()
  const ref = (side: string | string[], isOwner: boolean): string | string[] =>
    Array.isArray(side) ? side.map((one) => ref(one, isOwner) as string) : rename(side, isOwner ? oldTable : null, newTable)
  return {
    ...mapping,
    modelClass: modelClassOf(mapping),
    join: {
      ...join,
      from: ref(join.from as string | string[], true),
      to: ref(join.to as string | string[], false),
      ...(join.through && {
        through: {
          ...join.through,
          from: ref(join.through.from as string, false),
          to: ref(join.through.to as string, false),
          ...(join.through.extra !== undefined && { extra: extras(join.through.extra) }),
        },
      }),
    },
  } as RelationMapping<Model>
}

// A path or a function is Objection's to resolve.
function modelClassOf({ modelClass }: RelationMapping<Model>): RelationMapping<Model>['modelClass'] {
  return typeof modelClass === 'function' && modelClass.prototype instanceof Model
    ? registeredClass(modelClass as unknown as typeof Model)
    : modelClass
}

// Further columns of a join table, under the names of properties.
function extras(said: string | readonly string[] | Record<string, string>): Record<string, string> {
  const named =
    typeof said === 'string' ? { [said]: said } : Array.isArray(said) ? Object.fromEntries(said.map((name) => [name, name])) : said
  return Object.fromEntries(Object.entries(named).map(([alias, name]) => [alias, snakeCase(name as string)]))
}

// 'user.managerId', said by User and inherited by Employee with a table of its own, is employee.manager_id there.
function rename(reference: string, oldTable: string | null, newTable: string): string {
  if (typeof reference !== 'string') return reference
  const dot = reference.lastIndexOf('.')
  const table = reference.slice(0, dot)
  const name = reference.slice(dot + 1)
  return `${oldTable !== null && table === oldTable ? newTable : resolveTable(table)}.${snakeCase(name)}`
}
