import { maxSearch } from '../../query/search.js'
import type { ColumnSpec } from '../../schema/column.js'
import { schemaOf } from '../../schema/json-schemas.js'
import { maxInValues, maxPattern, maxWildcards, operatorsOf } from '../crud/filters.js'
import type { List } from '../crud/list.js'
import { bounded } from './schemas.js'

interface Described {
  readonly pageSize: number
  readonly maxPageSize: number
  /** The relation paths that clients may include. */
  readonly include: readonly string[]
  /** The actions for which clients may ask whether they may do them. */
  readonly allowed: readonly string[]
  /** The properties that a row shows. */
  readonly fields: readonly string[]
}

const query = (name: string, description: string, schema: object): object => ({ name, in: 'query', required: false, description, schema })

const text = (maxLength = 4096) => ({ type: 'string', maxLength })

/** Returns the query parameters of a list, for the OpenAPI document. */
export function listParameters(list: List, options: Described): object[] {
  const { pageSize, maxPageSize } = options
  const parameters = [
    query('page', 'The page number, starting at 1.', { type: 'integer', format: 'int32', minimum: 1, maximum: 1_000_000_000, default: 1 }),
    query('pageSize', 'The number of rows per page.', {
      type: 'integer',
      format: 'int32',
      minimum: 1,
      maximum: maxPageSize,
      default: pageSize,
    }),
    query('cursor', 'The nextCursor of the previous page, instead of page.', text()),
    query('sort', `Columns, each with '-' for descending: ${[...list.sortable.keys()].join(', ')}.`, {
      ...text(),
      default: list.defaultSort,
    }),
    query('total', 'Whether the response contains the total.', { type: 'boolean', default: true }),
    ...itemParameters(options),
  ]
  if (list.searchable.size > 0)
    parameters.push(query('q', `Words that each row has in: ${[...list.searchable.keys()].join(', ')}.`, text(maxSearch)))
  for (const [name, { spec }] of list.filterable) {
    for (const operator of operatorsOf(spec)) {
      parameters.push(query(operator === 'eq' ? name : `${name}__${operator}`, describe(name, operator), filterSchema(spec, operator)))
    }
  }
  return parameters
}

/** Returns the query parameters of a request for one row. */
export function itemParameters({ fields, include, allowed }: Pick<Described, 'fields' | 'include' | 'allowed'>): object[] {
  const parameters = [query('fields', `The properties to show: ${fields.join(', ')}.`, text())]
  if (include.length > 0) parameters.push(query('include', `The relations to show: ${include.join(', ')}.`, text()))
  if (allowed.length > 0)
    parameters.push(query('allowed', `The actions for which each row says whether the caller may do them: ${allowed.join(', ')}.`, text()))
  return parameters
}

/** Returns the header parameter for a precondition (RFC 9110, 13.1). */
export function conditionParameter(name: 'If-Match' | 'If-None-Match'): object {
  const description =
    name === 'If-Match' ? 'Runs the request only if the row still has this ETag.' : 'Returns 304 if the row still has this ETag.'
  return { name, in: 'header', required: false, description, schema: { type: 'string', maxLength: 1024 } }
}

/** The Prefer header of endpoints that return tokens (RFC 7240). */
export const preferParameter: object = {
  name: 'Prefer',
  in: 'header',
  required: false,
  description: '`cookies` returns the tokens in cookies that no script can read, instead of in the body.',
  schema: { type: 'string', maxLength: 256 },
}

function describe(name: string, operator: string): string {
  const words: Record<string, string> = {
    eq: 'is',
    ne: 'is not',
    gt: 'is above',
    gte: 'is at least',
    lt: 'is below',
    lte: 'is at most',
    from: 'is at least',
    to: 'is at most',
    min: 'is at least',
    max: 'is at most',
    in: `is one of (comma-separated, at most ${maxInValues})`,
    like: `matches (% is any run of characters, _ is one; at most ${maxWildcards} of them; case matters)`,
    ilike: `matches, in any case (at most ${maxWildcards} % and _)`,
    null: 'is null (true) or not null (false)',
  }
  return `Only rows whose ${name} ${words[operator]}.`
}

function filterSchema(spec: ColumnSpec, operator: string): object {
  if (operator === 'null') return { type: 'boolean' }
  if (operator === 'like' || operator === 'ilike') return text(maxPattern)
  if (operator === 'in') return text()
  if (spec.type === 'string' || spec.type === 'text') return text()
  if (spec.type === 'integer')
    return { type: 'integer', format: 'int64', minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER }
  if (spec.type === 'datetime') return { type: 'string', maxLength: 40, description: 'A date, or a date-time.' }
  return bounded(schemaOf({ ...spec, isNullable: false }))
}
