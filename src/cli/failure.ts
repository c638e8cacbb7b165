/** Errors of commands, and the sentences that describe any error to the user of a command. */
import { MissingTableError, PermsError } from '../core/errors.js'

/** An error that a command reports with its message alone. The message says what is wrong and what to do. */
export class CliError extends Error {
  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'CliError'
  }
}

const unreachable = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'EAI_AGAIN'],
  ...['PROTOCOL_CONNECTION_LOST', '57P03', '53300', 'unavailable', 'KnexTimeoutError'],
])

/** The database refuses the user, the password or the name of the database. */
const refused = new Set([
  ...['28P01', '28000', '3D000', '42501', 'ER_ACCESS_DENIED_ERROR', 'ER_DBACCESS_DENIED_ERROR', 'ER_BAD_DB_ERROR'],
  ...['ER_ACCESS_DENIED_NO_PASSWORD_ERROR', 'SQLITE_NOTADB', 'SQLITE_READONLY'],
])

const CANNOT_OPEN =
  'The SQLite file cannot be opened: its folder does not exist, or this user may not use it. Correct the connection of Knex, or create the folder.'

const fileProblems: Readonly<Record<string, string>> = {
  EACCES: 'this user may not do that: change the permissions of the folder, or choose another one',
  EPERM: 'this user may not do that: change the permissions of the folder, or choose another one',
  EROFS: 'the file system is read-only: choose another folder',
  ENOENT: 'there is no such file or folder: check the path',
  ENOTDIR: 'a part of the path is a file, not a folder: check the path',
  EISDIR: 'it is a folder: name a file',
  EEXIST: 'it exists already: choose another name, or remove it',
  ENOSPC: 'the disk is full: free some space',
}

/**
 * Returns one or two sentences that say what is wrong and what to do, without a stack trace.
 *
 * @example describeFailure(new CliError('There is no such user.')) // 'There is no such user.'
 */
export function describeFailure(error: unknown): string {
  if (error instanceof MissingTableError)
    return `The database has no table '${error.table}'. Run \`npx objection-perms migrate up\` to create it.`
  if (error instanceof CliError || isPermsError(error)) return withCause(error)
  if (!(error instanceof Error)) return `The command failed: ${String(error)}`
  return describeKnown(error) ?? `The command failed: ${firstLine(error)} Run it again with --debug to see where.`
}

/** Returns a description of an error of the database or the file system, or undefined for other errors. */
export function describeKnown(given: Error): string | undefined {
  const error = nativeOf(given)
  const { code, address, port, path, syscall } = error as NodeJS.ErrnoException & { address?: string; port?: number }
  const name = code ?? error.name
  // better-sqlite3 throws a TypeError without a code.
  if (error.message.startsWith('Cannot open database')) return `${firstLine(error)} Create the folder, or correct the connection of Knex.`
  const problem = fileProblems[name]
  if (problem !== undefined && path !== undefined) return `${path} cannot be ${syscall === 'mkdir' ? 'created' : 'used'}: ${problem}.`
  if (name === 'SQLITE_CANTOPEN') return CANNOT_OPEN
  if (unreachable.has(name)) {
    const where = address === undefined ? '' : ` at ${address}${port === undefined ? '' : `:${port}`}`
    return `The database${where} cannot be reached (${name}). Start it, or correct the connection of Knex.`
  }
  if (refused.has(name))
    return `The database refuses the connection or the statement: ${firstLine(error)} Correct the connection of Knex, or grant the privilege.`
  return undefined
}

/** Returns the error of the driver: Objection wraps it. */
function nativeOf(error: Error): Error {
  const native = 'nativeError' in error ? error.nativeError : undefined
  return native instanceof Error ? nativeOf(native) : error
}

// Another copy of this package may have thrown it.
function isPermsError(error: unknown): error is PermsError {
  return error instanceof PermsError || (error instanceof Error && 'clientMessage' in error)
}

/** A 503 of the library has the code of the driver's error as its cause. */
function withCause(error: CliError | PermsError): string {
  const code = (error.cause as { code?: unknown } | undefined)?.code
  const isUnavailable = 'status' in error && error.status === 503
  if (isUnavailable && code === 'SQLITE_CANTOPEN') return CANNOT_OPEN
  if (isUnavailable && typeof code === 'string')
    return `The database cannot be reached (${code}). Start it, or correct the connection of Knex.`
  const fields = 'errors' in error ? error.errors.filter(({ message }) => !error.message.includes(message)) : []
  return fields.length === 0 ? error.message : `${error.message} ${fields.map(({ field, message }) => `${field} ${message}`).join('; ')}.`
}

/** Returns why a module of the application failed while it was loaded, for the end of a sentence. */
export function loadFailure(error: unknown): string {
  if (!(error instanceof Error)) return `${String(error)}.`
  if (isPermsError(error)) return withCause(error)
  if (error instanceof SyntaxError) return `${firstLine(error)} \`node --check FILE\` shows the line.`
  return describeKnown(error) ?? firstLine(error)
}

/** Returns the first line of a message as a sentence. Knex puts the SQL before the driver's message: it is left out. */
export function firstLine(error: Error): string {
  const message = nativeOf(error).message || error.name
  const hasSql = /^(?:select|insert|update|delete|create|alter|drop|with|pragma|set|begin)\b/i.test(message)
  const [first = '', second = ''] = (hasSql ? message.slice(message.lastIndexOf(' - ') + 1).replace(/^- /, '') : message).split('\n')
  // esbuild writes "Transform failed with 1 error:", and the error below.
  const text = (first.endsWith(':') && second !== '' ? `${first} ${second}` : first).trim()
  return /[.!?]$/.test(text) ? text : `${text}.`
}
