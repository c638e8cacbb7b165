/** The tables of model classes. */
import { ConfigurationError } from '../../core/errors.js'
import { snakeCase } from '../../core/names.js'
import { modelSlot } from '../../runtime.js'
import { lineage } from '../class-statics.js'
import { isIntermediate, mergedColumns, type RecordClass } from './declarations.js'

const tableAliases = modelSlot(() => new Map<string, string>())

/** The tables of the library's models that `initPerms({ tables })` names. */
const givenTables = modelSlot<ReadonlyMap<object, string>>(() => new Map())

/** Sets the tables of classes without `static tableName`. */
export function replaceGivenTables(tables: ReadonlyMap<object, string>): void {
  givenTables.set(tables)
}

/** Sets the table that a name in references() stands for, such as 'user' for the registered user model. null removes the alias. */
export function aliasTable(name: string, table: string | null): void {
  if (table === null) tableAliases.get().delete(name)
  else tableAliases.get().set(name, table)
}

/** Returns the table that a name in references() stands for. */
export function resolveTable(name: string): string {
  return tableAliases.get().get(name) ?? name
}

/**
 * Returns the table of a class: its `static tableName`; else the table of its base class if the class adds no column, or if the base
 * class is the application's own; else its name in snake_case.
 *
 * @throws ConfigurationError for a class name that a minifier made
 */
export function tableNameOf(cls: RecordClass): string {
  const said = saidTableName(cls)
  if (said !== undefined) return said
  const given = givenTables.get().get(cls)
  if (given !== undefined) return given
  const count = Object.keys(mergedColumns(cls)).length
  for (let base = Object.getPrototypeOf(cls) as RecordClass; typeof base === 'function' && base !== Function.prototype; ) {
    const inherited = Object.getOwnPropertyDescriptor(base, 'tableName')
    if (inherited && typeof inherited.value === 'string' && Object.keys(mergedColumns(base)).length === count) return inherited.value
    if (!isIntermediate(base)) {
      if (Object.keys(mergedColumns(base)).length === count && isConcrete(base)) return tableNameOf(base)
      break
    }
    base = Object.getPrototypeOf(base) as RecordClass
  }
  // Classes of mixins have no table of their own.
  if (!isIntermediate(cls)) assertWrittenName(cls.name)
  return snakeCase(cls.name)
}

/**
 * Returns the table that `static tableName` names. A getter, or any name of a base class below the library, holds for all subclasses,
 * as in Objection.
 */
export function saidTableName(cls: RecordClass): string | undefined {
  for (const c of lineage(cls).reverse()) {
    const said = isIntermediate(c) ? undefined : Object.getOwnPropertyDescriptor(c, 'tableName')
    if (!said) continue
    const isFixed = !said.get && isRecordClass(c)
    const table: unknown = said.get ? said.get.call(cls) : said.value
    if (typeof table === 'string' && (c === cls || !isFixed)) return table
    if (isFixed) return undefined
  }
  return undefined
}

const isRecordClass = (cls: object): boolean => 'columnSpecs' in cls

// Minifiers name classes 'a', 't1' or ''. Such a table exists by accident only, and changes with the next build.
function assertWrittenName(name: string): void {
  if (name.length > 2) return
  throw new ConfigurationError(
    `The model class is named '${name}', probably by a minifier, so its table is unknown. Set "static tableName = '...'" in every model, or let ` +
      'the bundler keep class names (esbuild: keepNames).',
  )
}

/**
 * Returns whether a class declares columns besides those of BaseModel. Other classes have no table: BasePermsModel, or the
 * application's base class.
 */
export function isConcrete(cls: RecordClass): boolean {
  return Object.keys(mergedColumns(cls)).some((name) => name !== 'id' && name !== 'createdAt' && name !== 'updatedAt')
}
