import { ConfigurationError } from '../../core/errors.js'
import { assertKnownOptions, type OptionNames } from '../../core/known-options.js'
import type { Actor } from '../../policy/context.js'
import { assertStepUpRule, type StepUpRule } from '../../policy/fresh-session.js'
import type { PermsPort } from './ports.js'
import type { HttpRequest } from './request.js'
import type { Resource } from './resource.js'
import { segmentsOf } from './routes.js'

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'

/** A JSON Schema, or a list of columns that stands for the model's schema narrowed to these. */
export type SchemaOption = object | readonly string[]

/** The argument of an endpoint's handler. */
export interface EndpointContext<Row = unknown> {
  readonly request: HttpRequest
  /** The decoded path parameters. */
  readonly params: Readonly<Record<string, string>>
  readonly query: URLSearchParams
  /** The body, validated by argSchema if there is one. Undefined if the request has no body. */
  readonly input: unknown
  /** The signed-in user, or null for an anonymous caller. */
  readonly caller: object | null
  readonly actor: Actor | null
  /** The row with the id from the path, on endpoints with `item: true`. */
  readonly row: Row
  /** The parent rows in the path, outermost first. */
  readonly parents: readonly object[]
  readonly perms: PermsPort
  /** The resources of the Api that serves the request. */
  readonly resources: readonly Resource[]
}

/** The rows that the ids in a path identify. */
export interface Loaded {
  readonly row: unknown
  readonly parents: readonly object[]
}

/** Describes an endpoint in the OpenAPI document. */
export interface EndpointDescription {
  readonly parameters: readonly object[]
  /** The JSON Schema of the body. */
  readonly input: object | undefined
  /** Whether the body is optional. */
  readonly isInputOptional: boolean
  readonly output: object | undefined
  /** The media type of the response. Default: 'application/json'. */
  readonly mediaType: string | undefined
  /** Additional error statuses. The other options already imply the common ones. */
  readonly problems: readonly number[]
}

export interface EndpointOptions<Row = unknown> {
  method: Method
  /** The path below the resource's path: '', ':id', ':id/publish', 'statistics'. */
  path: string
  /** Handles a request. The result is sent as JSON, an HttpResponse as it is, and undefined as 204. */
  handler: (context: EndpointContext<Row>) => unknown
  /** Allows anonymous callers. The policies of the models still apply. Default: false. */
  public?: boolean | undefined
  /** Allows only global admins. Default: false. */
  adminOnly?: boolean | undefined
  /** Allows only callers with this global role. */
  role?: string | undefined
  /**
   * Returns the abilities that an API key may use here; it needs one of them. `[]` allows every key, `'none'` no key.
   *
   * @defaultValue the ability `<name of the resource>:*` for endpoints of `resource.endpoint()`, else only keys with `*`
   */
  abilities?: (() => readonly string[]) | 'none' | undefined
  /**
   * A rule that the caller's session must satisfy, such as `recent(300)`. Otherwise the response is 401 `insufficient_user_authentication`. Checked
   * after the row was loaded and roles were checked.
   *
   * @defaultValue any active session
   */
  stepUp?: StepUpRule | undefined
  /** The status of the response, if the handler does not return an HttpResponse. Default: 200. */
  status?: number | undefined
  /** The JSON Schema of the body. Makes the body required. */
  argSchema?: object | undefined
  /** The JSON Schema of the response, for the OpenAPI document. */
  schema?: object | undefined
  /** The allowed query parameters. Default: all. */
  queryKeys?: readonly string[] | undefined
  /** Loads the row with the id `:id` before the handler runs. Gives 404 if the caller may not read it. */
  item?: boolean | undefined
  /** The operation id in the OpenAPI document. */
  name?: string | undefined
  summary?: string | undefined
  /** Ignores the Authorization header. For endpoints that sign a user in. */
  ignoresCredentials?: boolean | undefined
  /** Treats an expired cookie as no cookie instead of answering 401. For sign-out and pages that are the same for all callers. */
  forgivesCookies?: boolean | undefined
  /** Whether the body is read. Default: true for POST, PUT and PATCH. */
  readsBody?: boolean | undefined
  /** Ignores the Accept header, because the response is not JSON. */
  anyFormat?: boolean | undefined
  /** Loads the rows that the ids in the path identify. */
  load?: ((context: EndpointContext) => Promise<Loaded>) | undefined
  description?: Partial<EndpointDescription> | undefined
  /**
   * Checks whether the caller may use the endpoint at all. Runs only after the request failed with 400, 412, 413, 415 or 422, so
   * that a forbidden caller gets 403 instead of details about the input.
   *
   * @throws ForbiddenError
   */
  assertAllowed?: ((context: EndpointContext<Row>) => Promise<void>) | undefined
  /** @deprecated Use `assertAllowed`. */
  refuseFirst?: ((context: EndpointContext<Row>) => Promise<void>) | undefined
  /** Checks If-Match and If-None-Match before the body is read. @throws PreconditionFailedError */
  precondition?: ((context: EndpointContext<Row>) => void) | undefined
}

const endpointOptionNames: OptionNames<EndpointOptions> = {
  method: true,
  path: true,
  handler: true,
  public: true,
  adminOnly: true,
  role: true,
  abilities: true,
  stepUp: 'unchecked',
  status: true,
  argSchema: true,
  schema: true,
  queryKeys: true,
  item: true,
  name: true,
  summary: true,
  ignoresCredentials: true,
  forgivesCookies: true,
  readsBody: true,
  anyFormat: true,
  load: true,
  description: { parameters: true, input: true, isInputOptional: true, output: true, mediaType: true, problems: true },
  assertAllowed: true,
  refuseFirst: true,
  precondition: true,
}

/**
 * Describes one method at one path. Does not depend on a framework and is immutable: `with` creates a changed copy.
 *
 * @example
 * class Critters extends CrudResource {
 *   override listEndpoint() {
 *     const endpoint = super.listEndpoint()
 *     return endpoint.with({ handler: async (context) => ({ page: await endpoint.options.handler(context), seen: new Date() }) })
 *   }
 * }
 */
export class Endpoint<Row = unknown> {
  readonly options: Readonly<EndpointOptions<Row>>

  constructor(options: EndpointOptions<Row>) {
    assertKnownOptions(options as EndpointOptions, endpointOptionNames, 'endpoint')
    segmentsOf(options.path)
    if (options.stepUp) assertStepUpRule(options.stepUp, `${options.method} '${options.path}': stepUp`)
    if (options.public && (options.adminOnly || options.role !== undefined || options.stepUp)) {
      throw new ConfigurationError(
        `${options.method} '${options.path}': 'public' cannot be combined with 'adminOnly', 'role' or 'stepUp'. Remove one of them.`,
      )
    }
    this.options = Object.freeze({ ...options, assertAllowed: options.assertAllowed ?? options.refuseFirst })
  }

  /** Returns a copy of the endpoint with some options changed. */
  with(change: Partial<EndpointOptions<Row>>): Endpoint<Row> {
    return new Endpoint<Row>({ ...this.options, ...change })
  }
}
