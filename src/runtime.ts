/**
 * A Runtime contains all state of one `initPerms()` call. Modules store their state in it through typed slots (`runtimeSlot`,
 * `modelSlot`), so that no state outlives `perms.close()`.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { createHash, randomUUID } from 'node:crypto'
import type { Knex } from 'knex'
import { currentFile } from './core/current-file.js'
import { ConfigurationError, NoRuntimeError, RuntimeClosedError, RuntimeMismatchError } from './core/errors.js'
import { VERSION } from './version.js'

/** One loaded instance of this package. A second copy or a hot reload is another instance. */
interface Copy {
  readonly version: string
  /** The file of this module without the query, which a hot reload changes. Undefined if unknown. */
  readonly file: string | undefined
}

/** State that all copies of the package in a process share, so that a second copy finds the first one. */
interface Shared {
  readonly runtimes: Set<Runtime>
  /** The context of callers: see policy/context. Copies of other versions read only `runtime`. */
  readonly contexts: AsyncLocalStorage<{ readonly runtime?: Runtime | undefined }>
  /** Whether an adapter was ever created. Then code without a runtime and without a context is refused. */
  adapterCreated: boolean
  /** The databases with adapters. They stay here when another initPerms() replaces the runtime or fails. */
  readonly served: WeakSet<object>
  /** The databases whose runtime has ended. */
  readonly ended: WeakSet<object>
  /** The only runtime of this process until now; null once a second one began or one has ended, so that a context may name another one. */
  first: Runtime | null
  /** Whether any runtime ever began. */
  hasBegun: boolean
}

const shared: Shared = sharedState()
const copy: Copy = { version: VERSION, file: currentFile() }

function sharedState(): Shared {
  const holder = globalThis as Record<symbol, Shared | undefined>
  const key = Symbol.for('objection-perms')
  holder[key] ??= {
    runtimes: new Set(),
    contexts: new AsyncLocalStorage(),
    adapterCreated: false,
    served: new WeakSet(),
    ended: new WeakSet(),
    first: null,
    hasBegun: false,
  }
  return holder[key]
}

/** Returns the store of the context of callers, which all copies of the package share. */
export function contextStore<F extends { readonly runtime?: Runtime | undefined }>(): AsyncLocalStorage<F> {
  return shared.contexts as AsyncLocalStorage<F>
}

/** Sets something up and returns the function that undoes it. */
type SetUp = () => () => void

interface Installed {
  readonly setUp: SetUp
  undo: () => void
}

const installed = (setUp: SetUp): Installed => ({ setUp, undo: setUp() })

/** A value that each runtime has. */
export interface RuntimeSlot<T> {
  /** Returns the value of the current runtime. @throws NoRuntimeError when several runtimes are active and the context names none */
  get(): T
  /** Returns the value of a runtime; a new initial value for null. */
  of(runtime: Runtime | null): T
  set(runtime: Runtime, value: T): void
}

/** All state of one application: its Knex instance and the values in its slots. */
export class Runtime {
  readonly knex: Knex
  /** The name in tokens and derived keys: the `name` option of initPerms(), or a name derived from the connection. */
  readonly name: string
  /** Whether the application chose the name. */
  readonly isNamed: boolean
  readonly copy: Copy
  /** Whether an adapter serves requests. Then code without a context is refused. */
  get hasAdapter(): boolean {
    return shared.served.has(configOf(this.knex))
  }

  readonly slots = new Map<object, unknown>()
  readonly #cleanups: (() => void)[] = []
  readonly #installed: Installed[] = []
  /** The runtimes that this one replaces, until its set-up has succeeded. */
  #replaced: readonly Runtime[] = []
  /** Restores what all runtimes share, if this one replaced the only active one. */
  #restoreShared: (() => void) | undefined
  #isAlive = true

  constructor(knex: Knex, name: string | undefined) {
    this.knex = knex
    this.name = name ?? nameOf(knex)
    this.isNamed = name !== undefined
    this.copy = copy
  }

  /** Whether this runtime has not been closed. */
  get isAlive(): boolean {
    return this.#isAlive
  }

