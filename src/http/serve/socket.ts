import { ConfigurationError, InvalidTokenError, PermsError, UnauthorizedError } from '../../core/errors.js'
import { assertKnownOptions } from '../../core/known-options.js'
import { message } from '../../core/messages/message.js'
import { outsideTransaction } from '../../database/transaction.js'
import { type Actor, type Entry, enterAsActor } from '../../policy/context.js'
import { type TokenReader, tokenReader } from '../caller/authorization.js'
import { upgradeToken } from '../caller/upgrade.js'
import type { PermsPort } from '../core/ports.js'
import { entryOf, type HttpRequest } from '../core/request.js'

export interface UpgradeOptions {
  /** Whether a client without credentials may connect. Its code runs as an anonymous caller. Default: false. */
  anonymous?: boolean | undefined
  /**
   * Seconds between two checks of the session, so that an idle connection ends after its session. Each check is one query. run()
   * checks the session in any case.
   *
   * @defaultValue 30
   */
  checkEvery?: number | undefined
}

/** An authenticated connection, such as a WebSocket. */
export interface SocketConnection {
  /** The caller at the last check; null for an anonymous caller. */
  readonly caller: object | null
  /** Whether the session has ended, or close() was called. */
  readonly hasEnded: boolean
  /**
   * Checks the session, then runs fn as the caller with the roles that the user has now. Use it for each message of the client, and
   * for each message to the client that depends on rights.
   *
   * @returns the result of fn; a query builder that fn returns is executed inside
   * @throws InvalidTokenError when the session has ended
   * @example socket.on('message', (data) => connection.run(() => handle(data)).catch(report))
   */
  run<T>(fn: () => T): Promise<Awaited<T>>
  /**
   * Calls the listener once the session has ended: by sign-out, by expiry of the access token, by disabling or deleting the user, or
   * because the session could not be checked. Calls it at once if that has already happened. close() does not call it.
   *
   * @example connection.onEnd(() => socket.close(4401, 'The session has ended.'))
   */
  onEnd(listener: (why: unknown) => void): void
  /** Stops the checks. Call it when the socket was closed. */
  close(): void
}

/** The events after which the sessions of their user are checked at once. */
const sessionEvents = [
  ...(['signOut', 'tokenReused', 'passwordChanged', 'passwordReset', 'accessRevoked'] as const),
  ...(['emailChanged', 'impersonationStopped', 'apiKeyRevoked'] as const),
]

/** Authenticates the sockets of one application. */
export class SocketAuthenticator {
  readonly #perms: PermsPort
  readonly #tokenOf: TokenReader
  readonly #open = new Set<Connection>()
  #listens = false

  constructor(perms: PermsPort) {
    this.#perms = perms
    this.#tokenOf = tokenReader(perms.options.schemes)
  }

  async upgrade(request: HttpRequest, options: UpgradeOptions = {}): Promise<SocketConnection> {
    assertKnownOptions(options, { anonymous: true, checkEvery: true }, 'upgrade(request, ...)')
    const { anonymous = false, checkEvery = 30 } = options
    if (!(Number.isFinite(checkEvery) && checkEvery > 0 && checkEvery <= 3600))
      throw new ConfigurationError('upgrade({ checkEvery }): pass a number of seconds above 0, at most 3600.')
    const token = upgradeToken(request, this.#tokenOf, this.#perms.options.cookies)
    if (token === null && !anonymous) throw new UnauthorizedError()
    if (token === '') throw new InvalidTokenError()
    this.#listen()
    const connection = new Connection(this.#perms, request, token, (ended) => this.#open.delete(ended))
    // Before the first check, so that a session that ends during the check is noticed.
    this.#open.add(connection)
    try {
      await connection.start(checkEvery)
    } catch (error) {
      connection.close()
      throw error
    }
    return connection
  }

  #listen(): void {
    if (this.#listens) return
    this.#listens = true
    const { on } = this.#perms
    for (const name of sessionEvents) on(name, (event) => this.#check(event.userId))
  }

  #check(userId: string | null): void {
    // The user is not known yet during the first check.
    for (const connection of this.#open)
      if (connection.userId === userId || connection.userId === null) void outsideTransaction(() => connection.check())
  }
}

class Connection implements SocketConnection {
  readonly #perms: PermsPort
  readonly #token: string | null
  readonly #entry: Entry
  readonly #forget: (connection: Connection) => void
  readonly #listeners: ((why: unknown) => void)[] = []
  #actor: Actor | null = null
  #timer: NodeJS.Timeout | undefined
  #end: { readonly why: unknown; readonly byCaller: boolean } | null = null

  constructor(perms: PermsPort, request: HttpRequest, token: string | null, forget: (connection: Connection) => void) {
    this.#perms = perms
    this.#token = token
    // The framework may reuse the request object after the upgrade.
    this.#entry = entryOf(request)
    this.#forget = forget
  }

  get caller(): object | null {
    return this.#actor?.user ?? null
  }

  get userId(): string | null {
    return this.#actor?.id ?? null
  }

  get hasEnded(): boolean {
    return this.#end !== null
  }

  async start(checkEvery: number): Promise<void> {
    await this.#prove()
    if (this.#token === null || this.#end !== null) return
    this.#timer = setInterval(() => void this.check(), checkEvery * 1000)
    this.#timer.unref()
  }

  /** Checks the session. Ends the connection if that fails for any reason: an unknown state is no permission. */
  async check(): Promise<void> {
    try {
      await this.#prove()
    } catch (error) {
      this.#finish(error, false)
    }
  }

  async run<T>(fn: () => T): Promise<Awaited<T>> {
    const actor = await this.#prove()
    return await this.#perms.enter(() => enterAsActor(actor, async () => await fn(), this.#entry))
  }

  onEnd(listener: (why: unknown) => void): void {
    if (this.#end === null) this.#listeners.push(listener)
    else if (!this.#end.byCaller) listener(this.#end.why)
  }

  close(): void {
    this.#finish(undefined, true)
  }

  async #prove(): Promise<Actor | null> {
    this.#assertOpen()
    if (this.#token === null) return null
    try {
      this.#actor = await this.#perms.enter(() => enterAsActor(null, () => this.#perms.authenticate(this.#token as string)))
    } catch (error) {
      // A database that is down does not end the session: refuse this message only.
      if (!(error instanceof PermsError) || error.status < 500) this.#finish(error, false)
      throw error
    }
    this.#assertOpen()
    return this.#actor
  }

  #assertOpen(): void {
    if (this.#end !== null) throw new InvalidTokenError(message('session.connectionEnded'))
  }

  #finish(why: unknown, byCaller: boolean): void {
    if (this.#end !== null) return
    this.#end = { why, byCaller }
    clearInterval(this.#timer)
    this.#forget(this)
    for (const listener of byCaller ? [] : this.#listeners) {
      try {
        listener(why)
      } catch (error) {
        console.error('objection-perms: a listener of onEnd() threw:', error)
      }
    }
  }
}
