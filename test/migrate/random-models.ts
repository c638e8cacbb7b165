/** Random models, and random changes of them. */
import { BaseModel, type Column, column } from '../../src/index.js'
import type { ColumnType } from '../../src/schema/column.js'
import { type ModelClass, modelClass } from '../../src/schema/model-class.js'

/** Returns numbers from 0 to 1 that depend on a seed only. */
export function numbersOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296
  }
}

/** Random choices. */
export class Choices {
  readonly #next: () => number

  constructor(seed: number) {
    this.#next = numbersOf(seed)
  }

  isLikely(probability: number): boolean {
    return this.#next() < probability
  }

  number(below: number): number {
    return Math.floor(this.#next() * below)
  }

  of<T>(list: readonly T[]): T {
    return list[this.number(list.length)] as T
  }
}

/** A column of a random model. */
export interface RandomColumn {
  readonly type: ColumnType | 'reference'
  readonly length?: number
  readonly precision?: number
  readonly scale?: number
  readonly values?: readonly string[]
  readonly target?: string
  readonly onDelete?: 'cascade' | 'set null' | 'restrict' | undefined
  readonly isNullable: boolean
  readonly default?: unknown
  readonly isUnique?: boolean
  readonly isIndexed?: boolean
  readonly renamedFrom?: string
}

/** The tables of an application, with their columns. */
export type RandomTables = Readonly<Record<string, Readonly<Record<string, RandomColumn>>>>

// biome-ignore lint/suspicious/noTemplateCurlyInString: text that looks like code
const dollar = '${dollar}'

const words = [
  'plain',
  "it's",
  'back\\slash',
  'que?stion',
  dollar,
  'new\nline',
  '`tick`',
  'ünïcode \u2028',
  '"double"',
  "'); drop table t0; --",
]

export const tableNames = ['t0', 't1', 't2']

/** Returns a random column. */
export function randomColumn(choices: Choices): RandomColumn {
  const isNullable = choices.isLikely(0.5)
  const type = choices.of([
    'string',
    'text',
    'integer',
    'bigint',
    'decimal',
    'float',
    'boolean',
    'date',
    'datetime',
    'uuid',
    'json',
    'enum',
    'reference',
  ] as const)
  const common = { type, isNullable, isIndexed: choices.isLikely(0.2) && type !== 'text' && type !== 'json' }
  switch (type) {
    case 'string':
      return { ...common, length: choices.of([30, 60, 100]), isUnique: choices.isLikely(0.2), ...withDefault(choices, choices.of(words)) }
    case 'decimal':
      return { ...common, precision: 12, scale: 2, ...withDefault(choices, '1.50') }
    case 'integer':
      return { ...common, ...withDefault(choices, -7), isUnique: choices.isLikely(0.1) }
    case 'boolean':
      return { ...common, ...withDefault(choices, true) }
    case 'enum': {
      const values = words.slice(0, 2 + choices.number(4))
      return { ...common, values, ...withDefault(choices, choices.of(values)) }
    }
    case 'reference':
      return {
        ...common,
        target: choices.of(tableNames),
        isNullable: true,
        onDelete: choices.of(['cascade', 'set null', 'restrict', undefined] as const),
      }
    default:
      return common
  }
}

const withDefault = (choices: Choices, value: unknown): { default?: unknown } => (choices.isLikely(0.3) ? { default: value } : {})

/** Returns random tables. References are to tables that exist. */
export function randomTables(choices: Choices): RandomTables {
  return Object.fromEntries(
    tableNames.map((name) => [
      name,
      Object.fromEntries(Array.from({ length: 2 + choices.number(5) }, (_, i) => [`c${i}`, randomColumn(choices)] as const)),
    ]),
  )
}

/** Returns tables after a few random changes. */
export function changedTables(tables: RandomTables, choices: Choices): RandomTables {
  const changed: Record<string, Record<string, RandomColumn>> = Object.fromEntries(
    Object.entries(tables).map(([name, columns]) => [name, { ...columns }]),
  )
  for (let i = 1 + choices.number(6); i > 0; i -= 1) {
    const columns = changed[choices.of(Object.keys(tables))] as Record<string, RandomColumn>
    changeColumns(columns, choices, i)
  }
  if (choices.isLikely(0.2)) changed['t3'] = { first: randomColumn(choices), second: { type: 'reference', target: 't3', isNullable: true } }
  return changed
}

function changeColumns(columns: Record<string, RandomColumn>, choices: Choices, step: number): void {
  const name = choices.of(Object.keys(columns))
  const existing = columns[name] as RandomColumn
  if (existing.renamedFrom !== undefined || name.startsWith('added')) return
  switch (choices.number(9)) {
    case 0: {
      const added = randomColumn(choices)
      // A value for each row that exists would have to differ.
      columns[`added${step}`] = { ...added, isUnique: added.isUnique === true && added.isNullable && added.default === undefined }
      return
    }
    case 1:
      if (Object.keys(columns).length > 1) delete columns[name]
      return
    case 2:
      delete columns[name]
      columns[`renamed${step}`] = { ...existing, renamedFrom: name }
      return
    case 3:
      if (existing.type !== 'reference') columns[name] = { ...existing, isNullable: !existing.isNullable }
      return
    case 4:
      if (existing.type === 'string' || existing.type === 'integer') columns[name] = { ...existing, isUnique: !existing.isUnique }
      return
    case 5:
      if (existing.type !== 'text' && existing.type !== 'json') columns[name] = { ...existing, isIndexed: !existing.isIndexed }
      return
    case 6:
      columns[name] = withOtherDefault(existing, choices)
      return
    default:
      columns[name] = withOtherType(existing, choices)
  }
}

function withOtherDefault(existing: RandomColumn, choices: Choices): RandomColumn {
  const { default: value, ...rest } = existing
  if (value !== undefined) return rest
  if (existing.type === 'string') return { ...rest, default: choices.of(words) }
  return existing.type === 'integer' ? { ...rest, default: 11 } : rest
}

function withOtherType(existing: RandomColumn, choices: Choices): RandomColumn {
  const { default: _default, isUnique: _unique, ...rest } = existing
  switch (existing.type) {
    case 'string':
      return choices.isLikely(0.5) ? { ...existing, length: choices.of([20, 80, 200]) } : { ...rest, type: 'text', isIndexed: false }
    case 'text':
      return { ...rest, type: 'string', length: choices.of([5, 150]) }
    case 'integer':
      return {
        ...rest,
        ...choices.of([
          { type: 'bigint' },
          { type: 'decimal', precision: 20, scale: 2 },
          { type: 'float' },
          { type: 'string', length: 20 },
        ] as const),
      }
    case 'decimal':
      return { ...rest, precision: 16, scale: 4 }
    case 'boolean':
      return { ...rest, type: 'integer' }
    case 'date':
      return { ...rest, type: 'datetime' }
    case 'datetime':
      return { ...rest, type: 'date' }
    case 'json':
      return { ...rest, type: 'text', isIndexed: false }
    case 'uuid':
      return { ...rest, type: 'string', length: 40 }
    case 'enum': {
      const values = choices.isLikely(0.5) ? [...(existing.values ?? []), 'one more'] : (existing.values ?? []).slice(1)
      return { ...rest, values }
    }
    case 'reference':
      return { ...existing, onDelete: choices.of(['cascade', 'set null', undefined] as const) }
    default:
      return existing
  }
}

function declared(spec: RandomColumn): Column<unknown, boolean> {
  let made = plainColumn(spec) as Column<unknown, boolean>
  if (spec.isNullable) made = made.nullable()
  if (spec.default !== undefined) made = made.default(spec.default)
  if (spec.isUnique) made = made.unique()
  if (spec.isIndexed) made = made.index()
  return spec.renamedFrom === undefined ? made : made.renamedFrom(spec.renamedFrom)
}

function plainColumn({ type, length, precision = 12, scale = 2, values = [], target = '', onDelete }: RandomColumn): object {
  switch (type) {
    case 'string':
      return column.string({ maxLength: length })
    case 'decimal':
      return column.decimal(precision, scale)
    case 'enum':
      return column.enum(values)
    case 'reference':
      return column.uuid().references(`${target}.id`, { onDelete })
    default:
      return column[type]()
  }
}

/** Returns models of tables. */
export function modelsOf(tables: RandomTables): ModelClass[] {
  return Object.entries(tables).map(([name, columns]) => {
    const declarations = Object.fromEntries(Object.entries(columns).map(([property, spec]) => [property, declared(spec)]))
    class Model extends BaseModel.withColumns(declarations) {
      static override tableName = name
    }
    return modelClass(Model)
  })
}

/** Returns a random value of a column, as a row has it; undefined for the default of the database. */
export function randomValue(spec: RandomColumn, choices: Choices, ids: readonly string[]): unknown {
  if (spec.isNullable && choices.isLikely(0.3)) return null
  const unique = choices.number(2 ** 30)
  switch (spec.type) {
    case 'string':
      return `${unique.toString(36)}${spec.isUnique ? '' : choices.of(words)}`.slice(0, spec.length)
    case 'text':
      return `${choices.of(words)} ${unique}`
    case 'integer':
      return unique - 2 ** 29
    case 'bigint':
      return choices.of(['9007199254740993', '-5', '0'])
    case 'decimal':
      return choices.of(['0.01', '-12345.67', '3.00'])
    case 'float':
      return choices.of([0.5, -1.25, 1e10])
    case 'boolean':
      return choices.isLikely(0.5)
    case 'date':
      return choices.of(['2024-02-29', '1999-12-31'])
    case 'datetime':
      return new Date(choices.of(['2024-02-29T12:34:56.789Z', '2001-01-01T00:00:00.000Z']))
    case 'uuid':
      return `00000000-0000-4000-8000-${unique.toString(16).padStart(12, '0')}`
    case 'json':
      return choices.of([{ a: [1, "it's"] }, [], 'text?'])
    case 'enum':
      return choices.of(spec.values ?? [])
    case 'reference':
      return ids.length === 0 ? null : choices.of(ids)
  }
}

/** The specs of models, for encoding values. */
export const specOf = (spec: RandomColumn) => declared(spec).spec
