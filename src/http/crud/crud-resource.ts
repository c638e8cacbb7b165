import { ConfigurationError, ForbiddenError } from '../../core/errors.js'
import { kebabPlural } from '../../core/names.js'
import { transaction } from '../../database/transaction.js'
import { abilitiesFor, abilityNames, nameAbilities } from '../../policy/abilities.js'
import { scopeOf } from '../../policy/compiler/scope.js'
import { type Actor, currentActor, runAsActor } from '../../policy/context.js'
import { effective } from '../../policy/effective.js'
import { policyOf } from '../../policy/policy.js'
import { ADMIN } from '../../policy/user-tables.js'
import { valuesByName } from '../../schema/model-class.js'
import { dialectOf } from '../../schema/storage.js'
import { assertNoErrors } from '../../schema/validator.js'
import { holdsRole } from '../caller/request-authenticator.js'
import { Endpoint, type EndpointContext, type EndpointOptions, type Loaded } from '../core/endpoint.js'
import { type PermsPort, type ResourceModel, type ServedModel, type ServedRow, servedModel } from '../core/ports.js'
import { Resource } from '../core/resource.js'
import { HttpResponse, type ResponseOptions } from '../core/response.js'
import { joinPath } from '../core/routes.js'
import { itemParameters, listParameters } from '../openapi/parameters.js'
import { applyAccessDenied } from '../serve/run.js'
import { checkColumns } from './columns.js'
import {
  type CrudHooks,
  type CrudMethod,
  type CrudResourceOptions,
  type HookContext,
  hookContextOf,
  type MethodOptions,
  methodsOf,
} from './crud-options.js'
import { checkIfMatch, checkPreconditions, etagOf, isConditional, isNoneMatch, recheckPreconditions, represent } from './etag.js'
import { narrowedInput, narrowedOutput, type SplitInput, splitInput } from './input.js'
import { List } from './list.js'
import { checkParent, conditionUnder, findRow, idPropertyOf, loadParents, parentPath } from './parents.js'
import { presented } from './presented.js'
import { type Included, type RelatedRows, readInclude, relatedShaper } from './related.js'
import {
  checkInclude,
  checkIncluded,
  graphOf,
  type Include,
  limitIncluded,
  namesOf,
  narrowed,
  narrowedFields,
  outputFields,
  parseItemQuery,
  type Shaper,
  shape,
  shaper,
  withRelations,
} from './shape.js'

type ItemContext = EndpointContext<ServedRow>

/** The values of a new row from a request body, after the checks of create. */
export interface PreparedRow {
  readonly values: Record<string, unknown>
  /** Runs the afterCreate hook as the caller. */
  readonly afterCreate: (row: ServedRow) => Promise<void>
}

/**
 * Serves the rows of a model over HTTP: list, get, create, update and delete. The policy of the model decides what a caller may do
 * with a row. The options of a resource can only restrict that further.
 *
 * @example new CrudResource({ model: Critter, path: 'critters', methods: { list: { public: true }, delete: { adminOnly: true } } })
 */
export class CrudResource<M extends ResourceModel = ResourceModel> extends Resource {
  readonly options: Readonly<Partial<CrudResourceOptions<M>>>
  /** The relations that clients may include. */
  readonly included: Included
  readonly #methods: ReadonlyMap<CrudMethod, MethodOptions>
  #lists = new WeakMap<object, List>()

  constructor(options: CrudResourceOptions<M>) {
    const { model, parent, path } = options
    const own = path ?? kebabPlural(model?.name ?? '')
    // joinPath adds a leading slash. Keep it only if `path` has one, which means that it ignores the prefix.
    const whole = parent ? joinPath(parentPath(parent), own).slice(own.startsWith('/') ? 0 : 1) : own
    super({ path: whole })
    this.options = Object.freeze({ ...options })
    this.included = readInclude(options.include)
    this.#methods = methodsOf(options)
  }

