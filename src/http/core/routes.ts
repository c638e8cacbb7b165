import { ConfigurationError } from '../../core/errors.js'

interface Node<T> {
  readonly fixed: Map<string, Node<T>>
  param: Node<T> | undefined
  /** The targets by HTTP method. */
  readonly targets: Map<string, { readonly target: T; readonly names: readonly string[] }>
}

export interface Found<T> {
  readonly target: T
  /** The parameter values, still percent-encoded. */
  readonly values: readonly string[]
  readonly names: readonly string[]
}

function node<T>(): Node<T> {
  return { fixed: new Map(), param: undefined, targets: new Map() }
}

/**
 * Finds the target for a method and a raw path. Paths are compared byte by byte before decoding, so that no other spelling of a
 * path reaches a target. One trailing slash is ignored. A fixed segment takes precedence over a parameter.
 */
export class RouteTable<T> {
  readonly #root = node<T>()

  /** @param path such as `/api/users/:id` */
  add(method: string, path: string, target: T): void {
    const names: string[] = []
    let at = this.#root
    for (const segment of segmentsOf(path)) {
      if (segment.startsWith(':')) {
        names.push(segment.slice(1))
        at.param ??= node()
        at = at.param
      } else {
        let next = at.fixed.get(segment)
        if (!next) {
          next = node()
          at.fixed.set(segment, next)
        }
        at = next
      }
    }
    if (at.targets.has(method)) {
      throw new ConfigurationError(`Two endpoints have the route ${method} ${path}. Give one of the resources another path.`)
    }
    at.targets.set(method, { target, names })
  }

  /** Returns the target, or the methods that the path supports, or null if no route has this path. */
  find(method: string, path: string): Found<T> | readonly string[] | null {
    if (path.charCodeAt(0) !== 47) return null
    const segments = (path.length > 1 && path.endsWith('/') ? path.slice(1, -1) : path.slice(1)).split('/')
    const values: string[] = []
    const allowed = new Set<string>()
    const found = this.#walk(this.#root, segments, 0, method, values, allowed)
    return found ?? (allowed.size > 0 ? [...allowed] : null)
  }

  #walk(at: Node<T>, segments: readonly string[], index: number, method: string, values: string[], allowed: Set<string>): Found<T> | null {
    const segment = segments[index]
    if (segment === undefined) {
      const hit = at.targets.get(method) ?? (method === 'HEAD' ? at.targets.get('GET') : undefined)
      if (hit) return { target: hit.target, names: hit.names, values: [...values] }
      for (const name of at.targets.keys()) allowed.add(name)
      if (at.targets.has('GET')) allowed.add('HEAD')
      return null
    }
    const fixed = at.fixed.get(segment)
    const found = fixed ? this.#walk(fixed, segments, index + 1, method, values, allowed) : null
    if (found || at.param === undefined || segment === '') return found
    // A fixed path never falls back to a parameter: PUT /users/me is not PUT /users/:id.
    if (fixed && allowed.size > 0) return null
    values.push(segment)
    const other = this.#walk(at.param, segments, index + 1, method, values, allowed)
    values.pop()
    return other
  }
}

const fixedSegment = /^[A-Za-z0-9._~-]+$/
const paramSegment = /^:[A-Za-z_][A-Za-z0-9_]*$/

/** Splits a route path into segments. @throws ConfigurationError for characters that frameworks treat differently */
export function segmentsOf(path: string): string[] {
  const segments = path.split('/').filter((segment) => segment !== '')
  for (const segment of segments) {
    const isPlain = fixedSegment.test(segment) && segment !== '.' && segment !== '..'
    if (!isPlain && !paramSegment.test(segment)) {
      throw new ConfigurationError(
        `The path '${path}' is not valid. Use letters, digits, '.', '_', '~' and '-' in its segments, and ':name' for parameters.`,
      )
    }
  }
  return segments
}

/** Joins parts of a path with single slashes: `/api`, `documents`, `:id` → `/api/documents/:id`. */
export function joinPath(...parts: readonly string[]): string {
  return `/${parts
    .flatMap((part) => part.split('/'))
    .filter((segment) => segment !== '')
    .join('/')}`
}
