import { InsufficientUserAuthenticationError } from '../../core/errors.js'
import { assertSession, type StepUpRule } from '../../policy/fresh-session.js'
import type { Endpoint, EndpointContext } from '../core/endpoint.js'

/**
 * Checks that the caller's session is what an endpoint requires. A caller who may not use the endpoint at all gets 403, because a
 * fresh session would not help.
 *
 * @throws InsufficientUserAuthenticationError, ForbiddenError
 */
export async function requireSession(rule: StepUpRule, endpoint: Endpoint, context: EndpointContext): Promise<void> {
  try {
    assertSession(context.actor, rule)
  } catch (error) {
    if (error instanceof InsufficientUserAuthenticationError) await endpoint.options.assertAllowed?.(context)
    throw error
  }
}

/**
 * Returns the endpoint with a requirement that depends on the request.
 *
 * @param rule undefined: the endpoint stays as it is
 * @param isNeeded returns whether this request needs such a session
 */
export function withStepUp(endpoint: Endpoint, rule: StepUpRule | undefined, isNeeded: (context: EndpointContext) => boolean): Endpoint {
  if (!rule) return endpoint
  const { handler } = endpoint.options
  return endpoint.with({
    handler: async (context) => {
      if (isNeeded(context)) await requireSession(rule, endpoint, context)
      return await handler(context)
    },
  })
}
