import { ConfigurationError } from '../core/errors.js'
import { assertKnownOptions, type OptionNames } from '../core/known-options.js'
import { snakeCase } from '../core/names.js'

/** The part of a permission rule that this layer knows. policy/rules.ts has the full type. */
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

/** The most digits of a decimal that every supported database stores exactly. */
export const MAX_DECIMAL_PRECISION = 38

/** The longest name that every supported database stores: PostgreSQL cuts longer ones. */
const MAX_NAME_LENGTH = 63
/** The name of a text search configuration, with or without its schema. */
const configurationName = /^[a-z_][a-z0-9_]{0,62}(\.[a-z_][a-z0-9_]{0,62})?$/

/** Throws for a name that SQL or Objection would read in another way. @throws ConfigurationError */
export function assertColumnName(name: unknown): void {
  if (typeof name === 'string' && Buffer.byteLength(name) <= MAX_NAME_LENGTH && /^[\p{L}\p{N}_$-]+$/u.test(name)) return
  throw new ConfigurationError(
    `'${String(name)}' cannot be the name of a column or table: it needs 1 to ${MAX_NAME_LENGTH} letters, digits, '_', '$' or '-', and no dot.`,
  )
}

/**
 * Returns the name of a property's column in the database.
 *
 * @example columnNameOf('hireDate', column.date().spec) // 'hire_date'
 */
export function columnNameOf(property: string, spec?: Pick<ColumnSpec, 'columnName'> | undefined): string {
  return spec?.columnName ?? snakeCase(property)
}

export type OnDelete = 'cascade' | 'restrict' | 'set null'

export interface Reference {
  readonly table: string
  /** A property or a column of the table. */
  readonly column: string
  readonly onDelete: OnDelete | undefined
  /** Whether `table` and `column` are names in the database. */
  readonly isResolved?: boolean
}

/** The declaration of a column, from which types, validation, tables and schemas are made. */
export interface ColumnSpec {
  readonly type: ColumnType
  /** The name in the database. Default: the property's name in snake_case. */
  readonly columnName?: string
  /** The property or the column that this column was before it was renamed. */
  readonly renamedFrom?: string
  /** The most characters (Unicode code points). Only for `string`. */
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
  /**
   * Whether the column is known from `static jsonSchema` only. Its table stores values in the form that the application chose, and the
   * JSON Schema validates them.
   */
  readonly isExisting?: boolean
  /**
   * Whether the type was read from the catalogue of the database. Only with `isExisting`. The values are checked like those of a declared
   * column, because no JSON Schema of the application describes them.
   */
  readonly isCatalogued?: boolean
  readonly isNullable: boolean
  readonly hasDefault: boolean
  /** A value, or a function that returns the value of each new row. */
  readonly defaultValue?: unknown
  readonly isUnique: boolean
  readonly isIndexed: boolean
  readonly reference?: Reference
  /** The column whose type this column has, without a foreign key. */
  readonly typeOf?: Pick<Reference, 'table' | 'column'>
  /** Whether the database makes the value of a new row: an integer or bigint id without a default. */
  readonly isGenerated?: boolean
  /** Whether the values are ids that a database made. SQLite stores such a bigint as an integer, not as text. */
  readonly isRowId?: boolean
  /** Whether the values are integer or bigint ids, whoever makes them. An id has one spelling: '07' is no id. */
  readonly isKey?: boolean
  readonly isHidden: boolean
  readonly isReadOnly: boolean
  readonly isImmutable: boolean
  readonly isFilterable: boolean
  readonly isSortable: boolean
  /** Whether a search looks for words in the column. */
  readonly isSearchable?: boolean
  /** The text search configuration of PostgreSQL by which searches compare words, such as 'english'. Default: substrings. */
  readonly fullText?: string
  readonly writable?: RuleLike
  readonly readable?: RuleLike
}

/** Returns whether only the application's JSON Schema says which values a column takes. */
export const isDescribedOnly = (spec: ColumnSpec): boolean => spec.isExisting === true && spec.isCatalogued !== true

function targetOf(method: string, target: string): { table: string; column: string } {
  const [table, column, more] = target.split('.')
  if (table && column && more === undefined) return { table, column }
  throw new ConfigurationError(`${method}('${target}'): write the target as 'table.column', for example 'user.id'.`)
}

declare const valueType: unique symbol
declare const optionalFlag: unique symbol

/**
 * A declared column. Each method returns a new declaration and leaves this one unchanged.
 * `T` is the type of the property. `O` is true when a new row may omit it.
 *
 * @example const email: Column<string> = column.string({ maxLength: 254 }).unique()
 */
