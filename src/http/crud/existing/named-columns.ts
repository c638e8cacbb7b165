/** Lists the columns of a model without a schema that the options of a resource name. */
import type { SchemaOption } from '../../core/endpoint.js'
import type { CrudMethod, CrudResourceOptions, MethodOptions } from '../crud-options.js'

/** A column that an option names. */
export interface NamedColumn {
  /** The option, for messages. */
  readonly option: string
  /** Whether the name may be a key for the hooks instead. */
  readonly isOptional: boolean
  /** The JSON Schema that the option gives. */
  readonly schema: object | undefined
}

export type NamedColumns = ReadonlyMap<string, NamedColumn>

/** Returns the columns that a `schema` or `argSchema` option names. */
export function namesIn(option: string, value: SchemaOption | undefined, isOptional = false): [string, NamedColumn][] {
  if (value === undefined) return []
  if (Array.isArray(value)) return value.map((name: string) => [name, { option, isOptional, schema: undefined }])
  const { properties = {} } = value as { properties?: Readonly<Record<string, object>> }
  return Object.entries(properties).map(([name, schema]) => [name, { option, isOptional, schema }])
}

type ColumnOptions = Pick<CrudResourceOptions, 'id' | 'schema' | 'argSchema' | 'parent'> & { readonly hooks?: object | undefined }

/**
 * Returns the columns that the options of a resource name. The first mention of a column counts, but a column that must exist wins over
 * a key that may be for the hooks.
 */
export function columnsNamedBy(options: ColumnOptions, methods: ReadonlyMap<CrudMethod, MethodOptions>): NamedColumns {
  const { id, parent, schema, argSchema, hooks } = options
  const shown = [...methods].flatMap(([method, { schema: own }]) => namesIn(`methods.${method}.schema`, own))
  const filtered = namesIn('methods.list.argSchema', methods.get('list')?.argSchema)
  const written = [...methods].flatMap(([method, { argSchema: own }]) =>
    method === 'list' ? [] : namesIn(`methods.${method}.argSchema`, own, hooks !== undefined),
  )
  const plain = (option: string, name: string | undefined): [string, NamedColumn][] =>
    name === undefined ? [] : [[name, { option, isOptional: false, schema: undefined }]]
  const all = [
    ...plain('id', id),
    ...plain('parent.field', parent && (parent.field ?? parent.param)),
    ...namesIn('schema', schema),
    ...shown,
    ...filtered,
    ...namesIn('argSchema', argSchema, hooks !== undefined),
    ...written,
  ]
  const named = new Map<string, NamedColumn>()
  for (const [name, column] of all) if (!named.has(name) || (named.get(name)?.isOptional && !column.isOptional)) named.set(name, column)
  return named
}
