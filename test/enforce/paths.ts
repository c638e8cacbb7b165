import type { Knex } from 'knex'
import { raw, ref } from 'objection'
import * as lib from '../../src/index.js'
import type * as world from './world.js'
// Live bindings: useIds() replaces the models.
import { Article, BareDoc, Closed, Comment, Doc, Domain, form, Notice, Plain, Post, Project, User } from './world.js'

const { UserRole, Token, UserSetting, transaction } = lib

type Query = ReturnType<typeof Doc.query>

// In a query, Objection names a column that no model declares as the database does.
const docId = () => (form === 'without a schema' ? 'doc_id' : 'docId')

/** Methods of a builder that Objection's types do not declare. */
interface Untyped {
  with(name: string, columns: readonly string[], query: object): Query
  tableNameFor(table: string, other: string): Query
  options(options: object): Query
}

/** Where a path is tried: who calls, and whose rows it goes for. */
export interface Place {
  readonly me: string
  readonly mine: world.Rows
  readonly theirs: world.Rows
  readonly knex: Knex
  /** The domain of their article. */
  readonly domain: string
}

export interface Path {
  readonly name: string
  readonly kind: 'read' | 'count' | 'write'
  readonly run: (place: Place) => unknown
  /** Whether the path is refused with an error for all callers, the owner included. */
  readonly isRefused?: boolean
  /** Whether the path shows and changes nothing for any caller, the owner included. */
  readonly isWithoutResult?: boolean
}

const read = (name: string, run: Path['run'], more: Partial<Path> = {}): Path => ({ name, kind: 'read', run, ...more })
const count = (name: string, run: Path['run'], more: Partial<Path> = {}): Path => ({ name, kind: 'count', run, ...more })
const write = (name: string, run: Path['run'], more: Partial<Path> = {}): Path => ({ name, kind: 'write', run, ...more })
const refused = { isRefused: true }

async function instance(cls: any, id: string): Promise<any> {
  // An application may hold such an object: fetched by another caller, or built from an id.
  return cls.fromDatabaseJson({ id })
}

/** Returns the id of some user other than the caller. */
const another = (theirs: world.Rows, me: string) => (theirs.user === me ? theirs.doc : theirs.user)

const first = async (query: any) => (await query)[0]

