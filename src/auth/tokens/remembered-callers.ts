import type { Knex } from 'knex'
import { LruMap } from '../../core/lru-map.js'
import { inTransaction } from '../../database/transaction.js'
import type { Actor, Grant } from '../../policy/context.js'
import type { CallerProof } from '../../query/caller-proof.js'
import type { Template } from '../../query/fragments.js'
import { type Runtime, runtimeSlot } from '../../runtime.js'
import { hashToken, isApiKey, looksLikeApiKey } from '../../users/api-key-format.js'
import { toActor } from '../../users/caller/actor.js'
import type { User } from '../../users/user.js'
import type { AccessTokens } from './access-tokens.js'
import { isActiveKey, isUseRecorded } from './api-keys.js'
import { withoutHash } from './caller-cache.js'
import { detailsOfKey, detailsOfSession } from './caller-details.js'
import { type Caller, callerLoader, type Fingerprint } from './load-caller.js'
import { isActiveCaller } from './sessions.js'

/** The most callers that are remembered. */
const MAX_CALLERS = 10_000
/** After so many failures in a row, each request loads its caller without a fingerprint. */
const MAX_FAILURES = 3
/** The most requests that load their caller after one that could not prove it. */
const MAX_PAUSE = 64

type Load = (key: string) => Promise<Caller | null>
type Authenticate = (token: string, loaders: RememberingLoaders) => Promise<Actor>

/** Loads callers so that they are remembered. */
export interface RememberingLoaders {
  /** By the id of a session. */
  readonly session: Load
  /** By the stored hash of an API key. */
  readonly apiKey: Load
}

/**
 * Remembers the callers of sessions and API keys as they were when they were last loaded, with a fingerprint of that state. A read
 * compiles its rules for the remembered caller, and its statement returns rows only if the fingerprint is still the same. Nothing here
 * is evidence by itself.
 */
export class RememberedCallers {
  readonly #known = new LruMap<string, RememberedCaller>(MAX_CALLERS)
  readonly #accessTokens: AccessTokens
  readonly #knex: Knex
  /** How often in a row the database could not compute a fingerprint. */
  #failures = 0

  readonly #authenticate: Authenticate
  readonly #loaders: RememberingLoaders

