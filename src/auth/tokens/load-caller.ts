import type { Knex } from 'knex'
import type { Model } from 'objection'
import { type KnexNames, storedName } from '../../database/arriving-names.js'
import { mapDatabaseError } from '../../database/errors/database-errors.js'
import { isTransaction, joinAmbient, retryStatement } from '../../database/transaction.js'
import { registeredModel } from '../../policy/registered-models.js'
import { send } from '../../query/execution/send.js'
import { afterTableCheck } from '../../query/execution/table-check.js'
import type { Template } from '../../query/fragments.js'
import { dialectOfClass } from '../../record/codec.js'
import { tableOf } from '../../schema/class-statics.js'
import { columnOf, definitionOf } from '../../schema/definition/definition.js'
import { type Dialect, decoder } from '../../schema/storage.js'
import type { Domain } from '../../users/domain.js'
import type { User } from '../../users/user.js'
import type { UserRole } from '../../users/user-role.js'
import { columnIn, type Part, type Parts } from './caller-tables.js'
import { fingerprintSql } from './fingerprint.js'
import { methodsIn } from './methods.js'

/** The columns of a session's row that are read. */
export type SessionState = {
  readonly id: string
  readonly userId: string
  readonly token: string
  readonly kind: string
  readonly revoked: boolean
  readonly expiresAt: Date | null
  readonly endsAt: Date | null
  readonly rotatedAt: Date | null
  readonly lastUsedAt: Date | null
  readonly createdAt: Date | null
  /** Only for API keys. */
  readonly abilities: readonly string[] | null
  readonly impersonatorId: string | null
  /** Only for an impersonation: the superadmin's own session. */
  readonly boundTo: string | null
  /** When and how the user last proved to be present; null for an unknown time or way. */
  readonly authTime: Date | null
  readonly amr: readonly string[] | null
}

/** A session with its user, all roles and their domains. */
export interface Caller {
  readonly user: User
  readonly session: SessionState
  /** Changes when any of these rows changes. Only if the loader was asked for it. */
  readonly fingerprint?: Fingerprint | undefined
}

/** The state of a caller in the database. */
export interface Fingerprint {
  readonly value: string
  /** A condition that is true while the caller has this state. */
  readonly condition: Template
}

const sessionColumns = [
  'id',
  'userId',
  'token',
  'kind',
  'revoked',
  'expiresAt',
  'endsAt',
  'rotatedAt',
  'lastUsedAt',
  'createdAt',
  'abilities',
  'impersonatorId',
  'boundTo',
  'authTime',
  'amr',
] as const

type DatabaseRow = Readonly<Record<string, unknown>>

interface Statement {
  readonly sql: string
  readonly parts: Parts
  /** The condition that compares the fingerprint, and its name in result rows; null if it is not selected. */
  readonly fingerprint: { readonly condition: string; readonly alias: string } | null
}

/**
 * Loads a session or an API key with its user, the user's roles and their domains in ONE statement. It uses primary keys and the
 * indexes of token.token and user_role.user_id, and lists its columns, so that PostgreSQL prepares it by name. The SQL text is
 * built once.
 * It does not check whether the session and the user are active: the caller does.
 *
 * @param by the search column; `'token'` is the stored hash
 * @param options `fingerprint`: whether callers get a fingerprint, if the database can compute it
 * @returns a function that loads one caller, or null
 */
export function callerLoader(
  knex: Knex,
  by: 'id' | 'token' = 'id',
  { fingerprint: isFingerprinted = false }: { fingerprint?: boolean } = {},
): (value: string) => Promise<Caller | null> {
  let statement: Promise<Statement> | undefined
  return async (value) => {
    statement ??= makeStatement(knex, by, isFingerprinted)
    const { sql, parts, fingerprint } = await statement.catch((error: unknown) => {
      statement = undefined
      throw error
    })
    const dialect = dialectOfClass(parts.user.cls)
    try {
      const db = joinAmbient(knex)
      const ask = () =>
        afterTableCheck(
          () => db,
          () => send(db, sql, fingerprint === null ? [value] : [value, value]),
        )
      const found = await ask().catch((error: unknown) =>
        isTransaction(db) ? Promise.reject(error) : retryStatement(db.client, error, ask),
      )
      const rows = rowsOf(found, dialect)
      const caller = assemble(rows, parts, dialect)
      return caller && fingerprint !== null ? { ...caller, fingerprint: fingerprintIn(rows[0], fingerprint, value) } : caller
    } catch (error) {
      throw mapDatabaseError(error, dialect, undefined, () => true)
    }
  }
}