export const reads: Path[] = [
  read('query()', () => Doc.query()),
  read('findById', ({ theirs }) => Doc.query().findById(theirs.doc)),
  read('findById().throwIfNotFound', ({ theirs }) => Doc.query().findById(theirs.doc).throwIfNotFound()),
  read('findByIds', ({ theirs }) => Doc.query().findByIds([theirs.doc, theirs.other])),
  read('findOne', ({ theirs }) => Doc.query().findOne({ id: theirs.doc })),
  read('first', () => Doc.query().orderBy('rating', 'desc').first()),
  read('get', ({ theirs }) => Doc.get(theirs.doc)),
  read('getOr404', ({ theirs }) => Doc.getOr404(theirs.doc)),
  read('getBy', () => Doc.getBy({ title: 'SECRET doc' })),
  read('getByOr404', () => Doc.getByOr404({ title: 'SECRET doc' })),
  read('$query()', async ({ theirs }) => (await instance(Doc, theirs.doc)).$query()),
  read('select', () => Doc.query().select('title')),
  read('distinct', () => Doc.query().distinct('title')),
  read('pluck by castTo', () =>
    Doc.query()
      .select('title')
      .castTo(Object as never),
  ),
  read('castTo another model', () => Doc.query().castTo(Closed)),
  read('alias', () => Doc.query().alias('d').where('d.rating', '>', 0)),
  read('alias as a rule would name a table', () => Doc.query().alias('perms_1'), refused),
  read('from with an alias', () => Doc.query().from('doc as d')),
  read('from({ d: table })', () => Doc.query().from({ d: 'doc' } as never)),
  read('from a subquery', () => Doc.query().from(Doc.query().as('t'))),
  read('from a subquery of another model', () => Doc.query().from(Comment.query().select('text').as('t')).select('t.text')),
  read('orWhere', ({ theirs }) => Doc.query().where('rating', 1).orWhere('id', theirs.doc)),
  read('orWhere(true)', () =>
    Doc.query()
      .where('rating', 1)
      .orWhere(true as never),
  ),
  read('orWhereRaw', () => Doc.query().where('rating', 1).orWhereRaw('1 = 1')),
  read('orWhere in a function', () => Doc.query().where((q: any) => q.where('rating', 1).orWhere('rating', '>', 0))),
  read('whereRaw with or', () => Doc.query().whereRaw('1 = 1 or 1 = 1')),
  read('whereRaw with an escape', () => Doc.query().whereRaw("title like ? escape '!'", ['S%']).orWhereRaw('1 = 1')),
  read('where(raw with or)', () => Doc.query().where(raw('1 = 1 or 1'), 1)),
  read('where(raw or, operator, value)', () => Doc.query().where(raw('1 = 1 or 1'), '=', 1)),
  read('where(column, raw with or)', () => Doc.query().where('rating', '=', raw('rating or 1 = 1'))),
  read('whereIn(raw with or)', () => Doc.query().whereIn(raw('1 = 1 or 1') as never, [1])),
  read('whereNull(raw with or)', () => Doc.query().whereNull(raw('1 = 1 or null') as never)),
  read('whereBetween(raw with or)', () => Doc.query().whereBetween(raw('1 = 1 or rating') as never, [0, 9])),
  read('whereNot', ({ mine }) => Doc.query().whereNot('id', mine.doc)),
  read('whereColumn', () => Doc.query().whereColumn('id', 'id').orWhereColumn('rating', 'rating')),
  read('whereIn', ({ theirs }) => Doc.query().whereIn('id', [theirs.doc]).orWhereIn('id', [theirs.other])),
  read('whereExists of itself', () => Doc.query().whereExists(Doc.query().alias('x').where('x.rating', '>', 0))),
  read('orWhereExists', () => Doc.query().where('rating', 1).orWhereExists(Doc.relatedQuery('comments'))),
  read('having', () => Doc.query().select('title').groupBy('title').having('title', 'like', '%').orHavingRaw('1 = 1')),
  read('modify', () => Doc.query().modify('good')),
  read('onBuild', () => Doc.query().onBuild((q: any) => q.orWhereRaw('1 = 1'))),
  read('context onBuild', () => Doc.query().context({ onBuild: (q: any) => q.orWhereRaw('1 = 1') })),
  read('onBuildKnex', () => Doc.query().onBuildKnex((q: any) => q.orWhereRaw('1 = 1'))),
  read('onBuildKnex clearing', () => Doc.query().onBuildKnex((q: any) => q.clearWhere())),
  read('runBefore', () => Doc.query().runBefore((_: unknown, q: any) => void q.orWhereRaw('1 = 1'))),
  read('clearWhere', () => Doc.query().where('rating', 1).clearWhere()),
  read('clone', () => Doc.query().orWhereRaw('1 = 1').clone()),
  read('toKnexQuery', async () => Doc.query().orWhereRaw('1 = 1').toKnexQuery()),
  read('page', () => Doc.query().orderBy('rating').page(0, 20)),
  read('range', () => Doc.query().orderBy('rating').range(0, 20)),
  read('limit and offset', () => Doc.query().orderBy('rating', 'desc').limit(1).offset(0)),
  read('union', () => Doc.query().where('rating', 1).union(Doc.query())),
  read('unionAll', () => Doc.query().where('rating', 1).unionAll([Doc.query(), Doc.query()])),
  read('union of another model', () => Doc.query().select('title').union(Comment.query().select('text'))),
  read('subquery in where', () => Doc.query().whereIn('id', Comment.query().select(docId()))),
  read('subquery in select', () => Doc.query().select('id', Doc.query().alias('x').max('x.title').as('most'))),
  read('subquery of another model in select', () => Project.query().select(Doc.query().max('title').as('most'))),
  read('related subquery in select', () => Doc.query().select('id', Doc.relatedQuery('comments').max('text').as('most'))),
  read('CTE', () =>
    Doc.query()
      .with('mine', Doc.query())
      .whereIn('id', (q: any) => q.select('id').from('mine')),
  ),
  read('CTE as source', () => Doc.query().with('mine', Doc.query()).from('mine as doc')),
  read('withGraphFetched', ({ mine }) =>
    Doc.query().findById(mine.doc).withGraphFetched('[comments, tags, project, parent, children, user]'),
  ),
  read('withGraphFetched from what all may read', () => Notice.query().withGraphFetched('[user, doc]')),
  read('withGraphFetched of foreign links', async ({ theirs }) => {
    const row = Notice.fromDatabaseJson({ id: theirs.notice, user_id: theirs.user, doc_id: theirs.doc })
    return row.$fetchGraph('[user, doc.[comments, tags]]')
  }),
  read('withGraphJoined', () => Doc.query().withGraphJoined('[comments, tags, project, parent, children, user]')),
  read('withGraphJoined nested', () =>
    Doc.query()
      .withGraphJoined('children.comments.doc2', {})
      .catch(() => Doc.query().withGraphJoined('children.[comments, tags]')),
  ),
  read('withGraphJoined aliased', () => Doc.query().withGraphJoined('[comments as c, tags as t]', { aliases: { children: 'x' } })),
  read('withGraphJoined filtered', () => Doc.query().withGraphJoined('comments').orWhere('comments.text', 'like', '%')),
  read('withGraphJoined, inner', () => Doc.query().withGraphJoined('comments', { joinOperation: 'innerJoin' })),
  read('withGraphFetched with modifiers', () =>
    Doc.query()
      .withGraphFetched('comments(all)')
      .modifiers({ all: (q: any) => q.orWhereRaw('1 = 1') }),
  ),
  read('modifyGraph', () =>
    Doc.query()
      .withGraphFetched('comments')
      .modifyGraph('comments', (q: any) => q.orWhereRaw('1 = 1')),
  ),
  read('fetchGraph', async ({ theirs }) => Doc.fetchGraph([await instance(Doc, theirs.doc)], '[comments, tags, children]')),
  read('$fetchGraph', async ({ theirs }) => (await instance(Doc, theirs.doc)).$fetchGraph('[comments, tags, children]')),
  read('$relatedQuery hasMany', async ({ theirs }) => (await instance(Doc, theirs.doc)).$relatedQuery('comments')),
  read('$relatedQuery manyToMany', async ({ theirs }) => (await instance(Doc, theirs.doc)).$relatedQuery('tags')),
  read('$relatedQuery belongsTo', async ({ theirs }) =>
    Doc.fromDatabaseJson({ id: theirs.other, parent_id: theirs.doc, project_id: theirs.project }).$relatedQuery('project'),
  ),
  read('$relatedQuery of the owner', async ({ theirs }) => Notice.fromDatabaseJson({ user_id: theirs.user }).$relatedQuery('user')),
  read('relatedQuery for an id', ({ theirs }) => Doc.relatedQuery('comments').for(theirs.doc)),
  read('relatedQuery for a query', () => Doc.relatedQuery('comments').for(Doc.query())),
  read('relatedQuery manyToMany', ({ theirs }) => Doc.relatedQuery('tags').for([theirs.doc])),
  read('joinRelated', () => Doc.query().joinRelated('comments').select('doc.id', 'comments.text')),
  read('joinRelated with or', () => Doc.query().joinRelated('comments').where('doc.rating', 1).orWhere('comments.text', 'like', '%')),
  read('joinRelated nested', () => Doc.query().joinRelated('children.comments').select('children:comments.text')),
  read('joinRelated from what all may read', () => Notice.query().joinRelated('user').select('user.email')),
  read('joinRelated manyToMany', () => Doc.query().joinRelated('tags').select('tags.name', 'tags_join.note')),
  read('leftJoinRelated manyToMany', () => Doc.query().leftJoinRelated('tags').select('tags.name', 'tags_join.tag_id', 'tags_join.note')),
  read('leftJoinRelated', () => Notice.query().leftJoinRelated('doc').select('notice.id', 'doc.title')),
  read('leftJoinRelated filtered', () => Notice.query().leftJoinRelated('doc').where('doc.title', 'like', 'S%').select('doc.title')),
  read('innerJoin of a query', () => Doc.query().innerJoin(Comment.query().as('c'), `c.${docId()}`, 'doc.id').select('c.text')),
  read('rightJoin of a query', () => Doc.query().rightJoin(Comment.query().as('c'), `c.${docId()}`, 'doc.id').select('c.text')),
  read('ref in where', () => Doc.query().where(ref('doc.title') as never, 'like', '%')),
  read('orderByRaw', () => Doc.query().orderByRaw('title')),
  read('bindKnex', ({ knex }) => Doc.bindKnex(knex).query()),
  read('explicit knex', ({ knex }) => Doc.query(knex)),
  read('explicit trx', ({ knex }) => knex.transaction((trx) => Doc.query(trx) as never)),
  read('transaction()', () => transaction(() => Doc.query())),
  read('Model.transaction', () => Doc.transaction((trx) => Doc.query(trx).orWhereRaw('1 = 1') as never)),
  read('bindTransaction', ({ knex }) => knex.transaction((trx) => Doc.bindTransaction(trx).query() as never)),
  read('bound $relatedQuery', ({ knex, theirs }) => Doc.bindKnex(knex).fromDatabaseJson({ id: theirs.doc }).$relatedQuery('comments')),
  read('skipUndefined', () =>
    Doc.query()
      .skipUndefined()
      .where('rating', undefined as never),
  ),
  read('withSchema', async ({ knex }) => {
    if (knex.client.driverName !== 'pg') return Doc.query()
    return Doc.query().withSchema('public')
  }),
  read('rows of a domain', () => Article.query()),
  read('rows of a domain by id', ({ theirs }) => Article.query().findById(theirs.article)),
  read('rows of a domain through the domain', ({ theirs, domain }) =>
    Article.query().where('domainId', domain).orWhere('id', theirs.article),
  ),
  read('soft-deleted rows', () => Post.withDeleted()),
  read('soft-deleted by id', ({ theirs }) => Post.withDeleted().findById(theirs.deleted)),
  read('a model without a policy', () => Closed.query(), { isWithoutResult: true }),
  read('users', () => User.query()),
  read('a user by e-mail', () => User.query().where('email', 'like', 'secret%')),
  read('roles', () => UserRole.query().withGraphFetched('user')),
  read('tokens', () => Token.query()),
  read('settings', () => UserSetting.query()),
  read('roles of a user', ({ theirs }) => User.relatedQuery('roles').for(theirs.user).withGraphFetched('user')),
  read('roles with the user, joined', () => UserRole.query().joinRelated('user').select('user.email')),
  read('upward from a role', ({ theirs }) => UserRole.fromDatabaseJson({ user_id: theirs.user }).$relatedQuery('user')),
  read('raw in select', () => Doc.query().select(raw('upper(title) as loud'))),
  read('where(column, raw operator, value)', () => Doc.query().where('rating', raw('= 1 or 1 =') as never, 1)),
  read('whereNot(column, raw operator, value)', ({ knex }) => Doc.query().whereNot('rating', knex.raw('= 1 or 1 =') as never, 1)),
  read('whereColumn by a raw operator', ({ knex }) =>
    Doc.query().whereColumn('rating', knex.raw('= 1 or 1 = 1 or rating =') as never, 'rating'),
  ),
  read('whereWrapped', () => Doc.query().whereWrapped((q: any) => q.whereRaw('1 = 1').orWhereRaw('1 = 1'))),
  read('havingExists', () => Doc.query().select('title').groupBy('title').havingExists(Comment.query())),
  read('intersect', () => Doc.query().intersect(Doc.query())),
  read('except', () => Doc.query().select('title').except(Doc.query().select('title').where('rating', 1))),
  read('CTE with columns', () =>
    (Doc.query() as unknown as Untyped).with('t', ['id', 'title'], Doc.query().select('id', 'title')).from('t').select('title'),
  ),
  read('rightJoinRelated', () => Notice.query().rightJoinRelated('doc').select('doc.title')),
  read('rightJoinRelated manyToMany', () => Doc.query().rightJoinRelated('tags').select('tags.name', 'tags_join.note', 'doc.title')),
  read('joinRelated with a modifier', () =>
    Doc.query()
      .joinRelated('comments(all)')
      .modifiers({ all: (q: any) => q.select('*').orWhereRaw('1 = 1') })
      .select('comments.text'),
  ),
  read('joinRelated by an alias that is the table', () =>
    Doc.query().alias('d').joinRelated('comments', { alias: 'doc' }).select('doc.text', 'd.title'),
  ),
  read('withGraphJoined, minimized', () => Doc.query().withGraphJoined('[comments, children.comments]', { minimize: true })),
  read('withGraphJoined, right join', () => Doc.query().withGraphJoined('comments', { joinOperation: 'rightJoin' })),
  read('withGraphJoined, modifyGraph', () =>
    Doc.query()
      .withGraphJoined('comments')
      .modifyGraph('comments', (q: any) => q.orWhereRaw('1 = 1')),
  ),
  read('clear of all operations', () =>
    Doc.query()
      .where('rating', 1)
      .clear(true as never),
  ),
  read('clear inside a graph', () =>
    Doc.query()
      .withGraphFetched('comments')
      .modifyGraph('comments', (q: any) => q.clearWhere()),
  ),
  read('$relatedQuery cleared', async ({ theirs }) => (await instance(Doc, theirs.doc)).$relatedQuery('comments').clear(true as never)),
  read('whereInComposite', ({ theirs }) => Doc.query().whereInComposite(['id', 'rating'], [[theirs.doc, 9]])),
  read('another condition for toKnexQuery', async () => Doc.query().toKnexQuery().whereRaw('1 = 1 or 1 = 1')),
  read('a join for toKnexQuery', async () =>
    Doc.query()
      .select('title')
      .toKnexQuery()
      .whereExists(Comment.query().toKnexQuery() as never),
  ),
  // Ways that are refused
  read('orWhere on a knex query of a model', async () => Doc.query().toKnexQuery().orWhereRaw('1 = 1'), refused),
  read('clearWhere on a knex query of a model', async () => Doc.query().toKnexQuery().clearWhere(), refused),
  read('clear on a copy of a knex query of a model', async () => Doc.query().toKnexQuery().clone().clear('where'), refused),
  read('from on a knex query of a model', async () => Doc.query().select('title').toKnexQuery().from('doc as d'), refused),
  read(
    'a join on a knex query of a model',
    async () =>
      Doc.query()
        .toKnexQuery()
        .crossJoin('comment' as never)
        .select('comment.text'),
    refused,
  ),
  read(
    'a union on a knex query of a model',
    async () =>
      Doc.query()
        .select('title')
        .toKnexQuery()
        .union((q: any) => q.select('title').from('doc')),
    refused,
  ),
  read('from a changed knex query of a model', () => Doc.query().from(Doc.query().toKnexQuery().orWhereRaw('1 = 1').as('t')), refused),
  read(
    'from a changed knex query, without permissions',
    () => Plain.query().from(Doc.query().toKnexQuery().orWhereRaw('1 = 1').as('t')).select('title'),
    refused,
  ),
  read("a relation to a class of Objection's own", () => Notice.query().withGraphFetched('legacy'), refused),
  read("a relation to a class of Objection's own, joined", () => Notice.query().withGraphJoined('legacy'), refused),
  read("joinRelated to a class of Objection's own", () => Notice.query().joinRelated('legacy').select('legacy.title'), refused),
  write(
    "a patch through a relation to a class of Objection's own",
    async ({ knex, theirs }) =>
      Notice.fromDatabaseJson({ id: theirs.notice, user_id: theirs.user }).$relatedQuery('legacy', knex).patch({ title: 'hacked' }),
    refused,
  ),
  read(
    'a knex query of a model, made for another',
    async ({ knex, theirs }) => {
      const made = await lib.runAs(theirs.user, async () => ({ query: Doc.query().toKnexQuery() }))
      return knex.client.driverName ? made.query : []
    },
    refused,
  ),
  read(
    'a knex query of a model, made by the application itself',
    async () => (await lib.asSystem(async () => ({ query: Doc.query().toKnexQuery() }))).query,
    refused,
  ),
  read(
    'a knex query of a model, made by the application itself, in knex',
    async ({ knex }) => {
      const made = await lib.asSystem(async () => ({ query: Doc.query().select('title').toKnexQuery() }))
      return knex.select('*').from(made.query.clone().as('t'))
    },
    refused,
  ),
  read(
    'a knex query of a model, made for another, in knex',
    async ({ knex, theirs }) => {
      const made = await lib.runAs(theirs.user, async () => ({ query: Doc.query().select('title').toKnexQuery() }))
      return knex('plain').select('title').union([made.query])
    },
    refused,
  ),
  read(
    'orWhere on a knex query of a model, in knex',
    async ({ knex }) => knex.raw('select * from (?) as t', [Doc.query().select('title').toKnexQuery().orWhereRaw('1 = 1')]),
    refused,
  ),
  read(
    "a knex query of a model, made inside the model's bypass, run after it",
    async () => (await Doc.bypassPerms(async () => ({ query: Doc.query().toKnexQuery() }))).query,
    refused,
  ),
  read(
    "a knex query of a model, made inside the model's bypass",
    async () => {
      const made = await Doc.bypassPerms(async () => ({ query: Doc.query().select('project_id').toKnexQuery() }))
      return Project.query().orWhereIn('id', made.query)
    },
    refused,
  ),
  read(
    'a table from knex.ref',
    ({ knex }) =>
      Doc.query()
        .select('c.text')
        .innerJoin(knex.ref('comment').as('c') as never, raw('1'), raw('1')),
    refused,
  ),
  read(
    'from knex.ref, without permissions',
    ({ knex }) =>
      Plain.query()
        .from(knex.ref('doc') as never)
        .select('title'),
    refused,
  ),
  read(
    'another table by tableNameFor, without permissions',
    () => (Plain.query() as unknown as Untyped).tableNameFor('plain', 'doc').select('title'),
    refused,
  ),
  read('a wrapped raw', ({ knex }) => Project.query().select(knex.raw('1').wrap('(select max(title) from doc where 1 = ', ')')), refused),
  read(
    'from the table twice',
    () =>
      Doc.query()
        .from({ d: 'doc', e: 'doc' } as never)
        .select('e.title'),
    refused,
  ),
  read(
    'from by one name, the rule by another',
    () => Doc.query().from('doc as d').alias('p').innerJoin(Doc.query().as('p'), raw('1'), raw('1')).select('d.title'),
    refused,
  ),
  read(
    'a function that runs a text, quoted',
    () => Doc.query().select(raw(`"query_to_xml"('select * from doc', true, true, '')`)),
    refused,
  ),
  read(
    'a function that runs a text, bound',
    () => Doc.query().select(raw('??(?, true, true, ?)', ['query_to_xml', 'select * from doc', ''])),
    refused,
  ),
  read('a table after IN', () => Doc.query().orWhereRaw("('SECRET doc') in doc"), refused),
  read('the statistics of a table', () => Plain.query().select(raw('(select count(*) from pg_stats) as n')), refused),
  read('the size of a table', () => Doc.query().select(raw("pg_relation_size('doc') as n")), refused),
  read(
    'a statement of its own in options()',
    () => (Doc.query() as unknown as Untyped).options({ sql: 'select * from doc', text: 'select * from doc' }),
    refused,
  ),
  read('raw over a protected table in select', () => Doc.query().select(raw('(select max(title) from doc) as most')), refused),
  read('raw over another protected table', () => Project.query().select(raw('(select max(title) from doc) as most')), refused),
  read(
    'raw with quoted names',
    ({ knex }) =>
      Project.query()
        .select(raw('(select max(title) from ??) as most', 'doc'))
        .where(knex.raw('1 = 1') as never),
    refused,
  ),
  read('a model without permissions over a protected table', () => BareDoc.query(), refused),
  read('a count by such a model', () => BareDoc.query().resultSize(), refused),
  read('a subquery by such a model', () => Plain.query().whereExists(BareDoc.query()), refused),
  write('an insert by such a model', () => BareDoc.query().insert({ title: 'x' }), refused),
  write('an update by such a model', () => BareDoc.query().patch({ title: 'x' }), refused),
  write('a delete by such a model', () => BareDoc.query().delete(), refused),
  read('a function that runs a text', () => Doc.query().select(raw("query_to_xml('select * from doc', true, true, '')")), refused),
  read('a function that reads a table by name', () => Doc.query().select(raw("table_to_xml('doc', true, true, '') as x")), refused),
  read(
    'a function that runs a text, without permissions',
    () => Plain.query().select(raw("query_to_xml('select * from doc', true, true, '')")),
    refused,
  ),
  read(
    'names spelled by code points, without permissions',
    () => Plain.query().select(raw('(select max(title) from U&"d\\006fc")')),
    refused,
  ),
  read('names spelled by code points', () => Doc.query().select(raw('(select max(title) from U&"d\\006fc") as most')), refused),
  read('whereRaw with a subquery', () => Doc.query().orWhereRaw("exists (select 1 from doc where title like 'S%')"), refused),
  read('whereRaw with unbalanced parentheses', () => Doc.query().whereRaw('1 = 1) or (1 = 1'), refused),
  read('whereRaw with a comment', () => Doc.query().whereRaw('1 = 1 --'), refused),
  read('where(raw unbalanced)', () => Doc.query().where(raw('1 = 1) or (1'), 1), refused),
  read('havingRaw unbalanced', () => Doc.query().select('title').groupBy('title').havingRaw('1 = 1) union (select 1'), refused),
  read('orderByRaw with a subquery', () => Doc.query().orderByRaw('(select max(title) from comment)'), refused),
  read('joinRaw', () => Doc.query().joinRaw('inner join comment c on 1 = 1').select('c.text'), refused),
  read('join of a protected table', () => Doc.query().innerJoin('comment', 'comment.id', 'comment.id').select('comment.text'), refused),
  read('join of a protected table with an alias', () => Doc.query().leftJoin('comment as c', 'c.id', 'c.id').select('c.text'), refused),
  read(
    'join of a protected table, object',
    () =>
      Doc.query()
        .leftJoin({ c: 'comment' } as never, 'c.id', 'c.id')
        .select('c.text'),
    refused,
  ),
  read(
    'crossJoin of itself',
    () =>
      Doc.query()
        .crossJoin('doc as d' as never)
        .select('d.title'),
    refused,
  ),
  read('join of a raw', () => Doc.query().innerJoin(raw('comment as c'), 'c.id', 'c.id').select('c.text'), refused),
  read(
    'join of a function',
    () =>
      Doc.query()
        .innerJoin((q: any) => q.select('text').from('comment').as('c'), 'c.text', 'c.text')
        .select('c.text'),
    refused,
  ),
  read(
    'join of a knex builder',
    ({ knex }) =>
      Doc.query()
        .innerJoin(knex('comment').as('c') as never, 'c.id', 'c.id')
        .select('c.text'),
    refused,
  ),
  read('from another table', () => Doc.query().from('comment'), refused),
  read('from a raw', () => Doc.query().from(raw('doc as d')), refused),
  read('fromRaw', () => Doc.query().fromRaw('doc'), refused),
  read('from a function', () => Doc.query().from((q: any) => q.select('*').from('doc').as('t')), refused),
  read('from a knex builder', ({ knex }) => Doc.query().from(knex('doc').as('t') as never), refused),
  read(
    'another table by tableNameFor',
    () => (Project.query() as unknown as Untyped).tableNameFor('project', 'doc').select('title'),
    refused,
  ),
  read(
    'union with a function',
    () =>
      Doc.query()
        .select('title')
        .where('rating', 1)
        .union((q: any) => q.select('title').from('doc')),
    refused,
  ),
  read(
    'union with a raw',
    () =>
      Doc.query()
        .select('title')
        .where('rating', 1)
        .union(raw('select title from doc') as never),
    refused,
  ),
  read(
    'union with a knex builder',
    ({ knex }) =>
      Doc.query()
        .select('title')
        .where('rating', 1)
        .union(knex('doc').select('title') as never),
    refused,
  ),
  read('whereIn a function', () => Project.query().orWhereIn('id', (q: any) => q.select('project_id').from('doc')), refused),
  read('whereExists a function', () => Project.query().whereExists((q: any) => q.select('*').from('doc')), refused),
  read('whereExists a knex builder', ({ knex }) => Project.query().whereExists(knex('doc') as never), refused),
  read('where a nested function', () => Doc.query().where((q: any) => q.whereExists((p: any) => p.select(1).from('comment'))), refused),
  read(
    'CTE of a raw',
    () =>
      Doc.query()
        .with('x', raw('select * from doc'))
        .whereIn('id', (q: any) => q.select('id').from('x')),
    refused,
  ),
  read(
    'CTE of a function',
    () =>
      Doc.query()
        .with('x', (q: any) => q.select('*').from('doc'))
        .select('id'),
    refused,
  ),
  read('CTE of a knex builder', ({ knex }) => Doc.query().with('x', knex('doc') as never), refused),
  read('CTE by the name of a protected table', () => Doc.query().with('user_role', raw('select 1 as id')), refused),
  read('select of a function', () => Project.query().select((q: any) => q.max('title').from('doc').as('most')), refused),
  read('alias of the engine', () => Doc.query().alias('perms_me'), refused),
  read('a raw in capitals', () => Project.query().select(raw('(SELECT MAX(title) FROM DOC) as most')), refused),
  read('a raw with strings that look like parentheses', () => Doc.query().whereRaw('"(" = "(" ) or (1 = 1 and ")" = ")"'), refused),
  read('a raw with an escaped quote', () => Doc.query().whereRaw("title = 'a\\'' ) or (1 = 1) or (title = 'b'"), refused),
  read('a raw in dollars', () => Doc.query().whereRaw("title = $$($$ ) or (1 = 1 and '' = $$)$$"), refused),
  read(
    'on() of a function',
    () =>
      Project.query()
        .innerJoin(Project.query().as('p'), (join: any) => join.on((on: any) => on.on('p.id', raw('(select max(project_id) from doc)'))))
        .select('p.id'),
    refused,
  ),
  read(
    'onExists of a knex builder',
    ({ knex }) =>
      Project.query()
        .innerJoin(Project.query().as('p'), (join: any) => join.on('p.id', 'project.id').onExists(knex('doc').select('id')))
        .select('p.id'),
    refused,
  ),
  read(
    'a function in a knex builder',
    ({ knex }) => Project.query().whereExists(knex('plain').whereIn('id', (q) => q.select('id').from('doc')) as never),
    refused,
  ),
  read(
    'a raw in a function in a knex builder',
    ({ knex }) => Project.query().whereExists(knex('plain').where((q) => q.whereRaw('1 in (select rating from doc)')) as never),
    refused,
  ),
  read(
    'a raw in a union in a CTE',
    ({ knex }) =>
      Project.query().with(
        'x',
        knex('plain')
          .select('title')
          .unionAll(knex.raw('select title from doc') as never) as never,
      ),
    refused,
  ),
  read('a join by a model without permissions', () => Plain.query().rightJoin('doc', 'doc.id', 'plain.id').select('doc.title'), refused),
  read('a raw by a model without permissions', () => Plain.query().select(raw('(select max(title) from doc) as most')), refused),
  read(
    'a union by a model without permissions',
    () =>
      Plain.query()
        .select('title')
        .union((q: any) => q.select('title').from('doc')),
    refused,
  ),
  read('from() by a model without permissions', () => Plain.query().from('doc').select('title'), refused),
  read(
    'a model without permissions over the table, in a subquery',
    () => Doc.query().select('id', Plain.query().from('doc').max('title').as('most')),
    refused,
  ),
  read(
    'a knex query of a model, made as another',
    async ({ knex }) => {
      const all = await lib.asSystem(async () => ({ query: Doc.query().select('project_id').toKnexQuery() }))
      return Project.query(knex).whereIn('id', all.query)
    },
    refused,
  ),
  read('users by a raw in a model without one', () => Closed.query().select(raw('(select max(email) from "user") as most')), refused),
]

