import { NoContextError } from '../core/errors.js'
import {
  assertOnlyCopy,
  contextStore,
  currentRuntime,
  emptyContext,
  noteAdapterCreated,
  type Runtime,
  runtimeSlot,
  wasAdapterCreated,
} from '../runtime.js'

/** One role that a user holds: everywhere (`domainId` null) or in one active domain. */
export interface Grant {
  readonly id: string
  readonly role: string
  readonly domainId: string | null
  /** The domain's name; null for a global grant. */
  readonly domainName: string | null
}

/** Who is calling, as it was when the request (or runAs) began. */
export interface Actor {
  readonly id: string
  /** The loaded user; a `User`, seen from below. */
  readonly user: object
  /** Grants in active domains and global ones; those of inactive domains are left out. */
  readonly grants: readonly Grant[]
  /** The session that the access token is tied to; null for runAs. */
  readonly sessionId: string | null
  /** What an API key may do, or null where nothing narrows the user's rights. */
  readonly abilities: readonly string[] | null
  /** Of an API key: when it was made. Admin roles granted after that are not among its grants. */
  readonly keyMadeAt?: Date | null | undefined
  /** The superadmin who acts in this user's place, or null. */
  readonly impersonatorId: string | null
}

/** A power that ends with the function it was given to: `alive` turns false when that has settled. */
interface Bypass {
  alive: boolean
  /** null: every model. */
  readonly model: object | null
}

interface Frame {
  /** The runtime that the code belongs to; undefined before initPerms. */
  readonly runtime: Runtime | undefined
  /** undefined: nobody is known; null: an anonymous caller. */
  readonly actor: Actor | null | undefined
  readonly bypasses: readonly Bypass[]
  /** The domain of `inDomain()`. */
  readonly domainId: string | undefined
  /** The address that the adapter vouches for. */
  readonly address: string | undefined
  /** Who acts in the place of the request's caller, inside asSystem() and runAs() too. */
  readonly impersonatorId: string | null
  /** The request that an adapter entered the frame for; inside asSystem() and runAs() too. */
  readonly origin?: object | undefined
  /** Why the request's credentials are refused, where only a route that ignores credentials may go on. */
  readonly refusal?: Refusal | undefined
  /** The user who has agreed to join a domain, while the grant is made. */
  readonly consent?: Consent | undefined
}

/** A refusal that waits for the router: it is lifted where the request reaches a route that ignores credentials. */
export interface Refusal {
  readonly error: unknown
  isLifted: boolean
}

interface Consent {
  readonly userId: string
  readonly domainId: string
}

const storage = contextStore<Frame>()
const nobody: Frame = { runtime: undefined, actor: undefined, bypasses: [], domainId: undefined, address: undefined, impersonatorId: null }

emptyContext.current = nobody

type OutsideContext = 'allow' | 'deny'
const outsideContext = runtimeSlot<OutsideContext | undefined>(() => undefined)

/** Sets what code without a context may do. undefined: everything, until an adapter was created. */
export function setOutsideContext(runtime: Runtime, value: OutsideContext | undefined): void {
  outsideContext.set(runtime, value)
}

/** Notes that an adapter serves requests: code without a context is refused from now on. */
export function noteAdapterMade(runtime: Runtime): void {
  noteAdapterCreated(runtime)
}

function isRefusedWithoutContext(): boolean {
  const runtime = currentRuntime()
  if (runtime === null) return wasAdapterCreated()
  const given = outsideContext.of(runtime)
  return given === undefined ? runtime.hasAdapter : given === 'deny'
}

function frame(): Frame {
  return storage.getStore() ?? nobody
}

/** @throws the refusal of the request's credentials: whoever asks who is calling must not hear "nobody" */
function knownFrame(): Frame {
  const current = frame()
  if (current.refusal) throw current.refusal.error
  return current
}

function isBypassed(current: Frame, model: object | null): boolean {
  for (const power of current.bypasses) {
    if (power.alive && (power.model === null || (model !== null && covers(power.model, model)))) return true
  }
  return false
}

// A bypass of a model covers the classes that stand for it: subclasses, and Objection's bound copies.
function covers(given: object, asked: object): boolean {
  for (let cls: object | null = asked; cls !== null; cls = Object.getPrototypeOf(cls) as object | null) {
    if (cls === given) return true
  }
  return false
}

/**
 * How the code that runs now is to be judged where it touches `model`.
 *
 * @returns `'free'` where no rule applies (asSystem, bypassPerms, a script), an actor, or null for an anonymous caller
 * @throws NoContextError once an adapter has been made (or with `outsideContext: 'deny'`) where nobody is known to be calling
 */
export function authorityFor(model: object | null): Actor | null | 'free' {
  assertOnlyCopy()
  const current = frame()
  if (isBypassed(current, model)) return 'free'
  if (current.refusal) throw current.refusal.error
  if (current.actor !== undefined) return current.actor
  if (isRefusedWithoutContext()) throw new NoContextError()
  return 'free'
}

/** The actor, whatever bypass is in force; null where nobody is signed in or known. */
export function currentActor(): Actor | null {
  return knownFrame().actor ?? null
}

/** The id of the user on whose behalf the code runs, or null. */
export function currentUserId(): string | null {
  return knownFrame().actor?.id ?? null
}

/** The superadmin who acts in a user's place, or null; also inside asSystem() and runAs() meanwhile. */
export function currentImpersonatorId(): string | null {
  const { actor, impersonatorId } = frame()
  return actor?.impersonatorId ?? impersonatorId
}

