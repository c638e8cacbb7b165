import type { Model } from 'objection'
import { ConfigurationError, ForbiddenError } from '../model/errors.js'
import { kebabPlural } from '../model/names.js'
import { dialectOf } from '../model/storage.js'
import { transaction } from '../model/transaction.js'
import { refuse } from '../model/validator.js'
import { abilitiesFor, abilityNames, nameAbilities } from '../perms/abilities.js'
import { scopeOf } from '../perms/compile.js'
import { currentActor } from '../perms/context.js'
import { effective } from '../perms/effective.js'
import { policyOf } from '../perms/policy.js'
import {
  type CrudMethod,
  type CrudResourceOptions,
  type HookContext,
  hookContextOf,
  type MethodOptions,
  methodsOf,
} from './crud-options.js'
import { Endpoint, type EndpointContext, type EndpointOptions, type Loaded } from './endpoint.js'
import { checkIfMatch, checkPreconditions, etagOf, isConditional, isNoneMatch, recheckPreconditions, represent } from './etag.js'
import { narrowedInput, type SplitInput, splitInput } from './input.js'
import { List } from './list.js'
import { itemParameters, listParameters } from './parameters.js'
import { checkParent, conditionUnder, findRow, loadParents, type Parent, parentPath } from './parents.js'
import type { PermsPort, ResourceModel, ServedModel, ServedRow } from './ports.js'
import { Resource } from './resource.js'
import { HttpResponse, type ResponseOptions } from './response.js'
import { joinPath } from './routes.js'
import { hidden } from './run.js'
import { askedOf, checkInclude, checkIncluded, graphOf, limitIncluded, namesOf, narrowedFields, outputFields, shape } from './shape.js'

type ItemContext = EndpointContext<ServedRow>

/**
 * The rows of a model over HTTP: list, get, create, update, delete. What a caller may do with a row is the model's policy;
 * a resource can only narrow it.
 *
 * @example new CrudResource({ model: Critter, path: 'critters', methods: { list: { public: true }, delete: { adminOnly: true } } })
 */
export class CrudResource<M extends ResourceModel = ResourceModel> extends Resource {
  readonly options: Readonly<Partial<CrudResourceOptions<M>>>
  readonly #methods: ReadonlyMap<CrudMethod, MethodOptions>
  #lists = new WeakMap<object, List>()

  constructor(options: CrudResourceOptions<M>) {
    const { model, parent, path } = options as Partial<CrudResourceOptions<M>>
    const own = path ?? kebabPlural(model?.name ?? '')
    // joinPath makes a path absolute; whether it ignores the prefix is for its first slash to say.
    const whole = parent ? joinPath(parentPath(parent), own).slice(own.startsWith('/') ? 0 : 1) : own
    super({ path: whole })
    this.options = Object.freeze({ ...options })
    this.#methods = methodsOf(options)
  }

  /** The model that is served. */
  get model(): M {
    const { model } = this.options
    if (!model) throw new ConfigurationError('A CrudResource needs a model: new CrudResource({ model: Critter }).')
    return model
  }

  override get name(): string {
    return this.options.name ?? this.model.name
  }

  protected get served(): ServedModel {
    return this.model as unknown as ServedModel
  }

  override bind(_perms: PermsPort): void {
    checkParent(this.served, this.options.parent as Parent | undefined)
    nameAbilities(this.model as unknown as typeof Model, this.abilityName)
    for (const path of this.options.include ?? []) checkInclude(this.served, path)
  }