  /** Adds a function that runs when this runtime ends. The functions run in reverse order. */
  onEnd(cleanup: () => void): void {
    this.#cleanups.push(cleanup)
  }

  /**
   * Runs a set-up, and undoes it when this runtime ends. It runs again when another `initPerms()` call replaced this runtime and
   * then failed.
   *
   * @param setUp returns the function that undoes it
   */
  install(setUp: SetUp): void {
    this.#installed.push(installed(setUp))
  }

  /** Ends this runtime. Code that still runs inside it is refused from now on. */
  end(): void {
    if (!this.#isAlive) return
    this.#deactivate()
    this.#discard()
    if (shared.runtimes.size === 0) endLast()
  }

  /**
   * Replaces other runtimes: stops them until the set-up of this one has succeeded or failed. The set-up is synchronous, so no other
   * code runs meanwhile.
   */
  replace(others: readonly Runtime[]): void {
    if (others.length === 0) return
    for (const other of others) {
      // A reloaded module cannot resume the runtime of the earlier module.
      if (other.copy !== copy) other.end()
      else other.#deactivate()
    }
    this.#replaced = others.filter((other) => other.copy === copy)
    if (shared.runtimes.size === 0) this.#restoreShared = endLast()
  }

  /** Ends the replaced runtimes for good, since this one is set up. */
  confirm(): void {
    for (const other of this.#replaced) other.#discard()
    this.#replaced = []
    this.#restoreShared = undefined
  }

  /** Ends this runtime, whose set-up failed, and resumes the runtimes that it replaced. */
  abandon(): void {
    if (shared.runtimes.has(this)) this.end()
    this.#isAlive = false
    if (this.#replaced.length === 0) return
    this.#restoreShared?.()
    for (const other of this.#replaced) other.#activate()
    this.#replaced = []
  }

  #activate(): void {
    this.#isAlive = true
    shared.runtimes.add(this)
    shared.ended.delete(configOf(this.knex))
    for (const one of this.#installed) one.undo = one.setUp()
  }

  #deactivate(): void {
    this.#isAlive = false
    shared.first = null
    shared.runtimes.delete(this)
    shared.ended.add(configOf(this.knex))
    for (const { undo } of [...this.#installed].reverse()) undo()
  }

  #discard(): void {
    for (const cleanup of this.#cleanups.splice(0).reverse()) cleanup()
    this.#installed.length = 0
    this.slots.clear()
  }

  /** Returns whether `knex` is the Knex instance of this runtime or one of its transactions. */
  owns(knex: Knex): boolean {
    return configOf(knex) === configOf(this.knex)
  }

  /**
   * Returns the name that separates this application from others with the same keys or stores; null if this is the only active
   * runtime and the application chose no name.
   */
  scope(): string | null {
    return this.isNamed || shared.runtimes.size > 1 ? this.name : null
  }
}

/** Set-ups of the whole process, undone when the last active runtime ends. */
const processSetUps: Installed[] = []

/** Runs a set-up of the whole process, unless it is in effect. It is undone when the last active runtime ends. */
export function installForProcess(setUp: SetUp): void {
  if (processSetUps.every((one) => one.setUp !== setUp)) processSetUps.push(installed(setUp))
}

/** Undoes what all runtimes share. @returns a function that restores it */
function endLast(): () => void {
  const setUps = processSetUps.splice(0)
  for (const { undo } of [...setUps].reverse()) undo()
  const restore = modelSlots.map((slot) => slot.reset())
  return () => {
    for (const one of restore) one()
    processSetUps.push(...setUps.map(({ setUp }) => installed(setUp)))
  }
}

/** Resets the data about model classes, which code without initPerms() has set. Does nothing while a runtime is active. */
export function forgetModelsUnlessUsed(): void {
  if (shared.runtimes.size === 0) endLast()
}

/**
 * Starts a runtime. A second call with the same Knex instance replaces the first runtime.
 *
 * @throws ConfigurationError for a second copy of the package, and for a database or a name that another runtime uses
 */
export function startRuntime(knex: Knex, name: string | undefined): Runtime {
  const replaced = [...shared.runtimes].filter((other) => isReplacedBy(other, knex))
  const hadAdapter = replaced.some(({ hasAdapter }) => hasAdapter)
  const runtime = new Runtime(knex, name)
  runtime.replace(replaced)
  try {
    assertOnlyCopy()
    for (const other of shared.runtimes) assertCompatible(runtime, other)
  } catch (error) {
    runtime.abandon()
    throw error
  }
  if (hadAdapter) shared.served.add(configOf(knex))
  shared.first = shared.runtimes.size === 0 && !shared.hasBegun ? runtime : null
  shared.hasBegun = true
  shared.runtimes.add(runtime)
  shared.ended.delete(configOf(knex))
  return runtime
}

/** @throws ConfigurationError when two runtimes use one database or one name */
function assertCompatible(runtime: Runtime, other: Runtime): void {
  if (isSameDatabase(other.knex, runtime.knex)) {
    throw new ConfigurationError(
      'initPerms({ knex }): another Knex instance of the same database is in use. Call `await perms.close()` for it first. ' +
        'If a bundler evaluates this module several times, as Next.js does, keep the result of the first call on globalThis.',
    )
  }
  if (other.name === runtime.name) {
    throw new ConfigurationError(
      `initPerms({ name: '${runtime.name}' }): another runtime has this name. Give each runtime its own name: initPerms({ knex, name: 'tenant-b' }).`,
    )
  }
}

// A call with the same Knex instance replaces the runtime. Outside production a hot reload may also use a new Knex instance of
// the same database.
function isReplacedBy(other: Runtime, knex: Knex): boolean {
  const isSameFile = copy.file !== undefined && other.copy.version === copy.version && other.copy.file === copy.file
  if (other.copy === copy && other.knex === knex) return true
  return isSameFile && process.env.NODE_ENV !== 'production' && isSameDatabase(other.knex, knex)
}

/** Throws while another copy of the package is in use. @throws ConfigurationError */
export function assertOnlyCopy(): void {
  if (firstAndOnly()?.copy === copy) return
  for (const { copy: other } of shared.runtimes) {
    if (other === copy) continue
    throw new ConfigurationError(
      `Two copies of objection-perms are loaded (${other.version} and ${copy.version}); policies of one copy do not apply in the other. ` +
        'Install only one: run `npm ls objection-perms`, then `npm dedupe`. ' +
        'If a bundler copied the package, exclude it from the bundles: in Next.js with serverExternalPackages.',
    )
  }
}

/** Returns the number of active runtimes. */
export function runtimeCount(): number {
  return shared.runtimes.size
}

/** Returns the other active runtimes. */
export function otherRuntimes(runtime: Runtime): Runtime[] {
  return [...shared.runtimes].filter((other) => other !== runtime)
}

/** Records that an adapter of this runtime serves requests. */
export function noteAdapterCreated(runtime: Runtime): void {
  shared.adapterCreated = true
  shared.served.add(configOf(runtime.knex))
}

/** Records that the adapters of this runtime no longer serve requests. */
export function forgetAdapters(runtime: Runtime): void {
  shared.served.delete(configOf(runtime.knex))
}

/** Returns whether an adapter was ever created in this process. */
export function wasAdapterCreated(): boolean {
  return shared.adapterCreated
}

/**
 * Returns the runtime of the context; else the only active runtime; null before initPerms().
 *
 * @throws NoRuntimeError when several runtimes are active and the context names none
 * @throws RuntimeClosedError when the runtime of the context has ended
 */
export function currentRuntime(): Runtime | null {
  const usual = firstAndOnly()
  if (usual) return usual
  const own = shared.contexts.getStore()?.runtime
  if (own !== undefined) {
    if (!own.isAlive) throw new RuntimeClosedError()
    return own
  }
  if (shared.runtimes.size > 1) throw new NoRuntimeError()
  for (const only of shared.runtimes) return only
  return null
}

/**
 * Returns the only runtime that this process ever had, or null. While it is active, each context names it or none, so the context need
 * not be read: a query asks for its runtime some twenty times.
 */
function firstAndOnly(): Runtime | null {
  // A copy of another version may have added a runtime.
  return shared.runtimes.size === 1 ? shared.first : null
}

/** Returns the runtime of a Knex instance or transaction, or null. */
export function runtimeOf(knex: Knex): Runtime | null {
  for (const runtime of shared.runtimes) if (runtime.owns(knex)) return runtime
  return null
}

/**
 * Runs a query in the runtime of its database.
 *
 * @param knexOf returns the instance or transaction of the query; null if the model has none. Called only while other runtimes may exist
 * @throws RuntimeMismatchError when the context belongs to another runtime
 * @throws NoRuntimeError when several runtimes are active and none belongs to this database
 */
export function inRuntimeOf<T>(knexOf: () => Knex | null, fn: () => T): T {
  assertOnlyCopy()
  if (firstAndOnly()) return fn()
  const knex = knexOf()
  const own = shared.contexts.getStore()?.runtime
  if (own !== undefined) {
    if (!own.isAlive) throw new RuntimeClosedError()
    if (knex !== null && !own.owns(knex) && belongsElsewhere(knex)) throw new RuntimeMismatchError()
    return fn()
  }
  if (shared.runtimes.size <= 1) return fn()
  const runtime = knex === null ? null : runtimeOf(knex)
  if (runtime === null) throw new NoRuntimeError()
  return enterRuntime(runtime, fn)
}

/** Checks the same as inRuntimeOf(), without running anything. @param knexOf called only while other runtimes may exist */
export function assertRuntimeOf(knexOf: () => Knex | null): void {
  if (firstAndOnly()) assertOnlyCopy()
  else inRuntimeOf(knexOf, () => undefined)
}

// A caller of one runtime is not a user of another runtime's database, even after the first runtime was closed.
function belongsElsewhere(knex: Knex): boolean {
  return runtimeOf(knex) !== null || shared.ended.has(configOf(knex))
}

/** Calls fn inside a runtime. Coming from another runtime, fn does not keep its caller and its bypasses. @throws RuntimeClosedError */
export function enterRuntime<T>(runtime: Runtime, fn: () => T): T {
  const context = shared.contexts.getStore()
  if (!runtime.isAlive) throw new RuntimeClosedError()
  if (context?.runtime === runtime) return fn()
  const base = context !== undefined && context.runtime === undefined ? context : emptyContext.current
  return shared.contexts.run({ ...base, runtime }, fn)
}

/** The context of code without a caller. policy/context sets it. */
export const emptyContext: { current: object } = { current: {} }

/** Returns the object that identifies a Knex instance. Its transactions share this object. */
export function configOf(knex: Knex): object {
  return (knex.client as { config: object }).config
}

/** Creates a slot with one value per runtime. @param initial creates the value of a runtime, and the value without a runtime */
export function runtimeSlot<T>(initial: () => T): RuntimeSlot<T> {
  const key = {}
  return {
    get: () => slotOf(currentRuntime()),
    of: slotOf,
    set: (runtime, value) => void runtime.slots.set(key, value),
  }
  function slotOf(runtime: Runtime | null): T {
    if (runtime === null) return initial()
    const known = runtime.slots.get(key)
    if (known !== undefined || runtime.slots.has(key)) return known as T
    const value = initial()
    runtime.slots.set(key, value)
    return value
  }
}

// Active runtimes use the same model classes and share the data about them until the last runtime ends.
const modelSlots: { reset(): () => void }[] = []

/**
 * Creates a slot for data about model classes. All active runtimes share its value, which is reset when the last runtime ends.
 *
 * @param initial creates the value
 */
export function modelSlot<T>(initial: () => T): { get(): T; set(value: T): void } {
  let value: { readonly current: T } | undefined
  modelSlots.push({
    reset() {
      const before = value
      value = undefined
      return () => {
        value = before
      }
    },
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

/** Returns a text that identifies a database; null if the configuration does not identify it (a function, a database in memory). */
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
