import { NoContextError } from '../core/errors.js'
import type { CallerProof } from '../query/caller-proof.js'
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
import type { DomainId, UserId } from './registered-types.js'

/** A role of a user: global (`domainId` null) or in one active domain. */
export interface Grant {
  readonly id: string
  readonly role: string
  readonly domainId: DomainId | null
  /** The domain's name; null for a global grant. */
  readonly domainName: string | null
}

/** The caller, as of the start of the request or of runAs(). */
export interface Actor {
  readonly id: UserId
  /** The loaded `User`. Typed as object, because this layer does not know the class. */
  readonly user: object
  /** Global grants and grants in active domains. */
  readonly grants: readonly Grant[]
  /** The session of the access token; null for runAs(). */
  readonly sessionId: string | null
  /** The abilities of the API key; null if the caller has none and thus no restriction. */
  readonly abilities: readonly string[] | null
  /** When the API key was created. Admin roles granted later are not among its grants. */
  readonly keyMadeAt?: Date | null | undefined
  /** The superadmin who impersonates this user, or null. */
  readonly impersonatorId: UserId | null
  /** When the user last proved to be present in this session. Without it, the session is never recent. */
  readonly authTime?: Date | null | undefined
  /** How the user did that: names of RFC 8176, 'mail', 'recovery' and 'legacy'. */
  readonly amr?: readonly string[] | null | undefined
}

/** A bypass of policies. It ends when its function settles. */
interface Bypass {
  isActive: boolean
  /** The model whose rules are bypassed; null: every model. */
  readonly model: object | null
}

interface Frame {
  /** The runtime that the code belongs to; undefined before initPerms. */
  readonly runtime: Runtime | undefined
  /** The caller; null: an anonymous caller; undefined: code outside of any context. */
  readonly actor: Actor | null | undefined
  readonly bypasses: readonly Bypass[]
  /** The domain of `inDomain()`. */
  readonly domainId: string | undefined
  /** The client's address, set by the adapter. */
  readonly address: string | undefined
  /** The client's header Accept-Language, set by the adapter. */
  readonly acceptLanguage?: string | undefined
  /** The client's header User-Agent, set by the adapter. */
  readonly userAgent?: string | undefined
  /** The superadmin who impersonates the request's caller, also inside asSystem() and runAs(). */
  readonly impersonatorId: string | null
  /** The request for which an adapter entered the frame, also inside asSystem() and runAs(). */
  readonly origin?: object | undefined
  /** The proof that the caller is current, if it was remembered from an earlier request. */
  readonly proof?: CallerProof | undefined
  /** The rejection of the request's credentials. Only routes that skip authentication may run. */
  readonly refusal?: Refusal | undefined
  /** The user who agreed to join a domain, during the creation of the grant. */
  readonly consent?: Consent | undefined
}

/** A pending rejection of credentials. It is lifted if the request reaches a route that skips authentication. */
export interface Refusal {
  readonly error: unknown
  isLifted: boolean
}

interface Consent {
  readonly userId: unknown
  readonly domainId: unknown
}

const storage = contextStore<Frame>()
const emptyFrame: Frame = {
  runtime: undefined,
  actor: undefined,
  bypasses: [],
  domainId: undefined,
  address: undefined,
  impersonatorId: null,
}

emptyContext.current = emptyFrame

type OutsideContext = 'allow' | 'deny'
const outsideContext = runtimeSlot<OutsideContext | undefined>(() => undefined)

/** Sets whether code without a context may use models. Default: allowed until an adapter is created. */
export function setOutsideContext(runtime: Runtime, value: OutsideContext | undefined): void {
  outsideContext.set(runtime, value)
}

/** Registers that an adapter serves requests: code without a context is rejected from now on. */
export function noteAdapterMade(runtime: Runtime): void {
  noteAdapterCreated(runtime)
}

function rejectsWithoutContext(): boolean {
  const runtime = currentRuntime()
  if (runtime === null) return wasAdapterCreated()
  const given = outsideContext.of(runtime)
  return given === undefined ? runtime.hasAdapter : given === 'deny'
}

function frame(): Frame {
  return storage.getStore() ?? emptyFrame
}

/** Returns the current frame. @throws the pending rejection of credentials, so that they never count as anonymous */
function knownFrame(): Frame {
  const current = frame()
  if (current.refusal) throw current.refusal.error
  return current
}

