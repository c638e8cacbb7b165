/** Reads the columns of classes that the application wrote without this library. */
import { snakeCase } from '../../core/names.js'
import { mergedList } from '../class-statics.js'
import { Column, type ColumnSpec, columnNameOf } from '../column.js'
import { type AnyColumn, givenColumnName, ownIdColumns, type RecordClass, secretsOf } from './declarations.js'
import type { Definition } from './definition.js'
import { allowsNull, existingColumn } from './existing-columns.js'

/**
 * Removes properties that describe the column of a secret under another name: the property `password` of the application's jsonSchema
 * is then the hash.
 *
 * @param known is changed
 * @returns the names of required properties among them
 */
export function claimSecrets(
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

/** Returns Objection's rule for the column of a property: columnNameMappers, else the name itself. */
export function existingName(cls: RecordClass): (property: string) => string | undefined {
  const { getColumnNameMappers } = cls as { getColumnNameMappers?(): { format(row: object): object } | null }
  const mappers = getColumnNameMappers?.call(cls)
  return (property) => {
    const column = mappers ? (Object.keys(mappers.format({ [property]: null }))[0] ?? property) : property
    return column === snakeCase(property) ? undefined : column
  }
}

/** Columns of classes whose types were read from the database. */
const catalogued = new WeakMap<object, Readonly<Record<string, ColumnSpec>>>()

/** Sets the columns of a class whose types were read from the database. Its `static jsonSchema` names them too. */
export function setCataloguedColumns(cls: object, specs: Readonly<Record<string, ColumnSpec>>): void {
  catalogued.set(cls, specs)
}

/** Returns whether a class has columns whose types were read from the database. */
export function hasCataloguedColumns(cls: object): boolean {
  return catalogued.has(cls)
}

/** Returns the column of a property of an existing model, as models name it. */
export function existingColumnName(cls: RecordClass, property: string): string {
  return givenColumnName(cls, property) ?? existingName(cls)(property) ?? columnNameOf(property)
}

/** Returns a column that only `static jsonSchema` describes, or whose type was read from the database. */
export function existingSpec(
  cls: RecordClass,
  name: string,
  known: Pick<Definition, 'handWritten' | 'handRequired' | 'jsonAttributes'> & { readonly columnName: string | undefined },
): ColumnSpec | undefined {
  const { columnName } = known
  const read = catalogued.get(cls)?.[name]
  if (read) return Object.freeze({ ...read, ...(columnName === undefined ? {} : { columnName }) })
  const schema = known.handWritten[name]
  if (typeof schema !== 'object' || schema === null) return undefined
  return existingColumn(schema, {
    isRequired: known.handRequired.includes(name),
    isJson: known.jsonAttributes.has(name),
    isId: ownIdColumns(cls).some((column) => column === name || column === (known.columnName ?? snakeCase(name))),
    columnName: known.columnName,
  })
}

/** Returns the properties that are stored as JSON. */
export function jsonAttributesOf(cls: RecordClass, handWritten: Readonly<Record<string, object>>): Set<string> {
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
