import { ConfigurationError } from '../../core/errors.js'
import type { SchemaOption } from '../core/endpoint.js'
import type { ServedModel } from '../core/ports.js'
import type { MethodOptions } from '../crud/crud-options.js'
import { namesOf, outputFields } from '../crud/shape.js'

/** Restricts `me/` to fewer keys and columns than its resource accepts and shows. */
export interface MeOptions {
  /**
   * The keys that the body of `PATCH me/` may have. The body must also satisfy the argSchema of `update`. Default: no further
   * restriction.
   */
  argSchema?: SchemaOption | undefined
  /** The columns that `GET me/` and `PATCH me/` show. Default: those that list and get show to the caller. */
  schema?: SchemaOption | undefined
}

interface ResourceOptions {
  /** The options of `update`, or undefined if it is disabled. */
  readonly update: MethodOptions | undefined
  /** The `schema` of list and get, if they are enabled. Undefined for a method that shows all columns. */
  readonly shown: readonly (SchemaOption | undefined)[]
}

/** Checks the `me` option against the options of its resource. @throws ConfigurationError if it allows more than these */
export function checkMe({ argSchema, schema }: MeOptions, { update, shown }: ResourceOptions): void {
  if (argSchema !== undefined && !update)
    throw new ConfigurationError(
      'me.argSchema has no effect: update is disabled in this UserResource, which also disables PATCH me/. Enable update, or remove me.argSchema.',
    )
  if (argSchema !== undefined && update?.argSchema !== undefined)
    assertSubset('argSchema', namesOf(argSchema), namesOf(update.argSchema), 'the argSchema of update does not accept')
  if (schema !== undefined && !shown.includes(undefined))
    assertSubset(
      'schema',
      namesOf(schema),
      shown.flatMap((one) => namesOf(one as SchemaOption)),
      'neither list nor get shows',
    )
}

/** Checks the `me` option against the model. @throws ConfigurationError for names that the model does not have */
export function checkMeModel({ argSchema, schema }: MeOptions, model: ServedModel, update: MethodOptions | undefined): void {
  if (schema !== undefined) assertSubset('schema', namesOf(schema), outputFields(model), `${model.name} does not show`)
  if (argSchema !== undefined && update?.argSchema === undefined)
    assertSubset('argSchema', namesOf(argSchema), Object.keys(model.schema.update.properties), `an update of ${model.name} does not accept`)
}

function assertSubset(option: string, names: readonly string[], allowed: readonly string[], why: string): void {
  const extra = names.filter((name) => !allowed.includes(name))
  if (extra.length === 0) return
  throw new ConfigurationError(`me.${option} names ${extra.map((name) => `'${name}'`).join(', ')}, which ${why}. Remove these names.`)
}
