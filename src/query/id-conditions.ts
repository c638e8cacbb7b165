/** Makes conditions on ids compare values of the type of the id column. */
import { keyOf } from '../schema/ids.js'
import type { BuilderClass, ObjectionBuilder } from './objection-internals.js'

/** Overrides the conditions on ids, through which Objection's findById(), findByIds() and relations go. */
export function IdConditionsMixin(Base: BuilderClass<ObjectionBuilder>): BuilderClass<ObjectionBuilder> {
  return class WithIdConditions extends Base {
    override whereComposite(...args: unknown[]): this {
      const last = args.length - 1
      if (last < 1 || !this.#isIdColumn(args[0])) return super.whereComposite(...args)
      const id = keyOf(this.modelClass(), args[last])
      return id === undefined ? this.#matchNothing() : super.whereComposite(...args.slice(0, last), id)
    }

    override whereInComposite(...args: unknown[]): this {
      const [columns, ids] = args
      if (!Array.isArray(ids) || !this.#isIdColumn(columns)) return super.whereInComposite(...args)
      const known = ids.map((id) => keyOf(this.modelClass(), id)).filter((id) => id !== undefined)
      return super.whereInComposite(columns, known)
    }

    #isIdColumn(columns: unknown): boolean {
      const own = this.fullIdColumn()
      if (typeof columns === 'string' && typeof own === 'string') return columns === own
      return [columns].flat().join() === [own].flat().join()
    }

    // For a value that is no id. MariaDB would equate '7abc' with 7, and PostgreSQL would refuse the statement.
    #matchNothing(): this {
      return this.whereRaw('1 = 0')
    }
  }
}
