/** Lists and restores soft-deleted rows, for the option `deleted` of CrudResource. */
import type { Model, QueryBuilder } from 'objection'
import { ConfigurationError, ForbiddenError, InsufficientAbilityError, NotFoundError } from '../../core/errors.js'
import { orStepUp } from '../../enforce/step-up.js'
import { findingRestorable, isSoftDeletable } from '../../mixins/soft-delete.js'
import { abilitiesFor, apiKeyAllows, rulesOf } from '../../policy/abilities.js'
import { scopeOf } from '../../policy/compiler/scope.js'
import { type Actor, currentActor } from '../../policy/context.js'
import { effective } from '../../policy/effective.js'
import { freshSessions } from '../../policy/fresh-session.js'
import { policyOf, restoreAction, ruleOf } from '../../policy/policy.js'
import { usesCheck } from '../../policy/rules.js'
import { dialectOf } from '../../schema/storage.js'
import type { EndpointContext, EndpointOptions } from '../core/endpoint.js'
import type { ResourceModel, ServedModel, ServedRow } from '../core/ports.js'
import type { HttpResponse } from '../core/response.js'
import { listParameters } from '../openapi/parameters.js'
import type { DeletedOptions } from './crud-options.js'
import { CrudRows } from './crud-rows.js'
import { describedBy } from './described.js'
import { checkPreconditions, isConditional, recheckPreconditions } from './etag.js'
import type { List } from './list.js'
import { conditionUnder, findRow } from './parents.js'

/** Adds the work of `GET deleted/` and `POST :id/restore/` to a resource. */
export class DeletedRows<M extends ResourceModel = ResourceModel> extends CrudRows<M> {
  /** Who may use the endpoints of deleted rows: the callers of list, as far as `deleted` admits them. Undefined if they are off. */
  protected get deletedOptions(): DeletedOptions | undefined {
    const { deleted } = this.options
    if (!deleted) return undefined
    const { adminOnly, role, stepUp } = this.methodOptions('list') ?? {}
    const own = deleted === true ? {} : deleted
    return { adminOnly: own.adminOnly || adminOnly, role: own.role ?? role, stepUp: own.stepUp ?? stepUp }
  }

  /** @throws ConfigurationError for a model whose rows cannot be listed by the rule that restores them */
  protected assertDeleted(model: ServedModel): void {
    const { deleted } = this.options
    if (!deleted) return
    const at = `CrudResource({ model: ${model.name}, deleted })`
    if (!isSoftDeletable(model) || !('policy' in model))
      throw new ConfigurationError(`${at} needs a model with SoftDeleteMixin: class ${model.name} extends SoftDeleteMixin(BasePermsModel).`)
    const list = this.methodOptions('list')
    if (!list) throw new ConfigurationError(`${at} needs the method 'list', whose columns and callers it takes over.`)
    if (deleted !== true && list.role !== undefined && deleted.role !== undefined && deleted.role !== list.role)
      throw new ConfigurationError(
        `${at}: 'list' requires the role '${list.role}'. Require the same role, or write the other one as a rule.`,
      )
    const policy = policyOf(model)
    if (usesCheck(ruleOf(policy, restoreAction(policy))))
      throw new ConfigurationError(
        `${at}: the rule that restores rows uses check(), which cannot restrict lists. Add a rule without it: static policy = { restore: ... }.`,
      )
  }

  protected deletedListOptions(list: () => List): EndpointOptions {
    return {
      ...this.deletedOptions,
      method: 'GET',
      path: 'deleted',
      name: `listDeleted${this.name}`,
      summary: `List deleted rows: ${this.name}`,
      abilities: () => this.restoreAbilities(),
      handler: async (context) => {
        this.assertDeletedVisible()
        return await list().run(context, conditionUnder(this.options.parent, context.parents))
      },
      description: describedBy({
        parameters: () => listParameters(list(), { ...this.queryOptionsOf('list'), allowed: [] }),
        output: () => this.outputOf('list'),
      }),
    }
  }

