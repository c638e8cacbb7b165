import { ConfigurationError } from '../core/errors.js'

/** What a permission rule looks like from this floor: the rules themselves live in perms/. */
export interface RuleLike {
  readonly kind: string
}

export type ColumnType =
  | 'string'
  | 'text'
  | 'integer'
  | 'bigint'
  | 'decimal'
  | 'float'
  | 'boolean'
  | 'date'
  | 'datetime'
  | 'uuid'
  | 'json'
  | 'enum'

export type OnDelete = 'cascade' | 'restrict' | 'set null'

export interface Reference {
  readonly table: string
  readonly column: string
  readonly onDelete: OnDelete | undefined
}

/** What one column declaration says; the single source of types, validation, tables and schemas. */
export interface ColumnSpec {
  readonly type: ColumnType
  /** Characters (Unicode code points); `string` only. */
  readonly maxLength?: number
  readonly minLength?: number
  readonly pattern?: string
  readonly format?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly precision?: number
  readonly scale?: number
  readonly values?: readonly string[]
  /** JSON Schema of a `json` column's value. */
  readonly schema?: object
  readonly isNullable: boolean
  readonly hasDefault: boolean
  /** A value, or a function that makes one for each new row. */
  readonly defaultValue?: unknown
  readonly isUnique: boolean
  readonly isIndexed: boolean
  readonly reference?: Reference
  readonly isHidden: boolean
  readonly isReadOnly: boolean
  readonly isImmutable: boolean
  readonly isFilterable: boolean
  readonly isSortable: boolean
  readonly writable?: RuleLike
  readonly readable?: RuleLike
}

declare const valueType: unique symbol
declare const optionalFlag: unique symbol

/**
 * One declared column. Each method returns a new declaration; nothing is changed in place.
 * `T` is the type of the property, `O` says whether a new row may leave it out.
 */
export class Column<T, O extends boolean = false> {
  declare readonly [valueType]: T
  declare readonly [optionalFlag]: O
  readonly spec: ColumnSpec

  constructor(spec: ColumnSpec) {
    this.spec = Object.freeze(spec)
  }

  /** The column may hold NULL, and a new row may leave it out. */
  nullable(): Column<T | null, true> {
    return this.with({ isNullable: true })
  }

  /** The value of a new row that does not say one; a function is called for each row. */
  default(value: T | (() => T)): Column<T, true> {
    return this.with({ hasDefault: true, defaultValue: value })
  }

  /** No two rows share a value (NULLs do). */
  unique(): Column<T, O> {
    return this.with({ isUnique: true })
  }

  index(): Column<T, O> {
    return this.with({ isIndexed: true })
  }

  /**
   * A foreign key, as `'table.column'`. `'user.id'` always means the registered user model's table.
   *
   * @example column.uuid().references('user.id', { onDelete: 'cascade' })
   */
  references(target: string, options: { onDelete?: OnDelete | undefined } = {}): Column<T, O> {
    const [table, name, more] = target.split('.')
    if (!table || !name || more !== undefined) {
      throw new ConfigurationError(`references('${target}'): write the target as 'table.column', for example 'user.id'.`)
    }
    return this.with({ reference: { table, column: name, onDelete: options.onDelete } })
  }

  /** Leaves the library in no answer, and cannot be written, filtered or sorted by from outside. */
  hidden(): Column<T, O> {
    return this.with({ isHidden: true, isFilterable: false, isSortable: false })
  }

  /** Shown, but never written by a client. */
  readOnly(): Column<T, O> {
    return this.with({ isReadOnly: true })
  }

  /** A client sets it when the row is made, and never after. */
  immutable(): Column<T, O> {
    return this.with({ isImmutable: true })
  }

  /** Only callers whom the rule allows may set it; binds code that runs as a caller too. */
  writableBy(rule: RuleLike): Column<T, O> {
    return this.with({ writable: rule })
  }

  /** Only callers whom the rule allows see it. */
  readableBy(rule: RuleLike): Column<T, O> {
    return this.with({ readable: rule })
  }

