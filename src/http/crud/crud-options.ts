import { ConfigurationError } from '../../core/errors.js'
import { type OptionNames, orOther } from '../../core/known-options.js'
import { nearestNames } from '../../core/nearest-names.js'
import type { Actor } from '../../policy/context.js'
import type { StepUpRule } from '../../policy/fresh-session.js'
import type { EndpointContext, SchemaOption } from '../core/endpoint.js'
import type { ResourceModel } from '../core/ports.js'
import type { HttpRequest } from '../core/request.js'
import type { SplitInput } from './input.js'
import type { Parent } from './parents.js'
import type { IncludeOption } from './related.js'

export type CrudMethod = 'list' | 'get' | 'create' | 'update' | 'delete'

export const crudMethods: readonly CrudMethod[] = ['list', 'get', 'create', 'update', 'delete']

/** The options of one method of a resource. */
export interface MethodOptions {
  /** Allows anonymous callers. The policy of the model still applies. Default: false. */
  public?: boolean | undefined
  /** Allows only global admins. Default: false. */
  adminOnly?: boolean | undefined
  /** Allows only callers with this global role. */
  role?: string | undefined
  /** A rule that the caller's session must satisfy, such as `recent(300)`. Otherwise the response is 401. Default: any active session. */
  stepUp?: StepUpRule | undefined
  /** The columns to show: a list, or a JSON Schema. Cannot add to those that the model shows. Default: all of these. */
  schema?: SchemaOption | undefined
  /**
   * The keys that the body may have, or the columns to filter by for `list`: a list, or a JSON Schema. Keys that are not columns are
   * passed to the hooks as `args`. Default: all columns that the model accepts.
   */
  argSchema?: SchemaOption | undefined
}

export interface HookContext {
  /** The columns that the client sent. A before-hook may change them. */
  input: Record<string, unknown>
  /** The keys of argSchema that are not columns. */
  args: Readonly<Record<string, unknown>>
  caller: object | null
  actor: Actor | null
  request: HttpRequest
  params: Readonly<Record<string, string>>
  parents: readonly object[]
}

type Hook = (context: HookContext) => unknown
type RowHook<Row> = (row: Row, context: HookContext) => unknown

/** Functions that run before and after writes, in their transaction. If a hook throws, the transaction rolls back. */
export interface CrudHooks<Row> {
  beforeCreate?: Hook | undefined
  afterCreate?: RowHook<Row> | undefined
  beforeUpdate?: RowHook<Row> | undefined
  afterUpdate?: RowHook<Row> | undefined
  beforeDelete?: RowHook<Row> | undefined
  afterDelete?: RowHook<Row> | undefined
  beforeRestore?: RowHook<Row> | undefined
  afterRestore?: RowHook<Row> | undefined
}

/** The options of the endpoints for soft-deleted rows, in addition to those of `list`. */
export type DeletedOptions = Pick<MethodOptions, 'adminOnly' | 'role' | 'stepUp'>

/** The options of the endpoints for shares, in addition to those of `get`. */
export type ShareEndpointOptions = Pick<MethodOptions, 'adminOnly' | 'role' | 'stepUp'>