  protected restoreOptions(): EndpointOptions {
    return {
      ...this.deletedOptions,
      method: 'POST',
      path: ':id/restore',
      name: `restore${this.name}`,
      summary: `Restore a deleted row: ${this.name}`,
      item: true,
      queryKeys: [],
      readsBody: false,
      abilities: () => this.restoreAbilities(),
      precondition: (context) => checkPreconditions(context.request, context.row as ServedRow, this.served, context.perms),
      handler: async (context) => await this.restoreRow(context as EndpointContext<ServedRow>),
      description: describedBy({ output: () => this.outputOf('get'), problems: [409, 412] }),
    }
  }

  /** The abilities for both endpoints: those of `restore`, or of `delete` if the policy has no such rule. */
  protected restoreAbilities(): readonly string[] {
    const policy = policyOf(this.served)
    return abilitiesFor(restoreAction(policy), this.served, policy)
  }

  /** Returns a query for the deleted rows that the caller may restore, and may read once they are restored. */
  protected deletedRows(): QueryBuilder<Model & ServedRow> {
    const model = this.served
    return findingRestorable(model.query()).whereNotNull(`${model.getTableName()}.deletedAt`)
  }

  // The rows show what the caller could read, were they not deleted.
  #assertReadAbility(): void {
    const model = this.served
    const policy = policyOf(model)
    if (!apiKeyAllows('read', model, policy, currentActor())) throw new InsufficientAbilityError(abilitiesFor('read', model, policy))
  }

  /** Asks for a fresh session if only that is missing to see any deleted row. @throws InsufficientAbilityError, InsufficientUserAuthenticationError */
  protected assertDeletedVisible(): void {
    this.#assertReadAbility()
    const model = this.served
    const policy = policyOf(model)
    const action = restoreAction(policy)
    const isVisible = (caller: Actor | null) =>
      effective(action, scopeOf(model, caller, { dialect: dialectOf(model.knex()), ref: model.getTableName() }), { withDeleted: true }) !==
      false
    const actor = currentActor()
    if (isVisible(actor)) return
    const fresh = freshSessions(rulesOf(action, policy), actor).find((one) => isVisible(one.actor))
    if (fresh) throw fresh.error
  }

  /**
   * Returns the row that the caller may restore.
   *
   * @throws NotFoundError for a deleted row that the caller may not restore, as for a missing one
   * @throws ForbiddenError, InsufficientUserAuthenticationError
   */
  protected async findRestorable(key: string, more: object): Promise<ServedRow> {
    this.#assertReadAbility()
    const find = (isRestorable: boolean) => findRow(this.served, this.idProperty, key, { more, isRestorable })
    try {
      return await find(true)
    } catch (error) {
      if (!(error instanceof NotFoundError)) throw error
      const policy = policyOf(this.served)
      const rules = rulesOf(restoreAction(policy), policy)
      const why = await orStepUp<Error>(this.refusal('restore'), rules, currentActor(), () => find(true).then(() => true))
      // Only the readers of a row that is not deleted learn that it exists.
      if (why instanceof ForbiddenError) await find(false)
      throw why
    }
  }

  protected async restoreRow(context: EndpointContext<ServedRow>): Promise<HttpResponse> {
    const { row, actor, perms, request } = context
    const { beforeRestore, afterRestore } = this.hooks
    const isAsked = isConditional(request)
    await this.inTransaction(perms, isAsked || beforeRestore || afterRestore, async () => {
      if (isAsked) await recheckPreconditions(request, row, this.served, perms, findingRestorable(this.served.query()))
      // A request that is repeated after a lost response finds the row restored.
      if (row.isDeleted !== true) return
      const hookContext = this.hookContext(context, { input: {}, args: {} })
      await beforeRestore?.(row, hookContext)
      await row.restore?.()
      await afterRestore?.(row, hookContext)
    })
    return this.written(row, this.isOpenTo('get', actor) ? 'get' : 'list', perms)
  }
}