  filterable(value: boolean): Column<T, O> {
    return this.with({ isFilterable: value })
  }

  sortable(value: boolean): Column<T, O> {
    return this.with({ isSortable: value })
  }

  private with<U, P extends boolean>(change: Partial<ColumnSpec>): Column<U, P> {
    return new Column<U, P>({ ...this.spec, ...change })
  }
}

// biome-ignore lint/suspicious/noExplicitAny: a column of any type; never seen by users
export type Columns = Record<string, Column<any, boolean>>

/** The properties that a set of columns gives to a row. */
export type Row<C extends Columns> = { [K in keyof C]: C[K][typeof valueType] }

function make<T>(type: ColumnType, more: Partial<ColumnSpec> = {}): Column<T> {
  return new Column<T>({
    type,
    isNullable: false,
    hasDefault: false,
    isUnique: false,
    isIndexed: false,
    isHidden: false,
    isReadOnly: false,
    isImmutable: false,
    isFilterable: type !== 'json',
    isSortable: type !== 'json',
    ...more,
  })
}

/** Only the options that were said: an explicit undefined counts as not said. */
function said<O extends object>(options: O): { [K in keyof O]?: Exclude<O[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [K in keyof O]?: Exclude<O[K], undefined>
  }
}

export interface StringOptions {
  /** Characters; 255 when not said. */
  maxLength?: number | undefined
  minLength?: number | undefined
  /** A regular expression (ECMA 262, unanchored), as in JSON Schema. */
  pattern?: string | undefined
  /** A format name of JSON Schema that ajv-formats knows, such as `'email'` or `'uri'`. */
  format?: string | undefined
}

/**
 * Declares columns.
 *
 * @example
 * class Critter extends BasePermsModel.withColumns({
 *   name: column.string({ maxLength: 100 }),
 *   isAdoptable: column.boolean().default(true),
 * }) {}
 */
export const column = {
  string: (options: StringOptions = {}): Column<string> => make<string>('string', { maxLength: 255, ...said(options) }),
  text: (options: Omit<StringOptions, 'pattern' | 'format'> = {}): Column<string> => make<string>('text', said(options)),
  /** A whole number of 32 bits. */
  integer: (options: { minimum?: number | undefined; maximum?: number | undefined } = {}): Column<number> =>
    make<number>('integer', { minimum: -2147483648, maximum: 2147483647, ...said(options) }),
  /** A whole number of 64 bits, as a string of digits. */
  bigint: (): Column<string> => make<string>('bigint'),
  /** An exact number of at most `precision` digits, `scale` of them after the point, as a string. */
  decimal: (precision: number, scale: number): Column<string> => {
    if (!Number.isInteger(precision) || !Number.isInteger(scale) || precision < 1 || precision > 38 || scale < 0 || scale > precision) {
      throw new ConfigurationError(`column.decimal(${precision}, ${scale}): precision is 1 to 38 digits, scale 0 to precision.`)
    }
    return make<string>('decimal', { precision, scale })
  },
  float: (options: { minimum?: number | undefined; maximum?: number | undefined } = {}): Column<number> =>
    make<number>('float', said(options)),
  boolean: (): Column<boolean> => make<boolean>('boolean'),
  /** A day, as 'YYYY-MM-DD'. */
  date: (): Column<string> => make<string>('date'),
  /** A moment with milliseconds, as a Date. */
  datetime: (): Column<Date> => make<Date>('datetime'),
  /** A UUID, as a lower-case string. */
  uuid: (): Column<string> => make<string>('uuid'),
  json: <T = unknown>(schema?: object): Column<T> => make<T>('json', schema === undefined ? {} : { schema }),
  /** One of the strings given, or of a string enum. */
  enum: <const V extends string>(values: readonly V[] | Record<string, V>): Column<V> =>
    make<V>('enum', { values: Object.freeze(Array.isArray(values) ? [...values] : Object.values(values)) as readonly string[] }),
}
