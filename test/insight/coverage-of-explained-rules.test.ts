import { expect } from 'chai'
import { explain, type User } from '../../src/index.js'
import { policyCoverage } from '../../src/testing/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { type AskWorld, askWorld } from './world.js'

interface Node {
  readonly kind: string
  readonly words: string
  readonly truth: boolean
  readonly children: readonly Node[]
}

/** The leaves of a tree, without those inside of related(). */
const leavesIn = (node: Node): Node[] =>
  ['anyOf', 'allOf', 'not', 'rule', 'read'].includes(node.kind) ? node.children.flatMap(leavesIn) : [node]

eachDatabase('The coverage of policies', (db) => {
  let world: AskWorld
  before(async () => {
    world = await askWorld(db.knex)
  })
  after(() => world.perms.close())

  it('counts for each question exactly the outcomes that explain() shows [promise 232]', async () => {
    const { Post, posts, users } = world
    const actions = ['read', 'update', 'delete', 'publish', 'feature', 'mirror', 'praise', 'sign', 'flag', 'attend']
    const compared = new Set<string>()
    for (const user of [null, ...Object.values(users)] as (User | null)[])
      for (const post of [posts.published, posts.radio])
        for (const action of actions) {
          const { tree } = await explain(Post, action, user, post as never)
          const rule = (tree.children as readonly Node[]).find(({ kind }) => kind === (action === 'read' ? 'read' : 'rule')) as Node
          const isBypassed = leavesIn(rule).some(({ kind, truth }) => kind === 'bypass' && truth)
          const expected = leavesIn(rule)
            .filter(({ kind, words }) => kind !== 'bypass' && kind !== 'related' && (!isBypassed || words === 'holders of admin'))
            .map(({ words, truth }) => `${words}: ${truth}`)
          const coverage = policyCoverage({ models: [Post] })
          try {
            await post.can(action as 'read', user)
            const { leaves, failures } = coverage.report()
            expect(failures).to.equal(0)
            const counted = leaves.filter((leaf) => leaf.action === action && !leaf.path.includes('related('))
            const found = counted.flatMap(({ words, seen }) =>
              (['true', 'false'] as const).filter((outcome) => seen[outcome] > 0).map((outcome) => `${words}: ${outcome}`),
            )
            expect(found, `${user?.email} ${action} ${post.status}`).to.deep.equal(expected)
            for (const one of found) compared.add(one)
          } finally {
            coverage.stop()
          }
        }
    expect(compared.size).to.be.greaterThan(15)
  })
})
