import { expect } from 'chai'
import type { Knex } from 'knex'
import { fn, type Model, type QueryBuilder, raw, ref } from 'objection'
import { asSystem, type Perms, runAs, transaction, type User } from '../../src/index.js'
import { eachDatabase } from '../helpers/databases.js'
import * as world from './world.js'
import { idsFor, insertNotice, insertRows, makeUser, openWorld, type Rows } from './world.js'

// As an application's code is written where a relation or an aggregate has no type.
type Query = QueryBuilder<Model> & Record<string, (...args: never[]) => never>
interface Cls {
  query(...args: unknown[]): Query
  relatedQuery(name: string): Query
  fetchGraph(rows: unknown, expression: string): PromiseLike<unknown>
}
const { Doc, Comment, Notice, Tag } = world as unknown as Record<'Doc' | 'Comment' | 'Notice' | 'Tag', Cls>

interface Given {
  readonly ids: Rows
  readonly knex: Knex
  readonly dialect: 'sqlite' | 'pg' | 'mysql'
  /** Adds what the rule would add, where no rule binds. */
  own<Q>(query: Q, table?: string): Q
}

const reads: Record<string, (given: Given) => unknown> = {
  'query()': ({ own }) => own(Doc.query()),
  findById: ({ own, ids }) => own(Doc.query().findById(ids.doc)),
  findByIds: ({ own, ids }) => own(Doc.query().findByIds([ids.doc, ids.other])),
  findOne: ({ own }) => own(Doc.query().findOne({ title: 'mine doc' } as never)),
  'first and throwIfNotFound': ({ own }) => own(Doc.query().orderBy('title').first().throwIfNotFound()),
  'where with operators': ({ own }) => own(Doc.query().where('rating', '>=', 3).whereNot('title', 'x').whereNotNull('title')),
  'where of a group': ({ own }) => own(Doc.query().where((q) => void q.where('rating', 3).orWhere('rating', 9))),
  'whereIn and whereBetween': ({ own }) => own(Doc.query().whereIn('rating', [2, 3]).whereBetween('rating', [1, 5])),
  'whereRaw with a function': ({ own }) => own(Doc.query().whereRaw('lower(??) = ?', ['doc.title', 'mine doc'])),
  'whereRaw with parentheses in a text': ({ own }) => own(Doc.query().whereRaw("title like '%(x%' or title like '%mine%'")),
  'whereRaw with a quote in a text': ({ own }) => own(Doc.query().whereRaw("title <> 'it''s (from comment'")),
  'select of raws': ({ own }) =>
    own(Doc.query().select('doc.id', raw('upper(??)', 'doc.title').as('loud'), raw('coalesce(rating, ?) as r', [0]))),
  'select of functions': ({ own }) =>
    own(Doc.query().select(fn.coalesce(ref('doc.rating'), 0).as('r'), fn('lower', ref('doc.title')).as('t'))),
  'case when': ({ own }) => own(Doc.query().select(raw("case when rating > 2 then 'high' else 'low' end as level"))),
  'from inside a function': ({ own, dialect }) =>
    own(Doc.query().select(raw(dialect === 'sqlite' ? "trim(title, ' ') as t" : "trim(both ' ' from title) as t"))),
  'a window': ({ own }) => own(Doc.query().select('title', raw('row_number() over (partition by user_id order by rating, title) as rn'))),
  'named bindings': ({ own }) => own(Doc.query().select(raw(':col: as t', { col: 'doc.title' }))),
  'groupBy and having': ({ own }) => own(Doc.query().select('rating').count('* as n').groupBy('rating').having('rating', '>', 1)),
  'groupByRaw and havingRaw': ({ own }) =>
    own(Doc.query().select(raw('rating % 2 as p')).count('* as n').groupByRaw('rating % 2').havingRaw('count(*) >= ?', [1])),
  'orderBy several': ({ own }) =>
    own(
      Doc.query()
        .orderBy([{ column: 'rating', order: 'desc' }, 'title'])
        .limit(2)
        .offset(1),
    ),
  'orderBy raw': ({ own }) => own(Doc.query().orderBy(raw('case rating when 3 then 0 else 1 end')).orderByRaw('lower(title) desc')),
  page: ({ own }) => own(Doc.query().orderBy('title').page(0, 2)),
  range: ({ own }) => own(Doc.query().orderBy('title').range(0, 0)),
  resultSize: ({ own }) => own(Doc.query()).resultSize(),
  aggregates: ({ own }) => own(Doc.query().min('rating as a').max('rating as b').sum('rating as c').countDistinct('title as d').first()),
  distinct: ({ own }) => own(Doc.query().distinct('rating')),
  alias: ({ own }) => own(Doc.query().alias('d').select('d.title'), 'd'),
  'from with an alias': ({ own }) => own(Doc.query().from('doc as d').select('d.title'), 'd'),
  joinRelated: ({ own }) => own(own(Doc.query().joinRelated('comments').select('doc.title', 'comments.text')), 'comments'),
  'joinRelated nested': ({ own }) => own(Doc.query().joinRelated('[project, comments.user]').select('comments:user.email', 'project.name')),
  'joinRelated manyToMany': ({ own }) => own(Doc.query().joinRelated('tags').select('tags.name', 'tags_join.note')),
  'leftJoinRelated and count': ({ own }) =>
    own(Doc.query().leftJoinRelated('comments').select('doc.id').count('comments.id as n').groupBy('doc.id')),
  withGraphFetched: ({ own }) => own(Doc.query().withGraphFetched('[comments.user, tags, project, parent, children]')),
  'withGraphFetched, modified': ({ own }) =>
    own(
      Doc.query()
        .withGraphFetched('comments(short) as remarks')
        .modifiers({ short: (q) => void q.select('text', 'docId').orderBy('text') }),
    ),
  withGraphJoined: ({ own }) => own(Doc.query().withGraphJoined('[comments, tags, project]').where('comments.text', 'like', '%comment%')),
  'whereExists of a relation': ({ own }) => own(Doc.query().whereExists(Doc.relatedQuery('comments').where('text', 'like', 'mine%'))),
  'select of a related count': ({ own }) =>
    own(Doc.query().select('doc.*', (Doc.relatedQuery('comments').count() as unknown as Query).as('n' as never) as never)),
  'whereIn of a subquery': ({ own }) => own(Doc.query().whereIn('id', own(Comment.query().select('docId'), 'comment'))),
  'a subquery to compare with': ({ own }) => own(Doc.query().where('rating', '>=', own(Doc.query().avg('rating')) as never)),
  'a subquery in a raw': ({ own }) => own(Doc.query().select('doc.id', raw('(?)', [own(Comment.query().count('*'), 'comment')]).as('n'))),
  union: ({ own }) =>
    own(Doc.query().select('title').where('rating', 3)).union(own(Doc.query().select('title').where('rating', 2)) as never),
  CTE: ({ own }) =>
    own(
      Doc.query()
        .with('x', own(Comment.query().select('docId as did'), 'comment') as never)
        .join('x', 'x.did', 'doc.id')
        .select('doc.title'),
    ),
  'join of a subquery': ({ own }) =>
    own(
      Doc.query()
        .join(
          own(Comment.query(), 'comment').as('c' as never) as never,
          function (this: { on(a: string, b: string): { andOn(a: string, b: string): unknown } }) {
            this.on('c.docId', 'doc.id').andOn('c.userId', 'doc.userId')
          } as never,
        )
        .select('c.text'),
    ),
  'join of a table without a policy': ({ own }) =>
    own(Doc.query().leftJoin('plain', 'plain.title', 'doc.title').select('doc.title', raw('(select count(*) from plain) as n'))),
  'from a subquery': ({ own }) => own(Doc.query().from(own(Doc.query()).as('doc' as never) as never)),
  'modify and castTo': ({ own }) =>
    own(
      Doc.query()
        .modify((q) => void q.where('rating', '>', 1))
        .castTo(Object as never),
    ),
  forUpdate: ({ own }) => own(Doc.query().forUpdate()),
  'a builder used twice': async ({ own }) => {
    const query = own(Doc.query())
    return [await query, await query.clone().where('rating', 3), query.isFind()]
  },
  'toKnexQuery with more': async ({ own }) => [
    ...((await own(Doc.query().select('title')).toKnexQuery().orderBy('title').limit(2)) as never[]),
  ],
  'toKnexQuery inside knex': async ({ own, knex }) =>
    Number((await knex.count('* as n').from(own(Doc.query()).toKnexQuery().as('q')).first())?.['n']),
  relatedQuery: ({ ids }) => Doc.relatedQuery('comments').for(ids.doc as never),
  $relatedQuery: async ({ ids }) => (await Doc.query().findById(ids.doc))?.$relatedQuery('tags' as never),
  $fetchGraph: async ({ ids }) => (await Doc.query().findById(ids.doc))?.$fetchGraph('[comments, tags, project]'),
  fetchGraph: async ({ own }) => await Doc.fetchGraph(await own(Doc.query()), 'comments'),
  'what everybody may read': ({ ids }) => Notice.query().withGraphFetched('user').where('userId', ids.user),
  'operators of PostgreSQL': ({ own, dialect }) =>
    own(
      dialect === 'pg'
        ? Doc.query().whereRaw("title ~ '^mine' and created_at > now() - interval '1 day' and rating = any(?)", [[2, 3]])
        : Doc.query(),
    ),
  'an array of PostgreSQL': ({ own, dialect }) =>
    own(dialect === 'pg' ? Doc.query().select(raw('array[lower(title), (title)] as a')) : Doc.query()),
  'json of PostgreSQL': ({ own, dialect }) => own(dialect === 'pg' ? Doc.query().select(raw(`'{"a":1}'::jsonb->>'a' as a`)) : Doc.query()),
}

