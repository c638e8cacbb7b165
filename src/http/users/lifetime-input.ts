/** The lifetime that a client chooses for its session, in the bodies of sign-ins. */
import type { LifetimeChoice, RememberMeOptions } from '../../auth/tokens/session-life.js'

/** Separates the lifetime that a client chooses from the texts of the body. The sign-in checks it. */
export function splitLifetime(given: Readonly<Record<string, unknown>>, isChosen: boolean): { chosen: LifetimeChoice; texts: object } {
  if (!isChosen) return { chosen: {}, texts: given }
  const { remember, sessionExpires, ...texts } = given as LifetimeChoice & Record<string, unknown>
  return { chosen: { remember, sessionExpires }, texts }
}

/** Adds the lifetime to the JSON Schema of a body. @param bounds undefined: clients cannot choose */
export function withLifetime(schema: object, bounds: RememberMeOptions | undefined): object {
  if (!bounds) return schema
  return { ...schema, properties: { ...(schema as { properties: object }).properties, ...lifetimeSchema(bounds) } }
}

function lifetimeSchema({ min, max }: RememberMeOptions): object {
  return {
    remember: { type: 'boolean', description: `Whether the session lasts ${max} seconds instead of ${min}.` },
    sessionExpires: { type: 'integer', format: 'int32', minimum: min, maximum: max, description: 'Seconds until the session ends.' },
  }
}
