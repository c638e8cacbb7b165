import type { PopulatedWorld } from './feature-steps.js'

/** The password of the users of the suite. */
export const password = 'correct horse battery'

/** A value, or how to make it when the case runs. */
export type Made<T> = T | ((world: PopulatedWorld) => Promise<T>)

/** One request and the response that every adapter gives. Cases run in order: later ones may depend on earlier ones. */
export interface Case {
  readonly title: string
  readonly method: string
  /** `{name}` stands for an id of the world. */
  readonly path: Made<string>
  /** The user whose token is sent. */
  readonly as?: 'ada' | 'bob' | 'admin' | undefined
  /** The Bearer token, instead of that of a user. */
  readonly token?: ((world: PopulatedWorld) => Promise<string>) | undefined
  /** Text is sent as it is; other values are sent as JSON. */
  readonly body?: string | object | ((world: PopulatedWorld) => Promise<object>)
  /** A list is sent as several header lines. `{name}` stands for the token of a user. */
  readonly headers?: Readonly<Record<string, string | readonly string[]>>
  readonly status: number
  /** Headers that the response must have; null: must not have. */
  readonly expect?: Readonly<Record<string, string | null>>
  /** The user whose id a route of the application returns; null: an anonymous caller. */
  readonly caller?: 'ada' | null
  /** The code of the problem. */
  readonly code?: string
  /** The fields that the problem names. */
  readonly fields?: readonly string[]
  /** Whether the framework or its parser gives the response, so that its text may differ. */
  readonly own?: boolean
  /** The status that a body parser of the application may give instead. */
  readonly orElse?: number
  /** The features that the case needs from the server. */
  readonly needs?: 'trace' | 'absoluteTargets' | 'normalizedPaths'
}

export const noStore = { 'cache-control': 'no-store' }
export const invalidToken = { 'www-authenticate': 'Bearer error="invalid_token"', 'cache-control': 'no-store' }
export const noToken = { 'www-authenticate': 'Bearer' }
