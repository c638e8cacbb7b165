import { createHash } from 'node:crypto'
import { replaceMethod } from './replace-method.js'

type Callback = (error: unknown, result?: unknown) => void
type Query = (config: unknown, values?: unknown, callback?: unknown) => unknown

/** What is used of a connection of the pg driver. */
export interface PgConnection {
  query: Query
  /** Set by Knex while the connection serves a transaction. */
  __knexTxId?: string
}

interface Statement {
  text: string
  values: unknown[]
  name?: string
}

/** What one connection has prepared. */
interface Prepared {
  readonly names: Set<string>
  /** Part of each name: counted up when the names so far cannot be trusted any more. */
  generation: number
  losses: number
}

const mostNames = 500
/** Texts remembered as seen once; as many again may be known by name. */
const mostTexts = 2000
/** A connection that keeps losing its statements stands behind a pooler: then its statements go without a name. */
const mostLosses = 3

const planIsStale = '0A000'
const statementIsGone = '26000'
const statementIsThere = '42P05'
const transactionIsAborted = '25P02'

/** Whether PostgreSQL refused a statement for the sake of its name, so that it is worth sending again. */
export function isNameError(error: unknown): boolean {
  const code = (error as { code?: unknown } | null | undefined)?.code
  return code === planIsStale || code === statementIsGone || code === statementIsThere
}

/**
 * Has statements prepared once per connection and then only executed, by giving them a name: PostgreSQL parses and plans
 * them once. A text gets its name when it comes the second time, so that one-off statements take no room; each
 * connection knows at most 500 names.
 *
 * When a table changes, or a pooler swaps connections, PostgreSQL refuses the name. The names are dropped then, and
 * outside a transaction the statement is sent again without one, of which the caller sees nothing. (A transaction is lost at
 * its first error; it fails with an error that is worth a retry of the whole.)
 *
 * @param isActive asked at each statement; false leaves them as they are
 * @returns treats one connection
 */
export function nameStatements(isActive: () => boolean): (connection: PgConnection) => void {
  const nameOf = namer()
  return (connection) => {
    const prepared: Prepared = { names: new Set(), generation: 0, losses: 0 }
    replaceMethod(
      connection,
      'query',
      (send) =>
        function (this: PgConnection, config, values, callback) {
          const sendAsIs = () => send.call(this, config, values, callback)
          // Knex calls back with the configuration first; a query object of its own (a cursor, a stream) has submit().
          if (!isActive() || typeof values !== 'function' || callback !== undefined || !isNameable(config)) return sendAsIs()
          const name = nameFor(prepared, nameOf(config.text))
          if (!name) return sendAsIs()
          const done = values as Callback
          return send.call(this, { ...config, name }, (error: unknown, result?: unknown) => {
            if (!isNameError(error)) return done(error, result)
            dropNames(prepared, error)
            if (this.__knexTxId !== undefined) return done(error)
            send.call(this, config, (again: unknown, second?: unknown) => {
              // A transaction that Knex does not know of: the first error is the one that tells.
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
  return typeof text === 'string' && Array.isArray(values) && values.length > 0 && name === undefined && submit === undefined
}

const isQuery = /^\s*(?:select|insert|update|delete|with)\b/i

/** `select t.*` fails for good once the table gets a column, so any asterisk but that of count(*) goes without a name. */
function canBeNamed(text: string): boolean {
  return isQuery.test(text) && !text.replaceAll('(*)', '').includes('*')
}

/** Names texts from their second use on; one memory for all connections, of bounded size. */
function namer(): (text: string) => string | null {
  const known = new Map<string, string | null>()
  const once = new Set<string>()
  return (text) => {
    const name = known.get(text)
    if (name !== undefined) return name
    if (!once.has(text)) {
      if (once.size >= mostTexts) once.clear()
      once.add(text)
      return null
    }
    once.delete(text)
    if (known.size >= mostTexts) known.clear()
    const made = canBeNamed(text) ? `op_${createHash('sha256').update(text).digest('base64url').slice(0, 22)}` : null
    known.set(text, made)
    return made
  }
}

function nameFor(prepared: Prepared, name: string | null): string | null {
  if (name === null || prepared.losses >= mostLosses) return null
  const full = prepared.generation === 0 ? name : `${name}_${prepared.generation}`
  if (prepared.names.has(full)) return full
  if (prepared.names.size >= mostNames) return null
  prepared.names.add(full)
  return full
}

// New names rather than DEALLOCATE: the driver believes the old ones prepared, and a changed table spoils several at once.
function dropNames(prepared: Prepared, error: unknown): void {
  prepared.generation += 1
  if ((error as { code?: unknown }).code !== planIsStale) prepared.losses += 1
}