const writes: Record<string, (given: Given) => unknown> = {
  insert: () => Doc.query().insert({ title: 'n' } as never),
  insertAndFetch: () => Doc.query().insertAndFetch({ title: 'n' } as never),
  insertGraph: ({ ids }) =>
    Doc.query().insertGraph({
      title: 'a',
      comments: [{ text: 'x' }],
      tags: [{ name: 't' }, { '#dbRef': ids.tag }],
      project: { name: 'p' },
    } as never),
  'insertGraph with references': () =>
    Doc.query().insertGraph(
      [
        { '#id': 'p', title: 'a' },
        { title: 'b', parent: { '#ref': 'p' } },
      ] as never,
      { allowRefs: true },
    ),
  upsertGraph: ({ ids }) =>
    Doc.query().upsertGraph(
      { id: ids.doc, title: 'up', comments: [{ id: ids.comment, text: 'c' }, { text: 'new' }], tags: [{ id: ids.tag }] } as never,
      { relate: true, unrelate: true },
    ),
  patch: ({ own }) =>
    own(
      Doc.query()
        .patch({ title: 'p' } as never)
        .where('rating', 3),
    ),
  'patch by raw and ref': ({ ids }) =>
    Doc.query()
      .findById(ids.doc)
      .patch({ rating: raw('rating + 1'), title: ref('title') } as never),
  'patch with the same id': ({ ids }) =>
    Doc.query()
      .findById(ids.doc)
      .patch({ id: ids.doc, title: 'j' } as never),
  'increment and decrement': async ({ ids }) => [
    await Doc.query().findById(ids.doc).increment('rating', 2),
    await Doc.query().findById(ids.doc).decrement('rating', 1),
  ],
  patchAndFetchById: ({ ids }) => Doc.query().patchAndFetchById(ids.doc, { title: 'z' } as never),
  'update of a whole row': async ({ ids }) => {
    const row = await Doc.query().findById(ids.doc).withGraphFetched('comments')
    return await row?.$query().update({ ...row.toJSON(), comments: undefined, title: 'z' } as never)
  },
  'a row patched by itself': async ({ ids }) => {
    const row = await Doc.query().findById(ids.doc)
    return await row?.$query().patch(Object.assign(row, { title: 'self' }) as never)
  },
  'patch of rows with comments': ({ own, dialect }) =>
    // MariaDB reads no table that it writes.
    own(
      Doc.query()
        .patch({ title: 'x' } as never)
        .whereIn('id', (dialect === 'mysql' ? [] : own(Comment.query().select('docId'), 'comment')) as never),
    ),
  delete: ({ own }) => own(Comment.query().delete(), 'comment'),
  deleteById: ({ ids }) => Comment.query().deleteById(ids.comment),
  'relate and unrelate': async ({ ids }) => [
    await Doc.relatedQuery('tags')
      .for(ids.other as never)
      .relate({ id: ids.tag, note: 'n' } as never),
    await Doc.relatedQuery('tags')
      .for(ids.doc as never)
      .unrelate(),
    await Doc.relatedQuery('comments')
      .for(ids.other as never)
      .relate(ids.comment),
    await Doc.relatedQuery('project')
      .for(ids.other as never)
      .relate(ids.project),
  ],
  'insert through relations': async ({ ids }) => [
    await Doc.relatedQuery('comments')
      .for(ids.doc as never)
      .insert({ text: 'x' } as never),
    await Doc.relatedQuery('tags')
      .for(ids.doc as never)
      .insert({ name: 'x' } as never),
  ],
  'patch through relations': async ({ ids }) => [
    await Doc.relatedQuery('comments')
      .for(ids.doc as never)
      .patch({ text: 'x' } as never),
    await Doc.relatedQuery('tags')
      .for(ids.doc as never)
      .patch({ name: 'x' } as never),
  ],
  'onConflict().ignore()': ({ ids }) =>
    Doc.query()
      .insert({ id: ids.doc, title: 'x', userId: ids.user } as never)
      .onConflict('id')
      .ignore(),
}

