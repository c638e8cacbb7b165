import type { Knex } from 'knex'
import { Model } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { memoize } from '../core/memoize.js'
import { snakeCase } from '../core/names.js'
import { forgetRelations } from '../record/model-relations.js'
import { configOf, modelSlot, runtimeCount } from '../runtime.js'
import { tableOf } from '../schema/class-statics.js'
import { assertColumnName } from '../schema/column.js'
import { columnOf, definitionOf, setIntegerModels, setReferenceTargets, setTables } from '../schema/definition/definition.js'
import { aliasTable } from '../schema/definition/table-names.js'
import { idSpecOf } from '../schema/ids.js'
import { isUserModel } from './policy.js'
import { holdsUsers, registerUserTables } from './user-tables.js'

/** Names of the library's tables: `initPerms({ tables })`. */
export interface TableOptions {
  /**
   * The schema of the tables on PostgreSQL, created by `perms.migrate()` if it does not exist; on MariaDB the name of an existing
   * database of the same server. SQLite has none. Models of the application keep their schema.
   */
  readonly schema?: string | undefined
  /** The beginning of the names, such as `'perms_'`. Models of the application keep their names. */
  readonly prefix?: string | undefined
  /** The names of single tables, without the prefix. A registered model with a `static tableName` keeps that. */
  readonly names?: Partial<Record<TableKind, string>> | undefined
}

/** The tables of the library that have a model. */
export type TableKind =
  | ModelKind
  | 'secondFactor'
  | 'invitation'
  | 'auditLog'
  | 'passkey'
  | 'passkeyChallenge'
  | 'identity'
  | 'providerSignIn'
  | 'trustedDevice'
  | 'accountDeletion'
  | 'rowShare'

/** The kinds of models that an application may replace. */
export type ModelKind = 'user' | 'userRole' | 'domain' | 'token' | 'userSetting'

type Models = Readonly<Record<ModelKind, typeof Model>>

// Set when the package is loaded: see users/defaults.
const defaults: { models: Models | null; further: readonly (typeof Model)[] } = { models: null, further: [] }
const registered = modelSlot<Models | null>(() => null)

/**
 * Sets the library's own models, from src/users.
 *
 * @param further those that initPerms does not replace
 */
export function setDefaultModels(models: Models, further: readonly (typeof Model)[]): void {
  Object.assign(defaults, { models, further })
}

const defaultTables: Readonly<Record<ModelKind, string>> = {
  user: 'user',
  userRole: 'user_role',
  domain: 'domain',
  token: 'token',
  userSetting: 'user_setting',
}

/**
 * Sets which classes stand for users, roles and so on.
 *
 * @param given the application's classes; the library's own stand for the others
 * @param ids the ids of the library's models that declare none
 * @throws ConfigurationError when another runtime is alive with other classes, and for ids of tokens that are no UUIDs
 */
export function registerModels(given: Partial<Models>, tables: TableOptions = {}, ids: LibraryIds = 'uuid'): Models {
  if (!defaults.models) throw new ConfigurationError("The models are not loaded. Import from 'objection-perms', the root of the package.")
  const models: Models = { ...defaults.models, ...given }
  const before = registered.get()
  if (before && runtimeCount() > 1) {
    assertSame(before, models, { tables, ids }, 'initPerms', 'another open runtime')
    return before
  }
  assertIds(ids)
  libraryIds.set(ids)
  setIntegerModels(ids === 'integer' ? integerModels() : new Set())
  setTables(tablesOf(models, tables))
  tableOptions.set(tables)
  registered.set(models)
  assertDistinctTables()
  forgetRelations()
  const table = (kind: ModelKind) => tableOf(models[kind])
  for (const kind of Object.keys(defaultTables) as ModelKind[])
    aliasTable(defaultTables[kind], table(kind) === defaultTables[kind] ? null : table(kind))
  setReferenceTargets(new Map((Object.keys(defaultTables) as ModelKind[]).map((kind) => [defaultTables[kind], models[kind]])))
  assertRandomSessions(models.token)
  const hasUserColumn = (name: string) => definitionOf(models.user).specs[name] !== undefined
  const userTable = (kind: ModelKind) => ({ table: table(kind), column: (property: string) => columnOf(models[kind], property) })
  registerUserTables({
    user: { ...userTable('user'), hasDeletedAt: hasUserColumn('deletedAt'), hasIsEnabled: hasUserColumn('isEnabled') },
    userRole: userTable('userRole'),
    domain: userTable('domain'),
    token: userTable('token'),
  })
  return models
}

/**
 * Throws when migrations name other models or tables than initPerms() did.
 *
 * @throws ConfigurationError
 */