function isBypassed(current: Frame, model: object | null): boolean {
  for (const bypass of current.bypasses) {
    if (bypass.isActive && (bypass.model === null || (model !== null && covers(bypass.model, model)))) return true
  }
  return false
}

// A bypass of a model also covers its subclasses and Objection's bound copies.
function covers(given: object, asked: object): boolean {
  for (let cls: object | null = asked; cls !== null; cls = Object.getPrototypeOf(cls) as object | null) {
    if (cls === given) return true
  }
  return false
}

/** Returns whether the code runs for a caller, anonymous or not, rather than for the application outside every request. */
export function runsForCaller(): boolean {
  const { actor, refusal } = frame()
  return actor !== undefined || refusal !== undefined
}

/**
 * Returns under whose rights the running code accesses `model`.
 *
 * @returns `'free'` if no rule applies (asSystem, bypassPerms, a script), an actor, or null for an anonymous caller
 * @throws NoContextError outside of any context, once an adapter was created or with `outsideContext: 'deny'`
 */
export function authorityFor(model: object | null): Actor | null | 'free' {
  assertOnlyCopy()
  const current = frame()
  if (isBypassed(current, model)) return 'free'
  if (current.refusal) throw current.refusal.error
  if (current.actor !== undefined) return current.actor
  if (rejectsWithoutContext()) throw new NoContextError()
  return 'free'
}

/** Returns the actor, also inside a bypass; null for an anonymous caller or outside of any context. */
export function currentActor(): Actor | null {
  return knownFrame().actor ?? null
}

/**
 * Returns the id of the current user, or null.
 *
 * @example const authorId = currentUserId()
 */
export function currentUserId(): UserId | null {
  return knownFrame().actor?.id ?? null
}

/** Returns the superadmin who impersonates a user, or null; also inside asSystem() and runAs(). */
export function currentImpersonatorId(): string | null {
  const { actor, impersonatorId } = frame()
  return actor?.impersonatorId ?? impersonatorId
}

/** Returns the domain set by `inDomain()`, if any. */
export function currentDomainId(): string | undefined {
  return frame().domainId
}

/** Returns the client's address that the adapter set, for throttling. */
export function currentAddress(): string | undefined {
  return frame().address
}

/** Returns the client's header Accept-Language that the adapter set, for the language of mails. */
export function currentAcceptLanguage(): string | undefined {
  return frame().acceptLanguage
}

/** Returns the client's header User-Agent that the adapter set. */
export function currentUserAgent(): string | undefined {
  return frame().userAgent
}

// Code that starts in the only runtime stays in it, even if another one starts later.
function withRuntime(next: Frame): Frame {
  return next.runtime === undefined ? { ...next, runtime: currentRuntime() ?? undefined } : next
}

// Awaits fn inside the frame, so that a returned query builder runs in this frame and not in the caller's.
function enter<T>(next: Frame, fn: () => T): Promise<Awaited<T>> {
  return storage.run(withRuntime(next), async () => await fn()) as Promise<Awaited<T>>
}

async function enterWithBypass<T>(base: Frame, model: object | null, fn: () => T): Promise<Awaited<T>> {
  const bypass: Bypass = { isActive: true, model }
  try {
    return await enter({ ...base, bypasses: [...base.bypasses, bypass] }, fn)
  } finally {
    bypass.isActive = false
  }
}

/** The parts of a request that a custom route passes on. */
export interface Client {
  /** The client's address, for throttling. */
  readonly address?: string | undefined
  /** The header Accept-Language, for the language of mails. */
  readonly acceptLanguage?: string | undefined
  /** The header User-Agent, for sign-ins from new places. */
  readonly userAgent?: string | undefined
}

/** Runs fn as this actor (null: anonymous), without outer bypasses. */
export function runAsActor<T>(actor: Actor | null, fn: () => T, more: Client = {}): Promise<Awaited<T>> {
  const { runtime, origin, consent, ...before } = frame()
  const { address = before.address, acceptLanguage = before.acceptLanguage, userAgent = before.userAgent } = more
  const impersonatorId = currentImpersonatorId()
  return enter(
    { runtime, actor, bypasses: [], domainId: undefined, address, acceptLanguage, userAgent, impersonatorId, origin, consent },
    fn,
  )
}

/** The data of a request that an adapter passes on. */
export interface Entry extends Client {
  /** The framework's request object. */
  readonly origin?: object | undefined
  /** The proof of a caller who was remembered from an earlier request. Until it is given, only a query that gives it may run. */
  readonly proof?: CallerProof | undefined
}

