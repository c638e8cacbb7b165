import { modelOfTable, type TableKind } from '../../policy/registered-models.js'
import { idSpecOf } from '../../schema/ids.js'
import { schemaOf } from '../../schema/json-schemas.js'

/**
 * Returns the JSON Schema of an id of a registered model. Use it in a getter: the models are registered by initPerms(), after the
 * schemas of endpoints are declared.
 *
 * @example const properties = { get userId() { return idSchemaOf('user') } }
 */
export function idSchemaOf(kind: TableKind): object {
  const spec = idSpecOf(modelOfTable(kind))
  return spec ? schemaOf({ ...spec, isNullable: false }) : { type: 'string' }
}
