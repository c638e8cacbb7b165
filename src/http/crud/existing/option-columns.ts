/** Checks the names of columns in the options of a resource: a misspelled name would be ignored. */
import { ConfigurationError } from '../../../core/errors.js'
import { namesNear, nearestNames } from '../../../core/nearest-names.js'
import type { SchemaOption } from '../../core/endpoint.js'
import type { ServedModel } from '../../core/ports.js'
import type { CrudMethod, MethodOptions } from '../crud-options.js'
import { type Included, relatedModel } from '../related.js'
import { defaultFields, includedModels, namesOf } from '../shape.js'

interface Options {
  readonly id?: string | undefined
  readonly schema?: SchemaOption | undefined
  readonly argSchema?: SchemaOption | undefined
  readonly hooks?: object | undefined
  readonly methods: ReadonlyMap<CrudMethod, MethodOptions>
}

/**
 * Checks the options `id`, `schema` and `argSchema` of a resource and of its methods.
 *
 * @param hasOwnShape whether the resource overrides shape(), which may add keys that are not columns
 * @throws ConfigurationError for a name that is not a column
 */
export function assertOptionColumns(model: ServedModel, options: Options, hasOwnShape: boolean): void {
  const { id, schema, argSchema, hooks, methods } = options
  const { create, update } = model.schema
  const columns = Object.keys(model.columnSpecs)
  const shown = defaultFields(model)
  const written = [...new Set([...Object.keys(create.properties), ...Object.keys(update.properties)])]
  const check = (option: string, value: SchemaOption | undefined, known: readonly string[], why: string) =>
    assertKnown(`CrudResource: ${option} of ${model.name}`, value, known, why)
  const checkShown = (option: string, value: SchemaOption | undefined) => {
    // A hidden column stays hidden.
    if (!hasOwnShape) check(option, value, [...shown, ...columns], notColumn)
  }
  const checkWritten = (option: string, value: SchemaOption | undefined) => {
    // Hooks, or an endpoint of a subclass, may receive a key that is not a column.
    const known = [...written, ...columns]
    const misspelled = hooks || !value ? [] : namesOf(value).filter((name) => !known.includes(name) && namesNear(name, written).length > 0)
    check(option, misspelled, known, 'which is not a column, and there are no hooks that receive it')
  }
  if (id !== undefined) check('id', [id], columns, notColumn)
  checkShown('schema', schema)
  checkWritten('argSchema', argSchema)
  for (const [method, own] of methods) {
    checkShown(`methods.${method}.schema`, own.schema)
    if (method === 'create' || method === 'update') checkWritten(`methods.${method}.argSchema`, own.argSchema)
  }
  check('methods.list.argSchema', methods.get('list')?.argSchema, columns, notColumn)
}

/** Checks the columns that the `include` option lists for a relation. @throws ConfigurationError for a name that is not a column */
export function assertIncludeColumns(model: ServedModel, path: string, included: Included): void {
  const related = includedModels(model, path).at(-1) ?? model
  const served = relatedModel(related, path, included, [])
  const known = [...defaultFields(served), ...Object.keys(served.columnSpecs)]
  assertKnown(
    `CrudResource: include['${path}'] of ${model.name}`,
    included.schemas.get(path),
    known,
    `which is not a column of ${related.name}`,
  )
}

const notColumn = 'which is not a column'

function assertKnown(option: string, value: SchemaOption | undefined, known: readonly string[], why: string): void {
  const unknown = value === undefined ? undefined : namesOf(value).find((name) => !known.includes(name))
  if (unknown === undefined) return
  throw new ConfigurationError(`${option} names '${unknown}', ${why}. ${nearestNames(unknown, [...new Set(known)], 'The columns')}`)
}
