import type { EndpointDescription } from '../core/endpoint.js'

/** Functions that return the parts of an endpoint's description. */
interface Parts {
  readonly parameters?: () => readonly object[]
  readonly input?: () => object
  readonly output: () => object
  readonly problems?: readonly number[]
}

/**
 * Returns a description whose parts are made when the OpenAPI document reads them: the types of some columns are known only after a
 * look-up in the database.
 */
export function describedBy({ parameters, input, output, problems = [] }: Parts): Partial<EndpointDescription> {
  return {
    get parameters() {
      return parameters?.() ?? []
    },
    get input() {
      return input?.()
    },
    get output() {
      return output()
    },
    problems,
  }
}
