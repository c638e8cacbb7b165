import { expect } from 'chai'
import { CrudResource } from '../../src/http/crud/crud-resource.js'
import { Api } from '../../src/http/serve/api.js'
import {
  asAnonymous,
  asSystem,
  BasePermsModel,
  belongsTo,
  ConfigurationError,
  column,
  createTables,
  Domain,
  everyone,
  HasUserMixin,
  hasMany,
  initPerms,
  type Perms,
  role,
  runAs,
  SoftDeleteMixin,
  Token,
  UniqueViolationError,
  User,
  UserOwnershipMixin,
  UserRole,
  UserSetting,
  where,
} from '../../src/index.js'
import type { ColumnNames } from '../../src/schema/definition/declarations.js'
import { definitionOf } from '../../src/schema/definition/definition.js'
import { testHasher } from '../../src/testing/hasher.js'
import { eachDriver } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { clientOf } from '../http/client.js'

/** Users with the columns of an existing table: other words, reserved words and mixed case. */
class Account extends SoftDeleteMixin(User).withColumns({
  id: column.uuid().named('AccountID'),
  isEnabled: column.boolean().default(true).named('order'),
  team: column.string().nullable().named('Team'),
}) {
  static override tableName = 'select'
  static override columnNames = { email: 'login_email', passwordHash: 'pw', deletedAt: 'group', createdAt: 'createdAt' }
}

class Grant extends UserRole.withColumns({
  role: column.string({ maxLength: 100, minLength: 1 }).index().named('table'),
  userId: column.uuid().references('user.id', { onDelete: 'cascade' }).index().named('holderID'),
}) {}

/** A model whose property `email` has a column of its own, unlike that of Account. */
class Letter extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
  email: column.string(),
  title: column.string().named('Title'),
  pin: column.string().default('0000').hidden().named('secret_pin'),
  folderId: column.uuid().references('folder.id').nullable().named('in'),
  details: column.json<object>().nullable().named('Details'),
}) {
  static override columnNames = { userId: 'OwnerId' }
  static override relationMappings = { folder: belongsTo(() => Folder, 'folderId') }
}

class Folder extends BasePermsModel.withColumns({
  id: column.uuid().named('FolderID'),
  label: column.string().named('from').index(),
  shelf: column.integer().default(1).named('on'),
}) {
  static override relationMappings = { letters: hasMany(() => Letter, 'folderId') }
  static override policy = { read: where({ shelf: { lt: 10 } }), create: role('admin'), update: everyone(), delete: role('admin') }
}

