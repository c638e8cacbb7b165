import type { Knex } from 'knex'
import type { Model } from 'objection'
import { configOf, currentRuntime, modelSlot } from '../runtime.js'
import { columnForIdentifier, type RecordClass, structureOf } from '../schema/definition.js'
import { usableRelations } from './usable-relations.js'

/** Says which policies bind the code that runs now. */
export interface Enforcer {
  /** Whether the class's policy does: ways around it are refused. */
  isEnforced(cls: typeof Model): boolean
  /** Whether that of any class may. */
  isEnforcedAnywhere(): boolean
  /** Who is calling, to be compared: the same object for as long as it is the same caller. */
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
// What earlier runtimes of a database protected: better refused once too often than open until the model's first query.
const earlier = new WeakMap<object, Map<string, Known>>()
// Counts on when the registry is made anew: what was derived from the earlier one is out of date.
let noteCount = 0

/** Keeps the tables of a runtime that ends protected in the next one on the same Knex instance. */
export function keepTablesProtected(knex: Knex): void {
  const config = configOf(knex)
  earlier.set(config, new Map([...(earlier.get(config) ?? []), ...registry.get().tables]))
}

/** Notes that a class has a policy: naming its table in raw SQL or in a bare join is refused. Cheap where it is known. */
export function protectTable(cls: typeof Model, enforcer: Enforcer): void {
  const { tables, noted } = registry.get()
  if (noted.has(cls)) return
  noted.add(cls)
  noteCount += 1
  const table = (cls as unknown as RecordClass).getTableName().toLowerCase()
  // SQL may leave the schema out.
  const bare = table.slice(table.lastIndexOf('.') + 1)
  for (const name of new Set([table, bare, cut(bare)])) {
    const known = tables.get(name)
    // Of several classes over one table the base stands for it.
    if (!known || known.cls.prototype instanceof cls) tables.set(name, { cls, enforcer })
  }
}

/** The one to ask for models without a policy, if any model has one. */
export function anyEnforcer(): Enforcer | undefined {
  for (const { enforcer } of registry.get().tables.values()) return enforcer
  return undefined
}

/** The class whose policy protects a table, as it was used, given to initPerms or related to one that was. */
export function protectedClass(table: string): typeof Model | undefined {
  return find(table)?.cls
}

/** The classes that protect a table, and a number that changes with them. */
export function protectedClasses(): { readonly version: number; readonly classes: readonly (typeof Model)[] } {
  discover()
  return { version: noteCount, classes: [...new Set([...registry.get().tables.values()].map(({ cls }) => cls))] }
}

/** The tables of models with a policy, those of an application before this one among them. */
export function protectedTables(): string[] {
  discover()
  return [...new Set([...registry.get().tables.keys(), ...earlierTables().keys()])]
}

/** Changes when another class is known to protect a table. */
export const protectionVersion = (): number => noteCount

const joinClasses = new WeakSet<object>()

/** Notes that a class stands for a join table: it is known as the owner of a relation is, and not for a policy of its own. */
export function noteJoinClass(cls: object): void {
  joinClasses.add(cls)
}

/** Whether a model with a policy of its own is known for this table. */
export function hasModel(table: string): boolean {
  const known = find(table)
  return known !== undefined && !joinClasses.has(known.cls)
}

/**
 * Whether code may not name this table now but through its model.
 *
 * @param sent what the application's wrapIdentifier makes of a name, where it has one
 */
export function isForbiddenTable(table: string, sent?: ((name: string) => string) | undefined): boolean {
  // An identifier may be written as a property, which becomes the column's name; PostgreSQL cuts names.
  const names = new Set([table, columnForIdentifier(table), cut(table)])
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

const longestOfPostgres = 63

const cut = (name: string): string => Buffer.from(name).subarray(0, longestOfPostgres).toString()

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

// Related classes protect their tables before their own first query.
function discover(): void {
  const { tables, walked } = registry.get()
  for (const { cls } of tables.values()) {
    if (walked.has(cls)) continue
    walked.add(cls)
    const { isWhole, classes } = relatedTo(cls)
    // A relation that cannot be made yet is looked at again.
    if (!isWhole) walked.delete(cls)
    for (const target of classes) {
      structureOf(target)
      const enforcer = enforcerOf(target)
      // The loop goes on over what is added here.
      if (enforcer) protectTable(target, enforcer)
    }
  }
}

interface Ends {
  readonly relatedModelClass: typeof Model
  readonly joinTableModelClass?: typeof Model | null
}

/** The classes that a class is related to, join tables among them. */
export function relatedTo(cls: typeof Model): { isWhole: boolean; classes: (typeof Model)[] } {
  const { isWhole, relations } = usableRelations<Ends>(cls)
  const classes = relations.flatMap(({ relatedModelClass, joinTableModelClass }) =>
    joinTableModelClass ? [relatedModelClass, joinTableModelClass] : [relatedModelClass],
  )
  return { isWhole, classes }
}

/** The permission engine of a class, if it has one. */
export const guardOf: unique symbol = Symbol.for('objection-perms.guard') as never

function enforcerOf(cls: object): Enforcer | undefined {
  return (cls as { [guardOf]?: Enforcer })[guardOf]
}
