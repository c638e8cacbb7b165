import { expect } from 'chai'
import Knex from 'knex'
import { Model, QueryBuilder, type QueryContext, type StaticHookArguments, snakeCaseMappers } from 'objection'
import { ActiveRecordMixin } from '../../../src/index.js'
import { isAsExpected } from '../../../src/query/execution/execution.js'
import { rejection } from '../../helpers/errors.js'

type Log = string[]

/** A class with every hook that Objection has, each of which says that it was called, and which waits where `isSlow`. */
function hooked<T extends abstract new (...args: any[]) => Model>(Base: T, log: Log, isSlow: boolean) {
  const note = (what: string): Promise<void> | undefined => {
    log.push(what)
    return isSlow ? new Promise((resolve) => setImmediate(resolve)) : undefined
  }
  abstract class Hooked extends (Base as unknown as typeof Model) {
    declare id: number
    declare name: string
    declare ownerId: number | null
    static override tableName = 'thing'
    static override columnNameMappers = snakeCaseMappers()
    static override relationMappings = () => ({
      owned: { relation: Model.HasManyRelation, modelClass: Thing, join: { from: 'thing.id', to: 'thing.owner_id' } },
    })

    static override async beforeFind({ items }: StaticHookArguments<Model>) {
      await note(`beforeFind ${items.length}`)
    }
    static override afterFind({ result }: StaticHookArguments<Model>) {
      return note(`afterFind ${result?.length}`)
    }
    static override beforeInsert({ inputItems }: StaticHookArguments<Model>) {
      return note(`static beforeInsert ${inputItems.length}`)
    }
    static override afterInsert() {
      return note('static afterInsert')
    }
    static override beforeUpdate() {
      return note('static beforeUpdate')
    }
    static override afterUpdate({ result }: StaticHookArguments<Model>) {
      return note(`static afterUpdate ${result}`)
    }
    static override beforeDelete() {
      return note('static beforeDelete')
    }
    static override afterDelete({ result }: StaticHookArguments<Model>) {
      return note(`static afterDelete ${result}`)
    }
    override $afterFind() {
      return note(`$afterFind ${this.name}`)
    }
    override $beforeInsert(context: QueryContext) {
      void super.$beforeInsert(context)
      return note(`$beforeInsert ${this.name}`)
    }
    override $afterInsert(context: QueryContext) {
      void super.$afterInsert(context)
      return note(`$afterInsert ${this.name}`)
    }
    override $beforeUpdate(options: never, context: QueryContext) {
      void super.$beforeUpdate(options, context)
      return note(`$beforeUpdate ${this.name}`)
    }
    override $afterUpdate(options: never, context: QueryContext) {
      void super.$afterUpdate(options, context)
      return note(`$afterUpdate ${this.name}`)
    }
    override $beforeDelete() {
      return note('$beforeDelete')
    }
    override $afterDelete() {
      return note('$afterDelete')
    }
  }
  class Thing extends Hooked {}
  return { Thing: Thing as unknown as typeof Model, note }
}

