import type { Model } from 'objection'
import { asSystem } from '../policy/context.js'

export interface Factory<M extends Model> {
  /** Returns a row without saving it. @throws ValidationError */
  build(values?: Partial<M>): Promise<M>
  /** Creates and saves a row with asSystem(), so policies do not apply. @throws ValidationError, UniqueViolationError */
  create(values?: Partial<M>): Promise<M>
  /** Creates several rows, one after the other. */
  createMany(count: number, values?: Partial<M>): Promise<M[]>
}

/**
 * Returns a factory that creates rows of a model for tests.
 *
 * @param defaults the values that a test omits, or a function that returns them and may create other rows first. It gets the
 * number of the row, starting with 1.
 * @example
 * const documents = factory(UserDocument, async (n) => ({ title: `Document ${n}`, content: '', userId: (await createUser()).id }))
 * const mine = await documents.create({ userId: ada.id })
 */
export function factory<M extends Model>(
  model: abstract new (...args: never[]) => M,
  defaults: Partial<M> | ((n: number) => Partial<M> | Promise<Partial<M>>),
): Factory<M> {
  const cls = model as unknown as { build(values: Partial<M>): M; create(values: Partial<M>): Promise<M> }
  let count = 0
  const valuesOf = async (given: Partial<M> = {}): Promise<Partial<M>> => {
    count += 1
    return { ...(typeof defaults === 'function' ? await defaults(count) : defaults), ...given }
  }
  const create = (given?: Partial<M>) => asSystem(async () => await cls.create(await valuesOf(given)))
  return {
    build: (given) => asSystem(async () => cls.build(await valuesOf(given))),
    create,
    async createMany(wanted, given) {
      const rows: M[] = []
      for (let i = 0; i < wanted; i += 1) rows.push(await create(given))
      return rows
    },
  }
}