/** Runs fn as another form of the current actor, such as one with a fresh session. Domain, consent and bypasses stay. */
export function withActor<T>(actor: Actor, fn: () => T): Promise<Awaited<T>> {
  return enter({ ...frame(), actor }, fn)
}

/** Calls fn synchronously in the actor's context and returns its result, for callback-style frameworks. */
export function enterAsActor<T>(actor: Actor | null, fn: () => T, entry: Entry = {}): T {
  const { runtime } = frame()
  const { address, acceptLanguage, userAgent, origin, proof } = entry
  return storage.run(
    withRuntime({
      runtime,
      actor,
      bypasses: [],
      domainId: undefined,
      address,
      acceptLanguage,
      userAgent,
      impersonatorId: null,
      origin,
      proof,
    }),
    fn,
  )
}

/** Returns the request whose context the code runs in, if any. */
export function currentOrigin(): object | undefined {
  return frame().origin
}

/** Calls fn inside a request whose credentials are rejected, unless it reaches a route that skips authentication. */
export function enterRefused<T>(refusal: Refusal, fn: () => T, { address, acceptLanguage, userAgent, origin }: Entry = {}): T {
  return storage.run(withRuntime({ ...emptyFrame, runtime: frame().runtime, address, acceptLanguage, userAgent, origin, refusal }), fn)
}

/** Returns the pending rejection of the current request's credentials, if any. */
export function currentRefusal(): Refusal | undefined {
  return frame().refusal
}

/**
 * Runs fn as an anonymous caller, without outer bypasses.
 *
 * @param more `address`: the client's address, for throttling; `acceptLanguage`: the header, for the language of mails. Needed in
 * custom routes that run before authenticate().
 * @example const visible = await asAnonymous(() => Critter.query())
 * @example await asAnonymous(() => perms.auth.signIn(req.body), { address: req.ip })
 */
export function asAnonymous<T>(fn: () => T, more: Client = {}): Promise<Awaited<T>> {
  return runAsActor(null, fn, more)
}

/**
 * Runs fn as the application: no rule applies and there is no current user. The bypass ends when fn settles.
 *
 * @example await asSystem(() => Token.deleteExpired())
 */
export function asSystem<T>(fn: () => T): Promise<Awaited<T>> {
  // Code that is still running after fn settled acts as an anonymous caller.
  const { address, acceptLanguage, userAgent, origin } = frame()
  return enterWithBypass(
    { ...emptyFrame, actor: null, address, acceptLanguage, userAgent, impersonatorId: currentImpersonatorId(), origin },
    null,
    fn,
  )
}

/**
 * Runs fn without the rules of any model. The current user stays the same. The bypass ends when fn settles.
 *
 * @example const total = await bypassPerms(() => UserDocument.query().resultSize())
 */
export function bypassPerms<T>(fn: () => T): Promise<Awaited<T>> {
  return enterWithBypass(lostActorIsAnonymous(frame()), null, fn)
}

/** Calls fn, which must be synchronous, without policies: for queries that the library builds itself. */
export function withoutPolicies<T>(fn: () => T): T {
  const bypass: Bypass = { isActive: true, model: null }
  try {
    return storage.run({ ...frame(), bypasses: [bypass] }, fn)
  } finally {
    bypass.isActive = false
  }
}

/** Runs fn without the rules of one model. */
export function bypassModel<T>(model: object, fn: () => T): Promise<Awaited<T>> {
  return enterWithBypass(frame(), model, fn)
}

/** Runs fn with a default domain for new rows. */
export function inDomainId<T>(domainId: string, fn: () => T): Promise<Awaited<T>> {
  return enter({ ...frame(), domainId }, fn)
}

/** Runs fn with the consent of a user to join a domain: a role may then be granted without a membership. */
export function withConsent<T>(consent: Consent, fn: () => T): Promise<Awaited<T>> {
  return enter({ ...frame(), consent }, fn)
}

/** Returns whether the user consented to join the domain. */
export function hasConsented(userId: unknown, domainId: unknown): boolean {
  const { consent } = frame()
  return consent !== undefined && consent.userId === userId && consent.domainId === domainId
}

// Outside of any context, promises that outlive bypassPerms() must not be allowed everything: treat them as an anonymous caller.
function lostActorIsAnonymous(base: Frame): Frame {
  return base.actor === undefined && wasAdapterCreated() ? { ...base, actor: null } : base
}