export function assertRegistered(given: Partial<Models>, tables?: TableOptions, ids?: LibraryIds): void {
  const before = registered.get()
  if (!before) return
  const options = { tables: tables ?? tableOptions.get(), ids: ids ?? libraryIds.get() }
  assertSame(before, { ...before, ...given }, options, 'permsMigrations', 'initPerms()')
}

/** @param other what uses the registered models, for messages */
function assertSame(
  before: Models,
  models: Models,
  { tables, ids }: { readonly tables: TableOptions; readonly ids: LibraryIds },
  caller: string,
  other: string,
): void {
  const kind = (Object.keys(models) as ModelKind[]).find((one) => before[one] !== models[one])
  if (kind !== undefined) {
    const further = caller === 'initPerms' ? ', or close that runtime first' : ''
    throw new ConfigurationError(
      `${caller}({ ${kind}: ${models[kind].name} }): ${other} uses ${before[kind].name}. Use the same classes${further}.`,
    )
  }
  const { schema, prefix } = tableOptions.get()
  if (
    tables.schema !== schema ||
    (tables.prefix ?? '') !== (prefix ?? '') ||
    [...tablesOf(models, tables)].some(([cls, table]) => tableOf(cls) !== table)
  )
    throw new ConfigurationError(`${caller}({ tables }): ${other} uses other tables for the same models. Use the same names.`)
  if (ids !== libraryIds.get())
    throw new ConfigurationError(`${caller}({ ids: '${ids}' }): ${other} uses '${libraryIds.get()}'. Use the same ids.`)
}

const tableOptions = modelSlot<TableOptions>(() => ({}))

/** The ids of the library's models: UUIDs of version 7, or integers that the database makes. */
export type LibraryIds = 'uuid' | 'integer'

const libraryIds = modelSlot<LibraryIds>(() => 'uuid')

function assertIds(ids: unknown): void {
  if (ids === 'uuid' || ids === 'integer') return
  throw new ConfigurationError(`initPerms({ ids: ${JSON.stringify(ids)} }): use 'uuid' or 'integer'.`)
}

// The id of a token is the id of a session, which access tokens and refresh tokens contain: it stays random.
function integerModels(): ReadonlySet<object> {
  const { token: _token, ...others } = defaults.models as Models
  return new Set([...Object.values(others), ...defaults.further])
}

function assertRandomSessions(Token: typeof Model): void {
  const type = idSpecOf(Token)?.type
  if (type === 'uuid') return
  throw new ConfigurationError(
    `initPerms({ token: ${Token.name} }): its id is ${type === undefined ? 'no single column' : `of the type ${type}`}. Ids of tokens are ids of sessions, which must not be guessed: leave the id as it is.`,
  )
}

/** Returns the schema of `initPerms({ tables })`. */
export function schemaOfTables(): string | undefined {
  return tableOptions.get().schema
}

/**
 * Returns the name of a table of the library that has no model, without its schema. Applications with different prefixes may share a
 * database: each has its own.
 *
 * @param name such as 'throttle'
 * @param defaultPrefix the prefix if the application sets none
 */
export function libraryName(name: string, defaultPrefix = 'perms_'): string {
  const { prefix = '' } = tableOptions.get()
  return `${prefix === '' ? defaultPrefix : prefix}${name}`
}

/** Returns the name of a table of the library that has no model, with its schema, such as 'perms_throttle'. */
export function libraryTable(name: string, defaultPrefix?: string): string {
  return inSchema(tableOptions.get().schema, libraryName(name, defaultPrefix))
}

const inSchema = (schema: string | undefined, table: string): string => (schema === undefined ? table : `${schema}.${table}`)

// In the order of internalModels.
const furtherKinds: readonly TableKind[] = [
  'secondFactor',
  'invitation',
  'auditLog',
  'passkey',
  'passkeyChallenge',
  'identity',
  'providerSignIn',
  'trustedDevice',
  'accountDeletion',
  'rowShare',
]

// Returns the tables that the options name, by class.
function tablesOf(models: Models, options: TableOptions): Map<object, string> {
  const { schema, prefix = '', names = {} } = options
  assertTableNames(options)
  const tables = new Map<object, string>()
  const own: [TableKind, object, string][] = (Object.keys(defaultTables) as ModelKind[]).map((kind) => [
    kind,
    (defaults.models as Models)[kind],
    defaultTables[kind],
  ])
  for (const [i, cls] of defaults.further.entries()) {
    const kind = furtherKinds[i] as TableKind
    own.push([kind, cls, snakeCase(kind)])
  }
  for (const [kind, cls, table] of own) {
    const name = names[kind]
    if (name !== undefined || prefix !== '' || schema !== undefined) tables.set(cls, inSchema(schema, name ?? `${prefix}${table}`))
    const model = models[kind as ModelKind]
    if (name !== undefined && model !== undefined) tables.set(model, inSchema(schema, name))
  }
  return tables
}

