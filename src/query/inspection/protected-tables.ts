import type { Knex } from 'knex'
import type { Model } from 'objection'
import { configOf, currentRuntime, modelSlot } from '../../runtime.js'
import { tableOf } from '../../schema/class-statics.js'
import { structureOf } from '../../schema/definition/definition.js'
import { possibleColumns } from '../../schema/definition/known-names.js'
import { usableRelations } from '../usable-relations.js'

/** Tells which policies apply to the running code. */
export interface Enforcer {
  /** Returns whether the policy of this class applies: statements that would bypass it are rejected. */
  isEnforced(cls: typeof Model): boolean
  /** Returns whether the policy of any class may apply. */
  isEnforcedAnywhere(): boolean
  /** Returns the current caller, for comparison by identity. */
  caller(): unknown
}

interface Known {
  readonly cls: typeof Model
  readonly enforcer: Enforcer
}

const registry = modelSlot(() => ({
  tables: new Map<string, Known>(),
  noted: new WeakSet<object>(),
  walked: new WeakSet<object>(),
}))
// Tables that earlier runtimes of a database protected. They stay protected until the model's first query: a wrong rejection is safer.
const earlier = new WeakMap<object, Map<string, Known>>()
// Keeps counting when the registry is created again, so that values derived from the earlier registry are outdated.
let noteCount = 0

/** Keeps the tables of an ending runtime protected in the next runtime on the same Knex instance. */
export function keepTablesProtected(knex: Knex): void {
  const config = configOf(knex)
  earlier.set(config, new Map([...(earlier.get(config) ?? []), ...registry.get().tables]))
}

/** Registers a class with a policy. Raw SQL and bare joins may not name its table. Repeated calls are cheap. */
export function protectTable(cls: typeof Model, enforcer: Enforcer): void {
  const { tables, noted } = registry.get()
  if (noted.has(cls)) return
  noted.add(cls)
  noteCount += 1
  const table = tableOf(cls).toLowerCase()
  // SQL may omit the schema.
  const bare = table.slice(table.lastIndexOf('.') + 1)
  for (const name of new Set([table, bare, cut(bare)])) {
    const known = tables.get(name)
    // If several classes share a table, the base class is registered for it.
    if (!known || known.cls.prototype instanceof cls) tables.set(name, { cls, enforcer })
  }
}

/** Returns the enforcer of any registered model, for statements of models without a policy. */
export function anyEnforcer(): Enforcer | undefined {
  for (const { enforcer } of registry.get().tables.values()) return enforcer
  return undefined
}

/** Returns the class whose policy protects a table: a used model, a model given to initPerms, or a related one. */
export function protectedClass(table: string): typeof Model | undefined {
  return find(table)?.cls
}

/** Returns the classes that protect a table, and a number that changes when this set changes. */
export function protectedClasses(): { readonly version: number; readonly classes: readonly (typeof Model)[] } {
  discover()
  return { version: noteCount, classes: [...new Set([...registry.get().tables.values()].map(({ cls }) => cls))] }
}

/** Returns the tables of models with a policy, including those of an earlier runtime. */
export function protectedTables(): string[] {
  discover()
  return [...new Set([...registry.get().tables.keys(), ...earlierTables().keys()])]
}

/** Returns a number that changes when another class is registered. */
export const protectionVersion = (): number => noteCount

const joinClasses = new WeakSet<object>()

/** Marks the class of a join table. It has no policy of its own: the owner of the relation decides. */
export function noteJoinClass(cls: object): void {
  joinClasses.add(cls)
}

/** Returns whether a model with its own policy is registered for this table. */
export function hasModel(table: string): boolean {
  const known = find(table)
  return known !== undefined && !joinClasses.has(known.cls)
}

/**
 * Returns whether the running code may use this table only through its model.
 *
 * @param sent applies the application's wrapIdentifier, if there is one
 */
export function isForbiddenTable(table: string, sent?: ((name: string) => string) | undefined): boolean {
  // An identifier may be a property, which is replaced by its column. PostgreSQL truncates names.
  const names = new Set([table, ...possibleColumns(table), cut(table)])
  if (sent) names.add(sent(table))
  for (const name of names) {
    const known = find(name)
    if (known?.enforcer.isEnforced(known.cls)) return true
  }
  if (!sent) return false
  for (const [name, known] of [...registry.get().tables, ...earlierTables()])
    if (names.has(sent(name)) && known.enforcer.isEnforced(known.cls)) return true
  return false
}

const POSTGRES_NAME_BYTES = 63

const cut = (name: string): string => Buffer.from(name).subarray(0, POSTGRES_NAME_BYTES).toString()

function find(table: string): Known | undefined {
  const name = table.toLowerCase()
  const { tables } = registry.get()
  if (!tables.has(name)) discover()
  return tables.get(name) ?? earlierTables().get(name)
}

const none: ReadonlyMap<string, Known> = new Map()

function earlierTables(): ReadonlyMap<string, Known> {
  const runtime = currentRuntime()
  return runtime === null ? none : (earlier.get(configOf(runtime.knex)) ?? none)
}

// Registers related classes, whose tables are thus protected before their own first query.
function discover(): void {
  const { tables, walked } = registry.get()
  for (const { cls } of tables.values()) {
    if (walked.has(cls)) continue
    walked.add(cls)
    const { isWhole, classes } = relatedTo(cls)
    // Some relations could not be created yet: walk the class again next time.
    if (!isWhole) walked.delete(cls)
    for (const target of classes) {
      structureOf(target)
      const enforcer = enforcerOf(target)
      // Entries added here are visited by the same loop.
      if (enforcer) protectTable(target, enforcer)
    }
  }
}

/** Returns the classes that a class is related to, including those of join tables. */
export function relatedTo(cls: typeof Model): { isWhole: boolean; classes: (typeof Model)[] } {
  const { isWhole, relations } = usableRelations(cls)
  const classes = relations.flatMap(({ relatedModelClass, joinTableModelClass }) =>
    joinTableModelClass ? [relatedModelClass, joinTableModelClass] : [relatedModelClass],
  )
  return { isWhole, classes }
}

/** The static that holds the PolicyEnforcer of a class. */
export const enforcerKey: unique symbol = Symbol.for('objection-perms.enforcer')

function enforcerOf(cls: object): Enforcer | undefined {
  return (cls as { [enforcerKey]?: Enforcer })[enforcerKey]
}
