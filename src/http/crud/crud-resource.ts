import type { Model } from 'objection'
import { ConfigurationError } from '../../core/errors.js'
import { assertKnownOptions, type OptionNames } from '../../core/known-options.js'
import { capital } from '../../core/names.js'
import { transaction } from '../../database/transaction.js'
import { insertsWithoutCode } from '../../enforce/inserts-without-code.js'
import { assertMayAct } from '../../enforce/locked-row.js'
import { abilitiesFor, abilityNames, nameAbilities } from '../../policy/abilities.js'
import { isCrudAction } from '../../policy/actions.js'
import type { Actor } from '../../policy/context.js'
import { assertAction, policyOf } from '../../policy/policy.js'
import { proveCallerByInsert } from '../../query/caller-proof.js'
import { Endpoint, type EndpointContext, type EndpointOptions, type Loaded } from '../core/endpoint.js'
import { type PermsPort, type ResourceModel, type ServedModel, type ServedRow, servedModel } from '../core/ports.js'
import { canProve, proving } from '../core/proving-endpoints.js'
import { itemParameters, listParameters } from '../openapi/parameters.js'
import { applyAccessDenied } from '../serve/run.js'
import { askedActions, isOpenNow, type OfferedActions } from './allowed.js'
import type { CrudMethod } from './crud-options.js'
import { describedBy } from './described.js'
import { checkIfMatch, checkPreconditions, etagOf } from './etag.js'
import { assertOptions, noteBound, readFurtherTypes, readTypes } from './existing/table-types.js'
import { narrowedInput } from './input.js'
import { List } from './list.js'
import { checkParent, conditionUnder, findRow, loadParents } from './parents.js'
import { presented } from './presented.js'
import { type ActionOptions, actionOptionNames, actionPath, actionSchema, checkedInput } from './row-actions.js'
import { checkInclude, namesOf, outputFields } from './shape.js'
import { SharedRows } from './shared-rows.js'

const noActions: OfferedActions = { names: [], isOpenTo: () => false }

type ItemContext = EndpointContext<ServedRow>

/**
 * Serves the rows of a model over HTTP: list, get, create, update and delete. The policy of the model decides what a caller may do
 * with a row. The options of a resource can only restrict that further.
 *
 * @example new CrudResource({ model: Critter, path: 'critters', methods: { list: { public: true }, delete: { adminOnly: true } } })
 */
export class CrudResource<M extends ResourceModel = ResourceModel> extends SharedRows<M> {
  readonly #lists = { all: new WeakMap<object, List>(), deleted: new WeakMap<object, List>() }
  readonly #actions = new Map<string, Endpoint>()

