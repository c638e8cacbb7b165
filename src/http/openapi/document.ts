import { capital } from '../../core/names.js'
import { ACCESS_COOKIE } from '../caller/cookies.js'
import { schemaWithCookies } from '../caller/token-response.js'
import type { Endpoint } from '../core/endpoint.js'
import { type PermsPort, type ServedModel, servedModel } from '../core/ports.js'
import type { Resource } from '../core/resource.js'
import { statusText } from '../core/status-text.js'
import { flagsSchema } from '../crud/allowed.js'
import { CrudResource } from '../crud/crud-resource.js'
import { servedById } from '../crud/existing/served-class.js'
import { narrowedOutput } from '../crud/input.js'
import { idPropertyOf } from '../crud/parents.js'
import { type Included, relatedFields, relatedModel } from '../crud/related.js'
import type { Api, Route } from '../serve/api.js'
import { exampleOf, problemExample } from './examples.js'
import { conditionParameter, preferParameter } from './parameters.js'
import { bounded, listOf, problemSchema } from './schemas.js'

interface Operation {
  operationId: string
  summary: string
  tags: string[]
  parameters: object[]
  requestBody?: object
  responses: Record<string, object>
  security: object[]
}

/** An OpenAPI 3.1 document as plain JSON. */
export interface OpenApiDocument {
  openapi: '3.1.0'
  info: { title: string; version: string; description?: string }
  paths: Record<string, Record<string, Operation>>
  components: {
    schemas: Record<string, object>
    responses: Record<string, object>
    headers: Record<string, object>
    securitySchemes: Record<string, object>
  }
  tags: { name: string; description: string }[]
  [more: string]: unknown
}

/** Headers that the middleware or the proxy of the application may add to any response. */
const addedAround = {
  RateLimit: {
    description: 'The remaining requests, if the application or its proxy sets a limit (draft-ietf-httpapi-ratelimit-headers).',
    schema: { type: 'string', maxLength: 1024 },
  },
  'Access-Control-Allow-Origin': {
    description: 'The origin whose pages may read the response, if the application allows other origins (CORS).',
    schema: { type: 'string', maxLength: 1024 },
  },
}
const around = Object.fromEntries(Object.keys(addedAround).map((name) => [name, { $ref: `#/components/headers/${name}` }]))
const etag = { description: 'For If-Match.', schema: { type: 'string', maxLength: 64 } }
const retryAfter = { description: 'Seconds.', schema: { type: 'integer', format: 'int32', minimum: 1, maximum: 86400 } }

const verbs: Record<string, string> = { list: 'List', get: 'Get one', create: 'Create', update: 'Change', delete: 'Delete' }

/**
 * Creates the OpenAPI document of an API. It contains the same schemas that validate requests.
 *
 * @param options `mountPath`: the path that the router is mounted at, such as `/v1`. Default: the root of the server.
 * @example writeFileSync('openapi.json', JSON.stringify(openApiDocument(api, perms)))
 */
export function openApiDocument(api: Api, perms: PermsPort, { mountPath = '' }: { mountPath?: string | undefined } = {}): OpenApiDocument {
  const takesCookies = perms.options.cookies !== undefined
  const document: OpenApiDocument = {
    openapi: '3.1.0',
    info: { title: api.title, version: api.version, ...(api.description === undefined ? {} : { description: api.description }) },
    servers: serversAt(mountPath),
    tags: [],
    paths: {},
    components: {
      schemas: { Problem: problemSchema },
      responses: {},
      headers: { ...addedAround },
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'JWT',
          description: 'The access_token of a sign-in. It follows RFC 7519 and the best practices of RFC8725.',
        },
        ...(takesCookies && {
          cookieAuth: {
            type: 'apiKey',
            in: 'cookie',
            name: ACCESS_COOKIE,
            description:
              'The access token in the cookie that a sign-in with `Prefer: cookies` sets. Requests that change something then need an Origin.',
          },
        }),
      },
    },
    ...api.document,
  }
  for (const route of api.routes(perms)) addRoute(document, takesCookies ? withCookies(route) : route, takesCookies, api)
  return document
}

/** Returns the `servers` of a document, for the path that the router is mounted at. */
export function serversAt(mountPath: string): object[] {
  return [{ url: mountPath === '' ? '/' : mountPath, 'x-internal': false }]
}

