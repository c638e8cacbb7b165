import type { Model } from 'objection'
import { ForbiddenError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { transaction } from '../../database/transaction.js'
import { lockOrRefuse } from '../../enforce/locked-row.js'
import { policyObserver } from '../../enforce/policy-observer.js'
import { orStepUp, rulesOfWrite } from '../../enforce/step-up.js'
import { scopeOf } from '../../policy/compiler/scope.js'
import { type Actor, currentActor, runAsActor } from '../../policy/context.js'
import { effective } from '../../policy/effective.js'
import { freshSessions } from '../../policy/fresh-session.js'
import { refusedBy } from '../../policy/refusal.js'
import { fromClient } from '../../schema/input.js'
import { valuesByName } from '../../schema/model-class.js'
import { dialectOf } from '../../schema/storage.js'
import { assertNoErrors } from '../../schema/validator.js'
import type { EndpointContext } from '../core/endpoint.js'
import { isServedRow, type PermsPort, type ResourceModel, type ServedRow } from '../core/ports.js'
import { HttpResponse, type ResponseOptions } from '../core/response.js'
import { withFlags } from './allowed.js'
import { type CrudHooks, type CrudMethod, type HookContext, hookContextOf } from './crud-options.js'
import { CrudView } from './crud-view.js'
import { isConditional, isNoneMatch, recheckPreconditions, represent } from './etag.js'
import { type SplitInput, splitInput } from './input.js'
import { conditionUnder } from './parents.js'
import { checkIncluded, graphOf, limitIncluded, outputFields, parseItemQuery } from './shape.js'

type ItemContext = EndpointContext<ServedRow>

/** The values of a new row from a request body, after the checks of create. */
export interface PreparedRow {
  readonly values: Record<string, unknown>
  /** Runs the afterCreate hook as the caller. */
  readonly afterCreate: (row: ServedRow) => Promise<void>
}

/** Shows, creates, changes and deletes single rows for the endpoints of CrudResource. */
export class CrudRows<M extends ResourceModel = ResourceModel> extends CrudView<M> {
  protected async showRow(context: ItemContext): Promise<HttpResponse> {
    const { row, query, request, perms } = context
    const { fields, include, allowed } = parseItemQuery(query, this.fieldsOf('get'), this.included.paths, () => this.offeredActions)
    const graph = graphOf(include)
    if (graph !== null) {
      const fetching = row.$fetchGraph(graph)
      limitIncluded(fetching, this.served, include)
      await fetching
      checkIncluded([row], this.served, include)
    }
    const show = () => this.shaperFor('get', context, fields, include)
    if (allowed.length > 0) return HttpResponse.json(withFlags(show(), allowed, this.offeredActions, context.actor)(row))
    if (graph !== null) return HttpResponse.json(show()(row))
    const { text, etag } = represent(row, this.served, perms)
    const known = request.header('if-none-match')
    if (known !== undefined && isNoneMatch(known, etag)) return HttpResponse.empty({ status: 304, headers: { etag } })
    if (fields === outputFields(this.served) && !this.hasOwnShape) return HttpResponse.jsonText(text, { headers: { etag } })
    return HttpResponse.json(show()(row), { headers: { etag } })
  }

  /** Locks the row of an action. @throws ForbiddenError, InsufficientUserAuthenticationError, NotFoundError */
  protected async lockedFor(action: string, row: ServedRow & Model): Promise<ServedRow & Model> {
    const locked = await lockOrRefuse(row, action)
    if (!isServedRow(locked)) throw this.refusal(action)
    await this.served.afterGet([locked])
    return locked
  }

  // Returns the response to a write. The text for the ETag is also the body, if the resource shows all columns.
  protected written(row: ServedRow, method: CrudMethod, perms: PermsPort, options: ResponseOptions = {}): HttpResponse {
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
        .map(([name]) => ({ field: name, message: message('field.notOfPath') })),
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
    const hooks = this.hooks
    const { split, above } = this.#readCreate(context, body, known)
    const hookContext = await this.inTransaction(context.perms, hooks.beforeCreate, async () => {
      const made = this.hookContext(context, split)
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

  protected async createRow(context: EndpointContext): Promise<HttpResponse> {
    const hooks = this.hooks
    // Checked before the input is validated, because it needs no statement.
    this.refuseCreate()
    const { split, above } = this.#readCreate(context, context.input)
    const row = await this.inTransaction(context.perms, hooks.beforeCreate ?? hooks.afterCreate, async () => {
      const hookContext = this.hookContext(context, split)
      await hooks.beforeCreate?.(hookContext)
      const made = await this.#withDefaults(await this.#create({ ...hookContext.input, ...above }))
      await hooks.afterCreate?.(made, hookContext)
      return made
    })
    const key = String(valuesByName(row)[this.idProperty])
    const location = `${context.request.url.replace(/\/$/, '')}/${encodeURIComponent(key)}`
    return this.written(row, 'create', context.perms, { status: 201, headers: { location } })
  }

  async #create(values: Record<string, unknown>): Promise<ServedRow> {
    const { input, added } = this.#withoutAdded(values, 'create')
    if (added === null) return await this.served.createFrom(input)
    return await this.served.create({ ...fromClient(this.served, input, 'create'), ...added })
  }

  async #update(row: ServedRow, values: Record<string, unknown>): Promise<void> {
    const { input, added } = this.#withoutAdded(values, 'update')
    if (added === null) await row.updateFrom(input)
    else await row.update({ ...fromClient(this.served, input, 'update'), ...added })
  }

  // The options of the resource name the columns of a model without a schema that clients use. Hooks may set others, as code does.
  #withoutAdded(values: Record<string, unknown>, action: 'create' | 'update') {
    const { columnSpecs, schema } = this.served
    const isAdded = (name: string) => !Object.hasOwn(columnSpecs, name) && !Object.hasOwn(schema[action].properties, name)
    const added = this.declaresByOptions ? Object.entries(values).filter(([name]) => isAdded(name)) : []
    if (added.length === 0) return { input: values, added: null }
    return { input: Object.fromEntries(Object.entries(values).filter(([name]) => !isAdded(name))), added: Object.fromEntries(added) }
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
    const actor = currentActor()
    const canCreate = (caller: Actor | null) => {
      const scope = scopeOf(this.served, caller, { dialect: dialectOf(this.served.knex()), ref: this.served.getTableName() })
      return effective('create', scope, { withDeleted: true })
    }
    if (canCreate(actor) !== false) return
    void policyObserver.asked?.({ cls: this.served, action: 'create', actor })
    const [fresh] = freshSessions(rulesOfWrite(this.served, 'create'), actor).filter((one) => canCreate(one.actor) !== false)
    if (!fresh) throw this.refusal('create')
    // If the values of the row decide too, they are checked first.
    if (canCreate(fresh.actor) === true) throw fresh.error
  }

  protected async refuseUpdate(row: ServedRow): Promise<void> {
    await this.#refuse('update', async () => (await row.canWrite?.()) !== false)
  }

  protected async refuseDelete(row: ServedRow): Promise<void> {
    await this.#refuse('delete', async () => (await row.canDelete?.()) !== false)
  }

  async #refuse(action: 'update' | 'delete', isAllowed: () => Promise<boolean>): Promise<void> {
    if (await isAllowed()) return
    throw await orStepUp(this.refusal(action), rulesOfWrite(this.served, action), currentActor(), isAllowed)
  }

  // Uses the same message as the permission engine, so that it does not reveal which check failed.
  protected refusal(action: string): ForbiddenError {
    const options = 'policy' in this.served ? { refusedRule: refusedBy(this.served, action) } : {}
    return new ForbiddenError(message('row.action', { action, model: this.model.name }), options)
  }

  protected async updateRow(context: ItemContext): Promise<HttpResponse> {
    const hooks = this.hooks
    const { row } = context
    const split = splitInput(this.served, context.input, this.methodOptions('update')?.argSchema)
    const conditional = isConditional(context.request)
    await this.inTransaction(context.perms, conditional || hooks.beforeUpdate || hooks.afterUpdate, async () => {
      const hookContext = this.hookContext(context, split)
      if (conditional) await recheckPreconditions(context.request, row, this.served, context.perms)
      await hooks.beforeUpdate?.(row, hookContext)
      // An empty change runs no statement, so check the permission here.
      if (Object.keys(hookContext.input).length === 0) await this.refuseUpdate(row)
      await this.#update(row, hookContext.input)
      await hooks.afterUpdate?.(row, hookContext)
    })
    return this.written(row, 'update', context.perms)
  }

  protected async deleteRow(context: ItemContext): Promise<HttpResponse> {
    const hooks = this.hooks
    const { row } = context
    const conditional = isConditional(context.request)
    await this.inTransaction(context.perms, conditional || hooks.beforeDelete || hooks.afterDelete, async () => {
      const hookContext = this.hookContext(context, { input: {}, args: {} })
      if (conditional) await recheckPreconditions(context.request, row, this.served, context.perms)
      await hooks.beforeDelete?.(row, hookContext)
      await row.delete()
      await hooks.afterDelete?.(row, hookContext)
    })
    return HttpResponse.empty()
  }

  // The rows of the resource are instances of its model.
  protected get hooks(): CrudHooks<ServedRow> {
    return (this.options.hooks ?? {}) as CrudHooks<ServedRow>
  }

  // Copies the input for each attempt of the transaction, so that a retry starts without the changes of hooks.
  protected hookContext(context: EndpointContext, split: SplitInput): HookContext {
    return hookContextOf(context, this.options.hooks ? structuredClone(split) : split)
  }

  protected async inTransaction<T>(perms: PermsPort, isNeeded: unknown, fn: () => Promise<T>): Promise<T> {
    return isNeeded ? await transaction(fn, { knex: perms.knex }) : await fn()
  }
}