/** The domain named by `inDomain`, if any. */
export function currentDomainId(): string | undefined {
  return frame().domainId
}

/** The client's address as the adapter gave it, for throttling. */
export function currentAddress(): string | undefined {
  return frame().address
}

// What begins in the only runtime stays in it, also when another one is started meanwhile.
function withRuntime(next: Frame): Frame {
  return next.runtime === undefined ? { ...next, runtime: currentRuntime() ?? undefined } : next
}

// fn is awaited inside: a query builder that it returns runs in this frame, not in the caller's.
function enter<T>(next: Frame, fn: () => T): Promise<Awaited<T>> {
  return storage.run(withRuntime(next), async () => await fn()) as Promise<Awaited<T>>
}

async function enterWithBypass<T>(base: Frame, model: object | null, fn: () => T): Promise<Awaited<T>> {
  const power: Bypass = { alive: true, model }
  try {
    return await enter({ ...base, bypasses: [...base.bypasses, power] }, fn)
  } finally {
    power.alive = false
  }
}

/** Runs fn as this actor (null: anonymous); an outer bypass does not reach into it. */
export function runAsActor<T>(actor: Actor | null, fn: () => T, more: { address?: string | undefined } = {}): Promise<Awaited<T>> {
  const { runtime, address, origin, consent } = frame()
  const impersonatorId = currentImpersonatorId()
  return enter({ runtime, actor, bypasses: [], domainId: undefined, address: more.address ?? address, impersonatorId, origin, consent }, fn)
}

/** What an adapter knows of a request. */
export interface Entry {
  readonly address?: string | undefined
  /** The framework's own request. */
  readonly origin?: object | undefined
}

/** Does the same for callback-style frameworks: calls fn synchronously inside the actor's context and returns what it returns. */
export function enterAsActor<T>(actor: Actor | null, fn: () => T, { address, origin }: Entry = {}): T {
  const { runtime } = frame()
  return storage.run(withRuntime({ runtime, actor, bypasses: [], domainId: undefined, address, impersonatorId: null, origin }), fn)
}

/** Returns the request that the code runs for, if an adapter entered its context. */
export function currentOrigin(): object | undefined {
  return frame().origin
}

/** Calls fn inside a request whose credentials are refused unless a route that ignores them answers it. */
export function enterRefused<T>(refusal: Refusal, fn: () => T, { address, origin }: Entry = {}): T {
  return storage.run(withRuntime({ ...nobody, runtime: frame().runtime, address, origin, refusal }), fn)
}

/** Returns the refusal of the request that the code runs in, if any. */
export function currentRefusal(): Refusal | undefined {
  return frame().refusal
}

/**
 * Runs fn as a caller who is not signed in; an outer bypass ends here.
 *
 * @param more `address`: where the caller is, for throttling; needed on routes of one's own that come before authenticate()
 * @example const visible = await asAnonymous(() => Critter.query())
 * @example await asAnonymous(() => perms.auth.signIn(req.body), { address: req.ip })
 */
export function asAnonymous<T>(fn: () => T, more: { address?: string | undefined } = {}): Promise<Awaited<T>> {
  return runAsActor(null, fn, more)
}

/**
 * Runs fn as the application itself: no rule applies, nobody is the current user. The power ends when fn has settled.
 *
 * @example await asSystem(() => Token.deleteExpired())
 */
export function asSystem<T>(fn: () => T): Promise<Awaited<T>> {
  // What outlives fn is an anonymous caller's, not a superuser's.
  const { address, origin } = frame()
  return enterWithBypass({ ...nobody, actor: null, address, impersonatorId: currentImpersonatorId(), origin }, null, fn)
}

/**
 * Lifts the rules of every model while fn runs; the current user stays. The bypass ends when fn has settled.
 *
 * @example const total = await bypassPerms(() => Document.query().resultSize())
 */
export function bypassPerms<T>(fn: () => T): Promise<Awaited<T>> {
  return enterWithBypass(lostActorIsAnonymous(frame()), null, fn)
}

/** Builds a query of the engine's own: no rule applies until fn, which awaits nothing, has returned. */
export function withoutPolicies<T>(fn: () => T): T {
  const power: Bypass = { alive: true, model: null }
  try {
    return storage.run({ ...frame(), bypasses: [power] }, fn)
  } finally {
    power.alive = false
  }
}

/** Lifts the rules of one model while fn runs. */
export function bypassModel<T>(model: object, fn: () => T): Promise<Awaited<T>> {
  return enterWithBypass(frame(), model, fn)
}

/** New rows with a domain are made in this one while fn runs. */
export function inDomainId<T>(domainId: string, fn: () => T): Promise<Awaited<T>> {
  return enter({ ...frame(), domainId }, fn)
}

/** Runs fn while this user agrees to join the domain: whoever grants the role there needs no membership to exist. */
export function withConsent<T>(consent: Consent, fn: () => T): Promise<Awaited<T>> {
  return enter({ ...frame(), consent }, fn)
}

/** Whether the user has agreed to join the domain. */
export function hasConsented(userId: unknown, domainId: unknown): boolean {
  const { consent } = frame()
  return consent !== undefined && consent.userId === userId && consent.domainId === domainId
}

// Where nobody was known, a promise left over from bypassPerms must not fall back to "allow": it is a caller without rights.
function lostActorIsAnonymous(base: Frame): Frame {
  return base.actor === undefined && wasAdapterCreated() ? { ...base, actor: null } : base
}