/** Adds the cookie responses and the Prefer header to endpoints that return tokens. */
function withCookies(route: Route): Route {
  const { description } = route.endpoint.options
  const output = schemaWithCookies(description?.output)
  if (output === undefined) return route
  const changed = { ...description, output, parameters: [...(description?.parameters ?? []), preferParameter] }
  return { ...route, endpoint: route.endpoint.with({ description: changed }) }
}

function addRoute(document: OpenApiDocument, route: Route, takesCookies: boolean, api: Api): void {
  const { endpoint, resource } = route
  const { options } = endpoint
  if (!document.tags.some(({ name }) => name === resource.name)) {
    document.tags.push({ name: resource.name, description: `Endpoints of ${resource.name}.` })
  }
  const path = route.path.replace(/:(\w+)/g, '{$1}')
  const parameters = [...route.path.matchAll(/:(\w+)/g)].map(([, name]) => pathParameter(name as string, resource))
  const operationId = options.name ?? `${options.method.toLowerCase()}${path.replace(/\W+(\w?)/g, (_, next: string) => next.toUpperCase())}`
  const kind = /^(list|get|create|update|delete)(?=[A-Z])/.exec(operationId)?.[1]
  const operation: Operation = {
    operationId,
    summary: options.summary ?? (kind ? `${verbs[kind]}: ${resource.name}` : `${options.method} ${route.path}`),
    tags: [resource.name],
    parameters: [...parameters, ...(options.description?.parameters ?? [])],
    responses: responsesOf(document, route, operationId, api),
    security: options.ignoresCredentials
      ? [{}]
      : [...(options.public ? [{}] : []), { bearer: [] }, ...(takesCookies ? [{ cookieAuth: [] }] : [])],
  }
  if (options.item && options.method === 'GET' && !isPaged(endpoint)) operation.parameters.push(conditionParameter('If-None-Match'))
  if (options.precondition) operation.parameters.push(conditionParameter('If-Match'))
  const input = options.description?.input ?? options.argSchema
  if (input && (options.readsBody ?? true) && options.method !== 'GET' && options.method !== 'DELETE') {
    operation.requestBody = {
      required: options.description?.isInputOptional !== true,
      content: { 'application/json': media(reference(document, `${capital(operationId)}Input`, bounded(input)), exampleOf(input)) },
    }
  }
  document.paths[path] = { ...document.paths[path], [options.method.toLowerCase()]: operation }
}

function pathParameter(name: string, resource: unknown): object {
  const schema = (resource instanceof CrudResource && idSchema(resource, name)) || { type: 'string', format: 'uuid' }
  return { name, in: 'path', required: true, description: 'The id of the row.', schema: bounded(schema) }
}

function idSchema(resource: CrudResource, name: string): object | undefined {
  if (name === 'id') return columnSchema(resource.served, resource.idProperty)
  for (let { parent } = resource.options; parent; parent = parent.parent) {
    const model = servedById(servedModel(parent.model))
    if (parent.param === name) return columnSchema(model, idPropertyOf(model))
  }
  return undefined
}

const columnSchema = (model: ServedModel, property: string): object => model.schema.output.properties[property] ?? { type: 'string' }

/** Returns whether an endpoint answers with a page of a list, whose next page a cursor names. */
function isPaged({ options: { description } }: Endpoint): boolean {
  return description?.parameters?.some((one) => (one as { name?: string }).name === 'cursor') ?? false
}