  override endpoints(): Endpoint[] {
    const made: Record<CrudMethod, () => Endpoint> = {
      list: () => this.listEndpoint(),
      get: () => this.getEndpoint(),
      create: () => this.createEndpoint(),
      update: () => this.updateEndpoint(),
      delete: () => this.deleteEndpoint(),
    }
    const own = [...this.#methods.keys()].map((method) => made[method]())
    return [...own, ...super.endpoints().map((endpoint) => this.#withRows(endpoint))]
  }

  /** How a method was configured; undefined where it is off. */
  protected methodOptions(method: CrudMethod): MethodOptions | undefined {
    const said = this.#methods.get(method)
    if (!said) return undefined
    const { schema, argSchema } = this.options
    return { ...said, schema: said.schema ?? schema, argSchema: said.argSchema ?? argSchema }
  }

  // -- the endpoints

  /** `GET /` */
  listEndpoint(): Endpoint {
    const list = this.#list()
    return this.#make('list', {
      method: 'GET',
      path: '',
      handler: async (context) => await list.run(context, conditionUnder(this.options.parent, context.parents)),
      description: { parameters: listParameters(this.served, list, this.options), output: this.served.schema.output },
    })
  }

  /** `GET /:id` */
  getEndpoint(): Endpoint {
    return this.#make('get', {
      method: 'GET',
      path: ':id',
      item: true,
      queryKeys: ['fields', 'include'],
      precondition: (context) => checkIfMatch(context.request, () => etagOf(context.row as ServedRow, this.served)),
      handler: async (context) => await this.#show(context as ItemContext),
      description: { parameters: itemParameters(this.served, this.options), output: this.served.schema.output, problems: [412] },
    })
  }

  /** `POST /` */
  createEndpoint(): Endpoint {
    const { create } = this.served.schema
    const { argSchema } = this.methodOptions('create') ?? {}
    return this.#make('create', {
      method: 'POST',
      path: '',
      queryKeys: [],
      handler: async (context) => await this.#create(context),
      refuseFirst: async () => this.#refuseCreate(),
      description: { input: narrowedInput(create, argSchema), output: this.served.schema.output, problems: [409, 413, 415, 422] },
    })
  }

  /** `PATCH /:id` */
  updateEndpoint(): Endpoint {
    const { update } = this.served.schema
    const { argSchema } = this.methodOptions('update') ?? {}
    return this.#make('update', {
      method: 'PATCH',
      path: ':id',
      item: true,
      queryKeys: [],
      precondition: (context) => checkPreconditions(context.request, context.row as ServedRow, this.served),
      handler: async (context) => await this.#update(context as ItemContext),
      refuseFirst: async (context) => await this.#refuseUpdate(context.row as ServedRow),
      description: { input: narrowedInput(update, argSchema), output: this.served.schema.output, problems: [409, 412, 413, 415, 422] },
    })
  }

  /** `DELETE /:id` */
  deleteEndpoint(): Endpoint {
    return this.#make('delete', {
      method: 'DELETE',
      path: ':id',
      item: true,
      queryKeys: [],
      precondition: (context) => checkPreconditions(context.request, context.row as ServedRow, this.served),
      handler: async (context) => await this.#delete(context as ItemContext),
      refuseFirst: async (context) => await this.#refuseDelete(context.row as ServedRow),
      description: { problems: [409, 412] },
    })
  }

  /** What a row looks like in the answer of a method. */
  protected shape(row: ServedRow, method: CrudMethod): Record<string, unknown> {
    return shape(row, this.served, this.#fields(method))
  }

  // -- how they work

  #make(method: CrudMethod, options: EndpointOptions): Endpoint {
    const { public: isPublic, adminOnly, role, schema } = this.methodOptions(method) ?? {}
    const name = `${method}${this.name}`
    const output = schema && !Array.isArray(schema) ? schema : undefined
    const abilities = options.abilities ?? (() => this.abilitiesOf(method))
    return this.#withRows(
      new Endpoint({ ...options, abilities, public: isPublic, adminOnly, role, name: options.name ?? name, schema: output }),
    )
  }

  /** The abilities one of which an API key needs for a method. */
  protected abilitiesOf(method: CrudMethod): readonly string[] {
    const cls = this.model as unknown as typeof Model
    const action = method === 'list' || method === 'get' ? 'read' : method
    return 'policy' in cls ? abilitiesFor(action, cls, policyOf(cls)) : abilityNames(cls).map((name) => `${name}:${action}`)
  }

  // Endpoints below parents, and those of an item, look up first what their path names.
  #withRows(endpoint: Endpoint): Endpoint {
    const { parent, id = 'id' } = this.options
    const { item, load } = endpoint.options
    if (load || (!parent && !item)) return endpoint
    return endpoint.with({
      load: async ({ params, perms }): Promise<Loaded> => {
        try {
          const parents = await loadParents(parent, params)
          const row = item ? await findRow(this.served, id, params.id ?? '', conditionUnder(parent, parents)) : undefined
          return { parents, row }
        } catch (error) {
          throw hidden(error, perms)
        }
      },
    })
  }

  #fields(method: CrudMethod): readonly string[] {
    return narrowedFields(this.served, this.methodOptions(method)?.schema ?? this.options.schema)
  }

  #list(): List {
    let list = this.#lists.get(this.model)
    if (!list) {
      const { id = 'id', pageSize = 20, maxPageSize = 100, include = [] } = this.options
      const argSchema = this.#methods.get('list')?.argSchema
      const filterBy = argSchema === undefined ? undefined : namesOf(argSchema)
      list = new List(this.served, {
        idProperty: 'id' in this.served.columnSpecs ? 'id' : id,
        pageSize,
        maxPageSize,
        include,
        filterBy,
        fields: this.#fields('list'),
      })
      this.#lists.set(this.model, list)
    }
    return list
  }

  async #show({ row, query, request }: ItemContext): Promise<HttpResponse> {
    const all = this.#fields('get')
    const { fields, include } = askedOf(query, all, this.options.include)
    const graph = graphOf(include)
    if (graph !== null) {
      const fetching = (row as unknown as Model).$fetchGraph(graph)
      limitIncluded(fetching as never, this.served, include)
      await fetching
      checkIncluded([row], this.served, include)
      return HttpResponse.json(shape(row, this.served, fields, include))
    }
    const { text, etag } = represent(row, this.served)
    const known = request.header('if-none-match')
    if (known !== undefined && isNoneMatch(known, etag)) return HttpResponse.empty({ status: 304, headers: { etag } })
    if (fields === outputFields(this.served)) return HttpResponse.jsonText(text, { headers: { etag } })
    return HttpResponse.json(shape(row, this.served, fields), { headers: { etag } })
  }

  // The answer to a write. What the validator is made of is the body too, where the resource narrows nothing.
  #written(row: ServedRow, method: CrudMethod, options: ResponseOptions = {}): HttpResponse {
    const { text, etag } = represent(row, this.served)
    const isWhole = this.#fields(method) === outputFields(this.served) && this.shape === CrudResource.prototype.shape
    const more = { ...options, headers: { ...options.headers, etag } }
    return isWhole ? HttpResponse.jsonText(text, more) : HttpResponse.json(this.shape(row, method), more)
  }

  async #create(context: EndpointContext): Promise<HttpResponse> {
    const { parent, hooks } = this.options
    const split = splitInput(this.served, context.input, this.methodOptions('create')?.argSchema)
    const above = conditionUnder(parent, context.parents)
    refuse(
      Object.entries(above)
        .filter(([name, value]) => split.input[name] !== undefined && split.input[name] !== value)
        .map(([name]) => ({ field: name, message: 'is not the one in the path' })),
    )
    const row = await this.#inTransaction(context.perms, hooks?.beforeCreate ?? hooks?.afterCreate, async () => {
      const hookContext = this.#hookContext(context, split)
      await hooks?.beforeCreate?.(hookContext)
      const made = await this.served.createFrom({ ...hookContext.input, ...above })
      await hooks?.afterCreate?.(made as never, hookContext)
      return made
    })
    const key = String((row as unknown as Record<string, unknown>)[this.options.id ?? 'id'])
    const location = `${context.request.url.replace(/\/$/, '')}/${encodeURIComponent(key)}`
    return this.#written(row, 'create', { status: 201, headers: { location } })
  }

  // Where no row at all may be made by this caller, that is said before what is wrong with the one sent.
  #refuseCreate(): void {
    if (!this.served.canCreate) return
    const scope = scopeOf(this.model as never, currentActor(), { dialect: dialectOf(this.served.knex()), ref: this.served.getTableName() })
    if (effective('create', scope, { withDeleted: true }) === false) throw this.#refusal('create')
  }

  async #refuseUpdate(row: ServedRow): Promise<void> {
    if ((await row.canWrite?.()) === false) throw this.#refusal('update')
  }

  async #refuseDelete(row: ServedRow): Promise<void> {
    if ((await row.canDelete?.()) === false) throw this.#refusal('delete')
  }

  // In the words of the permissions themselves: which of the two spoke tells nothing.
  #refusal(action: 'create' | 'update' | 'delete'): ForbiddenError {
    return new ForbiddenError(`You may not ${action} this ${this.model.name}.`)
  }

  async #update(context: ItemContext): Promise<HttpResponse> {
    const { hooks } = this.options
    const { row } = context
    const split = splitInput(this.served, context.input, this.methodOptions('update')?.argSchema)
    const conditional = isConditional(context.request)
    await this.#inTransaction(context.perms, conditional || hooks?.beforeUpdate || hooks?.afterUpdate, async () => {
      const hookContext = this.#hookContext(context, split)
      if (conditional) await recheckPreconditions(context.request, row, this.served)
      await hooks?.beforeUpdate?.(row as never, hookContext)
      // A change of nothing reaches no statement that would ask.
      if (Object.keys(hookContext.input).length === 0) await this.#refuseUpdate(row)
      await row.updateFrom(hookContext.input)
      await hooks?.afterUpdate?.(row as never, hookContext)
    })
    return this.#written(row, 'update')
  }

  async #delete(context: ItemContext): Promise<HttpResponse> {
    const { hooks } = this.options
    const { row } = context
    const conditional = isConditional(context.request)
    await this.#inTransaction(context.perms, conditional || hooks?.beforeDelete || hooks?.afterDelete, async () => {
      const hookContext = this.#hookContext(context, { input: {}, args: {} })
      if (conditional) await recheckPreconditions(context.request, row, this.served)
      await hooks?.beforeDelete?.(row as never, hookContext)
      await row.delete()
      await hooks?.afterDelete?.(row as never, hookContext)
    })
    return HttpResponse.empty()
  }

  // A copy for each try of the transaction: what hooks set is not there already when it is tried again.
  #hookContext(context: EndpointContext, split: SplitInput): HookContext {
    return hookContextOf(context, this.options.hooks ? structuredClone(split) : split)
  }

  async #inTransaction<T>(perms: PermsPort, isNeeded: unknown, fn: () => Promise<T>): Promise<T> {
    return isNeeded ? await transaction(fn, { knex: perms.knex }) : await fn()
  }
}
