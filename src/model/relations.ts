import { Model, type RelationMapping } from 'objection'
import type { AbstractConstructor } from './active-record.js'
import { snakeCase } from './names.js'

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
    join: { from: `${table}.${snakeCase(column)}`, to: `${tableOf(model())}.id` },
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
    join: { from: `${table}.id`, to: `${tableOf(model())}.${snakeCase(column)}` },
  }))
}

function short(own: (table: string) => RelationMapping<Model>): RelationMapping<Model> {
  return { $own: own } as unknown as RelationMapping<Model>
}