function responsesOf(
  document: OpenApiDocument,
  { endpoint, path, resource }: Route,
  operationId: string,
  { resources }: Api,
): Record<string, object> {
  const { options } = endpoint
  const { description } = options
  const responses: Record<string, object> = {}
  const output = options.schema ?? description?.output
  const isCreate = operationId.startsWith('create') && options.method === 'POST' && !options.item
  const isGet = options.item === true && options.method === 'GET' && !isPaged(endpoint)
  const isPatch = options.precondition !== undefined && options.method === 'PATCH'
  const headers = { ...(isGet || isPatch || isCreate ? { ETag: etag } : {}), ...around }
  if (output) {
    const isList = isPaged(endpoint) || (operationId.startsWith('list') && options.method === 'GET' && options.path === '')
    const name = output === modelOutput(resource) ? resource.name : `${capital(operationId)}Output`
    const takes = (parameter: string) => description?.parameters?.some((one) => (one as { name?: string }).name === parameter) ?? false
    // Rows with and without relations share a schema. Relations are present only if the request includes them.
    const relations = takes('include') || output === modelOutput(resource) ? relationsOf(resource, resources) : {}
    const flags = resource instanceof CrudResource && (takes('allowed') || output === modelOutput(resource)) ? flagsOf(resource) : {}
    const one = reference(document, name, bounded(shown(output, { ...relations, ...flags })))
    const schema = isList ? reference(document, `${name}List`, listOf(one)) : one
    const row = exampleOf(output)
    const example = isList && row !== undefined ? { data: [row], pagination: { ...onePage } } : row
    responses[isCreate ? '201' : String(options.status ?? 200)] = {
      description: 'Done.',
      headers,
      content: { [description?.mediaType ?? 'application/json']: media(schema, example) },
    }
    if (isGet) responses['304'] = { description: 'The row still has the ETag of If-None-Match.', headers }
  } else {
    // Without a schema, the response is JSON, or 204 if the handler returns undefined.
    const { status = 200 } = options
    if (status >= 300) responses[String(status)] = { description: 'The page that location names continues.', headers: around }
    else if (status !== 204) responses[String(status)] = { description: 'Done.', headers, content: { 'application/json': { schema: {} } } }
    if (options.status === undefined || status === 204) responses['204'] = { description: 'Done.', headers: around }
  }
  const problems = new Set([400, 406, 422, 429, 500, 503, ...(description?.problems ?? [])])
  if (!options.ignoresCredentials) problems.add(401)
  if (!options.public) problems.add(403)
  if (path.includes(':')) problems.add(404)
  if (options.method === 'POST' || options.method === 'PATCH') problems.add(403)
  for (const status of [...problems].sort()) {
    responses[String(status)] = problemReference(document, status)
  }
  return responses
}

function flagsOf(resource: CrudResource): Record<string, object> {
  const { names } = resource.offeredActions
  return names.length > 0 ? { allowed: flagsSchema(names) } : {}
}

function modelOutput(resource: Resource): object | undefined {
  return resource instanceof CrudResource ? resource.served.schema.output : undefined
}

// No property is required, because `fields` and readableBy may omit any.
function shown(output: object, relations: object = {}): object {
  if ('anyOf' in output) return output
  return { ...output, properties: { ...(output as { properties?: object }).properties, ...relations }, required: [] }
}

/** Returns the schemas of the relations that `include` adds to a row. */
function relationsOf(resource: Resource, resources: readonly Resource[]): Record<string, object> {
  if (!(resource instanceof CrudResource)) return {}
  return relationSchemas(resource.served, resource.included, resources, '')
}

function relationSchemas(model: ServedModel, included: Included, resources: readonly Resource[], above: string): Record<string, object> {
  const schemas: Record<string, object> = {}
  const below = included.paths.filter((path) => path.startsWith(above)).map((path) => path.slice(above.length))
  for (const name of new Set(below.map((path) => path.split('.')[0] as string))) {
    const relation = model.getRelation(name)
    const related = relation.relatedModelClass
    const fields = relatedFields(related, above + name, included, resources)
    const deeper = relationSchemas(related, included, resources, `${above}${name}.`)
    const { output } = relatedModel(related, above + name, included, resources).schema
    const row = shown(narrowedOutput(output, fields), deeper)
    schemas[name] = relation.isOneToOne() ? { anyOf: [row, { type: 'null' }] } : { type: 'array', items: row }
  }
  return schemas
}

const onePage = { page: 1, pageSize: 20, total: 1, totalPages: 1, nextCursor: null }

function media(schema: object, example: unknown): object {
  return example === undefined ? { schema } : { schema, example }
}

function reference(document: OpenApiDocument, name: string, schema: object): object {
  document.components.schemas[name] ??= schema
  return { $ref: `#/components/schemas/${name}` }
}

function problemReference(document: OpenApiDocument, status: number): object {
  const name = (statusText(status) ?? String(status)).replace(/\W/g, '')
  document.components.responses[name] ??= {
    description: statusText(status) ?? 'Error',
    headers: { ...(status === 429 || status === 503 ? { 'Retry-After': retryAfter } : {}), ...around },
    content: { 'application/problem+json': media({ $ref: '#/components/schemas/Problem' }, problemExample(status)) },
  }
  return { $ref: `#/components/responses/${name}` }
}
