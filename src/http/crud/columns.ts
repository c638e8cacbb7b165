import type { Model, QueryBuilder } from 'objection'
import { declaredColumns } from '../../query/selected-columns.js'
import type { ServedModel } from '../core/ports.js'

/** Names the columns that a query reads, so that more can be added to them. */
export function selectColumns(query: QueryBuilder<Model>, model: ServedModel): void {
  const table = model.getTableName()
  query.select(...(declaredColumns(model)?.map((column) => `${table}.${column}`) ?? [`${table}.*`]))
}
