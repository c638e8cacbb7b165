import type { Model } from 'objection'
import { asSystem } from '../policy/context.js'

export interface Factory<M extends Model> {
  /** A row that is not saved. @throws ValidationError */
  build(values?: Partial<M>): Promise<M>
  /** A row that is, made by the application itself: no policy is asked. @throws ValidationError, UniqueViolationError */
  create(values?: Partial<M>): Promise<M>
  /** Some of them, one after the other. */
  createMany(count: number, values?: Partial<M>): Promise<M[]>
}

/**
 * Makes rows of a model for tests: what a test does not say, the defaults do.
 *
 * @param defaults values, or a function of the row's number, from 1 on, that may make other rows first
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
