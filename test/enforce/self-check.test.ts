import { expect } from 'chai'
import Knex, { type Knex as KnexInstance } from 'knex'
import type { Model } from 'objection'
import { ConfigurationError } from '../../src/core/errors.js'
import { BasePermsModel } from '../../src/enforce/base-perms-model.js'
import { initPerms } from '../../src/init.js'

type Compile = (this: unknown, builder: object, ...rest: unknown[]) => unknown

/** Returns a Knex that compiles `changed(builder)` instead of each builder. */
function knexThatCompiles(changed: (builder: object) => object): KnexInstance {
  const knex = Knex({ client: 'better-sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true })
  const client = knex.client as { queryCompiler: Compile }
  const { queryCompiler } = client
  client.queryCompiler = function (builder, ...rest) {
    return queryCompiler.call(this, changed(builder), ...rest)
  }
  return knex
}

const withOwn = (builder: object, own: object) => {
  const { _comments } = builder as { _comments: unknown }
  return Object.create(builder, Object.getOwnPropertyDescriptors({ _comments, ...own })) as object
}

describe('initPerms refuses to start with a Knex that', () => {
  const changes: [string, (builder: object) => object][] = [
    [
      'omits the conditions of the library',
      (builder) => withOwn(builder, { _statements: wheresOf(builder).filter(({ type }) => type !== 'whereRaw') }),
    ],
    ['does not group the conditions of the query', (builder) => withOwn(builder, { _statements: wheresOf(builder).flatMap(ungrouped) })],
    ['does not read _comments of a model’s Knex query first', (builder) => Object.create(builder, { _comments: { value: [] } }) as object],
  ]
  for (const [title, changed] of changes) {
    it(title, async () => {
      const knex = knexThatCompiles(changed)
      try {
        expect(() => initPerms({ knex })).to.throw(ConfigurationError, /version of Objection or Knex/)
      } finally {
        await knex.destroy()
      }
    })
  }

  it('keeps the values of raw() under another name', async () => {
    const knex = knexThatCompiles((builder) => builder)
    const { fromJson } = BasePermsModel
    BasePermsModel.fromJson = function (this: typeof Model, ...args: Parameters<typeof fromJson>) {
      const row = fromJson.apply(this, args) as unknown as { $$queryProps?: unknown }
      delete row.$$queryProps
      return row
    } as typeof fromJson
    try {
      expect(() => initPerms({ knex })).to.throw(ConfigurationError, /version of Objection or Knex/)
    } finally {
      Reflect.deleteProperty(BasePermsModel, 'fromJson')
      await knex.destroy()
    }
  })

  it('changes any of this, and starts with an unchanged Knex', async () => {
    const knex = knexThatCompiles((builder) => builder)
    const perms = initPerms({ knex })
    await perms.close()
    await knex.destroy()
  })
})

interface Clause {
  readonly grouping: string
  readonly type?: string
  readonly column?: unknown
  readonly value?: unknown
}

function wheresOf(builder: object): Clause[] {
  return (builder as { _statements: Clause[] })._statements
}

function ungrouped(clause: Clause): Clause[] {
  if (clause.type !== 'whereWrapped' || typeof clause.value !== 'function') return [clause]
  const inside: Clause[] = []
  const group = { _statements: inside, queryContext: () => group }
  clause.value.call(group, group)
  return inside
}