  constructor(knex: Knex, accessTokens: AccessTokens, authenticate: Authenticate) {
    this.#knex = knex
    this.#accessTokens = accessTokens
    this.#authenticate = authenticate
    this.#loaders = {
      session: this.#remembering('id', (caller) => isActiveCaller(caller), detailsOfSession),
      // A key whose use is due is loaded, which records the use.
      apiKey: this.#remembering('token', (caller) => isActiveKey(caller) && isUseRecorded(caller), detailsOfKey),
    }
  }

  /** Loads the caller of a token and remembers it. @throws InvalidTokenError */
  authenticate(token: string): Promise<Actor> {
    return this.#authenticate(token, this.#loaders)
  }

  /** Returns the caller of a valid token as last seen; null if it must be loaded. The caller counts only after its proof. */
  find(token: string): RememberedCaller | null {
    if (inTransaction(this.#knex)) return null
    const caller = looksLikeApiKey(token) ? this.#ofKey(token) : this.#ofAccessToken(token)
    return caller?.isActive() ? caller : null
  }

  #ofKey(plain: string): RememberedCaller | undefined {
    return isApiKey(plain) ? this.#known.get(`token ${hashToken(plain)}`) : undefined
  }

  #ofAccessToken(token: string): RememberedCaller | undefined {
    try {
      const { sid, sub } = this.#accessTokens.sharedClaims(token)
      const caller = this.#known.get(`id ${sid}`)
      return caller && String(caller.userId) === sub ? caller : undefined
    } catch {
      // authenticate() finds the same error and reports it.
      return undefined
    }
  }

  #remembering(by: 'id' | 'token', isActive: (caller: Caller) => boolean, detailsOf: typeof detailsOfSession): Load {
    const plain = callerLoader(this.#knex, by)
    const withFingerprint = callerLoader(this.#knex, by, { fingerprint: true })
    return async (key) => {
      // Inside a transaction the database shows an older state, or one that may be rolled back.
      if (this.#failures >= MAX_FAILURES || inTransaction(this.#knex)) return await plain(key)
      const caller = await withFingerprint(key).then(
        (loaded) => {
          this.#failures = 0
          return loaded
        },
        async () => {
          const loaded = await plain(key)
          // Only the fingerprint failed, as on a server without the functions that it needs.
          this.#failures += 1
          return loaded
        },
      )
      if (caller && isActive(caller)) this.#remember(`${by} ${key}`, caller, isActive, detailsOf)
      return caller
    }
  }

  #remember(key: string, caller: Caller, isActive: (caller: Caller) => boolean, detailsOf: typeof detailsOfSession): void {
    const { user, session, fingerprint } = caller
    // The session of the impersonator would be part of the caller too.
    if (!fingerprint || session.impersonatorId !== null) return
    if (this.#known.get(key)?.fingerprint === fingerprint.value) return
    const actor = toActor(user, detailsOf(session))
    // The request may change the objects that it got.
    const kept = { user: withoutHash((actor.user as User).getClone()), session }
    this.#known.set(key, new RememberedCaller(unchangeable({ ...actor, user: kept.user }), fingerprint, () => isActive(kept)))
  }
}

// Requests share these lists.
function unchangeable(actor: Actor): Actor {
  const { grants, abilities } = actor
  return {
    ...actor,
    grants: Object.freeze(grants.map((grant): Grant => Object.freeze(grant))),
    abilities: abilities && Object.freeze([...abilities]),
  }
}

/** A caller as last seen. */
export class RememberedCaller {
  readonly isActive: () => boolean
  readonly fingerprint: string
  readonly #actor: Actor
  readonly #condition: Template
  /** How many requests to an endpoint still load the caller, and how many did after the last failure there. */
  readonly #pauses = new Map<object, { left: number; length: number }>()

  constructor(actor: Actor, { value, condition }: Fingerprint, isActive: () => boolean) {
    this.isActive = isActive
    this.fingerprint = value
    this.#actor = actor
    this.#condition = condition
  }

  /** The id of the user. */
  get userId(): unknown {
    return this.#actor.id
  }

  /** Returns an actor for one request. Its user is a copy, so that requests do not share changes. */
  actor(): Actor {
    const remembered = this.#actor.user as User
    let user: User | undefined
    return {
      ...this.#actor,
      get user() {
        user ??= remembered.getClone()
        return user
      },
    }
  }

  /** Returns the proof for one request. */
  proof(): CallerProof {
    return new Proof(this.#condition, this.isActive)
  }

  /** Returns whether a request to an endpoint must load the caller, because earlier ones there found no row to prove it with. */
  pausesAt(endpoint: object): boolean {
    const pause = this.#pauses.get(endpoint)
    if (pause === undefined || pause.left === 0) return false
    pause.left -= 1
    return true
  }

  /** Records whether a request to an endpoint proved the caller. Each failure in a row doubles the pause. */
  note(endpoint: object, isProven: boolean): void {
    if (isProven) {
      this.#pauses.delete(endpoint)
      return
    }
    const length = Math.min(2 * (this.#pauses.get(endpoint)?.length ?? 0.5), MAX_PAUSE)
    this.#pauses.set(endpoint, { left: length, length })
  }
}

class Proof implements CallerProof {
  isGiven = false
  isInserting = false
  allowsInsert = false

  constructor(
    readonly condition: Template,
    readonly isActive: () => boolean,
  ) {}

  give(): void {
    // The session may have expired since the request began. A row that is stored by now stays.
    this.isGiven = this.isInserting || this.isActive()
  }
}

const current = runtimeSlot<RememberedCallers | null>(() => null)

/** Sets the memory of a runtime. */
export function setRememberedCallers(runtime: Runtime, callers: RememberedCallers | null): void {
  current.set(runtime, callers)
}

/** Returns the memory of the current runtime; null if each request loads its caller. */
export function rememberedCallers(): RememberedCallers | null {
  return current.get()
}
