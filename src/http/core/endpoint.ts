import { ConfigurationError } from '../../core/errors.js'
import type { Actor } from '../../policy/context.js'
import type { PermsPort } from './ports.js'
import type { HttpRequest } from './request.js'
import type { Resource } from './resource.js'
import { segmentsOf } from './routes.js'

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

/** A JSON Schema, or a list of columns that stands for the model's schema narrowed to these. */
export type SchemaOption = object | readonly string[]

/** What a handler is given. */
export interface EndpointContext<Row = unknown> {
  readonly request: HttpRequest
  /** The path's parameters, decoded. */
  readonly params: Readonly<Record<string, string>>
  readonly query: URLSearchParams
  /** The body, checked by argSchema where there is one; undefined where none came. */
  readonly input: unknown
  /** The signed-in user, or null. */
  readonly caller: object | null
  readonly actor: Actor | null
  /** The row that `:id` names, on endpoints of an item. */
  readonly row: Row
  /** The rows that the path goes through, the outermost first. */
  readonly parents: readonly object[]
  readonly perms: PermsPort
  /** The resources of the Api that answers. */
  readonly resources: readonly Resource[]
}

/** The rows that a path names. */
export interface Loaded {
  readonly row: unknown
  readonly parents: readonly object[]
}

/** How an endpoint is described in the OpenAPI document. */
export interface EndpointDescription {
  readonly operationId: string
  readonly summary: string
  readonly tag: string
  readonly parameters: readonly object[]
  /** JSON Schema of the body, or the name of a shared one. */
  readonly input: object | undefined
  /** Whether the body may be left out. */
  readonly isInputOptional: boolean
  readonly output: object | undefined
  /** Statuses of problems beyond those that follow from the rest. */
  readonly problems: readonly number[]
}

export interface EndpointOptions<Row = unknown> {
  method: Method
  /** Below the resource's path: '', ':id', ':id/publish', 'statistics'. */
  path: string
  /** What it returns is the answer's JSON; an HttpResponse is sent as it is; undefined is 204. */
  handler: (context: EndpointContext<Row>) => unknown
  /** Nobody needs to be signed in; permissions on rows hold all the same. */
  public?: boolean | undefined
  /** Only for global admins. */
  adminOnly?: boolean | undefined
  /** Only for callers with this role, held globally. */
  role?: string | undefined
  /**
   * One of which an API key needs here: `[]` for what every key may, `'none'` for what none may. When not said, only a key
   * with `*` gets in.
   */
  abilities?: (() => readonly string[]) | 'none' | undefined
  /** The status of an answer that is no HttpResponse; 200 when not said. */
  status?: number | undefined
  /** JSON Schema of the body, which is then needed. */
  argSchema?: object | undefined
  /** JSON Schema of the answer, for the OpenAPI document. */
  schema?: object | undefined
  /** The keys that the query may have; any when not said. */
  queryKeys?: readonly string[] | undefined
  /** `:id` names a row of the resource's model: it is looked up first, and is 404 where the caller may not read it. */
  item?: boolean | undefined
  /** The operation id. */
  name?: string | undefined
  summary?: string | undefined
  /** The Authorization header is not looked at: for endpoints at which one proves who one is. */
  ignoresCredentials?: boolean | undefined
  /** A cookie that has expired counts as none here, instead of 401: for signing out, and for pages that are the same for all. */
  forgivesCookies?: boolean | undefined
  /** Whether a body is read; when not said, for POST, PUT and PATCH. */
  readsBody?: boolean | undefined
  /** The answer is no JSON: Accept is not looked at. */
  anyFormat?: boolean | undefined
  /** Looks up what the path names. */
  load?: ((context: EndpointContext) => Promise<Loaded>) | undefined
  description?: Partial<EndpointDescription> | undefined
  /** A refusal that comes before those of preconditions and the body: whether the caller may write at all. @throws ForbiddenError */
  refuseFirst?: ((context: EndpointContext<Row>) => Promise<void>) | undefined
  /** Judges If-Match and its like, before the body is looked at. @throws PreconditionFailedError */
  precondition?: ((context: EndpointContext<Row>) => void) | undefined
}

/**
 * One method at one path. It knows no framework and does not change: `with` makes another.
 *
 * @example
 * override listEndpoint() {
 *   const endpoint = super.listEndpoint()
 *   return endpoint.with({ handler: async (context) => ({ ...(await endpoint.options.handler(context)), seen: new Date() }) })
 * }
 */
export class Endpoint<Row = unknown> {
  readonly options: Readonly<EndpointOptions<Row>>

  constructor(options: EndpointOptions<Row>) {
    segmentsOf(options.path)
    if (options.public && (options.adminOnly || options.role !== undefined)) {
      throw new ConfigurationError(`${options.method} '${options.path}': an endpoint is public, or it needs a role; it cannot be both.`)
    }
    this.options = Object.freeze({ ...options })
  }

  /** The same endpoint with some options changed. */
  with(change: Partial<EndpointOptions<Row>>): Endpoint<Row> {
    return new Endpoint<Row>({ ...this.options, ...change })
  }
}
