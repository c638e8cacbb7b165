import type { Model } from 'objection'

/** The static of a class that converts errors of its statements. */
export const errorsOf: unique symbol = Symbol.for('objection-perms.errors')

interface Statics {
  [errorsOf]?: (error: unknown, cls: typeof Model) => unknown
}

/** Returns the error that the caller of a query sees. */
export function typedError(cls: typeof Model, error: unknown): unknown {
  const toTyped = (cls as Statics)[errorsOf]
  return toTyped ? toTyped(error, cls) : error
}
