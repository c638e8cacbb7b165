import type { ActorDetails } from '../../users/caller/actor.js'
import type { SessionState } from './load-caller.js'

/** Returns the parts of an actor that come from the session of an access token. */
export function detailsOfSession({ id, impersonatorId, authTime, amr }: SessionState): ActorDetails {
  return { sessionId: id, impersonatorId, authTime, amr }
}

/** Returns the parts of an actor that come from an API key. */
export function detailsOfKey({ id, abilities, createdAt }: SessionState): ActorDetails {
  return { sessionId: id, abilities: abilities ?? [], keyMadeAt: createdAt ?? null }
}
