import type { Actor } from '../../policy/context.js'
import type { EndpointContext, SchemaOption } from '../core/endpoint.js'
import type { ResourceModel } from '../core/ports.js'
import type { HttpRequest } from '../core/request.js'
import type { SplitInput } from './input.js'
import type { Parent } from './parents.js'
import type { IncludeOption } from './related.js'

export type CrudMethod = 'list' | 'get' | 'create' | 'update' | 'delete'

export const crudMethods: readonly CrudMethod[] = ['list', 'get', 'create', 'update', 'delete']

/** One method of a resource. */
export interface MethodOptions {
  /** Nobody needs to be signed in; the model's policy holds all the same. */
  public?: boolean | undefined
  /** Only for global admins. */
  adminOnly?: boolean | undefined
  /** Only for callers who hold this role globally. */
  role?: string | undefined
  /** What the answer shows: a list of columns, or a JSON Schema. It can only narrow what the model shows. */
  schema?: SchemaOption | undefined
  /** What the body (of a list: the filters) may hold. It can only narrow; keys that are no columns go to the hooks as `args`. */
  argSchema?: SchemaOption | undefined
}

export interface HookContext {
  /** What the client sent, without what argSchema adds; a before-hook may change it. */
  input: Record<string, unknown>
  /** The keys of argSchema that are no columns. */
  args: Readonly<Record<string, unknown>>
  caller: object | null
  actor: Actor | null
  request: HttpRequest
  params: Readonly<Record<string, string>>
  parents: readonly object[]
}

type Hook = (context: HookContext) => unknown
type RowHook<Row> = (row: Row, context: HookContext) => unknown

/** Code around the writes, inside their transaction: what a hook throws undoes all. */
export interface CrudHooks<Row> {
  beforeCreate?: Hook | undefined
  afterCreate?: RowHook<Row> | undefined
  beforeUpdate?: RowHook<Row> | undefined
  afterUpdate?: RowHook<Row> | undefined
  beforeDelete?: RowHook<Row> | undefined
  afterDelete?: RowHook<Row> | undefined
}

export interface CrudResourceOptions<M extends ResourceModel = ResourceModel> {
  model: M
  /** Below the API's prefix; the plural of the class in kebab-case when not said. One that begins with '/' ignores the prefix. */
  path?: string | undefined
  /** Instead of the model's name in operation ids. */
  name?: string | undefined
  /** A list is the whole list; in an object the methods not named are on too, and `false` is off. */
  methods?: readonly CrudMethod[] | { readonly [K in CrudMethod]?: boolean | MethodOptions | undefined } | undefined
  skipMethods?: readonly CrudMethod[] | undefined
  /** For every method; see MethodOptions. */
  schema?: SchemaOption | undefined
  argSchema?: SchemaOption | undefined
  /** The column that the last path segment names; 'id' when not said. */
  id?: string | undefined
  parent?: Parent | undefined
  /** Rows on a page; 20 when not said. */
  pageSize?: number | undefined
  /** The most that a client may ask for; 100 when not said. */
  maxPageSize?: number | undefined
  /**
   * Relations that clients may include, as paths such as 'user' and 'items.product'. Included rows show what the related
   * model's own resource shows, or the columns listed here: `{ user: ['id', 'displayName'] }`. Default: none.
   */
  include?: IncludeOption | undefined
  hooks?: CrudHooks<InstanceType<M>> | undefined
}

/** What is on, and how. */
export function methodsOf(options: Pick<CrudResourceOptions, 'methods' | 'skipMethods'>): Map<CrudMethod, MethodOptions> {
  const { methods, skipMethods = [] } = options
  const found = new Map<CrudMethod, MethodOptions>()
  for (const method of crudMethods) {
    if (skipMethods.includes(method)) continue
    if (Array.isArray(methods)) {
      if (methods.includes(method)) found.set(method, {})
      continue
    }
    const said = (methods as { [K in CrudMethod]?: boolean | MethodOptions } | undefined)?.[method]
    if (said !== false) found.set(method, typeof said === 'object' ? said : {})
  }
  return found
}

export function hookContextOf({ caller, actor, request, params, parents }: EndpointContext, { input, args }: SplitInput): HookContext {
  return { input, args, caller, actor, request, params, parents }
}