  override bind(_perms: PermsPort): void {
    const model = servedModel(this.model)
    void this.idProperty
    checkParent(model, this.options.parent)
    this.assertDeleted(model)
    this.assertShares(model)
    nameAbilities(model, this.abilityName)
    for (const path of this.included.paths) checkInclude(model, path)
    if (this.modelsWithoutTypes.length === 0) this.assertColumns()
    for (const name of this.#actions.keys()) this.#assertAction(model, name)
    noteBound(this)
  }

  /**
   * Adds the endpoint of an action that the policy of the model adds: `POST /:id/<name>`. The row is loaded under its read rule (404),
   * locked, and checked by the rule of the action (403, or 401 if a fresh session would suffice).
   *
   * @param name a key of `static policy`, such as 'close'
   * @throws ConfigurationError when the API is mounted, if the policy has no such rule
   * @example
   * documents.action<{ reason: string }>('close', {
   *   input: { type: 'object', properties: { reason: { type: 'string', maxLength: 200 } }, required: ['reason'] },
   *   handler: async ({ row, input }) => ({ closed: row.$id(), reason: input.reason }),
   * })
   */
  action<Input = Record<string, unknown>>(name: string, options: ActionOptions<InstanceType<M>, Input>): Endpoint {
    if (isCrudAction(name))
      throw new ConfigurationError(`action('${name}'): this action has an endpoint of its own. Use the option 'methods'.`)
    assertKnownOptions(options, actionOptionNames as OptionNames<typeof options>, `action('${name}', ...)`)
    const { handler, input, path, schema, ...access } = options
    const endpoint = this.endpoint({
      ...access,
      method: 'POST',
      path: actionPath(name, path),
      name: `${name}${this.options.name ?? this.options.model?.name ?? capital(this.abilityName)}`,
      item: true,
      queryKeys: [],
      readsBody: input !== undefined,
      abilities: proving(() => abilitiesFor(name, servedModel(this.model), policyOf(servedModel(this.model)))),
      precondition: (context) => checkPreconditions(context.request, context.row as ServedRow, this.served, context.perms),
      assertAllowed: async (context) => await assertMayAct(context.row as ServedRow & Model, name),
      handler: async (context) => {
        const given = input === undefined ? undefined : checkedInput(this.served, context.input, input)
        return await transaction(
          async () => {
            const row = await this.lockedFor(name, context.row as ServedRow & Model)
            checkPreconditions(context.request, row, this.served, context.perms)
            return await handler({ ...context, row: row as InstanceType<M>, input: given as Input })
          },
          { knex: context.perms.knex },
        )
      },
      description: describedBy({
        ...(input === undefined ? {} : { input: () => actionSchema(this.served, input) }),
        output: () => schema ?? this.outputOf('get'),
        problems: input === undefined ? [409, 412] : [409, 412, 413, 415, 422],
      }),
    })
    this.#actions.set(name, endpoint)
    return endpoint
  }

  #assertAction(model: ServedModel, name: string): void {
    if (!('policy' in model))
      throw new ConfigurationError(`action('${name}'): ${model.name} has no policy. Extend BasePermsModel, and add the rule '${name}'.`)
    assertAction(model, name)
  }

  override get offeredActions(): OfferedActions {
    const model = this.options.model ?? this.model
    if ('allowed' in servedModel(model).columnSpecs) return { names: [], isOpenTo: () => false }
    const methods = (['update', 'delete'] as const).filter((method) => this.methodOptions(method))
    return {
      names: [...methods, ...this.#actions.keys()],
      isOpenTo: (name, actor) => this.isActionOpen(name, actor),
    }
  }

  /** Returns whether a caller may use the endpoint of an action at all, with this session. */
  protected isActionOpen(name: string, actor: Actor | null): boolean {
    const action = this.#actions.get(name)
    if (action) return isOpenNow(action.options, actor)
    const method = name as CrudMethod
    const options = this.methodOptions(method)
    return options !== undefined && isOpenNow({ ...options, abilities: () => this.abilitiesOf(method) }, actor)
  }

  override endpoints(): Endpoint[] {
    const made: Record<CrudMethod, () => Endpoint> = {
      list: () => this.listEndpoint(),
      get: () => this.getEndpoint(),
      create: () => this.createEndpoint(),
      update: () => this.updateEndpoint(),
      delete: () => this.deleteEndpoint(),
    }
    const models = this.modelsWithoutTypes
    const own = [...this.enabledMethods.keys()].map((method) => made[method]())
    if (this.deletedOptions) own.push(this.deletedListEndpoint(), this.restoreEndpoint())
    if (this.shareOptions) own.push(this.sharesListEndpoint(), this.shareEndpoint(), this.unshareEndpoint())
    return [...own, ...super.endpoints().map((endpoint) => this.#withRows(this.#presenting(endpoint)))].map((one) =>
      this.#withTypes(one, models),
    )
  }

  /** `GET /` */
  listEndpoint(): Endpoint {
    const list = () => this.#list()
    if (!this.needsTypes) list()
    return this.#make('list', {
      method: 'GET',
      path: '',
      handler: this.#proving(async (context: EndpointContext) => list().run(context, conditionUnder(this.options.parent, context.parents))),
      description: describedBy({
        parameters: () => listParameters(list(), this.queryOptionsOf('list')),
        output: () => this.outputOf('list'),
      }),
    })
  }