eachDriver('Columns named with named()', (db) => {
  let perms: Perms
  let ada: Account
  let bob: Account
  let folder: Folder

  before(async function () {
    this.timeout(20_000)
    perms = initPerms({
      knex: db.knex,
      user: Account as never,
      userRole: Grant,
      passwordHasher: testHasher(),
      jwt: { secret: 'k'.repeat(48) },
      models: [Account, Letter, Folder],
    })
    await createTables(db.knex, [Account, Grant, Domain, Token, UserSetting, Folder, Letter])
    ada = (await Account.create({ email: 'ada@example.com', password: 'correct horse battery', team: 'red' } as never)) as Account
    bob = (await Account.create({ email: 'bob@example.com', password: 'correct horse battery' } as never)) as Account
    folder = await Folder.create({ label: 'post' })
  })
  after(() => perms.close())

  const letterOf = (user: Account, title: string, more: object = {}) =>
    asSystem(() => Letter.create({ userId: user.id, email: 'someone@example.com', title, folderId: folder.id, ...more } as never))

  it('are the columns of the table', async () => {
    expect(Object.keys(await db.knex('select').columnInfo())).to.have.members([
      ...['AccountID', 'createdAt', 'updated_at', 'login_email', 'pw', 'order', 'group', 'Team'],
    ])
    expect(Object.keys(await db.knex('letter').columnInfo())).to.include.members(['OwnerId', 'Title', 'secret_pin', 'in', 'Details'])
  })

  it('are written and read by property name', async () => {
    const letter = await letterOf(ada, 'first', { details: { pages: 2 } })
    const [row] = (await db.knex('letter').where('id', letter.id)) as Record<string, unknown>[]
    expect(row).to.include({ OwnerId: ada.id, email: 'someone@example.com', Title: 'first', secret_pin: '0000', in: folder.id })
    const found = await asSystem(() => Letter.getOr404(letter.id))
    expect(found).to.deep.include({ userId: ada.id, title: 'first', pin: '0000', details: { pages: 2 } })
    await asSystem(() => found.update({ title: 'second', details: { pages: 3 } } as never))
    const fresh = await asSystem(() => Letter.getOr404(letter.id))
    expect(fresh).to.deep.include({ title: 'second', details: { pages: 3 } })
    expect(Object.keys(fresh)).not.to.include.members(['Title', 'OwnerId', 'secret_pin'])
    await asSystem(() => fresh.delete())
  })

  it('are found in queries by the model that each identifier belongs to', async () => {
    const letter = await letterOf(ada, 'joined')
    await asSystem(async () => {
      expect(await Account.query().where('email', 'ada@example.com').resultSize()).to.equal(1)
      expect(await Letter.query().where('email', 'someone@example.com').resultSize()).to.equal(1)
      const joined = await Letter.query()
        .joinRelated('[user, folder]')
        .where('user.email', 'ada@example.com')
        .where('letter.email', 'someone@example.com')
        .where((group) => group.where('folder.label', 'post').orWhere('user.team', 'none'))
        .orderBy(['folder.shelf', 'user.email', 'letter.title'])
        .select('letter.title', 'user.email as login', 'folder.label as label')
      expect(joined).to.deep.equal([{ title: 'joined', login: 'ada@example.com', label: 'post' }])
      const graph = await Letter.query().withGraphJoined('[user, folder.letters]').where('user.email', 'ada@example.com')
      expect(graph).to.have.length(1)
      expect((graph[0] as never as { user: Account }).user).to.include({ email: 'ada@example.com', team: 'red', isEnabled: true })
      const fetched = await Folder.query().withGraphFetched('letters.user').findById(folder.id)
      expect((fetched as never as { letters: { user: Account }[] }).letters[0]?.user.id).to.equal(ada.id)
      const withSubquery = await Account.query()
        .whereExists(Letter.query().whereColumn('letter.userId', 'select.id').where('title', 'joined').where('email', 'like', 'some%'))
        .orderBy('email')
      expect(withSubquery.map(({ email }) => email)).to.deep.equal(['ada@example.com'])
      expect(
        await Letter.query()
          .where('title', 'joined')
          .patch({ email: 'x@example.com', title: 'patched' } as never),
      ).to.equal(1)
      expect(await Letter.query().groupBy('title').select('title').count('id as n').having('title', '=', 'patched')).to.have.length(1)
      expect(
        await Letter.query()
          .where('details', null as never)
          .resultSize(),
      ).to.equal(1)
      expect(await Letter.query().deleteById(letter.id)).to.equal(1)
    })
  })

  it('are written by graphs, relate() and unrelate()', async () => {
    await asSystem(async () => {
      const made = (await Folder.query().insertGraph({
        label: 'graph',
        letters: [{ userId: ada.id, email: 'a@example.com', title: 'one' }],
      } as never)) as unknown as Folder & { letters: { id: string }[] }
      const id = (made.letters[0] as { id: string }).id
      expect(await db.knex('letter').where('in', made.id).first('Title')).to.deep.equal({ Title: 'one' })
      await Folder.query().upsertGraph({ id: made.id, label: 'graph2', letters: [{ id, title: 'two' }] } as never)
      expect(await db.knex('letter').where('id', id).first('Title')).to.deep.equal({ Title: 'two' })
      await Folder.relatedQuery('letters').for(made.id).unrelate().where('title', 'two')
      expect(await db.knex('letter').where('id', id).first('in')).to.deep.equal({ in: null })
      await Folder.relatedQuery('letters').for(made.id).relate(id)
      expect(await Folder.relatedQuery('letters').for(made.id)).to.have.length(1)
      await Folder.relatedQuery('letters').for(made.id).delete()
      await Folder.query().deleteById(made.id)
    })
  })

  it('give errors the property’s name', async () => {
    const taken = await rejection(Account.create({ email: 'ada@example.com' } as never))
    expect(taken).to.be.instanceOf(UniqueViolationError)
    expect((taken as UniqueViolationError).errors).to.deep.equal([{ field: 'email', message: 'is already taken' }])
    const missing = await rejection(Letter.query().insert({ userId: ada.id, email: 'x', title: 'x', folderId: ada.id } as never))
    expect((missing as { errors?: unknown }).errors, String(missing)).to.deep.include({
      field: db.dialect === 'sqlite' ? 'userId' : 'folderId',
      message: 'refers to something that does not exist',
    })
  })

  it('sign users in, hold their roles and end their sessions', async () => {
    const { accessToken, refreshToken } = (await asAnonymous(() =>
      perms.auth.signIn({ email: 'ada@example.com', password: 'correct horse battery' }),
    )) as { accessToken: string; refreshToken: string }
    await Grant.create({ user: ada, role: 'editor' } as never)
    const actor = await perms.authenticate(accessToken)
    expect(actor.id).to.equal(ada.id)
    expect(actor.grants.map((grant) => grant.role)).to.deep.equal(['editor'])
    expect((await Account.getOr404(ada.id)).hasRole('editor')).to.equal(true)
    expect(await asAnonymous(() => perms.auth.refresh(refreshToken))).to.include({ status: 'signedIn' })
    await Account.query()
      .patch({ isEnabled: false } as never)
      .findById(ada.id)
    expect((await rejection(perms.authenticate(accessToken))) as object).to.include({ status: 401 })
    await Account.query()
      .patch({ isEnabled: true } as never)
      .findById(ada.id)
  })

  it('keep the last superadmin', async () => {
    const grant = await Grant.create({ user: bob, role: 'superadmin' } as never)
    expect((await rejection(grant.delete())) as object).to.include({ status: 409 })
    await db.knex('user_role').where('table', 'superadmin').delete()
  })

  it('show each user only their own rows, under owner(), where() and related policies', async () => {
    const letters = [await letterOf(ada, 'of ada'), await letterOf(bob, 'of bob')]
    expect((await runAs(ada, () => Letter.query())).map(({ title }) => title)).to.deep.equal(['of ada'])
    expect(
      await runAs(ada, () =>
        Letter.query()
          .patch({ title: 'x' } as never)
          .where('email', 'someone@example.com'),
      ),
    ).to.equal(1)
    expect(
      await runAs(ada, () =>
        Letter.query()
          .findById((letters[1] as { id: string }).id)
          .delete(),
      ),
    ).to.equal(0)
    expect((await rejection(runAs(ada, () => Letter.create({ userId: bob.id, email: 'x', title: 'y' } as never)))) as object).to.include({
      status: 403,
    })
    await asSystem(() => folder.update({ shelf: 20 } as never))
    expect(await runAs(ada, () => Folder.query())).to.deep.equal([])
    await asSystem(() => folder.update({ shelf: 1 } as never))
    expect(await runAs(ada, () => Folder.query().where('label', 'post').orWhere('shelf', '>', 5))).to.have.length(1)
    await asSystem(() => Letter.query().delete())
  })

  it('are filtered, sorted, paged and described over HTTP by property name', async () => {
    for (const title of ['a', 'b', 'c']) await letterOf(ada, title)
    const api = new Api({ resources: [new CrudResource({ model: Letter, path: 'letters', include: ['folder'] })] })
    const ask = clientOf(api, perms as never)
    const { accessToken: token } = (await asAnonymous(() =>
      perms.auth.signIn({ email: 'ada@example.com', password: 'correct horse battery' }),
    )) as { accessToken: string }
    const list = async (query: string) => {
      const reply = await ask('GET', `/letters?${query}`, token)
      expect(reply.status, `${query} ${JSON.stringify(reply.body)}`).to.equal(200)
      return reply.body as { data: { title: string }[]; pagination: { nextCursor: string } }
    }
    expect((await list('title=b')).data.map(({ title }) => title)).to.deep.equal(['b'])
    expect((await list('sort=-title&title__like=%25')).data.map(({ title }) => title)).to.deep.equal(['c', 'b', 'a'])
    const first = await list('sort=title&pageSize=2')
    expect(first.data.map(({ title }) => title)).to.deep.equal(['a', 'b'])
    const next = await list(`sort=title&pageSize=2&cursor=${encodeURIComponent(first.pagination.nextCursor)}`)
    expect(next.data.map(({ title }) => title)).to.deep.equal(['c'])
    const shown = JSON.stringify((await list('include=folder&fields=title,userId')).data)
    expect(shown).to.include('"label":"post"')
    expect(shown).not.to.match(/OwnerId|secret_pin|0000|Title/)
    for (const name of ['Title', 'secret_pin', 'pin', 'OwnerId'])
      for (const query of [`${name}=x`, `sort=${name}`]) expect((await ask('GET', `/letters?${query}`, token)).status, query).to.equal(422)
    const made = await ask('POST', '/letters', token, { body: { email: 'e', title: 'made', details: { a: 1 } } })
    expect(made.status, JSON.stringify(made.body)).to.equal(201)
    expect((await ask('POST', '/letters', token, { body: { email: 'e', Title: 'made' } })).status).to.equal(422)
    const document = JSON.stringify((await ask('GET', '/openapi.json')).body)
    expect(document)
      .to.include('"title"')
      .and.not.to.match(/OwnerId|secret_pin|FolderID/)
  })

  it('cannot be written by another spelling of the column', async () => {
    const letter = await letterOf(ada, 'spelled')
    for (const key of ['OwnerId', 'ownerid', 'OWNERID']) {
      const error = await rejection(
        runAs(ada, () =>
          Letter.query()
            .findById((letter as { id: string }).id)
            .patch({ [key]: bob.id } as never),
        ),
      )
      expect(error, key).to.have.property('status').that.is.oneOf([403, 422])
    }
  })
})