  /** The model that the resource serves. */
  get model(): M {
    const { model } = this.options
    if (!model) throw new ConfigurationError('CrudResource has no model. Pass one: new CrudResource({ model: Critter }).')
    return model
  }

  override get name(): string {
    return this.options.name ?? this.model.name
  }

  protected get served(): ServedModel {
    return servedModel(this.model)
  }

  /** The column that identifies a row in the path. @throws ConfigurationError for a composite key, unless the option `id` names one */
  get idProperty(): string {
    return this.options.id ?? idPropertyOf(this.model)
  }

  override bind(_perms: PermsPort): void {
    checkColumns(this.served)
    void this.idProperty
    checkParent(this.served, this.options.parent)
    nameAbilities(this.served, this.abilityName)
    for (const path of this.included.paths) checkInclude(this.served, path)
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
    return [...own, ...super.endpoints().map((endpoint) => this.#withRows(this.#presenting(endpoint)))]
  }

  /** Returns the options of a method, or undefined if it is disabled. */
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
      description: { parameters: listParameters(list, this.#described('list')), output: this.#output('list') },
    })
  }

  /** `GET /:id` */
  getEndpoint(): Endpoint {
    return this.#make('get', {
      method: 'GET',
      path: ':id',
      item: true,
      queryKeys: ['fields', 'include'],
      precondition: (context) => checkIfMatch(context.request, () => etagOf(context.row as ServedRow, this.served, context.perms)),
      handler: async (context) => await this.#show(context as ItemContext),
      description: { parameters: itemParameters(this.#described('get')), output: this.#output('get'), problems: [412] },
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
      assertAllowed: async () => this.refuseCreate(),
      description: { input: narrowedInput(create, argSchema), output: this.#output('create'), problems: [409, 413, 415, 422] },
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
      precondition: (context) => checkPreconditions(context.request, context.row as ServedRow, this.served, context.perms),
      handler: async (context) => await this.#update(context as ItemContext),
      assertAllowed: async (context) => await this.#refuseUpdate(context.row as ServedRow),
      description: { input: narrowedInput(update, argSchema), output: this.#output('update'), problems: [409, 412, 413, 415, 422] },
    })
  }

  /** `DELETE /:id` */
  deleteEndpoint(): Endpoint {
    return this.#make('delete', {
      method: 'DELETE',
      path: ':id',
      status: 204,
      item: true,
      queryKeys: [],
      precondition: (context) => checkPreconditions(context.request, context.row as ServedRow, this.served, context.perms),
      handler: async (context) => await this.#delete(context as ItemContext),
      assertAllowed: async (context) => await this.#refuseDelete(context.row as ServedRow),
      description: { problems: [409, 412] },
    })
  }

  /**
   * Returns the object that the response of a method shows for a row. Applies to every row of the resource, also when another
   * resource includes it. Override it in a subclass to change all responses.
   *
   * @example
   * class Documents extends CrudResource {
   *   protected override shape(row: ServedRow, method: CrudMethod) {
   *     const shown = super.shape(row, method)
   *     return { ...shown, self: `/documents/${shown.id}` }
   *   }
   * }
   */
  protected shape(row: ServedRow, method: CrudMethod): Record<string, unknown> {
    return shape(row, this.served, this.fieldsOf(method))
  }

  /** Returns the columns that a method shows. */
  protected fieldsOf(method: CrudMethod): readonly string[] {
    return narrowedFields(this.served, (this.methodOptions(method) ?? this.options).schema)
  }

  /**
   * Returns the columns that a caller may see through list or get. If the caller may use neither, returns the columns that both show.
   *
   * @param actor the caller; without it, the columns that at least one caller may see
   */
  shownTo(actor?: Actor | null): readonly string[] {
    const reads = (['list', 'get'] as const).filter((method) => this.methodOptions(method))
    if (reads.length === 0) return narrowedFields(this.served, this.options.schema)
    const open = actor === undefined ? reads : reads.filter((method) => this.#isOpenTo(method, actor))
    const shown = (open.length > 0 ? open : reads).map((method) => this.fieldsOf(method))
    const isShown = (name: string) =>
      open.length > 0 ? shown.some((fields) => fields.includes(name)) : shown.every((fields) => fields.includes(name))
    const all = outputFields(this.served)
    const names = all.filter(isShown)
    return names.length === all.length ? all : names
  }

  override relatedRows(model: ServedModel, actor?: Actor | null): RelatedRows | null {
    if (model.getTableName() !== this.served.getTableName()) return null
    const method = actor === undefined || this.#isOpenTo('get', actor) || !this.#isOpenTo('list', actor) ? 'get' : 'list'
    return { fields: this.shownTo(actor), show: this.hasOwnShape ? (row) => this.shape(row, method) : null }
  }

  /** Whether a subclass overrides shape(). */
  protected get hasOwnShape(): boolean {
    return this.shape !== CrudResource.prototype.shape
  }

  #isOpenTo(method: CrudMethod, actor: Actor | null): boolean {
    const said = this.methodOptions(method)
    if (!said) return false
    if (actor === null) return said.public === true
    return (!said.adminOnly || holdsRole(actor, ADMIN)) && (said.role === undefined || holdsRole(actor, said.role))
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

  /** Returns the abilities for a method. An API key needs one of them. */
  protected abilitiesOf(method: CrudMethod): readonly string[] {
    const cls = this.served
    const action = method === 'list' || method === 'get' ? 'read' : method
    return 'policy' in cls ? abilitiesFor(action, cls, policyOf(cls)) : abilityNames(cls).map((name) => `${name}:${action}`)
  }

  // Makes endpoints with parents or an `:id` load these rows first.
  #withRows(endpoint: Endpoint): Endpoint {
    const { parent } = this.options
    const { item, load } = endpoint.options
    if (load || (!parent && !item)) return endpoint
    return endpoint.with({
      load: async ({ params, perms }): Promise<Loaded> => {
        try {
          const parents = await loadParents(parent, params)
          const row = item ? await findRow(this.served, this.idProperty, params.id ?? '', conditionUnder(parent, parents)) : undefined
          return { parents, row }
        } catch (error) {
          throw applyAccessDenied(error, perms)
        }
      },
    })
  }

  // Shows the rows in the result of a custom endpoint like in all other responses.
  #presenting(endpoint: Endpoint): Endpoint {
    const { handler } = endpoint.options
    return endpoint.with({ handler: async (context) => presented(await handler(context), context.resources, context.actor, this) })
  }

