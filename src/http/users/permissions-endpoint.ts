import { UnauthorizedError } from '../../core/errors.js'
import { permissionsOf } from '../../enforce/permissions.js'
import { noStore } from '../caller/token-response.js'
import { Endpoint, type EndpointContext } from '../core/endpoint.js'
import { type ServedModel, servedModel } from '../core/ports.js'
import type { Resource } from '../core/resource.js'
import { HttpResponse } from '../core/response.js'
import { CrudResource } from '../crud/crud-resource.js'

/**
 * `GET me/permissions/` → `{ data: [{ model, action, rows }] }`: what the policies of the models that the API serves allow the caller.
 * It shows neither rules nor SQL, and reads no rows.
 */
export function permissionsEndpoint(name: string): Endpoint {
  return new Endpoint({
    method: 'GET',
    path: 'me/permissions',
    name: `listCurrent${name}Permissions`,
    summary: 'What the signed-in user can do',
    // Every API key may ask what it can do.
    abilities: () => [],
    queryKeys: [],
    handler: (context) => HttpResponse.json({ data: permissionsIn(context) }, { headers: noStore }),
    description: { output: listSchema },
  })
}

function permissionsIn({ actor, resources }: EndpointContext): readonly object[] {
  if (actor === null) throw new UnauthorizedError()
  return [...servedPolicies(resources)].flatMap(([cls, model]) =>
    permissionsOf(cls, actor).map(({ action, rows }) => ({ model, action, rows })),
  )
}

// Returns the name of each model with a policy: that of its first resource, because minifiers rename classes.
function servedPolicies(resources: readonly Resource[]): ReadonlyMap<ServedModel, string> {
  const found = new Map<ServedModel, string>()
  for (const resource of resources) {
    if (!(resource instanceof CrudResource) || !('policy' in resource.model)) continue
    const model = servedModel(resource.model)
    if (!found.has(model)) found.set(model, resource.name)
  }
  return found
}

const listSchema = {
  type: 'object',
  properties: {
    data: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          model: { type: 'string', description: 'The name of the model in operation ids.' },
          action: { type: 'string', description: '`read`, `create`, `update`, `delete`, or a named action.' },
          rows: {
            type: 'string',
            enum: ['all', 'none', 'some'],
            description: '`all`: with every row. `none`: with no row. `some`: it depends on the row.',
          },
        },
        required: ['model', 'action', 'rows'],
      },
    },
  },
  required: ['data'],
}