/** The hooks that a query called, in order, and its result. */
async function trace(
  Base: abstract new (...args: any[]) => Model,
  isSlow: boolean,
  run: (cls: any, note: (what: string) => any) => unknown,
) {
  const knex = Knex({ client: 'better-sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true })
  try {
    await knex.schema.createTable('thing', (table) => {
      table.increments('id')
      table.string('name').unique()
      table.integer('owner_id')
    })
    await knex('thing').insert([{ name: 'a' }, { name: 'b', owner_id: 1 }, { name: 'c', owner_id: 1 }])
    const log: Log = []
    const { Thing, note } = hooked(Base, log, isSlow)
    Thing.knex(knex)
    const statements: string[] = []
    knex.on('query', ({ sql }: { sql: string }) => statements.push(sql))
    const result: unknown = await run(Thing, note)
    return { log, statements, result: JSON.parse(JSON.stringify(result ?? null)) as unknown }
  } finally {
    await knex.destroy()
  }
}

const cases: Record<string, (cls: any, note: (what: string) => any) => unknown> = {
  'a find': (cls) => cls.query().orderBy('id'),
  'a find by id': (cls) => cls.query().findById(2),
  'a find of nothing': (cls) => cls.query().findById(99),
  'a first row': (cls) => cls.query().first(),
  'a count': (cls) => cls.query().count('* as n').first(),
  'a page': (cls) => cls.query().page(0, 2),
  'a graph in statements of its own': (cls) => cls.query().withGraphFetched('owned').orderBy('id'),
  'a joined graph': (cls) => cls.query().withGraphJoined('owned').where('thing.id', 1),
  'a related query': async (cls) => (await cls.query().findById(1)).$relatedQuery('owned').orderBy('id'),
  'a subquery': (cls) => cls.query().whereIn('id', cls.query().select('owner_id')),
  'from() with an alias': (cls) => cls.query().from('thing as t').select('t.name'),
  'an alias': (cls) => cls.query().alias('t').where('t.id', 1),
  'an insert': (cls) => cls.query().insert({ name: 'd' }),
  'an insert and fetch': (cls) => cls.query().insertAndFetch({ name: 'd' }),
  'a related insert': async (cls) => (await cls.query().findById(1)).$relatedQuery('owned').insert({ name: 'd' }),
  'a graph inserted': (cls) => cls.query().insertGraph({ name: 'd', owned: [{ name: 'e' }] }),
  'a graph upserted': (cls) => cls.query().upsertGraph({ id: 1, name: 'a2', owned: [{ id: 2, name: 'b2' }, { name: 'n' }] }),
  'a patch': (cls) => cls.query().patch({ name: 'z' }).where('id', 1),
  'a patch of a row': async (cls) => (await cls.query().findById(1)).$query().patch({ name: 'z' }),
  'a patch and fetch': (cls) => cls.query().patchAndFetchById(1, { name: 'z' }),
  'a patch of nothing': (cls) => cls.query().patch({}).where('id', 1),
  'a delete': (cls) => cls.query().delete().where('id', 1),
  'a delete by id': (cls) => cls.query().deleteById(1),
  'a delete of a row': async (cls) => (await cls.query().findById(1)).$query().delete(),
  'functions around it': (cls, note) =>
    cls
      .query()
      .context({
        runBefore: [() => note('context runBefore')],
        runAfter: () => note('context runAfter'),
        onBuild: () => note('context onBuild'),
      })
      .runBefore(() => note('runBefore 1'))
      .runBefore(() => note('runBefore 2'))
      .onBuild((builder: any) => {
        note('onBuild')
        builder.where('id', '<', 3)
      })
      .onBuildKnex((knexBuilder: any) => {
        note('onBuildKnex')
        knexBuilder.orderBy('id', 'desc')
      })
      .runAfter((rows: any) => {
        note('runAfter')
        return rows ?? 'nothing'
      }),
  'a result that a function replaces': (cls) => cls.query().runAfter(() => 'replaced'),
  'what is added while it runs': (cls) =>
    cls.query().runBefore((_: unknown, builder: any) => {
      builder.where('id', 1)
    }),
  'a query that only resolves': (cls) => cls.query().resolve([{ id: 7 }]),
  'onError()': (cls, note) =>
    cls
      .query()
      .insert({ name: 'a' })
      .onError((error: Error) => {
        note(`onError ${error.constructor.name}`)
        return { message: 'caught' }
      }),
  'throwIfNotFound()': (cls) =>
    cls
      .query()
      .findById(99)
      .throwIfNotFound()
      .catch(() => 'thrown'),
  'the same builder twice': async (cls) => {
    const query = cls.query().findById(1)
    return [await query, await query]
  },
}

describe('executing a query', () => {
  for (const isSlow of [false, true]) {
    for (const [name, run] of Object.entries(cases)) {
      it(`calls what Objection calls, in its order, for ${name}${isSlow ? ', where hooks have to be waited for' : ''}`, async () => {
        const theirs = await trace(Model as never, isSlow, run)
        const ours = await trace(ActiveRecordMixin(Model) as never, isSlow, run)
        expect(ours).to.deep.equal(theirs)
      })
    }
  }

  it('an error of the driver that has no typed class is thrown as it is', async () => {
    const [theirs, ours] = await Promise.all(
      [Model, ActiveRecordMixin(Model)].map((Base) => rejection(trace(Base as never, false, (cls) => cls.query().where('nowhere', 1)))),
    )
    expect(ours?.constructor).to.equal(theirs?.constructor)
    // Ours holds no values.
    expect(ours?.message).to.equal(theirs?.message.replace('`nowhere` = 1', '`nowhere` = ?'))
  })

  it('a rejected query throws the given error', async () => {
    const error = new Error('no')
    expect(await rejection(trace(ActiveRecordMixin(Model) as never, false, (cls) => cls.query().reject(error)))).to.equal(error)
  })

  describe('a QueryBuilder of an unknown version', () => {
    const parts = ['internalOptions', 'executeOnBuild', '_findOperationFactory', '_activeOperations', '_explicitRejectValue', '_operations']

    /** Objection's builder as it might come to be: without one of the parts that are used of it, as long as `isSo`. */
    function without(part: string, isSo = () => true): typeof QueryBuilder {
      class Doctored extends QueryBuilder<Model> {}
      const { forClass } = QueryBuilder as unknown as { forClass(cls: unknown): object }
      const doctored = function (this: unknown, cls: unknown) {
        const builder = forClass.call(this, cls)
        return isSo() ? Object.defineProperty(builder, part, { value: undefined }) : builder
      }
      return Object.assign(Doctored, { forClass: doctored }) as unknown as typeof QueryBuilder
    }

    it('is recognised when any member is missing and by its version', () => {
      expect([isAsExpected(QueryBuilder, '3.1.5'), isAsExpected(class extends QueryBuilder<Model> {} as never, '3.1.5')]).to.deep.equal([
        true,
        true,
      ])
      for (const part of parts) expect(isAsExpected(without(part), '3.1.5'), part).to.equal(false)
      for (const version of ['3.0.4', '3.2.0', '3.10.0', '4.0.0', 'unknown'])
        expect(isAsExpected(QueryBuilder, version), version).to.equal(false)
    })

    it('is executed by Objection with the same result', async () => {
      const stacks: string[] = []
      const run = (cls: typeof Model) =>
        cls
          .query()
          .runBefore(() => void stacks.push(new Error().stack ?? ''))
          .orderBy('id')
      const traced = async (isDoctored: boolean) => {
        // It lacks the part where it is looked at, and has it when it runs.
        let isLookedAt = isDoctored
        class Base extends Model {
          static override QueryBuilder = without('internalOptions', () => isLookedAt) as never
        }
        const Recorded = ActiveRecordMixin(Base)
        isLookedAt = false
        return await trace(Recorded as never, false, run)
      }
      expect(await traced(true)).to.deep.equal(await traced(false))
      expect(stacks.map((stack) => stack.includes('query/execution/execution.ts'))).to.deep.equal([false, isAsExpected(QueryBuilder)])
    })
  })
})
