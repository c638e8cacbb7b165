import type { Model, QueryBuilder } from 'objection'
import { ConfigurationError } from '../../core/errors.js'
import { declaredColumns } from '../../query/selected-columns.js'
import type { ServedModel } from '../core/ports.js'

/** Selects the columns of the model explicitly, so that further columns can be added to the query. */
export function selectColumns(query: QueryBuilder<Model>, model: ServedModel): void {
  const table = model.getTableName()
  query.select(...(declaredColumns(model)?.map((column) => `${table}.${column}`) ?? [`${table}.*`]))
}

/**
 * Checks that a model declares the columns that a resource serves: a resource shows, filters and writes declared columns only.
 *
 * @throws ConfigurationError for a model whose columns only the database knows
 */
export function checkColumns(model: ServedModel): void {
  const { name, columnSpecs } = model
  if (Object.keys(columnSpecs).length > 0) return
  throw new ConfigurationError(
    `CrudResource: ${name} declares no columns, so none would be shown. Name those that clients may see: add "static jsonSchema", or extend ` +
      `YourBase.withColumns({ id: column.integer(), title: column.string() }).`,
  )
}