/** Returns the kinds of the library's tables that have a model. */
export function tableKinds(): readonly TableKind[] {
  return [...(Object.keys(defaultTables) as ModelKind[]), ...furtherKinds]
}

function assertTableNames({ schema, prefix = '', names = {} }: TableOptions): void {
  if (prefix !== '') assertColumnName(prefix)
  if (schema !== undefined) assertColumnName(schema)
  for (const [kind, name] of Object.entries(names)) {
    if (!Object.hasOwn(defaultTables, kind) && !furtherKinds.includes(kind as TableKind))
      throw new ConfigurationError(
        `initPerms({ tables: { names: { ${kind} } } }): there is no such table. Use ${[...Object.keys(defaultTables), ...furtherKinds].join(', ')}.`,
      )
    assertColumnName(name)
  }
}

// SQLite and MariaDB may compare names without case.
function assertDistinctTables(): void {
  const owners = new Map<string, string>([libraryTable('throttle'), libraryTable('tables')].map((name) => [name.toLowerCase(), name]))
  for (const kind of tableKinds()) {
    const table = tableOf(modelOfTable(kind))
    const other = owners.get(table.toLowerCase())
    if (other !== undefined)
      throw new ConfigurationError(`initPerms(): '${table}' is the table of ${kind} and of ${other}. Give each a name of its own.`)
    owners.set(table.toLowerCase(), kind)
  }
}

/** Returns the class of a kind of tables: the application's, or the default. */
export function modelOfTable(kind: TableKind): typeof Model {
  return furtherKinds.includes(kind) ? defaultModel(kind) : registeredModel(kind as ModelKind)
}

/** Returns the registered class of a kind: the application's, or the default. */
export function registeredModel(kind: ModelKind): typeof Model {
  const models = registered.get() ?? defaults.models
  if (!models) throw new ConfigurationError("The models are not loaded. Import from 'objection-perms', the root of the package.")
  return models[kind]
}

/** Returns the library's own class of a kind. */
export function defaultModel(kind: TableKind): typeof Model {
  const further = defaults.further[furtherKinds.indexOf(kind)]
  return further ?? (defaults.models as Models)[kind as ModelKind]
}

/**
 * Returns the model of the library whose table a class uses without extending that model, so that its limits are missing.
 *
 * @returns undefined for classes over other tables
 */
export function modelWithoutLimits(cls: typeof Model, knex: Knex): typeof Model | undefined {
  const models = registered.get()
  const candidates = models ? memoize(memoize(withoutLimits, models, newMap), cls, () => candidatesFor(cls)) : candidatesFor(cls)
  return candidates.find((Base) => isSameTable(tableOf(cls).toLowerCase(), tableOf(Base).toLowerCase(), knex))
}

// By the registered models, whose tables are final.
const withoutLimits = new WeakMap<Models, WeakMap<object, readonly (typeof Model)[]>>()
const newMap = () => new WeakMap<object, readonly (typeof Model)[]>()

/** Returns the models of the library that a class does not extend, although its table may be theirs. Almost always none. */
function candidatesFor(cls: typeof Model): readonly (typeof Model)[] {
  const { models, further } = defaults
  const table = tableOf(cls).toLowerCase()
  const mayShareTable = (other: typeof Model) => mayBeSameTable(table, tableOf(other).toLowerCase())
  const misses = (Base: typeof Model) => cls !== Base && !(cls.prototype instanceof Base)
  const kinds = Object.keys(models ?? {}) as ModelKind[]
  const missed = kinds.filter((kind) => (kind === 'user' ? !isUserModel(cls) : misses((models as Models)[kind])))
  return [...missed.map(registeredModel), ...further.filter(misses)].filter(mayShareTable)
}

// One of the two names may leave out the schema.
function mayBeSameTable(one: string, other: string): boolean {
  return one === other || one.endsWith(`.${other}`) || other.endsWith(`.${one}`)
}

// One of the two names may leave out the schema that the connection looks into.
function isSameTable(one: string, other: string, knex: Knex): boolean {
  if (one === other) return true
  const [longer, shorter] = one.length > other.length ? [one, other] : [other, one]
  const { searchPath } = configOf(knex) as { searchPath?: string | string[] }
  const database: unknown = knex.client.database()
  const schema = longer.slice(0, -shorter.length - 1)
  return ['public', 'main', database, ...[searchPath].flat()].some((name) => typeof name === 'string' && name.toLowerCase() === schema)
}

/** Throws when a value is a row of another table than that of the registered user model. Ids pass. @throws ConfigurationError */
export function assertRegisteredUser(value: unknown): void {
  if (!(value instanceof Model) || holdsUsers(value.constructor)) return
  const { name } = registeredModel('user')
  throw new ConfigurationError(
    `${value.constructor.name} lives in another table than ${name}: roles, sessions and keys are for the model given to initPerms({ user: ${name} }).`,
  )
}
