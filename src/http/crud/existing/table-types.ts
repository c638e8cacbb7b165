/** Reads the columns of tables whose models do not declare them, once for each model and runtime. */
import { MissingTableError, PermsError, ServiceUnavailableError } from '../../../core/errors.js'
import { readTableColumns, type TableColumns } from '../../../database/catalogue/table-columns.js'
import { mapDatabaseError } from '../../../database/errors/database-errors.js'
import { missingTable } from '../../../database/errors/missing-tables.js'
import { outsideTransaction } from '../../../database/transaction.js'
import { modelSlot, runtimeSlot } from '../../../runtime.js'
import { idProperties, structureOf } from '../../../schema/definition/definition.js'
import { hasCataloguedColumns } from '../../../schema/definition/existing-models.js'
import { dialectOf } from '../../../schema/storage.js'
import type { ServedModel } from '../../core/ports.js'

interface State {
  /** The resources of this runtime that need types. */
  readonly bound: Set<ResourceWithTypes>
  readonly known: WeakMap<object, TableColumns>
  readonly reading: WeakMap<object, Promise<void>>
  /** The models whose look-up has failed at least once. */
  readonly failed: WeakSet<object>
  /** The resources whose options have passed the check. */
  readonly checked: WeakSet<object>
}

const states = runtimeSlot<State>(() => ({
  bound: new Set(),
  known: new WeakMap(),
  reading: new WeakMap(),
  failed: new WeakSet(),
  checked: new WeakSet(),
}))

/** Returns whether a model over the application's own base class has no JSON Schema: its columns are known to the database only. */
export function isWithoutSchema(model: object): boolean {
  const { keepsNames, handWritten } = structureOf(model)
  return keepsNames && Object.keys(handWritten).length === 0 && !hasCataloguedColumns(model)
}

/** Returns whether the types of some columns that a resource uses are known to the database only: all of them, or the id. */
export function needsTypes(model: object): boolean {
  if (isWithoutSchema(model)) return true
  const { keepsNames, specs } = structureOf(model)
  const [id, ...further] = keepsNames && !hasCataloguedColumns(model) ? idProperties(model) : []
  return id !== undefined && further.length === 0 && !specs[id]
}

/** A resource, with the models of which it needs the types. */
interface ResourceWithTypes {
  readonly modelsWithoutTypes: readonly ServedModel[]
  /** @throws ConfigurationError for an option that names a column that does not exist */
  assertColumns(): void
}

const resources = modelSlot(() => new Set<ResourceWithTypes>())

/** Records a resource, so that perms.ready() reads its types before an adapter serves it. */
export function noteResource(resource: ResourceWithTypes): void {
  resources.get().add(resource)
}

/** Records that an adapter of the current runtime serves a resource. */
export function noteBound(resource: ResourceWithTypes): void {
  if (resource.modelsWithoutTypes.length > 0) states.get().bound.add(resource)
}

const modelsOf = (list: Iterable<ResourceWithTypes>): ServedModel[] => [
  ...new Set([...list].flatMap(({ modelsWithoutTypes }) => modelsWithoutTypes)),
]

/** Returns the columns of a model's table; undefined if they have not been read. */
export function columnsKnown(model: object): TableColumns | undefined {
  return states.get().known.get(model)
}

/** Checks the options of a resource once, when the types are known. @throws ConfigurationError */
export function assertOptions(resource: ResourceWithTypes): void {
  const { checked } = states.get()
  if (checked.has(resource)) return
  resource.assertColumns()
  checked.add(resource)
}

/**
 * Reads the columns of these models that are not known yet.
 *
 * @returns undefined if all are known
 * @throws ServiceUnavailableError when the database does not answer, and MissingTableError. The next call reads again.
 */
export function readTypes(models: readonly ServedModel[]): Promise<void> | undefined {
  const { known } = states.get()
  const missing = models.filter((model) => !known.has(model))
  if (missing.length === 0) return undefined
  return Promise.all(missing.map(reading)).then(() => undefined)
}

/**
 * Reads the columns of all models that adapters of the current runtime serve.
 *
 * @throws like readTypes(), and ConfigurationError for an option that names a column that does not exist
 */
export async function readServedTypes(): Promise<void> {
  const { bound } = states.get()
  await readTypes(modelsOf(bound))
  for (const resource of bound) assertOptions(resource)
}

/**
 * Does the same, and reads the columns of resources that no adapter serves. They may be for another database, so their tables may be
 * missing.
 */
export async function readNeededTypes(): Promise<void> {
  await readServedTypes()
  const results = await Promise.allSettled(modelsOf(resources.get()).map(reading))
  for (const result of results) if (result.status === 'rejected' && !(result.reason instanceof MissingTableError)) throw result.reason
}

/**
 * Does the same for models that no request has read, for responses that may contain rows of any model. Does not throw: a request that
 * needs the columns tries again.
 */
export function readFurtherTypes(): Promise<unknown> | undefined {
  const { bound, known, failed } = states.get()
  if (bound.size === 0) return undefined
  const missing = modelsOf(bound).filter((model) => !known.has(model) && !failed.has(model))
  return missing.length === 0 ? undefined : Promise.allSettled(missing.map(reading))
}

// Concurrent requests share one look-up. Only its success is kept.
function reading(model: ServedModel): Promise<void> {
  const state = states.get()
  const running = state.reading.get(model) ?? (state.known.has(model) ? Promise.resolve() : undefined)
  if (running) return running
  const started = read(model)
    .then(
      (columns) => void state.known.set(model, columns),
      (error: unknown) => {
        state.failed.add(model)
        throw error
      },
    )
    .finally(() => state.reading.delete(model))
  state.reading.set(model, started)
  return started
}

async function read(model: ServedModel): Promise<TableColumns> {
  const table = model.getTableName()
  const columns = await outsideTransaction(() => readTableColumns(model.knex(), table)).catch((error: unknown) => {
    const known = mapDatabaseError(error, dialectOf(model.knex()))
    throw known instanceof PermsError ? known : new ServiceUnavailableError(undefined, { cause: known })
  })
  if (columns === null) throw missingTable(table, { cause: undefined })
  return columns
}
