import type { Model, QueryBuilder } from 'objection'
import { declaredColumns } from '../../query/selected-columns.js'
import type { ColumnSpec, ColumnType } from '../../schema/column.js'
import { columnOf } from '../../schema/definition/definition.js'
import type { ServedModel } from '../core/ports.js'
import type { ListColumn } from './filters.js'

/** A column of a model. Its reference is made at each use, because initPerms() may set the table after the resource was created. */
export class ModelColumn implements ListColumn {
  constructor(
    private readonly model: ServedModel,
    readonly name: string,
    readonly spec: ColumnSpec,
  ) {}

  get reference(): string {
    return `${this.model.getTableName()}.${columnOf(this.model, this.name)}`
  }
}

/** Selects the columns of the model explicitly, so that further columns can be added to the query. */
export function selectColumns(query: QueryBuilder<Model>, model: ServedModel): void {
  const table = model.getTableName()
  query.select(...(declaredColumns(model)?.map((column) => `${table}.${column}`) ?? [`${table}.*`]))
}

const samples: Readonly<Record<ColumnType, unknown>> = {
  string: 'x',
  text: 'x',
  enum: 'x',
  uuid: '00000000-0000-4000-8000-000000000000',
  date: '2030-01-01',
  datetime: new Date(0),
  integer: 1,
  bigint: '1',
  decimal: '1',
  float: 1,
  boolean: true,
  json: null,
}

/**
 * Returns the existing columns that the application's own $formatJson() or toJSON() removes, such as a password hash: a client that
 * could filter by them would find out their values. If the method fails for a sample row, all existing columns.
 */
export function columnsRemovedByFormat(model: ServedModel): ReadonlySet<string> {
  const existing = Object.entries(model.columnSpecs).filter(([, spec]) => spec.isExisting)
  if (existing.length === 0) return new Set()
  const names = existing.map(([name]) => name)
  try {
    const row = new model()
    Object.assign(row, Object.fromEntries(existing.map(([name, { type, values }]) => [name, values?.[0] ?? samples[type]])))
    const shown = row.toJSON({ shallow: true, virtuals: false })
    return new Set(names.filter((name) => !Object.hasOwn(shown, name)))
  } catch {
    return new Set(names)
  }
}
