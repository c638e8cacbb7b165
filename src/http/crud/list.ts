import type { Model, QueryBuilder } from 'objection'
import { ConfigurationError, type FieldProblem } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { scopeOf } from '../../policy/compiler/scope.js'
import type { Actor } from '../../policy/context.js'
import { hasReadableRules, isReadableEverywhere } from '../../policy/fields.js'
import { proveCallerWith } from '../../query/caller-proof.js'
import type { Template } from '../../query/fragments.js'
import { filterReadable } from '../../query/query-builder.js'
import { searchCondition, searchWords } from '../../query/search.js'
import { definitionOf } from '../../schema/definition/definition.js'
import { valuesByName } from '../../schema/model-class.js'
import { type Dialect, dialectOf } from '../../schema/storage.js'
import { assertNoErrors } from '../../schema/validator.js'
import { normalize } from '../../schema/values.js'
import type { EndpointContext } from '../core/endpoint.js'
import type { PermsPort, ServedModel, ServedRow } from '../core/ports.js'
import { HttpResponse } from '../core/response.js'
import { type OfferedActions, parseAllowed, withFlags } from './allowed.js'
import { columnsRemovedByFormat, ModelColumn, selectColumns } from './columns.js'
import { openCursor, sealCursor } from './cursor.js'
import { applyFilter, type Filter, type ListColumn, parseFilter } from './filters.js'
import { checkIncluded, graphOf, type Include, limitIncluded, outputFields, parseFields, parseInclude, type Shaper } from './shape.js'
import { applyAfter, applySort, parseSort, type SortKey, withTieBreak } from './sort.js'

export interface Pagination {
  /** Null if the client used a cursor. */
  readonly page: number | null
  readonly pageSize: number
  /** Null with `total=false`. */
  readonly total: number | null
  readonly totalPages: number | null
  /** The cursor of the next page, or null on the last page. */
  readonly nextCursor: string | null
}

export interface ListOptions {
  readonly idProperty: string
  readonly pageSize: number
  readonly maxPageSize: number
  /** The relations that clients may include, as paths. */
  readonly include: readonly string[]
  /** The actions for the parameter `allowed`. */
  readonly actions: () => OfferedActions
  /** The columns that a row shows. */
  readonly fields: readonly string[]
  /** Returns the columns that the caller may see through list or get. Without an actor: that at least one caller may see. */
  readonly shownTo: (actor?: Actor | null) => readonly string[]
  /** Returns the shaper for rows with these fields and relations. */
  readonly shaper: (context: EndpointContext, fields: readonly string[], include: Include) => Shaper
  /** The columns that clients may filter by. Default: all filterable columns. */
  readonly filterBy: readonly string[] | undefined
  /** Which rows the list has. Default: those that the caller may read. */
  readonly rows?: RowsOfList | undefined
}

export interface RowsOfList {
  /** Binds cursors to this list. */
  readonly name: string
  readonly query: () => QueryBuilder<Model & ServedRow>
}

const noColumns: ReadonlyMap<string, ListColumn> = new Map()
const reserved = new Set(['page', 'pageSize', 'cursor', 'sort', 'total', 'fields', 'include', 'allowed'])
export const maxPage = 1_000_000_000

interface ListQuery {
  readonly page: number | null
  readonly pageSize: number
  readonly withTotal: boolean
  readonly filters: readonly Filter[]
  /** The condition of `q`. */
  readonly search: Template | null
  readonly sort: readonly SortKey[]
  readonly after: readonly unknown[] | null
  readonly fields: readonly string[]
  readonly include: Include
  readonly allowed: readonly string[]
  /** The text that binds a cursor to this list. */
  readonly about: string
}

/** Answers list requests for a model. The columns for filters and sorting are determined once. */
export class List {
  readonly #model: ServedModel
  readonly #options: ListOptions
  readonly #filterable = new Map<string, ListColumn>()
  readonly #sortable = new Map<string, ListColumn>()
  readonly #searchable = new Map<string, ListColumn>()
  readonly #id: ListColumn
  readonly #defaultSort: readonly SortKey[]

  constructor(model: ServedModel, options: ListOptions) {
    this.#model = model
    this.#options = options
    definitionOf(model)
    const removed = columnsRemovedByFormat(model)
    for (const [name, spec] of Object.entries(model.columnSpecs)) {
      if (spec.isHidden || (removed.has(name) && name !== options.idProperty)) continue
      const column = new ModelColumn(model, name, spec)
      if (spec.isFilterable && (options.filterBy?.includes(name) ?? true)) this.#filterable.set(name, column)
      if (spec.isSortable) this.#sortable.set(name, column)
      if (spec.isSearchable && (options.filterBy?.includes(name) ?? true)) this.#searchable.set(name, column)
    }
    const id = this.#sortable.get(options.idProperty)
    if (!id)
      throw new ConfigurationError(
        `${model.name}: the column '${options.idProperty}' must be declared and sortable, because lists sort by it last. ` +
          `Declare it in withColumns() or in the properties of jsonSchema.`,
      )
    this.#id = id
    const created = this.#sortable.get('createdAt')
    this.#defaultSort = withTieBreak(created && !created.spec.readable ? [{ column: created, isDescending: true }] : [], id)
  }

