import type { Actor } from '../../policy/context.js'
import type { RelatedRows } from '../crud/related.js'
import { Endpoint, type EndpointOptions } from './endpoint.js'
import type { PermsPort, ServedModel } from './ports.js'

export interface ResourceOptions {
  /** Below the API's prefix; one that begins with '/' ignores the prefix. */
  path: string
  /** For operation ids and the grouping in the OpenAPI document. */
  name?: string | undefined
}

/**
 * Endpoints that belong together, under one path.
 *
 * @example
 * const status = new Resource({ path: 'status' })
 * status.endpoint({ method: 'GET', path: '', public: true, handler: () => ({ ok: true }) })
 */
export class Resource {
  readonly path: string
  readonly #name: string | undefined
  readonly #further: Endpoint[] = []

  constructor(options: ResourceOptions) {
    this.path = options.path
    this.#name = options.name
  }

  get name(): string {
    return this.#name ?? this.path.replace(/[^A-Za-z0-9]+(\w)?/g, (_, next?: string) => (next ?? '').toUpperCase())
  }

  /** What the resource is called in the abilities of API keys: the last word of its path. */
  get abilityName(): string {
    return this.path.split('/').findLast((word) => word !== '' && !word.startsWith(':')) ?? this.name
  }

  /**
   * Returns how this resource lets rows of a model look in the responses of other resources, or null if it does not serve the
   * model. Without an actor: what any caller may see.
   */
  relatedRows(_model: ServedModel, _actor?: Actor | null): RelatedRows | null {
    return null
  }

  /** Called when an API that holds the resource is mounted. */
  bind(_perms: PermsPort): void {}

  /**
   * Adds an endpoint.
   *
   * @example
   * documents.endpoint({ method: 'POST', path: ':id/publish', item: true, handler: async ({ row }) => await row.update({ isPublic: true }) })
   */
  endpoint<Row = unknown>(options: EndpointOptions<Row>): Endpoint<Row> {
    const endpoint = new Endpoint<Row>({ abilities: () => [`${this.abilityName}:*`], ...options })
    this.#further.push(endpoint as Endpoint)
    return endpoint
  }

  /** Every endpoint of the resource, as it is mounted. */
  endpoints(): Endpoint[] {
    return [...this.#further]
  }
}