describe('named()', () => {
  it('refuses names that SQL or Objection would read in another way', () => {
    for (const name of ['', 'a.b', 'a"b', 'a b', 'a:b', 'a`b', 'a?', 'x'.repeat(64)])
      expect(() => column.string().named(name), name).to.throw(ConfigurationError)
    expect(column.string().named('größe_1').spec.columnName).to.equal('größe_1')
  })

  it('is replaced by static columnNames, an object or a function of the property', () => {
    abstract class Camel extends BasePermsModel {
      static override columnNames: ColumnNames = (property) => property
    }
    class Ship extends Camel.withColumns({ homePort: column.string(), flagState: column.string().named('flag') }) {}
    class Boat extends Ship {
      static override columnNames: ColumnNames = { flagState: 'Flag' }
    }
    const columns = (cls: object) => [...definitionOf(cls).columnOf.values()]
    expect(columns(Ship)).to.deep.equal(['id', 'createdAt', 'updatedAt', 'homePort', 'flag'])
    expect(columns(Boat)).to.deep.equal(['id', 'createdAt', 'updatedAt', 'homePort', 'Flag'])
    class Typo extends BasePermsModel.withColumns({ a: column.string() }) {
      static override columnNames = { b: 'x' }
    }
    expect(() => definitionOf(Typo)).to.throw(ConfigurationError, /Typo has no column b/)
  })

  it('refuses two properties with one column, and a column with the name of another property', () => {
    class Twice extends BasePermsModel.withColumns({ a: column.string(), b: column.string().named('A') }) {}
    class Crossed extends BasePermsModel.withColumns({ a: column.string().named('b'), b: column.string().named('c') }) {}
    class Same extends BasePermsModel.withColumns({ same: column.string().named('other') }) {}
    for (const cls of [Twice, Crossed, Same]) expect(() => definitionOf(cls), cls.name).to.throw(ConfigurationError)
  })
})