export class Column<T, O extends boolean = false> {
  declare readonly [valueType]: T
  declare readonly [optionalFlag]: O
  readonly spec: ColumnSpec

  constructor(spec: ColumnSpec) {
    this.spec = Object.freeze(spec)
  }

  /** Allows NULL. A new row may omit the column. */
  nullable(): Column<T | null, true> {
    return this.with({ isNullable: true })
  }

  /** Sets the value of new rows that omit the column. A function is called for each row. */
  default(value: T | (() => T)): Column<T, true> {
    return this.with({ hasDefault: true, defaultValue: value })
  }

  /** Allows each value once. Several rows may be NULL. */
  unique(): Column<T, O> {
    return this.with({ isUnique: true })
  }

  /**
   * Sets the column's name in the database. Code, filters, errors and OpenAPI keep the property's name.
   *
   * @throws ConfigurationError for an empty name and for names with other characters than letters, digits, `_`, `$` and `-`
   * @example class Account extends User.withColumns({ email: column.string().unique().named('login_email') }) {}
   */
  named(name: string): Column<T, O> {
    assertColumnName(name)
    return this.with({ columnName: name })
  }

  /**
   * Names the earlier property or column, so that the next migration renames the column and its rows keep their values. It has no
   * effect once the column is renamed, and may stay.
   *
   * @throws ConfigurationError for a name that no column can have
   * @example class Post extends BasePermsModel.withColumns({ headline: column.string().renamedFrom('title') }) {}
   */
  renamedFrom(name: string): Column<T, O> {
    assertColumnName(name)
    return this.with({ renamedFrom: name })
  }

  /** Adds an index. */
  index(): Column<T, O> {
    return this.with({ isIndexed: true })
  }

  /**
   * Adds a foreign key to `'table.column'`. `'user.id'` means the table of the registered user model.
   *
   * @throws ConfigurationError for a target in another form
   * @example column.uuid().references('user.id', { onDelete: 'cascade' })
   */
  references(target: string, options: { onDelete?: OnDelete | undefined } = {}): Column<T, O> {
    assertKnownOptions(options, { onDelete: true }, `references('${target}', ...)`)
    return this.with({ reference: { ...targetOf('references', target), onDelete: options.onDelete } })
  }

  /**
   * Gives the column the type of `'table.column'`, without a foreign key: for ids that stay after their row was deleted.
   *
   * @throws ConfigurationError for a target in another form
   * @example column.uuid().sameTypeAs('user.id').nullable()
   */
  sameTypeAs(target: string): Column<T, O> {
    return this.with({ typeOf: targetOf('sameTypeAs', target) })
  }

  /** Hides the column from clients: no response contains it, and clients cannot write it, filter or sort by it. */
  hidden(): Column<T, O> {
    return this.with({ isHidden: true, isFilterable: false, isSortable: false })
  }

  /** Lets clients read the column, but not write it. */
  readOnly(): Column<T, O> {
    return this.with({ isReadOnly: true })
  }

  /** Lets a client set the column when it creates the row, but not change it later. */
  immutable(): Column<T, O> {
    return this.with({ isImmutable: true })
  }

  /** Only callers that the rule allows may set the column. This also applies to code inside runAs(). */
  writableBy(rule: RuleLike): Column<T, O> {
    return this.with({ writable: rule })
  }

  /** Only callers that the rule allows may see the column. */
  readableBy(rule: RuleLike): Column<T, O> {
    return this.with({ readable: rule })
  }

  /** Sets whether clients may filter by the column. */
  filterable(value: boolean): Column<T, O> {
    return this.with({ isFilterable: value })
  }

  /** Sets whether clients may sort by the column. */
  sortable(value: boolean): Column<T, O> {
    return this.with({ isSortable: value })
  }

  /**
   * Lets searches look for words in the column: `?q=` of lists, and `query().search()`.
   *
   * @param options `fullText`: a text search configuration of PostgreSQL, such as 'english': 'runs' then finds 'running', and a word no
   * longer finds parts of words. Other databases look for substrings as before
   * @throws ConfigurationError for a column that does not hold text, and for a configuration that is not a name
   * @example class Post extends BasePermsModel.withColumns({ title: column.string().searchable(), body: column.text().searchable() }) {}
   * @example class Article extends BasePermsModel.withColumns({ body: column.text().searchable({ fullText: 'english' }) }) {}
   */
  searchable(options: { readonly fullText?: string | undefined } = {}): Column<T, O> {
    assertKnownOptions(options, { fullText: true }, 'searchable()')
    const { fullText } = options
    if (this.spec.type !== 'string' && this.spec.type !== 'text')
      throw new ConfigurationError(
        `searchable() needs a column of text, and this is a ${this.spec.type} column. Use column.string() or column.text().`,
      )
    if (fullText === undefined) return this.with({ isSearchable: true })
    if (typeof fullText !== 'string' || !configurationName.test(fullText))
      throw new ConfigurationError(
        `searchable({ fullText: ${JSON.stringify(fullText)} }): give the name of a text search configuration, such as 'english' or 'simple'. ` +
          'In psql, `\\dF` lists them.',
      )
    return this.with({ isSearchable: true, fullText })
  }

