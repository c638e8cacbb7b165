import type { Model, QueryBuilder } from 'objection'
import { definitionOf } from '../model/definition.js'
import type { ServedModel } from './ports.js'

const listed = new WeakMap<object, readonly string[] | null>()

/**
 * The columns of a model as a select lists them, with their table, or null for a class that does not say them all: an
 * application's own base class, or one with a hand-written jsonSchema.
 */
function columnsOf(model: ServedModel): readonly string[] | null {
  let columns = listed.get(model)
  if (columns === undefined) {
    const { isStrict, handWritten, jsonAttributes, specs, columnOf } = definitionOf(model)
    const says = isStrict && [...Object.keys(handWritten), ...jsonAttributes].every((name) => specs[name])
    columns = says ? [...columnOf.values()].map((column) => `${model.getTableName()}.${column}`) : null
    listed.set(model, columns)
  }
  return columns
}

/**
 * Names the columns that a query reads rather than `*`: PostgreSQL then prepares the statement once per connection, which
 * it could not do with a result that changes along with the table.
 */
export function selectColumns(query: QueryBuilder<Model>, model: ServedModel): void {
  query.select(...(columnsOf(model) ?? [`${model.getTableName()}.*`]))
}
