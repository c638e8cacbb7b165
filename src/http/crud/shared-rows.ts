/** The endpoints of the shares of a row: `GET`, `POST` and `DELETE :id/shares`. */
import type { Model } from 'objection'
import { ConfigurationError, NotFoundError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { assertMayAct } from '../../enforce/locked-row.js'
import { abilitiesFor } from '../../policy/abilities.js'
import { asSystem } from '../../policy/context.js'
import { policyOf } from '../../policy/policy.js'
import { isShareable } from '../../policy/share-relations.js'
import { RowShare } from '../../users/row-share.js'
import { onlyUnexpired, shareKeyOf, shareRow, unshareRow } from '../../users/shares/share-rows.js'
import type { EndpointContext, EndpointOptions } from '../core/endpoint.js'
import { type ResourceModel, type ServedModel, type ServedRow, servedModel } from '../core/ports.js'
import { HttpResponse } from '../core/response.js'
import { listParameters } from '../openapi/parameters.js'
import type { ShareEndpointOptions } from './crud-options.js'
import { DeletedRows } from './deleted-rows.js'
import { describedBy } from './described.js'
import { narrowedOutput } from './input.js'
import { List } from './list.js'
import { shape, shaper } from './shape.js'
import { shareInput, shareSchema, subjectInQuery, subjectKeys, subjectParameters } from './share-input.js'

/** The columns of a share that clients see. */
const fields: readonly string[] = ['id', 'relation', 'userId', 'role', 'domainId', 'expiresAt', 'sharedById', 'createdAt', 'updatedAt']

const rowOf = ({ row }: EndpointContext) => row as ServedRow & Model

/** Adds the work of `GET`, `POST` and `DELETE :id/shares` to a resource. */
export class SharedRows<M extends ResourceModel = ResourceModel> extends DeletedRows<M> {
  /** Who may use the endpoints of shares: the callers of get, or of list, as far as `shares` admits them. Undefined if they are off. */
  protected get shareOptions(): ShareEndpointOptions | undefined {
    const { shares } = this.options
    if (!shares) return undefined
    const { adminOnly, role, stepUp } = this.methodOptions('get') ?? this.methodOptions('list') ?? {}
    const own = shares === true ? {} : shares
    return { adminOnly: own.adminOnly || adminOnly, role: own.role ?? role, stepUp: own.stepUp ?? stepUp }
  }

  /** @throws ConfigurationError for a model whose rows cannot be shared */
  protected assertShares(model: ServedModel): void {
    const { shares } = this.options
    if (!shares) return
    const at = `CrudResource({ model: ${model.name}, shares })`
    if (!isShareable(model) || !('policy' in model))
      throw new ConfigurationError(`${at} needs a model with ShareableMixin: class ${model.name} extends ShareableMixin(BasePermsModel).`)
    const readers = this.methodOptions('get') ?? this.methodOptions('list')
    if (shares !== true && readers?.role !== undefined && shares.role !== undefined && shares.role !== readers.role)
      throw new ConfigurationError(
        `${at}: readers need the role '${readers.role}'. Require the same role, or write the other one as a rule of the action share.`,
      )
  }

  /** The parts that the three endpoints have in common. */
  #common(): Omit<EndpointOptions, 'method' | 'handler'> {
    return {
      ...this.shareOptions,
      path: ':id/shares',
      item: true,
      abilities: () => abilitiesFor('share', this.served, policyOf(this.served)),
      assertAllowed: async (context) => await assertMayAct(rowOf(context), 'share'),
    }
  }

  protected sharesListOptions(): EndpointOptions {
    return {
      ...this.#common(),
      method: 'GET',
      name: `list${this.name}Shares`,
      summary: `List with whom a row is shared: ${this.name}`,
      handler: async (context) => {
        const row = rowOf(context)
        await assertMayAct(row, 'share')
        const key = shareKeyOf(row)
        return await asSystem(async () => await this.#sharesList().run(context, { ...key }))
      },
      description: describedBy({
        parameters: () => {
          const { pageSize, maxPageSize } = this.queryOptionsOf('list')
          return listParameters(this.#sharesList(), { pageSize, maxPageSize, include: [], allowed: [], fields })
        },
        output: shareOutput,
      }),
    }
  }

  protected shareEndpointOptions(): EndpointOptions {
    return {
      ...this.#common(),
      method: 'POST',
      status: 201,
      queryKeys: [],
      name: `share${this.name}`,
      summary: `Share a row: ${this.name}`,
      handler: async (context) => {
        const { subject, relation, expiresAt } = shareInput(this.served, context.input)
        const share = await shareRow(rowOf(context), subject, relation, { expiresAt })
        return HttpResponse.json(shape(share, servedModel(RowShare), fields), { status: 201 })
      },
      description: describedBy({ input: () => shareSchema(this.served), output: shareOutput, problems: [413, 415, 422] }),
    }
  }

  protected unshareOptions(): EndpointOptions {
    return {
      ...this.#common(),
      method: 'DELETE',
      status: 204,
      queryKeys: subjectKeys,
      name: `unshare${this.name}`,
      summary: `End a share: ${this.name}`,
      handler: async (context) => {
        const isEnded = await unshareRow(rowOf(context), subjectInQuery(context.query))
        if (!isEnded) throw new NotFoundError(message('share.none'))
        return HttpResponse.empty()
      },
      description: {
        get parameters() {
          return subjectParameters()
        },
        problems: [422],
      },
    }
  }

  #sharesList(): List {
    const { pageSize = 20, maxPageSize = 100 } = this.options
    const model = servedModel(RowShare)
    return new List(model, {
      idProperty: 'id',
      ...{ pageSize, maxPageSize },
      include: [],
      actions: () => ({ names: [], isOpenTo: () => false }),
      rows: { name: 'shares', query: () => onlyUnexpired(model.query(), this.served) },
      filterBy: fields,
      fields,
      shownTo: () => fields,
      shaper: (_context, asked) => shaper(model, asked),
    })
  }
}

const shareOutput = (): object => narrowedOutput(servedModel(RowShare).schema.output, fields)
