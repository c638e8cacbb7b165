import { createHash } from 'node:crypto'
import { LruMap } from '../core/lru-map.js'
import { isInTransaction } from './knex-internals.js'
import { replaceMethod } from './replace-method.js'

type Callback = (error: unknown, result?: unknown) => void
type Query = (config: unknown, values?: unknown, callback?: unknown) => unknown

/** The members of a pg connection that this file uses. */
export interface PgConnection {
  query: Query
  /** The driver's own connection. The native driver has none. */
  readonly connection?: {
    /** Sends the message that ends a prepared statement on the server. */
    close(statement: { readonly type: 'S'; readonly name: string }): void
    /** The texts of the statements that are prepared on the server, by name. */
    readonly parsedStatements: Record<string, string>
  }
}

interface Statement {
  text: string
  values: unknown[]
  name?: string
}

/** The prepared statements of one connection. */
interface Prepared {
  readonly names: LruMap<string, true>
  /** Part of each name. Increases when the earlier names are no longer valid. */
  generation: number
  losses: number
}

const maxNames = 500
/** A SELECT with more values gets no name. PostgreSQL would keep the plan of a small table, which compares the values with every row. */
const maxListed = 100
/** The most statements remembered as seen once, and the most statements with a name. */
const maxTexts = 2000
/** In characters. Longer statements get no name: the memory of server and process would depend on what clients ask for. */
const maxTextLength = 16_384
/** A connection that loses its statements this often is behind a pooler: all connections stop using names. */
const maxLosses = 3

const POOLER_WARNING =
  'PostgreSQL loses prepared statements, because a pooler such as PgBouncer changes the server connection between transactions. Statements are sent without names from now on. Set initPerms({ namedStatements: false }), or max_prepared_statements in PgBouncer 1.21 or later.'

const planIsStale = '0A000'
const statementIsGone = '26000'
const statementIsThere = '42P05'
const transactionIsAborted = '25P02'

/** Returns whether PostgreSQL refused a statement because of its name. Such a statement did not run and can be sent again. */
export function isNameError(error: unknown): boolean {
  const code = (error as { code?: unknown } | null | undefined)?.code
  return code === planIsStale || code === statementIsGone || code === statementIsThere
}

/**
 * Gives statements a name, so that PostgreSQL parses and plans each only once per connection. A statement gets its name at its
 * second use. A connection has at most 500 names: then it closes the statement that it used least recently.
 *
 * When a table changes, or a pooler swaps connections, PostgreSQL refuses the name. The connection then uses new names. Outside a
 * transaction, the statement is sent again without a name and the caller sees no error. Inside a transaction, the statement fails,
 * and `transaction()` runs the whole transaction again. When a connection keeps losing its statements, all connections stop using names.
 *
 * @param isActive called for each statement; false sends it without a name
 * @returns a function that enables this on a connection
 */
export function nameStatements(isActive: () => boolean): (connection: PgConnection) => void {
  const nameOf = namer()
  let losesNames = false
  const stop = () => {
    if (!losesNames) console.warn(`objection-perms: ${POOLER_WARNING}`)
    losesNames = true
  }
  return (connection) => {
    const prepared: Prepared = { names: new LruMap(maxNames), generation: 0, losses: 0 }
    replaceMethod(
      connection,
      'query',
      (send) =>
        function (this: PgConnection, config, values, callback) {
          const sendAsIs = () => send.call(this, config, values, callback)
          // Knex passes a config and a callback. A config with submit() is a cursor or a stream, which cannot be named.
          if (losesNames || !isActive() || typeof values !== 'function' || callback !== undefined || !isNameable(config)) return sendAsIs()
          const name = nameFor(this, prepared, nameOf(config.text))
          if (!name) return sendAsIs()
          const done = values as Callback
          return send.call(this, { ...config, name }, (error: unknown, result?: unknown) => {
            if (!isNameError(error)) return done(error, result)
            dropNames(prepared, error)
            if (prepared.losses >= maxLosses) stop()
            if (isInTransaction(this)) return done(error)
            send.call(this, config, (again: unknown, second?: unknown) => {
              // The application began this transaction itself. The first error is the useful one.
              done((again as { code?: unknown } | null)?.code === transactionIsAborted ? error : again, second)
            })
          })
        },
    )
  }
}

function isNameable(config: unknown): config is Statement {
  if (typeof config !== 'object' || config === null) return false
  const { text, values, name, submit } = config as Partial<Statement> & { submit?: unknown }
  if (typeof text !== 'string' || !Array.isArray(values) || values.length === 0) return false
  if (values.length > maxListed && isSelect.test(text)) return false
  return name === undefined && submit === undefined
}

const isSelect = /^\s*select\b/i
const isQuery = /^\s*(?:select|insert|update|delete|with)\b/i

/** Excludes statements with an asterisk except count(*): a prepared `select t.*` fails after the table gets a column. */
function canBeNamed(text: string): boolean {
  return isQuery.test(text) && !text.replaceAll('(*)', '').includes('*')
}

/** Returns a function that names a statement from its second use on. All connections share its bounded cache. */
function namer(): (text: string) => string | null {
  const known = new LruMap<string, string | null>(maxTexts)
  const once = new LruMap<string, true>(maxTexts)
  return (text) => {
    if (text.length > maxTextLength) return null
    const name = known.get(text)
    if (name !== undefined) return name
    if (once.get(text) === undefined) {
      once.set(text, true)
      return null
    }
    once.delete(text)
    const made = canBeNamed(text) ? `op_${createHash('sha256').update(text).digest('base64url').slice(0, 22)}` : null
    known.set(text, made)
    return made
  }
}

function nameFor(on: PgConnection, prepared: Prepared, name: string | null): string | null {
  if (name === null) return null
  const full = prepared.generation === 0 ? name : `${name}_${prepared.generation}`
  if (prepared.names.get(full)) return full
  if (prepared.names.size >= maxNames && !on.connection) return null
  const dropped = prepared.names.set(full, true)
  if (dropped !== undefined) closeStatement(on, dropped)
  return full
}

// Unlike DEALLOCATE, this message needs no answer before the next statement, and works in a failed transaction.
function closeStatement({ connection }: PgConnection, name: string): void {
  if (!connection) return
  Reflect.deleteProperty(connection.parsedStatements, name)
  connection.close({ type: 'S', name })
}

// New names instead of DEALLOCATE: the driver still lists the old names as prepared, and a changed table breaks several of them.
function dropNames(prepared: Prepared, error: unknown): void {
  prepared.generation += 1
  if ((error as { code?: unknown }).code !== planIsStale) prepared.losses += 1
}
