/** The endpoints of UserResource that need a recent session with `initPerms({ stepUp: true })`. */
import type { StepUpRule } from '../../policy/fresh-session.js'
import { valuesByName } from '../../schema/model-class.js'
import { identifiersOf } from '../../users/account/identifiers.js'
import { withStepUp } from '../caller/step-up.js'
import type { Endpoint, EndpointContext } from '../core/endpoint.js'
import type { ServedModel } from '../core/ports.js'
import { objectOf } from '../crud/input.js'

/** The endpoints that always need it. */
const always = new Set([
  'POST me/email',
  'POST me/deletion',
  'GET me/export',
  'POST me/second-factor',
  'POST me/second-factor/confirm',
  'POST me/second-factor/remove',
  'POST me/second-factor/recovery-codes',
  'POST me/passkeys/options',
  'DELETE me/passkeys/:passkeyId',
  'POST me/identities',
  'DELETE me/identities/:identityId',
  'POST api-keys',
  'POST impersonation',
  'DELETE sessions',
  'DELETE :id',
  'POST :id/restore',
  'POST :id/shares',
])

/** The endpoints that need it for some requests. */
const sometimes: Readonly<Record<string, (context: EndpointContext, model: ServedModel) => boolean>> = {
  'PATCH me': changesCredentials,
  'PATCH :id': changesCredentials,
  // Signing out needs no confirmation.
  'DELETE sessions/:sessionId': ({ actor, params }) => params.sessionId !== actor?.sessionId,
}

/** Returns the endpoint with the requirement, if it is a sensitive one. */
export function requireRecentSession(endpoint: Endpoint, rule: StepUpRule, model: ServedModel): Endpoint {
  const { method, path, stepUp } = endpoint.options
  const name = `${method} ${path}`
  const isNeeded = sometimes[name]
  if (isNeeded) return withStepUp(endpoint, rule, (context) => isNeeded(context, model))
  // An endpoint with a requirement of its own keeps it.
  return always.has(name) && stepUp === undefined ? endpoint.with({ stepUp: rule }) : endpoint
}

function changesCredentials({ input, row }: EndpointContext, model: ServedModel): boolean {
  const given = objectOf(input ?? {})
  const stored = typeof row === 'object' && row !== null ? valuesByName(row) : {}
  return ['password', 'email', ...identifiersOf(model)].some((name) => given[name] !== undefined && given[name] !== stored[name])
}