async function makeStatement(knex: Knex, by: 'id' | 'token', isFingerprinted: boolean): Promise<Statement> {
  // Short aliases, in the form that the application's Knex returns: postProcessResponse is not applied.
  let count = 0
  const spelled = (alias: string) => storedName(alias, knex.client.config as KnexNames)
  const part = (cls: typeof Model, columns: readonly string[]): Part => ({
    cls,
    columns: columns.map((column) => {
      const alias = `c${count++}`
      return { alias: spelled(alias), as: alias, column }
    }),
  })
  const [user, token, userRole, domain] = (['user', 'token', 'userRole', 'domain'] as const).map((kind) => registeredModel(kind)) as [
    typeof Model,
    typeof Model,
    typeof Model,
    typeof Model,
  ]
  const parts = {
    user: part(user, await columnsOf(user)),
    token: part(
      token,
      sessionColumns.map((name) => columnOf(token, name)),
    ),
    userRole: part(userRole, await columnsOf(userRole)),
    domain: part(domain, await columnsOf(domain)),
  }
  const listed = (alias: string, { columns }: Part) => columns.map((one) => `${alias}.${one.column} as ${one.as}`)
  const query = knex
    .from({ s: tableOf(token) })
    .join({ u: tableOf(user) }, columnIn('u', user, 'id'), columnIn('s', token, 'userId'))
    .leftJoin({ r: tableOf(userRole) }, columnIn('r', userRole, 'userId'), columnIn('u', user, 'id'))
    .leftJoin({ d: tableOf(domain) }, columnIn('d', domain, 'id'), columnIn('r', userRole, 'domainId'))
    .where(columnIn('s', token, by), '')
    .select([...listed('s', parts.token), ...listed('u', parts.user), ...listed('r', parts.userRole), ...listed('d', parts.domain)])
  const fingerprint = isFingerprinted ? fingerprintSql(knex, parts, by) : null
  if (fingerprint === null) return { sql: query.toSQL().sql, parts, fingerprint }
  query.select(knex.raw(`(${fingerprint}) as ??`, ['', 'cf']))
  return { sql: query.toSQL().sql, parts, fingerprint: { condition: `(${fingerprint}) = ?`, alias: spelled('cf') } }
}

// NULL in the database: the state has no fingerprint.
function fingerprintIn(
  row: DatabaseRow | undefined,
  { condition, alias }: NonNullable<Statement['fingerprint']>,
  key: string,
): Fingerprint | undefined {
  const value = row?.[alias]
  if (typeof value !== 'string') return undefined
  return { value, condition: { sql: condition, bindings: [key, value] } }
}

// A model with withColumns() lists its columns. For other models the database is asked once.
async function columnsOf(cls: typeof Model): Promise<readonly string[]> {
  const { isStrict, columnOf: columns } = definitionOf(cls)
  return isStrict ? [...columns.values()] : (await cls.fetchTableMetadata()).columns
}

function rowsOf(result: unknown, dialect: Dialect): readonly DatabaseRow[] {
  if (dialect === 'pg') return (result as { rows: DatabaseRow[] }).rows
  return (dialect === 'mysql' ? (result as [DatabaseRow[]])[0] : result) as readonly DatabaseRow[]
}

function assemble(rows: readonly DatabaseRow[], parts: Statement['parts'], dialect: Dialect): Caller | null {
  const [first] = rows
  if (!first) return null
  const user = record<User>(parts.user, first)
  const grants = new Map<string, UserRole>()
  for (const row of rows) {
    if (!isThere(parts.userRole, row)) continue
    const grant = record<UserRole>(parts.userRole, row)
    grant.domain = isThere(parts.domain, row) ? record<Domain>(parts.domain, row) : null
    grants.set(grant.id, grant)
  }
  user.roles = [...grants.values()]
  return { user, session: sessionOf(parts.token, first, dialect) }
}

// An outer join without a match returns NULL in every column.
function isThere({ cls, columns }: Part, row: DatabaseRow): boolean {
  const key = columnOf(cls, 'id')
  return columns.some(({ column, alias }) => column === key && row[alias] !== null && row[alias] !== undefined)
}

function raw(part: Part, row: DatabaseRow): Record<string, unknown> {
  const json: Record<string, unknown> = {}
  for (const { alias, column } of part.columns) json[column] = row[alias]
  return json
}

function record<M>(part: Part, row: DatabaseRow): M {
  return part.cls.fromDatabaseJson(raw(part, row)) as M
}

function sessionOf(part: Part, row: DatabaseRow, dialect: Dialect): SessionState {
  const { specs } = definitionOf(part.cls)
  const state: Record<string, unknown> = {}
  sessionColumns.forEach((name, i) => {
    const value = row[(part.columns[i] as { alias: string }).alias]
    const spec = specs[name]
    const decode = spec ? decoder(spec, dialect) : null
    state[name] = decode && value !== null && value !== undefined ? decode(value) : value
  })
  return { ...state, amr: methodsIn(state['amr'] as string | null) } as SessionState
}