  /** `GET /:id` */
  getEndpoint(): Endpoint {
    return this.#make('get', {
      method: 'GET',
      path: ':id',
      item: true,
      queryKeys: this.offeredActions.names.length > 0 ? ['fields', 'include', 'allowed'] : ['fields', 'include'],
      precondition: this.#proving((context: EndpointContext) =>
        checkIfMatch(context.request, () => etagOf(context.row as ServedRow, this.served, context.perms)),
      ),
      handler: this.#proving(async (context: EndpointContext) => this.showRow(context as ItemContext)),
      description: describedBy({
        parameters: () => itemParameters(this.queryOptionsOf('get')),
        output: () => this.outputOf('get'),
        problems: [412],
      }),
    })
  }

  /** `POST /` */
  createEndpoint(): Endpoint {
    const { argSchema } = this.methodOptions('create') ?? {}
    return this.#make('create', {
      method: 'POST',
      path: '',
      queryKeys: [],
      handler: this.#proving(
        async (context: EndpointContext) => {
          proveCallerByInsert()
          return await this.createRow(context)
        },
        () => this.#createsWithoutCode(),
      ),
      assertAllowed: this.#proving(async () => this.refuseCreate()),
      description: describedBy({
        input: () => narrowedInput(this.served.schema.create, argSchema),
        output: () => this.outputOf('create'),
        problems: [409, 413, 415, 422],
      }),
    })
  }

  /** `PATCH /:id` */
  updateEndpoint(): Endpoint {
    const { argSchema } = this.methodOptions('update') ?? {}
    return this.#make('update', {
      method: 'PATCH',
      path: ':id',
      item: true,
      queryKeys: [],
      precondition: (context) => checkPreconditions(context.request, context.row as ServedRow, this.served, context.perms),
      handler: async (context) => await this.updateRow(context as ItemContext),
      assertAllowed: async (context) => await this.refuseUpdate(context.row as ServedRow),
      description: describedBy({
        input: () => narrowedInput(this.served.schema.update, argSchema),
        output: () => this.outputOf('update'),
        problems: [409, 412, 413, 415, 422],
      }),
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
      handler: async (context) => await this.deleteRow(context as ItemContext),
      assertAllowed: async (context) => await this.refuseDelete(context.row as ServedRow),
      description: { problems: [409, 412] },
    })
  }

  /** `GET /deleted` */
  deletedListEndpoint(): Endpoint {
    const list = () => this.#list('deleted')
    if (!this.needsTypes) list()
    return this.#withRows(new Endpoint(this.deletedListOptions(list)))
  }

  /** `POST /:id/restore` */
  restoreEndpoint(): Endpoint {
    return this.#withRows(new Endpoint(this.restoreOptions()), (key, more) => this.findRestorable(key, more))
  }

  /** `GET /:id/shares` */
  sharesListEndpoint(): Endpoint {
    return this.#withRows(new Endpoint(this.sharesListOptions()))
  }

  /** `POST /:id/shares` */
  shareEndpoint(): Endpoint {
    return this.#withRows(new Endpoint(this.shareEndpointOptions()))
  }

  /** `DELETE /:id/shares` */
  unshareEndpoint(): Endpoint {
    return this.#withRows(new Endpoint(this.unshareOptions()))
  }

  #make(method: CrudMethod, options: EndpointOptions): Endpoint {
    const { public: isPublic, adminOnly, role, stepUp, schema } = this.methodOptions(method) ?? {}
    const name = `${method}${this.name}`
    const output = schema && !Array.isArray(schema) ? schema : undefined
    const abilities = options.abilities ?? this.#proving(() => this.abilitiesOf(method))
    return this.#withRows(
      new Endpoint({ ...options, abilities, public: isPublic, adminOnly, role, stepUp, name: options.name ?? name, schema: output }),
    )
  }

  /** Returns the abilities for a method. An API key needs one of them. */
  protected abilitiesOf(method: CrudMethod): readonly string[] {
    const cls = servedModel(this.model)
    const action = method === 'list' || method === 'get' ? 'read' : method
    return 'policy' in cls ? abilitiesFor(action, cls, policyOf(cls)) : abilityNames(cls).map((name) => `${name}:${action}`)
  }

  // Makes endpoints with parents or an `:id` load these rows first.
  #withRows(endpoint: Endpoint, find?: (key: string, more: object) => Promise<ServedRow>): Endpoint {
    const { parent } = this.options
    const { item, load, queryKeys } = endpoint.options
    if (load || (!parent && !item)) return endpoint
    // The query of `find` has conditions of its own, and does not prove the caller.
    return endpoint.with({
      load: this.#proving(
        async ({ params, query, perms }: EndpointContext): Promise<Loaded> => {
          const allowed = queryKeys?.includes('allowed') ? askedActions(query, this.offeredActions) : []
          try {
            const parents = await loadParents(parent, params)
            if (!item) return { parents, row: undefined }
            const key = params.id ?? ''
            const more = conditionUnder(parent, parents)
            return { parents, row: await (find?.(key, more) ?? findRow(this.served, this.idProperty, key, { more, allowed })) }
          } catch (error) {
            throw applyAccessDenied(error, perms)
          }
        },
        () => find === undefined,
      ),
    })
  }

  // Marks a part of an endpoint if its first statement can prove the caller.
  #proving<F extends object>(part: F, isProving?: () => boolean): F {
    const models: object[] = []
    for (let { parent } = this.options; parent; parent = parent.parent) models.push(parent.model)
    return canProve(this, CrudResource.prototype, [this.model, ...models]) ? proving(part, isProving) : part
  }

  // Returns whether the INSERT of a new row is the first statement, and no code of the application runs before it.
  #createsWithoutCode(): boolean {
    const { beforeCreate, afterCreate } = this.hooks
    const argSchema = this.methodOptions('create')?.argSchema
    return !beforeCreate && !afterCreate && argSchema === undefined && insertsWithoutCode(this.served)
  }

  // The first request waits until the database has told the types of the columns.
  #withTypes(endpoint: Endpoint, models: readonly ServedModel[]): Endpoint {
    const { load } = endpoint.options
    if (models.length === 0) return endpoint
    return endpoint.with({
      load: async (context): Promise<Loaded> => {
        await readTypes(models)
        assertOptions(this)
        return load ? await load(context) : { row: undefined, parents: [] }
      },
    })
  }

  // Shows the rows in the result of a custom endpoint like in all other responses.
  #presenting(endpoint: Endpoint): Endpoint {
    const { handler } = endpoint.options
    return endpoint.with({
      handler: async (context) => {
        const result = await handler(context)
        // The result may contain rows of any model.
        await readFurtherTypes()
        return presented(result, context.resources, context.actor, this)
      },
    })
  }

  #list(rows: 'all' | 'deleted' = 'all'): List {
    const model = this.served
    let list = this.#lists[rows].get(model)
    if (!list) {
      const { pageSize = 20, maxPageSize = 100 } = this.options
      const fields = this.fieldsOf('list')
      const argSchema = this.enabledMethods.get('list')?.argSchema
      const filterBy = argSchema === undefined ? undefined : namesOf(argSchema)
      list = new List(model, {
        idProperty: 'id' in model.columnSpecs ? 'id' : this.idProperty,
        pageSize,
        maxPageSize,
        include: this.included.paths,
        actions: () => (rows === 'all' ? this.offeredActions : noActions),
        rows: rows === 'all' ? undefined : { name: rows, query: () => this.deletedRows() },
        filterBy,
        fields,
        shownTo: (actor) => {
          const shown = this.shownTo(actor)
          // A caller of list sees its columns, even if a subclass allows more callers than the options.
          return fields.every((name) => shown.includes(name))
            ? shown
            : outputFields(model).filter((name) => shown.includes(name) || fields.includes(name))
        },
        shaper: (context, asked, include) => this.shaperFor('list', context, asked, include),
      })
      this.#lists[rows].set(model, list)
    }
    return list
  }
}
