import type { Model, QueryBuilder } from 'objection'
import { declaredColumns } from '../../query/selected-columns.js'
import type { ServedModel } from '../core/ports.js'

/** Selects the columns of the model explicitly, so that further columns can be added to the query. */
export function selectColumns(query: QueryBuilder<Model>, model: ServedModel): void {
  const table = model.getTableName()
  query.select(...(declaredColumns(model)?.map((column) => `${table}.${column}`) ?? [`${table}.*`]))
}
