import { ConfigurationError } from '../../core/errors.js'
import { assertKnownOptions, type OptionNames } from '../../core/known-options.js'
import { kebabPlural } from '../../core/names.js'
import type { Actor } from '../../policy/context.js'
import { ADMIN } from '../../policy/user-tables.js'
import { holdsRole } from '../caller/request-authenticator.js'
import type { EndpointContext } from '../core/endpoint.js'
import { type ResourceModel, type ServedModel, type ServedRow, servedModel } from '../core/ports.js'
import { Resource } from '../core/resource.js'
import { joinPath } from '../core/routes.js'
import type { OfferedActions } from './allowed.js'
import { type CrudMethod, type CrudResourceOptions, crudOptionNames, type MethodOptions, methodsOf } from './crud-options.js'
import { columnsNamedBy, type NamedColumns } from './existing/named-columns.js'
import { assertIncludeColumns, assertOptionColumns } from './existing/option-columns.js'
import { servedAs, typedRow } from './existing/served-class.js'
import { isWithoutSchema, needsTypes, noteResource } from './existing/table-types.js'
import { narrowedOutput } from './input.js'
import { idPropertyOf, parentPath } from './parents.js'
import { type Included, type RelatedRows, readInclude, relatedShaper } from './related.js'
import {
  type Include,
  includedModels,
  jsonTextShaper,
  narrowed,
  narrowedFields,
  outputFields,
  type Shaper,
  shape,
  withRelations,
} from './shape.js'

/** Says what a resource serves, and what it shows of a row: the base class of CrudResource. */
export class CrudView<M extends ResourceModel = ResourceModel> extends Resource {
  readonly options: Readonly<Partial<CrudResourceOptions<M>>>
  /** The relations that clients may include. */
  readonly included: Included
  protected readonly enabledMethods: ReadonlyMap<CrudMethod, MethodOptions>
  #namedColumns: NamedColumns | undefined