eachDatabase('Ordinary queries under permissions', (db) => {
  let perms: Perms
  let me: User
  let admin: User
  let ids: Rows
  before(async () => {
    perms = await openWorld(db.knex)
    me = await makeUser('me')
    admin = await makeUser('admin', [['admin']])
    const other = await makeUser('other')
    for (const [user, word] of [
      [me, 'mine'],
      [other, 'theirs'],
    ] as const) {
      const rows = idsFor(user.id)
      if (user === me) ids = rows
      await insertRows(rows, word, null, 3)
      await insertNotice(rows)
    }
  })
  after(() => perms?.close())

  const given = (isBound: boolean): Given => ({
    ids,
    knex: db.knex,
    dialect: db.dialect,
    own: (query, table = 'doc') => (isBound ? query : ((query as Query).where(`${table}.userId`, me.id) as typeof query)),
  })
  /** Without what differs from run to run, and in no order. */
  const plain = (answer: unknown): unknown => {
    const values: unknown = JSON.parse(JSON.stringify(answer ?? null))
    const known = new Set(Object.values(ids))
    const sorted = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(sorted).sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1))
      if (typeof value === 'string' && /^[0-9a-f]{8}-[0-9a-f-]{27}$/.test(value) && !known.has(value)) return 'another id'
      if (typeof value !== 'object' || value === null) return value
      const entries = Object.entries(value).filter(([name]) => !/^(created|updated)_?at$/i.test(name))
      return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, inner]) => [name, sorted(inner)]))
    }
    return sorted(values)
  }

  for (const [name, read] of Object.entries(reads)) {
    it(`return the same rows as plain Objection with the rule as where(): ${name}`, async () => {
      const wanted = plain(await asSystem(() => read(given(false))))
      expect(JSON.stringify(wanted)).to.not.be.oneOf(['[]', 'null', '0'])
      expect(plain(await runAs(me, () => read(given(true)))), 'the owner').to.deep.equal(wanted)
      expect(plain(await runAs(admin, () => read(given(false)))), 'an admin').to.deep.equal(wanted)
    })
  }

  for (const [name, write] of Object.entries(writes)) {
    it(`change the same rows as plain Objection: ${name}`, async () => {
      const undone = async (user: User, isBound: boolean) => {
        let answer: unknown
        const undo = new Error('undo')
        const rows = async () => [await Doc.query(), await Comment.query(), await Tag.query()]
        const all = async () => {
          answer = [await write(given(isBound)), await asSystem(rows)]
          throw undo
        }
        await (isBound ? runAs(user, () => transaction(all)) : asSystem(() => transaction(all))).catch((error: unknown) => {
          if (error !== undo) throw error
        })
        return plain(answer)
      }
      const bound = await undone(me, true)
      expect(bound).to.be.an('array')
      if (!/insert|upsert/i.test(name)) expect(bound).to.deep.equal(await undone(me, false))
    })
  }
})