export interface CrudResourceOptions<M extends ResourceModel = ResourceModel> {
  model: M
  /**
   * The path below the API's prefix. A path that begins with '/' ignores the prefix.
   *
   * @defaultValue the plural of the model's name in kebab-case
   */
  path?: string | undefined
  /** The name in operation ids. Default: the name of the model. */
  name?: string | undefined
  /**
   * The enabled methods. A list enables only its methods; an object enables all methods except those set to `false`. Default:
   * all.
   */
  methods?: readonly CrudMethod[] | { readonly [K in CrudMethod]?: boolean | MethodOptions | undefined } | undefined
  skipMethods?: readonly CrudMethod[] | undefined
  /** The default of all methods; see MethodOptions. */
  schema?: SchemaOption | undefined
  argSchema?: SchemaOption | undefined
  /** The column that identifies a row in the path. Default: the id column of the model. */
  id?: string | undefined
  parent?: Parent | undefined
  /** The number of rows per page. Default: 20. */
  pageSize?: number | undefined
  /** The largest page size that clients may request. Default: 100. */
  maxPageSize?: number | undefined
  /**
   * The relations that clients may include, as paths such as 'user' and 'items.product'. Included rows show the columns that the
   * resource of the related model shows, or the columns listed here: `{ user: ['id', 'displayName'] }`. Default: none.
   */
  include?: IncludeOption | undefined
  hooks?: CrudHooks<InstanceType<M>> | undefined
  /**
   * Adds `GET /deleted`, the list of soft-deleted rows, and `POST /:id/restore`. The rule `restore` of the policy decides who sees and
   * restores them, or the delete rule if there is none. Needs a model with SoftDeleteMixin. Default: off.
   *
   * @example new CrudResource({ model: Post, deleted: true })
   */
  deleted?: boolean | DeletedOptions | undefined
  /**
   * Adds `GET`, `POST` and `DELETE /:id/shares`: with whom a row is shared. The rule `share` of the policy decides who uses them, and
   * callers give only what they have. Needs a model with ShareableMixin. Default: off.
   *
   * @example
   * class Memo extends ShareableMixin(UserOwnershipMixin(BasePermsModel)).withColumns({ title: column.string() }) {}
   * const memos = new CrudResource({ model: Memo, shares: true })
   */
  shares?: boolean | ShareEndpointOptions | undefined
}

const methodOptionNames: OptionNames<MethodOptions> = {
  public: true,
  adminOnly: true,
  role: true,
  stepUp: 'unchecked',
  schema: true,
  argSchema: true,
}

const parentNames: OptionNames<Parent> = {
  model: true,
  param: true,
  field: true,
  path: true,
  get parent() {
    return parentNames
  },
}

const hookNames: OptionNames<CrudHooks<unknown>> = {
  beforeCreate: true,
  afterCreate: true,
  beforeUpdate: true,
  afterUpdate: true,
  beforeDelete: true,
  afterDelete: true,
  beforeRestore: true,
  afterRestore: true,
}

type Methods = Extract<NonNullable<CrudResourceOptions['methods']>, { readonly list?: unknown }>
const method = orOther<MethodOptions>(methodOptionNames)

/** The names of the options of CrudResource. */
export const crudOptionNames: OptionNames<CrudResourceOptions> = {
  model: true,
  path: true,
  name: true,
  methods: orOther<Methods>({ list: method, get: method, create: method, update: method, delete: method }),
  skipMethods: true,
  schema: true,
  argSchema: true,
  id: true,
  parent: parentNames,
  pageSize: true,
  maxPageSize: true,
  include: true,
  hooks: hookNames,
  deleted: orOther<DeletedOptions>({ adminOnly: true, role: true, stepUp: 'unchecked' }),
  shares: orOther<ShareEndpointOptions>({ adminOnly: true, role: true, stepUp: 'unchecked' }),
}

/** @throws ConfigurationError for a method that resources do not have */
function assertMethodNames(names: readonly string[], option: string): void {
  const unknown = names.find((name) => !(crudMethods as readonly string[]).includes(name))
  if (unknown !== undefined)
    throw new ConfigurationError(`${option}: there is no method '${unknown}'. ${nearestNames(unknown, crudMethods, 'The methods')}`)
}

/** Returns the enabled methods with their options. */
export function methodsOf(options: Pick<CrudResourceOptions, 'methods' | 'skipMethods'>): Map<CrudMethod, MethodOptions> {
  const { methods, skipMethods = [] } = options
  assertMethodNames(skipMethods, 'skipMethods')
  if (Array.isArray(methods)) assertMethodNames(methods, 'methods')
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

export function hookContextOf(context: EndpointContext, { input, args }: SplitInput): HookContext {
  const { actor, request, params, parents } = context
  return {
    input,
    args,
    // A remembered user is copied on the first use.
    get caller() {
      return context.caller
    },
    actor,
    request,
    params,
    parents,
  }
}