  constructor(options: CrudResourceOptions<M>) {
    assertKnownOptions(options, crudOptionNames as OptionNames<typeof options>, 'new CrudResource')
    const { model, parent, path } = options
    const own = path ?? kebabPlural(model?.name ?? '')
    // joinPath adds a leading slash. Keep it only if `path` has one, which means that it ignores the prefix.
    const whole = parent ? joinPath(parentPath(parent), own).slice(own.startsWith('/') ? 0 : 1) : own
    super({ path: whole })
    this.options = Object.freeze({ ...options })
    this.included = readInclude(options.include)
    this.enabledMethods = methodsOf(options)
    // UserResource may get its model later.
    if (model) noteResource(this)
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

  /**
   * The class of the rows: the model, or a subclass that adds types from the database.
   *
   * @throws ConfigurationError if the model does not declare its columns, and they have not been read yet
   */
  get served(): ServedModel {
    return servedAs(servedModel(this.model), this.#named)
  }

  get #named(): NamedColumns {
    this.#namedColumns ??= columnsNamedBy(this.options, this.enabledMethods)
    return this.#namedColumns
  }

  /** Whether the types of the columns are known to the database only. */
  get needsTypes(): boolean {
    return needsTypes(servedModel(this.model))
  }

  /** The models of this resource whose columns only the database knows: its own, those of its parents, and included ones. */
  get modelsWithoutTypes(): ServedModel[] {
    const parents: ServedModel[] = []
    for (let { parent } = this.options; parent; parent = parent.parent) parents.push(servedModel(parent.model))
    const included = this.included.paths.flatMap((path) => includedModels(servedModel(this.model), path))
    const own = this.needsTypes ? [servedModel(this.model)] : []
    return [...own, ...new Set([...parents, ...included])].filter(needsTypes)
  }

  /** Checks the names of columns in the options. @throws ConfigurationError for a column that does not exist, with similar names */
  assertColumns(): void {
    assertOptionColumns(this.served, { ...this.options, methods: this.enabledMethods }, this.hasOwnShape)
    for (const path of this.included.schemas.keys()) assertIncludeColumns(servedModel(this.model), path, this.included)
  }

  /** Whether the options declare the columns: others are neither shown nor written. */
  protected get declaresByOptions(): boolean {
    return isWithoutSchema(servedModel(this.model))
  }

  /** The column that identifies a row in the path. @throws ConfigurationError for a composite key, unless the option `id` names one */
  get idProperty(): string {
    return this.options.id ?? idPropertyOf(this.model)
  }

  /** Returns the options of a method, or undefined if it is disabled. */
  protected methodOptions(method: CrudMethod): MethodOptions | undefined {
    const said = this.enabledMethods.get(method)
    if (!said) return undefined
    const { schema, argSchema } = this.options
    return { ...said, schema: said.schema ?? schema, argSchema: said.argSchema ?? argSchema ?? this.#writtenByDefault(method) }
  }

  // Clients write the columns of mixins, and those that argSchema lists.
  #writtenByDefault(method: CrudMethod): readonly string[] | undefined {
    if ((method !== 'create' && method !== 'update') || !this.declaresByOptions) return undefined
    return Object.keys(servedModel(this.model).schema[method].properties)
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
    return narrowedFields(servedModel(this.model), (this.methodOptions(method) ?? this.options).schema)
  }

  /**
   * Returns the columns that a caller may see through list or get. If the caller may use neither, returns the columns that both show.
   *
   * @param actor the caller; without it, the columns that at least one caller may see
   */
  shownTo(actor?: Actor | null): readonly string[] {
    const reads = (['list', 'get'] as const).filter((method) => this.methodOptions(method))
    if (reads.length === 0) return narrowedFields(servedModel(this.model), this.options.schema)
    const open = actor === undefined ? reads : reads.filter((method) => this.isOpenTo(method, actor))
    const shown = (open.length > 0 ? open : reads).map((method) => this.fieldsOf(method))
    const isShown = (name: string) =>
      open.length > 0 ? shown.some((fields) => fields.includes(name)) : shown.every((fields) => fields.includes(name))
    const all = this.needsTypes ? [...new Set(shown.flat())] : outputFields(this.served)
    const names = all.filter(isShown)
    return names.length === all.length ? all : names
  }

  override relatedRows(model: ServedModel, actor?: Actor | null): RelatedRows | null {
    if (model.getTableName() !== this.served.getTableName()) return null
    const method = actor === undefined || this.isOpenTo('get', actor) || !this.isOpenTo('list', actor) ? 'get' : 'list'
    const show: Shaper = (row) => this.shape(typedRow(row, this.served), method)
    return { fields: this.shownTo(actor), show: this.hasOwnShape ? show : null, served: () => this.served }
  }

  /** The actions for the parameter `allowed`. */
  get offeredActions(): OfferedActions {
    return { names: [], isOpenTo: () => false }
  }

  /** Whether a subclass overrides shape(). */
  protected get hasOwnShape(): boolean {
    return this.shape !== CrudView.prototype.shape
  }

  protected isOpenTo(method: CrudMethod, actor: Actor | null): boolean {
    const said = this.methodOptions(method)
    if (!said) return false
    if (actor === null) return said.public === true
    return (!said.adminOnly || holdsRole(actor, ADMIN)) && (said.role === undefined || holdsRole(actor, said.role))
  }

  protected outputOf(method: CrudMethod): object {
    return narrowedOutput(this.served.schema.output, this.fieldsOf(method))
  }

  protected queryOptionsOf(method: CrudMethod) {
    const { pageSize = 20, maxPageSize = 100 } = this.options
    return { pageSize, maxPageSize, include: this.included.paths, fields: this.fieldsOf(method), allowed: this.offeredActions.names }
  }

  protected shaperFor(method: CrudMethod, { resources, actor }: EndpointContext, fields: readonly string[], include: Include): Shaper {
    const withOwnShape: Shaper = (row) => {
      const shown = this.shape(row, method)
      // Show keys that are not columns, unless the client requested specific columns.
      if (fields.length === this.fieldsOf(method).length) return narrowed(shown, this.served, fields)
      return Object.fromEntries(Object.entries(shown).filter(([name]) => fields.includes(name)))
    }
    const show = this.hasOwnShape ? withOwnShape : jsonTextShaper(this.served, fields)
    return withRelations(show, this.served, include, relatedShaper(this.included, resources, actor))
  }
}
