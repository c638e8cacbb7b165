/**
 * The Runtime holds everything that one `initPerms()` set up. Lower layers keep their state in it through typed slots
 * (`runtimeSlot`, `modelSlot`), so no state outlives `perms.close()`.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { createHash, randomUUID } from 'node:crypto'
import type { Knex } from 'knex'
import { ConfigurationError, NoRuntimeError, RuntimeClosedError, RuntimeMismatchError } from './core/errors.js'
import { VERSION } from './version.js'

/** One evaluation of this package: a second copy, or a reload, is another one. */
interface Copy {
  readonly version: string
  /** The file of this module without its query: a hot reload evaluates the same file again. */
  readonly file: string
}

/** What all copies of the package in a process share, so that a second copy finds the first one. */
interface Shared {
  readonly runtimes: Set<Runtime>
  /** The calling context: see policy/context. Copies of different versions only read `runtime`. */
  readonly contexts: AsyncLocalStorage<{ readonly runtime?: Runtime | undefined }>
  /** Whether an adapter was ever created: without a runtime, code outside a request is then refused. */
  adapterCreated: boolean
  /** The databases whose adapters go on serving after another initPerms(), or one that failed. */
  readonly served: WeakSet<object>
}

const shared: Shared = sharedState()
const copy: Copy = { version: VERSION, file: import.meta.url.replace(/[?#].*$/, '') }

function sharedState(): Shared {
  const holder = globalThis as unknown as Record<symbol, Shared | undefined>
  const key = Symbol.for('objection-perms')
  holder[key] ??= { runtimes: new Set(), contexts: new AsyncLocalStorage(), adapterCreated: false, served: new WeakSet() }
  return holder[key] as Shared
}

/** The store of the calling context, shared by all copies of the package. */
export function contextStore<F extends { readonly runtime?: Runtime | undefined }>(): AsyncLocalStorage<F> {
  return shared.contexts as unknown as AsyncLocalStorage<F>
}

/** A value of each runtime. @param initial creates the value at its first use */
export interface RuntimeSlot<T> {
  /** @throws NoRuntimeError when several runtimes are alive and the context names none */
  get(): T
  of(runtime: Runtime | null): T
  set(runtime: Runtime, value: T): void
}

/** All state of one application: its Knex instance, and what the layers keep in their slots. */
export class Runtime {
  readonly knex: Knex
  /** Named in tokens and derived keys: the `name` given to initPerms, or one derived from the connection. */
  readonly name: string
  /** Whether the application chose the name. */
  readonly isNamed: boolean
  readonly copy: Copy
  /** Whether an adapter serves requests: code without a context is then refused. */
  get hasAdapter(): boolean {
    return shared.served.has(configOf(this.knex))
  }

  readonly slots = new Map<object, unknown>()
  readonly #cleanups: (() => void)[] = []
  #isAlive = true

  constructor(knex: Knex, name: string | undefined) {
    this.knex = knex
    this.name = name ?? nameOf(knex)
    this.isNamed = name !== undefined
    this.copy = copy
  }

  get isAlive(): boolean {
    return this.#isAlive
  }

  /** Runs `cleanup` when this runtime ends, the last one added first. */
  onEnd(cleanup: () => void): void {
    this.#cleanups.push(cleanup)
  }

  /** Ends this runtime: code that still runs inside it is refused. */
  end(): void {
    if (!this.#isAlive) return
    this.#isAlive = false
    shared.runtimes.delete(this)
    for (const cleanup of this.#cleanups.splice(0).reverse()) cleanup()
    this.slots.clear()
    if (shared.runtimes.size > 0) return
    for (const cleanup of lastCleanups.splice(0).reverse()) cleanup()
    for (const reset of resets) reset()
  }

  /** Whether this runtime serves the database of `knex`, which may be one of its transactions. */
  owns(knex: Knex): boolean {
    return configOf(knex) === configOf(this.knex)
  }

  /**
   * What separates this application from others that may use the same keys or stores: its name, once the application chose
   * one or several runtimes are alive. Null when this runtime is the only one and has no name.
   */
  scope(): string | null {
    return this.isNamed || shared.runtimes.size > 1 ? this.name : null
  }
}

const lastCleanups: (() => void)[] = []

/** Runs `cleanup` when the last runtime ends. */
export function whenLastEnds(cleanup: () => void): void {
  lastCleanups.push(cleanup)
}

/** Starts a runtime. Earlier runtimes of the same database are ended first. @throws ConfigurationError for a second copy */
export function startRuntime(knex: Knex, name: string | undefined): Runtime {
  const replaced = [...shared.runtimes].filter((other) => isReplacedBy(other, knex))
  for (const other of replaced) other.end()
  assertOnlyCopy()
  for (const other of shared.runtimes) {
    if (isSameDatabase(other.knex, knex)) {
      throw new ConfigurationError(
        'initPerms({ knex }): another Knex instance of the same database is in use. Call `await perms.close()` on the first one.',
      )
    }
  }
  const runtime = new Runtime(knex, name)
  if (replaced.some(({ hasAdapter }) => hasAdapter)) shared.served.add(configOf(knex))
  for (const other of shared.runtimes) {
    if (other.name === runtime.name) {
      throw new ConfigurationError(
        `initPerms({ name: '${runtime.name}' }): a runtime with this name is in use. Give each one a name of its own: initPerms({ knex, name: 'tenant-b' }).`,
      )
    }
  }
  shared.runtimes.add(runtime)
  return runtime
}

// A call with the same Knex instance starts over. A module that was evaluated again, outside production, may also come with
// a new Knex instance of the same database.
function isReplacedBy(other: Runtime, knex: Knex): boolean {
  const isSameFile = other.copy.version === copy.version && other.copy.file === copy.file
  if (other.copy === copy && other.knex === knex) return true
  return isSameFile && process.env.NODE_ENV !== 'production' && isSameDatabase(other.knex, knex)
}

/** @throws ConfigurationError while another copy of the package is in use */
export function assertOnlyCopy(): void {
  for (const { copy: other } of shared.runtimes) {
    if (other === copy) continue
    throw new ConfigurationError(
      `Two copies of objection-perms are loaded (${other.version} and ${copy.version}); policies of one do not bind the other. ` +
        'Keep one: run `npm ls objection-perms`, then `npm dedupe`.',
    )
  }
}

/** The runtimes that are alive. */
export function runtimeCount(): number {
  return shared.runtimes.size
}

/** Notes that an adapter of this runtime serves requests. */
export function noteAdapterCreated(runtime: Runtime): void {
  shared.adapterCreated = true
  shared.served.add(configOf(runtime.knex))
}

/** Notes that the adapters of this runtime serve no more. */
export function forgetAdapters(runtime: Runtime): void {
  shared.served.delete(configOf(runtime.knex))
}

/** Whether an adapter was ever created in this process. */
export function wasAdapterCreated(): boolean {
  return shared.adapterCreated
}

/**
 * The runtime of the context, or else the only one; null before initPerms.
 *
 * @throws NoRuntimeError when several are alive and the context names none; RuntimeClosedError for the context of one that ended
 */
export function currentRuntime(): Runtime | null {
  const own = shared.contexts.getStore()?.runtime
  if (own !== undefined) {
    if (!own.isAlive) throw new RuntimeClosedError()
    return own
  }
  if (shared.runtimes.size > 1) throw new NoRuntimeError()
  for (const only of shared.runtimes) return only
  return null
}

/** The runtime that serves the database of `knex`, or null. */
export function runtimeOf(knex: Knex): Runtime | null {
  for (const runtime of shared.runtimes) if (runtime.owns(knex)) return runtime
  return null
}

/**
 * Runs a query in the runtime of its database.
 *
 * @param knex where the query goes, an instance or a transaction; null where the model has none
 * @throws RuntimeMismatchError when the context belongs to another runtime; NoRuntimeError when several are alive and none
 * serves this database
 */
export function inRuntimeOf<T>(knex: Knex | null, fn: () => T): T {
  assertOnlyCopy()
  const own = shared.contexts.getStore()?.runtime
  if (own !== undefined) {
    if (!own.isAlive) throw new RuntimeClosedError()
    if (knex !== null && !own.owns(knex) && runtimeOf(knex) !== null) throw new RuntimeMismatchError()
    return fn()
  }
  if (shared.runtimes.size <= 1) return fn()
  const runtime = knex === null ? null : runtimeOf(knex)
  if (runtime === null) throw new NoRuntimeError()
  return enterRuntime(runtime, fn)
}

/** Calls fn inside a runtime. In the context of another runtime, its caller and its bypasses are left behind. */
export function enterRuntime<T>(runtime: Runtime, fn: () => T): T {
  const context = shared.contexts.getStore()
  if (!runtime.isAlive) throw new RuntimeClosedError()
  if (context?.runtime === runtime) return fn()
  const base = context !== undefined && context.runtime === undefined ? context : emptyContext.current
  return shared.contexts.run({ ...base, runtime }, fn)
}

/** The context of code that runs for no known caller; policy/context fills it in. */
export const emptyContext: { current: object } = { current: {} }

/** The databases of two Knex instances are compared by this object, which transactions share with their instance. */
export function configOf(knex: Knex): object {
  return (knex as unknown as { client: { config: object } }).client.config
}

/** A slot for one value per runtime. @param initial the value where none was set, and without a runtime */
export function runtimeSlot<T>(initial: () => T): RuntimeSlot<T> {
  const key = {}
  return {
    get: () => slotOf(currentRuntime()),
    of: slotOf,
    set: (runtime, value) => void runtime.slots.set(key, value),
  }
  function slotOf(runtime: Runtime | null): T {
    if (runtime === null) return initial()
    if (!runtime.slots.has(key)) runtime.slots.set(key, initial())
    return runtime.slots.get(key) as T
  }
}

// Runtimes that are alive at once serve the same models, and share what is known of them. It is dropped with the last one.
const resets: (() => void)[] = []

/**
 * A slot for what is known of model classes: shared by the runtimes that are alive, and made anew after the last one closed.
 *
 * @param initial creates the value
 */
export function modelSlot<T>(initial: () => T): { get(): T; set(value: T): void } {
  let value: { readonly current: T } | undefined
  resets.push(() => {
    value = undefined
  })
  return {
    get() {
      value ??= { current: initial() }
      return value.current
    },
    set(next) {
      value = { current: next }
    },
  }
}

function isSameDatabase(one: Knex, other: Knex): boolean {
  if (one === other || configOf(one) === configOf(other)) return true
  const [a, b] = [identityOf(one), identityOf(other)]
  return a !== null && a === b
}

function nameOf(knex: Knex): string {
  const identity = identityOf(knex)
  return identity === null ? randomUUID() : createHash('sha256').update(identity).digest('base64url').slice(0, 22)
}

/** The database behind a Knex instance, as text; null where the configuration does not tell (a function, a database in memory). */
function identityOf(knex: Knex): string | null {
  const { client, connection, searchPath } = configOf(knex) as { client?: unknown; connection?: unknown; searchPath?: unknown }
  if (connection === null || connection === undefined || typeof connection === 'function') return null
  const place = typeof connection === 'string' ? connection : placeOf(connection as Record<string, unknown>)
  if (place === null || place.includes(':memory:')) return null
  return JSON.stringify([typeof client === 'string' ? client : 'custom', place, searchPath ?? null])
}

function placeOf(connection: Record<string, unknown>): string | null {
  const { filename, connectionString, host, port, socketPath, database, user } = connection
  if (typeof filename === 'string') return filename === '' || filename.includes('mode=memory') ? ':memory:' : filename
  if (typeof connectionString === 'string') return connectionString
  return host === undefined && socketPath === undefined && database === undefined
    ? null
    : JSON.stringify([host ?? null, port ?? null, socketPath ?? null, database ?? null, user ?? null])
}
