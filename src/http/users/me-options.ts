import { ConfigurationError } from '../../core/errors.js'
import type { SchemaOption } from '../core/endpoint.js'
import type { ServedModel } from '../core/ports.js'
import type { MethodOptions } from '../crud/crud-options.js'
import { namesOf, outputFields } from '../crud/shape.js'

/** What `me/` takes and shows, within what its resource takes and shows. */
export interface MeOptions {
  /** What the body of `PATCH me/` may hold. A body must pass the argSchema of `update` too. */
  argSchema?: SchemaOption | undefined
  /** What `GET me/` and `PATCH me/` show. */
  schema?: SchemaOption | undefined
}

interface Around {
  /** How `update` is configured; undefined where it is off. */
  readonly update: MethodOptions | undefined
  /** The `schema` of list and get, where these are on; undefined for one that shows everything. */
  readonly shown: readonly (SchemaOption | undefined)[]
}

/** Checks the `me` option against the options of its resource. @throws ConfigurationError for what is wider than these */
export function checkMe({ argSchema, schema }: MeOptions, { update, shown }: Around): void {
  if (argSchema !== undefined && !update)
    throw new ConfigurationError(
      'me.argSchema: PATCH me/ is off, because update is off in this UserResource. Switch update on, or leave me.argSchema out.',
    )
  if (argSchema !== undefined && update?.argSchema !== undefined)
    assertWithin('argSchema', namesOf(argSchema), namesOf(update.argSchema), 'the argSchema of update does not take')
  if (schema !== undefined && !shown.includes(undefined))
    assertWithin(
      'schema',
      namesOf(schema),
      shown.flatMap((one) => namesOf(one as SchemaOption)),
      'neither list nor get shows',
    )
}

/** Checks the `me` option against the model. @throws ConfigurationError for what it does not have */
export function checkMeModel({ argSchema, schema }: MeOptions, model: ServedModel, update: MethodOptions | undefined): void {
  if (schema !== undefined) assertWithin('schema', namesOf(schema), outputFields(model), `${model.name} does not show`)
  if (argSchema !== undefined && update?.argSchema === undefined)
    assertWithin('argSchema', namesOf(argSchema), Object.keys(model.schema.update.properties), `an update of ${model.name} does not take`)
}

function assertWithin(option: string, names: readonly string[], allowed: readonly string[], why: string): void {
  const extra = names.filter((name) => !allowed.includes(name))
  if (extra.length === 0) return
  throw new ConfigurationError(
    `me.${option} names ${extra.map((name) => `'${name}'`).join(', ')}, which ${why}. It can only narrow its resource.`,
  )
}
