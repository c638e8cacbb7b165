import { expect } from 'chai'
import type { Model } from 'objection'
import { mayAct } from '../../src/enforce/perms-mixin.js'
import {
  asSystem,
  BasePermsModel,
  type Change,
  check,
  column,
  type ExplanationNode,
  everyone,
  explain,
  formatExplanation,
  not,
  type RowExplanation,
  UserRole,
} from '../../src/index.js'
import type { Actor } from '../../src/policy/context.js'
import { eachDatabase } from '../helpers/databases.js'
import { type AskWorld, askWorld, freshActor } from './world.js'

eachDatabase('explain() with a row', (db) => {
  let world: AskWorld
  const actors = new Map<string, Actor | null>()
  before(async function () {
    this.timeout(60_000)
    world = await askWorld(db.knex)
    for (const [name, user] of Object.entries(world.users)) actors.set(name, await freshActor(user))
  })
  after(() => world?.perms.close())

  const actions = ['read', 'update', 'delete', 'publish', 'feature', 'mirror', 'praise', 'sign', 'flag', 'attend']
  const ask = (action: string, actor: Actor | null, row: Model): Promise<RowExplanation> =>
    explain(row.constructor as never, action, actor, row as never)
  const can = (row: Model, action: string, actor: Actor | null) => asSystem(() => mayAct(row, action, actor))

  function cases(): [string, string, Model][] {
    const { posts, note, adminNote, locked, token, press, project, users } = world
    const others = [note, adminNote, locked, token, press, project, users.ann, users.admin, users.off] as unknown as Model[]
    const names = ['ann', 'bob', 'admin', 'pressAdmin', 'off']
    return names.flatMap((name) => [
      ...(name === 'bob' ? Object.values(posts) : [posts.published, posts.radio]).flatMap((row) =>
        actions.map((action): [string, string, Model] => [name, action, row]),
      ),
      ...others.flatMap((row) => ['read', 'update', 'delete'].map((action): [string, string, Model] => [name, action, row])),
    ])
  }

  const nodes = (node: ExplanationNode): ExplanationNode[] => [node, ...node.children.flatMap(nodes)]

  it('[promise 218] gives the answer of can(), and a tree whose parts add up to it', async function () {
    this.timeout(120_000)
    for (const [name, action, row] of cases()) {
      const actor = actors.get(name) ?? null
      const explanation = await ask(action, actor, row)
      const title = `${name} ${action} ${row.constructor.name} ${JSON.stringify(row)}`
      expect(explanation.allowed, title).to.equal(await can(row, action, actor))
      expect(explanation.tree.truth, title).to.equal(explanation.allowed)
      for (const node of nodes(explanation.tree)) {
        if (node.rows !== undefined) expect(node.truth).to.equal(node.rows > 0)
        else if (node.kind === 'anyOf') expect(node.truth).to.equal(node.children.some(({ truth }) => truth))
        else if (node.kind === 'allOf' || node.kind === 'action') expect(node.truth).to.equal(node.children.every(({ truth }) => truth))
        else if (node.kind === 'not') expect(node.truth).to.equal(!node.children[0]?.truth)
      }
    }
  })

  it('[promise 218] names scopes, bypass, the read rule, limits, and the rows of related()', async () => {
    const { posts, users } = world
    const draft = await ask('mirror', actors.get('bob') as Actor, posts.draft)
    expect(draft.tree.children.map(({ kind, truth }) => [kind, truth])).to.deep.equal([
      ['scope', true],
      ['scope', true],
      ['read', true],
      ['rule', true],
    ])
    const related = nodes(draft.tree).find(({ kind }) => kind === 'related')
    expect(related).to.include({ rows: 1, relatedRows: 1, truth: true })
    expect(related?.children[0]?.children.map(({ kind, rows }) => [kind, rows])).to.deep.equal([
      ['owner', 0],
      ['where', 1],
    ])
    const limited = await ask('delete', actors.get('admin') as Actor, users.admin2 as unknown as Model)
    expect(nodes(limited.tree).filter(({ kind, truth }) => kind === 'limit' && !truth)).to.have.lengthOf(1)
    const deleted = await ask('read', actors.get('admin') as Actor, posts.deleted)
    expect(nodes(deleted.tree).find(({ words }) => words === 'always (softDelete)' || words.includes('deleted'))?.truth).to.equal(false)
    const missing = world.Post.fromDatabaseJson({ id: '00000000-0000-4000-8000-000000000000' })
    expect((await ask('read', actors.get('admin') as Actor, missing)).tree.children).to.deep.equal([
      { kind: 'row', words: 'the row exists', truth: false, children: [] },
    ])
  })

  it('[promise 218] shows the rules of columns', async () => {
    const { posts } = world
    const asBob = await ask('read', actors.get('bob') as Actor, posts.published)
    expect(asBob.fields).to.deep.equal([{ field: 'secret', rule: 'readableBy', words: 'holders of admin', allowed: false }])
    const asAdmin = await ask('update', actors.get('admin') as Actor, posts.published)
    expect(asAdmin.fields).to.deep.equal([{ field: 'secret', rule: 'writableBy', words: 'holders of admin', allowed: true }])
  })

  it('[promise 218] shows the abilities of an API key', async () => {
    const key = { ...(actors.get('bob') as Actor), abilities: ['posts:read'] }
    const { tree, allowed, counterfactuals } = await ask('update', key, world.posts.draft)
    expect(allowed).to.equal(false)
    expect(tree.children[0]).to.deep.equal({
      kind: 'abilities',
      words: 'the API key has the ability posts:update',
      truth: false,
      children: [],
    })
    expect(counterfactuals.map(({ words }) => words)).to.include('if the API key had the ability posts:update')
  })

  // -- counterfactuals, applied to the database

  interface Applied {
    readonly actor: Actor | null
    undo(): Promise<void>
  }

  async function applied(changes: readonly Change[], name: keyof AskWorld['users'], row: Model): Promise<Applied> {
    const undo: (() => Promise<unknown>)[] = []
    let confirmed = true
    const user = world.users[name]
    for (const change of changes) {
      if (change.kind === 'column') {
        const table = (row.constructor as typeof Model).tableName
        const columnName = change.column.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`)
        const only = () => db.knex(table).where('id', row.$id() as string)
        const [before] = (await only().select(columnName)) as Record<string, unknown>[]
        await only().update({ [columnName]: change.value as string })
        undo.push(async () => await only().update({ [columnName]: before?.[columnName] as string }))
      } else if (change.kind === 'grant') {
        const values = { user, role: change.role, ...(change.domainId === null ? {} : { domainId: change.domainId }) }
        const grant = await asSystem(() => UserRole.create(values as never))
        undo.push(() => asSystem(() => grant.delete()))
      } else if (change.kind === 'revoke') {
        const grant = (await asSystem(() =>
          UserRole.query().findOne({ userId: user.id, role: change.role, domainId: change.domainId as string }),
        )) as UserRole
        await asSystem(() => grant.delete())
        const values = { user, role: change.role, ...(change.domainId === null ? {} : { domainId: change.domainId }) }
        undo.push(() => asSystem(() => UserRole.create(values as never)))
      } else if (change.kind === 'session') confirmed = change.confirmed
      else if (change.kind === 'enable') {
        await db.knex('ask_user').where('id', user.id).update({ is_enabled: true })
        undo.push(async () => await db.knex('ask_user').where('id', user.id).update({ is_enabled: false }))
      } else throw new Error(`cannot apply ${change.kind}`)
    }
    const actor = await freshActor(user)
    return {
      actor: actor && !confirmed ? { ...actor, authTime: null, amr: [] } : actor,
      undo: async () => {
        for (const step of undo.reverse()) await step()
      },
    }
  }

  const strictSubsets = (changes: readonly Change[]): Change[][] =>
    Array.from({ length: 2 ** changes.length - 1 }, (_, bits) => changes.filter((_one, i) => bits & (1 << i)))

  it('[promise 219] suggests changes that change the answer in the database, and of which no part suffices', async function () {
    this.timeout(300_000)
    const { posts, users, note } = world
    const asked: [keyof typeof users, string, Model][] = [
      ['bob', 'update', posts.draft],
      ['ann', 'update', posts.draft],
      ['eve', 'read', posts.draft],
      ['ann', 'update', posts.archived],
      ['eve', 'publish', posts.radio],
      ['ann', 'delete', posts.published],
      ['pressAdmin', 'delete', posts.archived],
      ['bob', 'praise', posts.draft],
      ['ann', 'flag', posts.draft],
      ['ann', 'mirror', posts.draft],
      ['off', 'read', posts.published],
      ['bob', 'update', note as unknown as Model],
      ['admin', 'update', users.admin as unknown as Model],
      ['admin', 'delete', users.admin as unknown as Model],
    ]
    let total = 0
    for (const [name, action, row] of asked) {
      const disabled = name === 'off'
      const given = disabled ? await asSystem(() => world.Person.get(users.off.id)) : actors.get(name)
      const explanation = await explain(row.constructor as never, action, given as never, row as never)
      expect(explanation.counterfactuals.length, `${name} ${action}`).to.be.greaterThan(0)
      for (const { changes, words, allowed } of explanation.counterfactuals.slice(0, 12)) {
        const title = `${name} ${action} ${JSON.stringify(row)} ${words}`
        for (const subset of [changes, ...strictSubsets(changes)]) {
          const state = await applied(subset, name, row)
          try {
            const isAllowed = await can(row, action, state.actor)
            expect(isAllowed, `${title}: ${JSON.stringify(subset)}`).to.equal(subset === changes ? allowed : !allowed)
          } finally {
            await state.undo()
          }
        }
        total += 1
      }
    }
    expect(total).to.be.greaterThan(50)
  })

  it('[promise 219] suggests the changes that one expects', async () => {
    const { posts } = world
    const words = async (name: string, action: string, row: Model) =>
      (await ask(action, actors.get(name) ?? null, row)).counterfactuals.map((one) => one.words)
    expect(await words('ann', 'update', posts.archived)).to.include('if ann@example.com had the role editor in press')
    expect(await words('bob', 'update', posts.draft)).to.deep.include('if bob@example.com did not have the role editor in press')
    expect(await words('eve', 'read', posts.published)).to.include('if eve@example.com had the role user in press')
    expect(await words('ann', 'flag', posts.draft)).to.include("if secret were 'yes'")
    const anonymous = await explain(world.Locked, 'read', null, world.locked)
    expect(anonymous.allowed).to.equal(false)
  })

  it('[promise 218] evaluates check() for the row, and denies by one that throws', async () => {
    class Coded extends BasePermsModel.withColumns({ name: column.string() }) {
      static override tableName = 'ask_project'
      static override adminBypass = false
      static override policy = {
        read: everyone(),
        update: check<Coded>((row) => row.name === 'open'),
        publish: not(
          check(() => {
            throw new Error('no')
          }),
        ),
      }
    }
    const row = Coded.fromDatabaseJson({ id: world.project.id })
    const open = await explain(Coded, 'update', actors.get('eve') as never, row)
    expect(open.allowed).to.equal(true)
    expect(nodes(open.tree).find(({ kind }) => kind === 'check')).to.include({ truth: true, words: 'check(), decided by code' })
    expect((await explain(Coded, 'publish', actors.get('eve') as never, row)).allowed).to.equal(false)
  })

  it('[promise 218] explains a row that is not saved yet for create', async () => {
    const { Post, press, users } = world
    const row = Post.build({ title: 'x', domainId: press.id, userId: users.ann.id })
    expect((await explain(Post, 'create', actors.get('ann') as never, row)).allowed).to.equal(true)
    const eve = await explain(Post, 'create', actors.get('eve') as never, row)
    expect(eve.allowed).to.equal(false)
    expect(eve.counterfactuals.map(({ words }) => words)).to.include('if eve@example.com had the role user in press')
  })

  it('writes text, JSON and HTML without markup from values', async () => {
    const { posts } = world
    const explanation = await ask('update', actors.get('ann') as Actor, posts.archived)
    const text = formatExplanation(explanation, 'text')
    expect(text).to.match(/^ann@example.com: update Post [-0-9a-f]+: refused\n\n✗ update Post\n/)
    expect(text).to.include('- allowed if ann@example.com had the role editor in press')
    expect(JSON.parse(formatExplanation(explanation, 'json'))).to.have.property('allowed', false)
    const html = formatExplanation({ ...explanation, question: '<script>alert(1)</script>' }, 'html')
    expect(html).to.include('&lt;script&gt;alert(1)&lt;/script&gt;').and.not.include('<script>')
    expect(html).to.not.match(/(src|href)=/)
  })

  it('stays synchronous without a row, and refuses a row of another model or without an id', async () => {
    const { posts, Post, Locked } = world
    expect(explain(Post, 'read', actors.get('bob') as never)).to.have.all.keys('sql', 'statement', 'words')
    const wrong = await explain(Locked as never, 'read', null, posts.draft as never).catch((error: Error) => error)
    expect((wrong as Error).message).to.match(/the row is a Post. Pass a row of Locked/)
    const unsaved = await explain(Post, 'read', null, new Post()).catch((error: Error) => error)
    expect((unsaved as Error).message).to.match(/has no id/)
  })
})