  /** The columns that at least one caller may filter by. */
  get filterable(): ReadonlyMap<string, ListColumn> {
    return this.#among(this.#filterable, this.#options.shownTo())
  }

  /** The columns that at least one caller may sort by. */
  get sortable(): ReadonlyMap<string, ListColumn> {
    return this.#among(this.#sortable, this.#options.shownTo())
  }

  /** The columns in which at least one caller may search words by `q`. None if a column is called 'q'. */
  get searchable(): ReadonlyMap<string, ListColumn> {
    return this.#filterable.has('q') ? noColumns : this.#among(this.#searchable, this.#options.shownTo())
  }

  /** The default order, in the syntax of `sort`. */
  get defaultSort(): string {
    return this.#defaultSort.map(({ column, isDescending }) => `${isDescending ? '-' : ''}${column.name}`).join(',')
  }

  /**
   * Answers a list request.
   *
   * @param base conditions from the path, such as the parent's id
   * @throws ValidationError with one error per invalid query parameter
   */
  async run(context: EndpointContext, base: Readonly<Record<string, unknown>>): Promise<HttpResponse> {
    const model = this.#model
    const dialect = dialectOf(model.knex())
    const asked = this.#parse(context, base, dialect)
    const filtered = () => {
      const query = this.#options.rows?.query() ?? model.query()
      for (const [name, value] of Object.entries(base)) query.where(`${model.getTableName()}.${name}`, value as string)
      for (const filter of asked.filters) applyFilter(query, filter, dialect)
      if (asked.search) filterReadable(query, asked.search)
      return query
    }
    const query = filtered()
    selectColumns(query, model)
    // Counts in the same statement. The subquery is a query of the model, so its policy applies.
    if (asked.withTotal) query.select(filtered().count().as(totalAlias))
    applySort(query, asked.sort, dialect)
    if (asked.after) applyAfter(query, asked.sort, asked.after, dialect)
    query.limit(asked.pageSize + 1)
    const offset = asked.page === null ? 0 : (asked.page - 1) * asked.pageSize
    if (offset > 0) query.offset(offset)
    const graph = graphOf(asked.include)
    if (graph !== null) limitIncluded(query.withGraphFetched(graph), model, asked.include)
    if (asked.allowed.length > 0) query.withAllowed(...asked.allowed)
    proveCallerWith(query)
    const rows = await query
    checkIncluded(rows, model, asked.include)
    const hasMore = rows.length > asked.pageSize
    if (hasMore) rows.pop()
    const total = asked.withTotal ? (totalIn(rows, offset > 0 || asked.after !== null) ?? (await filtered().resultSize())) : null
    const nextCursor = hasMore ? this.#cursorAfter(rows[rows.length - 1] as ServedRow, asked, context.perms) : null
    const pagination: Pagination = {
      page: asked.page,
      pageSize: asked.pageSize,
      total,
      totalPages: total === null ? null : Math.ceil(total / asked.pageSize),
      nextCursor,
    }
    const plain = this.#options.shaper(context, asked.fields, asked.include)
    const show = asked.allowed.length === 0 ? plain : withFlags(plain, asked.allowed, this.#options.actions(), context.actor)
    const data = rows.map((row) => show(row))
    return HttpResponse.json({ data, pagination }, hasMore ? { headers: { link: this.#nextLink(context, asked, nextCursor) } } : {})
  }

  #cursorAfter(row: ServedRow, asked: ListQuery, perms: PermsPort): string {
    const values = asked.sort.map(({ column }) => valuesByName(row)[column.name] ?? null)
    return sealCursor(perms, values, asked.about)
  }

  #nextLink({ request, query }: EndpointContext, asked: ListQuery, cursor: string | null): string {
    const next = new URLSearchParams(query)
    if (asked.page === null) next.set('cursor', cursor ?? '')
    else next.set('page', String(asked.page + 1))
    return `<${request.url}?${next}>; rel="next"`
  }

  #parse(context: EndpointContext, base: object, dialect: Dialect): ListQuery {
    const { query, actor, perms } = context
    const errors: FieldProblem[] = []
    const filters: Filter[] = []
    const filterable = this.#visible(this.#filterable, actor, dialect)
    const searched = this.#visible(this.#searchable, actor, dialect)
    let search: Template | null = null
    const seen = new Set<string>()
    for (const [key, text] of query) {
      if (seen.has(key)) {
        errors.push({ field: key, message: message('field.repeated') })
        continue
      }
      seen.add(key)
      if (reserved.has(key)) continue
      if (key === 'q' && !this.#filterable.has('q') && searched().size > 0) {
        const found = searchWords(text)
        if ('error' in found) errors.push({ field: key, message: found.error })
        else search = searchCondition(found.words, [...searched().values()], dialect)
        continue
      }
      const filter = parseFilter(key, text, filterable())
      if ('message' in filter) errors.push(filter)
      else filters.push(filter)
    }
    const take = <T>(value: T | FieldProblem, instead: T): T => {
      if (typeof value !== 'object' || value === null || !('message' in value)) return value
      errors.push(value)
      return instead
    }
    const text = (key: string) => query.get(key)
    const sort = take(this.#parseSort(text('sort'), actor, dialect), this.#defaultSort)
    const pageSize = take(wholeNumber('pageSize', text('pageSize'), this.#options.pageSize, this.#options.maxPageSize), 1)
    const cursor = text('cursor')
    const page = take(wholeNumber('page', text('page'), 1, maxPage), 1)
    if (cursor !== null && text('page') !== null) errors.push({ field: 'page', message: message('field.excludesCursor') })
    const withTotal = text('total') ?? 'true'
    if (withTotal !== 'true' && withTotal !== 'false') errors.push({ field: 'total', message: message('field.boolean') })
    const fields = text('fields')
    const include = text('include')
    const allowed = text('allowed')
    const about = JSON.stringify([
      this.#model.name,
      actor?.id ?? null,
      base,
      sort.map(({ column, isDescending }) => [column.name, isDescending]),
      [...query].filter(([key]) => !reserved.has(key)).sort(([a], [b]) => (a < b ? -1 : 1)),
      ...(this.#options.rows ? [this.#options.rows.name] : []),
    ])
    let after: readonly unknown[] | null = null
    if (cursor !== null && errors.length === 0) {
      after = this.#openCursor(perms, cursor, about, sort)
      if (after === null) errors.push({ field: 'cursor', message: message('field.otherList') })
    }
    const parsed: ListQuery = {
      page: cursor === null ? page : null,
      pageSize,
      withTotal: withTotal === 'true',
      filters,
      search,
      sort,
      after,
      fields: fields === null ? this.#options.fields : take(parseFields(fields, this.#options.fields), []),
      include: include === null ? {} : take<Include>(parseInclude(include, this.#options.include), {}),
      allowed: allowed === null ? [] : take(parseAllowed(allowed, this.#options.actions()), []),
      about,
    }
    assertNoErrors(errors)
    return parsed
  }

  #parseSort(text: string | null, actor: Actor | null, dialect: Dialect): readonly SortKey[] | FieldProblem {
    // The default order is allowed explicitly, even if the caller may not see its columns.
    if (text === null || text === this.defaultSort) return this.#defaultSort
    return parseSort(text, this.#visible(this.#sortable, actor, dialect)(), this.#id)
  }

  #openCursor(perms: PermsPort, cursor: string, about: string, sort: readonly SortKey[]): readonly unknown[] | null {
    const values = openCursor(perms, cursor, about)
    if (values === null || values.length !== sort.length) return null
    const checked = sort.map(({ column }, i) => normalize({ ...column.spec, isNullable: true }, values[i]))
    return checked.some((one) => one.error !== undefined) ? null : checked.map((one) => one.value)
  }

  // Filtering or sorting by a hidden column would reveal its values. Computed only if needed.
  #visible(columns: ReadonlyMap<string, ListColumn>, actor: Actor | null, dialect: Dialect): () => ReadonlyMap<string, ListColumn> {
    let visible: ReadonlyMap<string, ListColumn> | undefined
    const isReadable = ({ name, spec }: ListColumn) =>
      !spec.readable || isReadableEverywhere(scopeOf(this.#model, actor, { dialect, ref: this.#model.getTableName() }), name)
    return () => {
      visible ??= this.#among(columns, this.#options.shownTo(actor), isReadable)
      return visible
    }
  }

  #among(
    columns: ReadonlyMap<string, ListColumn>,
    names: readonly string[],
    isReadable: (column: ListColumn) => boolean = () => true,
  ): ReadonlyMap<string, ListColumn> {
    if (names === outputFields(this.#model) && !hasReadableRules(this.#model)) return columns
    return new Map([...columns].filter(([name, column]) => names.includes(name) && isReadable(column)))
  }
}

const totalAlias = 'permsTotal'

/** Returns the total from the first row, or null if a later page has no rows. */
function totalIn(rows: readonly object[], isLater: boolean): number | null {
  const [first] = rows
  if (!first) return isLater ? null : 0
  return Number((first as { [totalAlias]: unknown })[totalAlias])
}

/** Parses a number of the query string. Returns a FieldProblem if it is not valid. */
export function wholeNumber(key: string, text: string | null, instead: number, most: number): number | FieldProblem {
  if (text === null) return instead
  const value = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN
  return value >= 1 && value <= most ? value : { field: key, message: message('field.wholeNumberBetween', { min: 1, max: most }) }
}
