import { ConfigurationError } from '../../core/errors.js'

interface Node<T> {
  readonly fixed: Map<string, Node<T>>
  param: Node<T> | undefined
  /** By method. */
  readonly targets: Map<string, { readonly target: T; readonly names: readonly string[] }>
}

export interface Found<T> {
  readonly target: T
  /** Values in the path, still percent-encoded. */
  readonly values: readonly string[]
  readonly names: readonly string[]
}

function node<T>(): Node<T> {
  return { fixed: new Map(), param: undefined, targets: new Map() }
}

/**
 * Which target a method and a raw path mean. Paths are compared byte for byte before any decoding, with or without one slash
 * at the end, so that no spelling of a path reaches what another does not. A fixed segment wins over a parameter.
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
      throw new ConfigurationError(`Two endpoints answer ${method} ${path}: give one of the resources another path.`)
    }
    at.targets.set(method, { target, names })
  }

  /** The target, or the methods that the path takes, or null where it is none of ours. */
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
    // An address that has a fixed meaning has no other: PUT /users/me is not PUT /users/:id.
    if (fixed && allowed.size > 0) return null
    values.push(segment)
    const other = this.#walk(at.param, segments, index + 1, method, values, allowed)
    values.pop()
    return other
  }
}

const fixedSegment = /^[A-Za-z0-9._~-]+$/
const paramSegment = /^:[A-Za-z_][A-Za-z0-9_]*$/

/** @throws ConfigurationError for what would not mean the same in every framework */
export function segmentsOf(path: string): string[] {
  const segments = path.split('/').filter((segment) => segment !== '')
  for (const segment of segments) {
    const isPlain = fixedSegment.test(segment) && segment !== '.' && segment !== '..'
    if (!isPlain && !paramSegment.test(segment)) {
      throw new ConfigurationError(
        `The path '${path}' is made of segments of letters, digits, '.', '_', '~' and '-', and of ':parameters'.`,
      )
    }
  }
  return segments
}

/** Joins parts of a path with one slash between them: `/api`, `documents`, `:id` → `/api/documents/:id`. */
export function joinPath(...parts: readonly string[]): string {
  return `/${parts
    .flatMap((part) => part.split('/'))
    .filter((segment) => segment !== '')
    .join('/')}`
}