  private with<U, P extends boolean>(change: Partial<ColumnSpec>): Column<U, P> {
    return new Column<U, P>({ ...this.spec, ...change })
  }
}

// biome-ignore lint/suspicious/noExplicitAny: a column of any type; never seen by users
export type Columns = Record<string, Column<any, boolean>>

/** The property types of a row with these columns. */
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

/** Returns the options without those that are undefined. */
function withoutUndefined<O extends object>(options: O): { [K in keyof O]?: Exclude<O[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [K in keyof O]?: Exclude<O[K], undefined>
  }
}

export interface StringOptions {
  /** The most characters. @defaultValue 255 */
  maxLength?: number | undefined
  minLength?: number | undefined
  /** A regular expression (ECMA 262, unanchored), as in JSON Schema. */
  pattern?: string | undefined
  /** A JSON Schema format of ajv-formats, such as `'email'` or `'uri'`. */
  format?: string | undefined
}

const textNames: OptionNames<Omit<StringOptions, 'pattern' | 'format'>> = { maxLength: true, minLength: true }
const stringNames: OptionNames<StringOptions> = { ...textNames, pattern: true, format: true }

/**
 * Creates columns for `withColumns()`.
 *
 * @example
 * class Critter extends BasePermsModel.withColumns({
 *   name: column.string({ maxLength: 100 }),
 *   isAdoptable: column.boolean().default(true),
 * }) {}
 */
export const column = {
  /** Text of at most `maxLength` characters. */
  string: (options: StringOptions = {}): Column<string> => {
    assertKnownOptions(options, stringNames, 'column.string')
    return make<string>('string', { maxLength: 255, ...withoutUndefined(options) })
  },
  /** Text without a limit, unless `maxLength` sets one. */
  text: (options: Omit<StringOptions, 'pattern' | 'format'> = {}): Column<string> => {
    assertKnownOptions(options, textNames, 'column.text')
    return make<string>('text', withoutUndefined(options))
  },
  /** A 32-bit integer. */
  integer: (options: { minimum?: number | undefined; maximum?: number | undefined } = {}): Column<number> => {
    assertKnownOptions(options, { minimum: true, maximum: true }, 'column.integer')
    return make<number>('integer', { minimum: -2147483648, maximum: 2147483647, ...withoutUndefined(options) })
  },
  /** A 64-bit integer, as a string of digits. */
  bigint: (): Column<string> => make<string>('bigint'),
  /** An exact number as a string: at most `precision` digits, `scale` of them after the point. */
  decimal: (precision: number, scale: number): Column<string> => {
    if (
      !Number.isInteger(precision) ||
      !Number.isInteger(scale) ||
      precision < 1 ||
      precision > MAX_DECIMAL_PRECISION ||
      scale < 0 ||
      scale > precision
    ) {
      throw new ConfigurationError(
        `column.decimal(${precision}, ${scale}): the precision must be 1 to ${MAX_DECIMAL_PRECISION} digits, and the scale 0 to ${precision}.`,
      )
    }
    return make<string>('decimal', { precision, scale })
  },
  /** A double-precision number. */
  float: (options: { minimum?: number | undefined; maximum?: number | undefined } = {}): Column<number> => {
    assertKnownOptions(options, { minimum: true, maximum: true }, 'column.float')
    return make<number>('float', withoutUndefined(options))
  },
  boolean: (): Column<boolean> => make<boolean>('boolean'),
  /** A date, as 'YYYY-MM-DD'. */
  date: (): Column<string> => make<string>('date'),
  /** A datetime with milliseconds, as a Date. */
  datetime: (): Column<Date> => make<Date>('datetime'),
  /** A UUID, as a lower-case string. */
  uuid: (): Column<string> => make<string>('uuid'),
  /** A JSON value. `schema` is a JSON Schema that validates it. */
  json: <T = unknown>(schema?: object): Column<T> => make<T>('json', schema === undefined ? {} : { schema }),
  /** One of these strings, or a value of a string enum. */
  enum: <const V extends string>(values: readonly V[] | Record<string, V>): Column<V> =>
    make<V>('enum', { values: Object.freeze(Array.isArray(values) ? [...values] : Object.values(values)) }),
}
