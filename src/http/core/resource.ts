import { assertKnownOptions } from '../../core/known-options.js'
import type { Actor } from '../../policy/context.js'
import type { RelatedRows } from '../crud/related.js'
import { Endpoint, type EndpointOptions } from './endpoint.js'
import type { PermsPort, ServedModel } from './ports.js'
import { proving } from './proving-endpoints.js'

export interface ResourceOptions {
  /** The path below the API's prefix. A path that begins with '/' ignores the prefix. */
  path: string
  /** The name in operation ids and tags of the OpenAPI document. Default: derived from the path. */
  name?: string | undefined
}

/**
 * Groups endpoints under a path.
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
    assertKnownOptions(options, { path: true, name: true }, 'new Resource')
    this.path = options.path
    this.#name = options.name
  }

  get name(): string {
    return this.#name ?? this.path.replace(/[^A-Za-z0-9]+(\w)?/g, (_, next?: string) => (next ?? '').toUpperCase())
  }

  /** The name of the resource in the abilities of API keys: the last fixed segment of its path. */
  get abilityName(): string {
    return this.path.split('/').findLast((word) => word !== '' && !word.startsWith(':')) ?? this.name
  }

  /**
   * Returns how this resource shows rows of a model when other resources include them, or null if it does not serve the model.
   * Without an actor, returns the columns that at least one caller may see.
   */
  relatedRows(_model: ServedModel, _actor?: Actor | null): RelatedRows | null {
    return null
  }

  /** Connects the resource to an application. Called when its API is mounted. */
  bind(_perms: PermsPort): void {}

  /**
   * Adds a custom endpoint.
   *
   * @example
   * documents.endpoint<UserDocument>({
   *   method: 'POST',
   *   path: ':id/publish',
   *   item: true,
   *   handler: async ({ row }) => await row.update({ isPublic: true }),
   * })
   */
  endpoint<Row = unknown>(options: EndpointOptions<Row>): Endpoint<Row> {
    const endpoint = new Endpoint<Row>({ abilities: proving(() => [`${this.abilityName}:*`]), ...options })
    this.#further.push(endpoint as Endpoint)
    return endpoint
  }

  /** Returns all endpoints of the resource. */
  endpoints(): Endpoint[] {
    return [...this.#further]
  }
}