export const counts: Path[] = [
  count('count', () => Doc.query().count()),
  count('count of a column', () => Doc.query().count('title as n').first()),
  count('countDistinct', () => Doc.query().countDistinct('title as n')),
  count('resultSize', () => Doc.query().resultSize()),
  count('resultSize with or', () => Doc.query().where('rating', 1).orWhereRaw('1 = 1').resultSize()),
  count('page total', async () => (await Doc.query().page(0, 1)).total),
  count('range total', async () => (await Doc.query().range(0, 0)).total),
  count('range()', async () => (await Doc.query().limit(1).range()).total),
  count('min', () => Doc.query().min('rating as n')),
  count('max', () => Doc.query().max('rating as n')),
  count('sum', () => Doc.query().sum('rating as n')),
  count('avg', () => Doc.query().avg('rating as n')),
  count('group by', () => Doc.query().select('rating').count('* as n').groupBy('rating')),
  count('exists', async () => (await Doc.query().where('title', 'like', 'S%').limit(1)).length),
  count('count over a subquery', () => Doc.query().count('* as n').from(Doc.query().as('t')).first()),
  count('count by alias', () => Doc.query().alias('d').count('* as n').first()),
  count('count of related', () => Doc.query().select('doc.id', Doc.relatedQuery('comments').count().as('n'))),
  count('count of related of others', ({ theirs }) => Doc.relatedQuery('comments').for(theirs.doc).resultSize()),
  count('count of owners', () => Project.query().select(Doc.query().count().as('n')).first()),
  count('count in a union', async () => (await Doc.query().select('id').unionAll(Doc.query().select('id'))).length),
  count('count of a join', () => Doc.query().joinRelated('comments').count('* as n').first()),
  count('count of a left join', () => Notice.query().leftJoinRelated('doc').count('doc.id as n').first()),
  count('count of a manyToMany join', () => Doc.query().joinRelated('tags').count('* as n').first()),
  count('count of a manyToMany left join', () => Doc.query().leftJoinRelated('tags').count('* as n').first()),
  count('count in a CTE', () =>
    Doc.query()
      .with('x', Doc.query().count('* as n'))
      .whereExists((q: any) => q.select(1).from('x').where('n', '>', 0))
      .resultSize(),
  ),
  count('distinct values', async () => (await Doc.query().distinct('rating')).length),
  count(
    'order betrays nothing',
    ({ mine }) =>
      Doc.query()
        .whereIn('id', [mine.doc, mine.other])
        .orderBy(Comment.query().max('text') as never),
    { isWithoutResult: true },
  ),
  count('users', () => User.query().resultSize()),
  count('roles', () => UserRole.query().resultSize()),
  count('a domain', () => Article.query().resultSize()),
  count('deleted too', () => Post.withDeleted().resultSize()),
  count('a model without a policy', () => Closed.query().resultSize(), { isWithoutResult: true }),
  count('canRead', async ({ theirs }) => (await instance(Doc, theirs.doc)).canRead()),
  count('canWrite', async ({ theirs }) => (await instance(Doc, theirs.doc)).canWrite()),
  count('canDelete', async ({ theirs }) => (await instance(Doc, theirs.doc)).canDelete()),
  count('count with a raw subquery', () => Doc.query().select(raw('(select count(*) from doc) as n')), refused),
  count('count of a protected join', () => Doc.query().innerJoin('comment', 'comment.doc_id', 'doc.id').count('* as n'), refused),
]