  #output(method: CrudMethod): object {
    return narrowedOutput(this.served.schema.output, this.fieldsOf(method))
  }

  #described(method: CrudMethod) {
    const { pageSize = 20, maxPageSize = 100 } = this.options
    return { pageSize, maxPageSize, include: this.included.paths, fields: this.fieldsOf(method) }
  }

  #shaper(method: CrudMethod, { resources, actor }: EndpointContext, fields: readonly string[], include: Include): Shaper {
    const withOwnShape: Shaper = (row) => {
      const shown = this.shape(row, method)
      // Show keys that are not columns, unless the client requested specific columns.
      if (fields.length === this.fieldsOf(method).length) return narrowed(shown, this.served, fields)
      return Object.fromEntries(Object.entries(shown).filter(([name]) => fields.includes(name)))
    }
    const show = this.hasOwnShape ? withOwnShape : shaper(this.served, fields)
    return withRelations(show, this.served, include, relatedShaper(this.included, resources, actor))
  }

  #list(): List {
    let list = this.#lists.get(this.model)
    if (!list) {
      const { pageSize = 20, maxPageSize = 100 } = this.options
      const fields = this.fieldsOf('list')
      const argSchema = this.#methods.get('list')?.argSchema
      const filterBy = argSchema === undefined ? undefined : namesOf(argSchema)
      list = new List(this.served, {
        idProperty: 'id' in this.served.columnSpecs ? 'id' : this.idProperty,
        pageSize,
        maxPageSize,
        include: this.included.paths,
        filterBy,
        fields,
        shownTo: (actor) => {
          const shown = this.shownTo(actor)
          // A caller of list sees its columns, even if a subclass allows more callers than the options.
          return fields.every((name) => shown.includes(name))
            ? shown
            : outputFields(this.served).filter((name) => shown.includes(name) || fields.includes(name))
        },
        shaper: (context, asked, include) => this.#shaper('list', context, asked, include),
      })
      this.#lists.set(this.model, list)
    }
    return list
  }

  async #show(context: ItemContext): Promise<HttpResponse> {
    const { row, query, request, perms } = context
    const { fields, include } = parseItemQuery(query, this.fieldsOf('get'), this.included.paths)
    const graph = graphOf(include)
    if (graph !== null) {
      const fetching = row.$fetchGraph(graph)
      limitIncluded(fetching, this.served, include)
      await fetching
      checkIncluded([row], this.served, include)
      return HttpResponse.json(this.#shaper('get', context, fields, include)(row))
    }
    const { text, etag } = represent(row, this.served, perms)
    const known = request.header('if-none-match')
    if (known !== undefined && isNoneMatch(known, etag)) return HttpResponse.empty({ status: 304, headers: { etag } })
    if (fields === outputFields(this.served) && !this.hasOwnShape) return HttpResponse.jsonText(text, { headers: { etag } })
    return HttpResponse.json(this.#shaper('get', context, fields, {})(row), { headers: { etag } })
  }

  // Returns the response to a write. The text for the ETag is also the body, if the resource shows all columns.
  #written(row: ServedRow, method: CrudMethod, perms: PermsPort, options: ResponseOptions = {}): HttpResponse {
    const { text, etag } = represent(row, this.served, perms)
    const isWhole = this.fieldsOf(method) === outputFields(this.served) && !this.hasOwnShape
    const more = { ...options, headers: { ...options.headers, etag } }
    return isWhole ? HttpResponse.jsonText(text, more) : HttpResponse.json(this.shape(row, method), more)
  }

  // Reads a body for a new row: checks argSchema, and adds the columns that the parents in the path determine.
  #readCreate(context: EndpointContext, body: unknown, known: object = {}): { split: SplitInput; above: Record<string, unknown> } {
    const split = splitInput(this.served, body, this.methodOptions('create')?.argSchema, known)
    const above = conditionUnder(this.options.parent, context.parents)
    assertNoErrors(
      Object.entries(above)
        .filter(([name, value]) => split.input[name] !== undefined && split.input[name] !== value)
        .map(([name]) => ({ field: name, message: 'is not the one in the path' })),
    )
    return { split, above }
  }

  /**
   * Prepares a row that other code inserts, such as a user who accepts an invitation. Reads the body like create, and runs
   * beforeCreate in a separate transaction.
   *
   * @param known values that the server adds to the body
   * @throws ValidationError, and errors of beforeCreate
   */
  protected async prepareCreate(context: EndpointContext, body: unknown, known: object = {}): Promise<PreparedRow> {
    const hooks = this.#hooks
    const { split, above } = this.#readCreate(context, body, known)
    const hookContext = await this.#inTransaction(context.perms, hooks.beforeCreate, async () => {
      const made = this.#hookContext(context, split)
      await hooks.beforeCreate?.(made)
      return made
    })
    return {
      values: { ...hookContext.input, ...above },
      // The row is inserted as the system. The hook runs with the rights of the caller.
      afterCreate: async (row) => {
        await runAsActor(context.actor, async () => await hooks.afterCreate?.(row, hookContext))
      },
    }
  }

  async #create(context: EndpointContext): Promise<HttpResponse> {
    const hooks = this.#hooks
    // Checked before the input is validated, because it needs no statement.
    this.refuseCreate()
    const { split, above } = this.#readCreate(context, context.input)
    const row = await this.#inTransaction(context.perms, hooks.beforeCreate ?? hooks.afterCreate, async () => {
      const hookContext = this.#hookContext(context, split)
      await hooks.beforeCreate?.(hookContext)
      const made = await this.#withDefaults(await this.served.createFrom({ ...hookContext.input, ...above }))
      await hooks.afterCreate?.(made, hookContext)
      return made
    })
    const key = String(valuesByName(row)[this.idProperty])
    const location = `${context.request.url.replace(/\/$/, '')}/${encodeURIComponent(key)}`
    return this.#written(row, 'create', context.perms, { status: 201, headers: { location } })
  }

  // The defaults of existing columns are known to the database only. A caller who may not read the row sees what was sent.
  async #withDefaults(row: ServedRow): Promise<ServedRow> {
    const values = valuesByName(row)
    const isMissing = Object.entries(this.served.columnSpecs).some(([name, spec]) => spec.isExisting && values[name] === undefined)
    if (!isMissing) return row
    const read = await this.served.query().findById(row.$id())
    return read ?? row
  }

  /** Checks whether the caller may create any row at all, before the input is validated. @throws ForbiddenError */
  protected refuseCreate(): void {
    if (!this.served.canCreate) return
    const scope = scopeOf(this.served, currentActor(), { dialect: dialectOf(this.served.knex()), ref: this.served.getTableName() })
    if (effective('create', scope, { withDeleted: true }) === false) throw this.refusal('create')
  }

  async #refuseUpdate(row: ServedRow): Promise<void> {
    if ((await row.canWrite?.()) === false) throw this.refusal('update')
  }

  async #refuseDelete(row: ServedRow): Promise<void> {
    if ((await row.canDelete?.()) === false) throw this.refusal('delete')
  }

  // Uses the same message as the permission engine, so that it does not reveal which check failed.
  protected refusal(action: 'create' | 'update' | 'delete'): ForbiddenError {
    return new ForbiddenError(`You may not ${action} this ${this.model.name}.`)
  }

  async #update(context: ItemContext): Promise<HttpResponse> {
    const hooks = this.#hooks
    const { row } = context
    const split = splitInput(this.served, context.input, this.methodOptions('update')?.argSchema)
    const conditional = isConditional(context.request)
    await this.#inTransaction(context.perms, conditional || hooks.beforeUpdate || hooks.afterUpdate, async () => {
      const hookContext = this.#hookContext(context, split)
      if (conditional) await recheckPreconditions(context.request, row, this.served, context.perms)
      await hooks.beforeUpdate?.(row, hookContext)
      // An empty change runs no statement, so check the permission here.
      if (Object.keys(hookContext.input).length === 0) await this.#refuseUpdate(row)
      await row.updateFrom(hookContext.input)
      await hooks.afterUpdate?.(row, hookContext)
    })
    return this.#written(row, 'update', context.perms)
  }

  async #delete(context: ItemContext): Promise<HttpResponse> {
    const hooks = this.#hooks
    const { row } = context
    const conditional = isConditional(context.request)
    await this.#inTransaction(context.perms, conditional || hooks.beforeDelete || hooks.afterDelete, async () => {
      const hookContext = this.#hookContext(context, { input: {}, args: {} })
      if (conditional) await recheckPreconditions(context.request, row, this.served, context.perms)
      await hooks.beforeDelete?.(row, hookContext)
      await row.delete()
      await hooks.afterDelete?.(row, hookContext)
    })
    return HttpResponse.empty()
  }

  // The rows of the resource are instances of its model.
  get #hooks(): CrudHooks<ServedRow> {
    return (this.options.hooks ?? {}) as CrudHooks<ServedRow>
  }

  // Copies the input for each attempt of the transaction, so that a retry starts without the changes of hooks.
  #hookContext(context: EndpointContext, split: SplitInput): HookContext {
    return hookContextOf(context, this.options.hooks ? structuredClone(split) : split)
  }

  async #inTransaction<T>(perms: PermsPort, isNeeded: unknown, fn: () => Promise<T>): Promise<T> {
    return isNeeded ? await transaction(fn, { knex: perms.knex }) : await fn()
  }
}
