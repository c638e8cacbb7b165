import type { Endpoint } from './endpoint.js'

/** @param name of the resource, for operation ids */
export function apiKeyEndpoints(_name: string): Endpoint[] {
  return []
}