const hacked = { title: 'hacked' }

export const writes: Path[] = [
  write('patch all', () => Doc.query().patch(hacked)),
  write('patch where', ({ theirs }) => Doc.query().patch(hacked).where('id', theirs.doc)),
  write('patch orWhere', ({ theirs }) => Doc.query().patch(hacked).where('rating', 1).orWhere('id', theirs.doc)),
  write('patch orWhereRaw', () => Doc.query().patch(hacked).where('rating', 1).orWhereRaw('1 = 1')),
  write('patch where(raw or)', () => Doc.query().patch(hacked).where(raw('1 = 1 or 1'), 1)),
  write('patch findById', ({ theirs }) => Doc.query().findById(theirs.doc).patch(hacked)),
  write('update', ({ theirs, me }) =>
    Doc.query()
      .update({ ...hacked, userId: me })
      .where('id', theirs.doc),
  ),
  write('patchAndFetchById', ({ theirs }) => Doc.query().patchAndFetchById(theirs.doc, hacked)),
  write('updateAndFetchById', ({ theirs, me }) => Doc.query().updateAndFetchById(theirs.doc, { ...hacked, userId: me, rating: 1 })),
  write('$query().patch', async ({ theirs }) => (await instance(Doc, theirs.doc)).$query().patch(hacked)),
  write('$query().update', async ({ theirs, me }) => (await instance(Doc, theirs.doc)).$query().update({ ...hacked, userId: me })),
  write('$query().patchAndFetch', async ({ theirs }) => (await instance(Doc, theirs.doc)).$query().patchAndFetch(hacked)),
  write('update()', async ({ theirs }) => (await instance(Doc, theirs.doc)).update(hacked)),
  write('updateFrom()', async ({ theirs }) => (await instance(Doc, theirs.doc)).updateFrom(hacked)),
  write('save()', async ({ theirs }) => Object.assign(await instance(Doc, theirs.doc), hacked).save()),
  write('patch returning', async ({ knex }) =>
    knex.client.driverName === 'mysql2' ? Doc.query().patch(hacked) : Doc.query().patch(hacked).returning('*'),
  ),
  write('increment', () => Doc.query().increment('rating', 5)),
  write('decrement by id', ({ theirs }) => Doc.query().findById(theirs.doc).decrement('rating', 5)),
  write('patch by raw', () => Doc.query().patch({ rating: raw('rating + 1') })),
  write('patch by ref', () => Doc.query().patch({ rating: ref('rating') as never, title: 'hacked' })),
  write('patch to take it', ({ theirs, me }) => Doc.query().findById(theirs.doc).patch({ userId: me, title: 'taken' })),
  write('delete all', () => Doc.query().delete()),
  write('delete where', ({ theirs }) => Doc.query().delete().where('id', theirs.doc)),
  write('delete orWhere', ({ theirs }) => Doc.query().delete().where('rating', 1).orWhere('id', theirs.doc)),
  write('delete where(raw or)', () => Doc.query().delete().where(raw('1 = 1 or 1'), 1)),
  write('deleteById', ({ theirs }) => Doc.query().deleteById(theirs.doc)),
  write('$query().delete', async ({ theirs }) => (await instance(Doc, theirs.doc)).$query().delete()),
  write('delete()', async ({ theirs }) => (await instance(Doc, theirs.doc)).delete()),
  write('insert a child', ({ theirs, me }) => Comment.query().insert({ text: 'hacked', docId: theirs.doc, userId: me })),
  write('insert into the relation', async ({ theirs, me }) =>
    (await instance(Doc, theirs.doc)).$relatedQuery('comments').insert({ text: 'hacked', userId: me }),
  ),
  write('relatedQuery insert', ({ theirs, me }) => Doc.relatedQuery('comments').for(theirs.doc).insert({ text: 'hacked', userId: me })),
  write('insert in their name', ({ theirs }) => Doc.query().insert({ title: 'hacked', userId: theirs.user })),
  write('insertAndFetch in their name', ({ theirs }) => Doc.query().insertAndFetch({ title: 'hacked', userId: theirs.user })),
  write('create in their name', ({ theirs }) => Doc.create({ title: 'hacked', userId: theirs.user })),
  write('insert many', async ({ theirs, me, knex }) => {
    const rows = [
      { title: 'hacked', userId: me },
      { title: 'hacked', userId: theirs.user },
    ]
    if (knex.client.driverName === 'pg') return Doc.query().insert(rows)
    return Doc.query().insertGraph(rows)
  }),
  write('insert with their project', ({ theirs, me }) => Doc.create({ title: 'hacked', userId: me, projectId: theirs.project })),
  write('insertGraph beneath theirs', ({ theirs, me }) => Doc.query().insertGraph({ title: 'hacked', userId: me, parentId: theirs.doc })),
  write('insertGraph in their name', ({ theirs }) =>
    Doc.query().insertGraph({ title: 'hacked', userId: theirs.user, comments: [{ text: 'hacked', userId: theirs.user }] } as never),
  ),
  write('insertGraph relating their tag', ({ theirs, me }) =>
    Doc.query().insertGraph({ title: 'hacked', userId: me, tags: [{ '#dbRef': theirs.tag }] } as never),
  ),
  write('insertGraph relating their project', ({ theirs, me }) =>
    Doc.query().insertGraph({ title: 'hacked', userId: me, project: { '#dbRef': theirs.project } } as never),
  ),
  write('upsertGraph', ({ theirs }) => Doc.query().upsertGraph({ id: theirs.doc, ...hacked })),
  write('upsertGraph insertMissing', ({ theirs, me, mine }) =>
    Doc.query().upsertGraph(
      {
        id: mine.doc,
        comments: [
          { text: 'hacked', userId: me },
          { text: 'again', userId: theirs.user },
        ],
      } as never,
      { insertMissing: true },
    ),
  ),
  write('upsertGraph of children', ({ theirs, mine }) =>
    Doc.query().upsertGraph({ id: mine.doc, comments: [{ id: theirs.comment, text: 'hacked' }] } as never, { relate: true }),
  ),
  write('upsertGraph emptying', ({ theirs }) => Doc.query().upsertGraph({ id: theirs.doc, comments: [], tags: [] } as never)),
  write('upsertGraph relating', ({ theirs, mine }) =>
    Doc.query().upsertGraph({ id: mine.other, tags: [{ id: theirs.tag }], project: { id: theirs.project } } as never, {
      relate: true,
      unrelate: true,
    }),
  ),
  write('upsertGraphAndFetch', ({ theirs }) => Doc.query().upsertGraphAndFetch({ id: theirs.doc, ...hacked })),
  write('relate hasMany', async ({ theirs, mine }) =>
    (await instance(Doc, mine.doc === theirs.doc ? mine.other : mine.doc)).$relatedQuery('comments').relate(theirs.comment),
  ),
  write('relate hasMany of theirs', async ({ theirs, mine }) =>
    (await instance(Doc, theirs.other)).$relatedQuery('comments').relate(mine.comment),
  ),
  write('relate belongsTo', async ({ theirs, mine }) => (await instance(Doc, mine.other)).$relatedQuery('project').relate(theirs.project)),
  write('relate belongsTo of theirs', async ({ theirs, mine }) =>
    (await instance(Doc, theirs.other)).$relatedQuery('project').relate(mine.project),
  ),
  write('relate manyToMany', async ({ theirs, mine }) => (await instance(Doc, mine.other)).$relatedQuery('tags').relate(theirs.tag)),
  write('relate manyToMany of theirs', async ({ theirs, mine }) =>
    (await instance(Doc, theirs.other)).$relatedQuery('tags').relate(mine.tag),
  ),
  write('relatedQuery relate', ({ theirs, mine }) => Doc.relatedQuery('tags').for(theirs.other).relate(mine.tag)),
  write('relate the owner', async ({ theirs, mine }) => {
    const doc = await instance(Doc, mine.doc)
    return doc.$relatedQuery('user').relate(theirs.user)
  }),
  write('unrelate hasMany', async ({ theirs }) => (await instance(Doc, theirs.doc)).$relatedQuery('comments').unrelate()),
  write('unrelate belongsTo', async ({ theirs }) => (await instance(Doc, theirs.doc)).$relatedQuery('project').unrelate()),
  write('unrelate manyToMany', async ({ theirs }) => (await instance(Doc, theirs.doc)).$relatedQuery('tags').unrelate()),
  write('unrelate manyToMany where', async ({ theirs }) =>
    (await instance(Doc, theirs.doc)).$relatedQuery('tags').unrelate().where('tag.id', theirs.tag),
  ),
  write('relatedQuery unrelate', ({ theirs }) => Doc.relatedQuery('tags').for(theirs.doc).unrelate()),
  write('relatedQuery patch', ({ theirs }) => Doc.relatedQuery('comments').for(theirs.doc).patch({ text: 'hacked' })),
  write('relatedQuery delete', ({ theirs }) => Doc.relatedQuery('comments').for(theirs.doc).delete()),
  write('manyToMany patch', async ({ theirs }) => (await instance(Doc, theirs.doc)).$relatedQuery('tags').patch({ name: 'hacked' })),
  write('manyToMany delete', async ({ theirs }) => (await instance(Doc, theirs.doc)).$relatedQuery('tags').delete()),
  write('manyToMany insert', async ({ theirs, me }) =>
    (await instance(Doc, theirs.doc)).$relatedQuery('tags').insert({ name: 'hacked', userId: me }),
  ),
  write('patch from a related condition', () => Doc.query().patch(hacked).whereExists(Doc.relatedQuery('comments'))),
  write('patch in a subquery', () => Doc.query().patch(hacked).whereIn('id', Comment.query().select(docId()))),
  write('delete by alias', async ({ knex }) => (knex.client.driverName === 'pg' ? Doc.query().alias('d').delete() : Doc.query().delete())),
  write('a readable row', ({ theirs }) => Notice.query().findById(theirs.notice).patch(hacked)),
  write('delete of a readable row', ({ theirs }) => Notice.query().deleteById(theirs.notice)),
  write('all readable rows', () => Notice.query().patch(hacked)),
  write('in a domain', ({ theirs }) => Article.query().findById(theirs.article).patch(hacked)),
  write('into a domain', ({ me, domain }) => Article.query().insert({ title: 'hacked', userId: me, domainId: domain })),
  write('delete in a domain', () => Article.query().delete(), { isWithoutResult: true }),
  write('soft delete', ({ theirs }) => Post.query().deleteById(theirs.post)),
  write('soft delete all', () => Post.query().delete()),
  write('hard delete', async ({ theirs }) => (await instance(Post, theirs.post)).hardDelete()),
  write('restore', async ({ theirs }) => (await instance(Post, theirs.deleted)).restore()),
  write('patch what is deleted', () => Post.withDeleted().patch(hacked)),
  write('a model without a policy', () => Closed.query().patch(hacked), { isWithoutResult: true }),
  write('create in a model without a policy', () => Closed.create({ title: 'hacked' }), { isWithoutResult: true }),
  write('another user', ({ theirs }) =>
    User.query()
      .findById(theirs.user)
      .patch({ passwordHash: 'x' } as never),
  ),
  write('users', () => User.query().patch({ passwordHash: 'x' } as never)),
  write('delete users', () => User.query().delete(), { isWithoutResult: true }),
  write('roles for oneself', ({ me }) => UserRole.create({ userId: me, role: 'editor' }), { isWithoutResult: true }),
  write('roles for others', ({ theirs }) => UserRole.query().insert({ userId: theirs.user, role: 'editor' } as never), {
    isWithoutResult: true,
  }),
  write('roles by relation', async ({ theirs }) => (await instance(User, theirs.user)).$relatedQuery('roles').insert({ role: 'editor' }), {
    isWithoutResult: true,
  }),
  write('roles taken away', () => UserRole.query().delete(), { isWithoutResult: true }),
  write('roles changed', () => UserRole.query().patch({ role: 'superadmin' } as never), { isWithoutResult: true }),
  write('tokens of others', ({ theirs }) => Token.query().insert({ userId: theirs.user, token: 'x'.repeat(64) } as never), {}),
  write('tokens revoked', () => Token.query().patch({ revoked: true } as never)),
  write('settings of others', ({ theirs }) => UserSetting.query().insert({ userId: theirs.user, key: 'k', value: 1 } as never), {}),
  write(
    'domains',
    ({ domain }) =>
      Domain.query()
        .findById(domain)
        .patch({ displayName: 'hacked' } as never),
    { isWithoutResult: true },
  ),
  write('bindKnex patch', ({ knex }) => Doc.bindKnex(knex).query().patch(hacked)),
  write('explicit trx patch', ({ knex }) => knex.transaction((trx) => Doc.query(trx).patch(hacked) as never)),
  write('transaction() delete', () => transaction(() => Comment.query().delete())),
  write('Model.transaction delete', () => Doc.transaction((trx) => Comment.query(trx).delete() as never)),
  write('bindTransaction patch', ({ knex }) => knex.transaction((trx) => Doc.bindTransaction(trx).query().patch(hacked) as never)),
  write('onBuild patch', () =>
    Doc.query()
      .patch(hacked)
      .onBuild((q: any) => q.orWhereRaw('1 = 1')),
  ),
  write('runBefore patch', () =>
    Doc.query()
      .patch(hacked)
      .runBefore((_: unknown, q: any) => void q.orWhereRaw('1 = 1')),
  ),
  write('onBuildKnex patch', () =>
    Doc.query()
      .patch(hacked)
      .onBuildKnex((q: any) => q.orWhereRaw('1 = 1')),
  ),
  write('first readable row', async () => (await first(Doc.query()))?.$query().patch(hacked)),
  // Ways that are refused
  write(
    'another owner by onBuildKnex',
    ({ theirs, mine }) =>
      Doc.query()
        .findById(mine.doc)
        .patch(hacked)
        .onBuildKnex((q: any) => q.update({ user_id: theirs.user })),
    refused,
  ),
  write(
    'an increment by onBuildKnex',
    ({ mine }) =>
      Doc.query()
        .findById(mine.doc)
        .patch(hacked)
        .onBuildKnex((q: any) => q.increment('user_id', 1)),
    refused,
  ),
  write(
    'a new row in their name by onBuildKnex',
    ({ theirs, me }) =>
      Doc.query()
        .insert({ title: 'hacked', userId: me })
        .onBuildKnex((q: any) =>
          q.insert({ id: theirs.tag, title: 'hacked', rating: 0, user_id: theirs.user, created_at: 1, updated_at: 1 }),
        ),
    refused,
  ),
  ...['user_id', 'USER_ID', ' user_id ', 'doc.user_id', 'doc.userId'].flatMap((key) => [
    write(
      `a patch of a row with the key '${key}'`,
      ({ theirs, mine, me }) =>
        Doc.query()
          .findById(mine.doc)
          .patch(Object.assign(new Doc(), { [key]: another(theirs, me) })),
      refused,
    ),
    write(
      `an insert of a row with the key '${key}'`,
      ({ theirs, me }) => Doc.query().insert(Object.assign(Doc.fromJson({ title: 'hacked', userId: me }), { [key]: another(theirs, me) })),
      refused,
    ),
  ]),
  write(
    'a patch of a row with another key for a reference',
    ({ theirs, mine }) =>
      Doc.query()
        .findById(mine.doc)
        .patch(Object.assign(new Doc(), { project_id: theirs.project })),
    refused,
  ),
  write(
    'a patch without validation',
    ({ theirs, mine }) =>
      Doc.query()
        .findById(mine.doc)
        .patch(Doc.fromJson({ user_id: theirs.user }, { skipValidation: true })),
    refused,
  ),
  write(
    "a patch by a raw with the column's name",
    ({ theirs, mine }) =>
      Doc.query()
        .findById(mine.doc)
        .patch({ user_id: raw('?', [theirs.user]) } as never),
    refused,
  ),
  write(
    'another owner by $formatDatabaseJson',
    ({ theirs, mine }) => {
      class Formatted extends Doc {
        override $formatDatabaseJson(json: object) {
          return { ...super.$formatDatabaseJson(json), user_id: theirs.user }
        }
      }
      return Formatted.query().findById(mine.doc).patch(hacked)
    },
    refused,
  ),
  write(
    'another owner by onBuild of the context',
    ({ theirs, mine, me }) =>
      Doc.query()
        .findById(mine.doc)
        .patch(hacked)
        .context({
          onBuild: (q: any) =>
            q.forEachOperation(true, (op: any) => {
              if (op.model) op.model.userId = another(theirs, me)
            }),
        }),
    refused,
  ),
  write(
    'a new row in their name by onBuild of the context',
    ({ theirs, me }) =>
      Doc.query()
        .insert({ title: 'hacked', userId: me })
        .context({
          onBuild: (q: any) =>
            q.forEachOperation(true, (op: any) => {
              for (const model of op.models ?? []) model.userId = another(theirs, me)
            }),
        }),
    refused,
  ),
  write('a delete on a knex query of a model', async () => Notice.query().toKnexQuery().del(), refused),
  write('an update on a knex query of a model', async () => Notice.query().toKnexQuery().update(hacked), refused),
  write('an update made of a find', () => Notice.query().onBuildKnex((q: any) => q.update({ title: 'hacked' })), refused),
  write('a delete made of a find', () => Notice.query().onBuildKnex((q: any) => q.del()), refused),
  write(
    'a delete made of a patch',
    () =>
      Doc.query()
        .patch(hacked)
        .onBuildKnex((q: any) => q.del()),
    refused,
  ),
  write(
    'a patch turned to another table',
    () =>
      Doc.query()
        .patch(hacked)
        .onBuildKnex((q: any) => q.from('comment')),
    refused,
  ),
  write('a patch made before the statement', () => Notice.query().runBefore((_: unknown, q: any) => void q.patch(hacked)), refused),
  write(
    'a patch from another table',
    async ({ knex }) => {
      if (knex.client.driverName !== 'pg') return Doc.query().fromRaw('comment').patch(hacked)
      return Doc.query()
        .patch({ title: ref('comment.text') })
        .onBuildKnex((q: any) => q.updateFrom('comment'))
    },
    refused,
  ),
  write(
    'a delete using another table',
    async ({ knex }) => {
      if (knex.client.driverName !== 'pg') return Doc.query().fromRaw('comment').delete()
      return Doc.query()
        .delete()
        .onBuildKnex((q: any) => q.using('comment'))
    },
    refused,
  ),
  write(
    'a merge added to an insert',
    ({ theirs, me }) =>
      Doc.query()
        .insert({ id: theirs.doc, title: 'hacked', userId: me })
        .onBuildKnex((q: any) => q.onConflict('id').merge()),
    refused,
  ),
  write('truncate', () => Doc.query().truncate(), refused),
  write(
    'onConflict().merge()',
    ({ theirs, me }) => Doc.query().insert({ id: theirs.doc, title: 'hacked', userId: me }).onConflict('id').merge(),
    refused,
  ),
  write(
    'onConflict().merge(values)',
    ({ theirs, me }) => Doc.query().insert({ id: theirs.doc, title: 'x', userId: me }).onConflict('id').merge({ title: 'hacked' }),
    refused,
  ),
  write('patch with a raw that reads', () => Doc.query().patch({ title: raw('(select max(text) from comment)') as never }), refused),
  write('patch with a raw that ends the statement', () => Doc.query().patch({ title: raw("'hacked' -- ") as never }), refused),
  write(
    'insert with a raw that reads',
    ({ me }) => Doc.query().insert({ userId: me, title: raw('(select max(text) from comment)') as never }),
    refused,
  ),
  write('into', ({ me }) => Doc.query().into('notice').insert({ title: 'hacked', userId: me }), refused),
  write('from another table, patch', () => Doc.query().from('notice').patch(hacked), refused),
  write('from a subquery, delete', () => Doc.query().from(Doc.query().as('t')).delete(), refused),
  write(
    'returning a raw',
    async ({ knex }) => {
      if (knex.client.driverName === 'mysql2') return Doc.query().select(raw('(select 1 from doc)'))
      return Doc.query()
        .patch({ rating: 1 })
        .returning(raw('(select max(text) from comment) as most') as never)
    },
    refused,
  ),
  write('toKnexQuery of a patch', async () => Doc.query().patch(hacked).toKnexQuery(), refused),
  write('toKnexQuery of a delete', async () => Doc.query().delete().toKnexQuery(), refused),
  write('toKnexQuery of a soft delete', async () => Post.query().delete().toKnexQuery(), refused),
  write(
    'toKnexQuery of an insert',
    async ({ theirs }) => Doc.query().insert({ title: 'hacked', userId: theirs.user, id: theirs.tag }).toKnexQuery(),
    refused,
  ),
]

export const paths: readonly Path[] = [...reads, ...counts, ...writes]
