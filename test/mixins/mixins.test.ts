import { expect } from 'chai'
import {
  asSystem,
  BasePermsModel,
  ConfigurationError,
  column,
  createTables,
  currentUser,
  HasUserMixin,
  initPerms,
  MissingReferenceError,
  NotFoundError,
  owner,
  type Perms,
  ProfileMixin,
  Role,
  runAs,
  SoftDeleteMixin,
  StillReferencedError,
  TimestampMixin,
  Token,
  User,
  UserOwnershipMixin,
  UserRole,
} from '../../src/index.js'
import { testHasher } from '../../src/testing/hasher.js'
import { eachDatabase } from '../helpers/databases.js'
import { fieldsOf, rejection, thrown } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

class Person extends ProfileMixin(TimestampMixin(User)) {
  declare jottings?: Jotting[]
  declare pins?: Pin[]
}

class Jotting extends HasUserMixin(BasePermsModel).withColumns({ text: column.text() }) {
  declare user?: Person
  static override userBackref = 'jottings'
  static override policy = { read: owner(), create: owner(), update: owner() }
}

class Pin extends HasUserMixin(BasePermsModel).withColumns({ label: column.string() }) {
  declare makerId: string | null
  declare maker?: Person | null
  static override userField = 'makerId'
  static override userRelation = 'maker'
  static override userOnDelete = 'set null' as const
  static override userBackref = 'pins'
}

class Contract extends HasUserMixin(BasePermsModel).withColumns({ label: column.string() }) {
  static override userOnDelete = 'restrict' as const
}

class Loose extends HasUserMixin(BasePermsModel).withColumns({ label: column.string() }) {
  static override userIdNullable = true
}

class Post extends SoftDeleteMixin(UserOwnershipMixin(BasePermsModel)).withColumns({ title: column.string({ maxLength: 20 }).unique() }) {}

eachDatabase('Mixins', (db) => {
  let perms: Perms
  let ada: Person
  let bob: Person
  before(async () => {
    perms = initPerms({ knex: db.knex, user: Person, models: [Jotting, Pin, Contract, Loose, Post], passwordHasher: testHasher() })
    await migrateAtOnce(perms)
    await createTables(db.knex, [Jotting, Pin, Contract, Loose, Post])
  })
  after(() => perms.close())
  beforeEach(async () => {
    for (const table of ['jotting', 'pin', 'contract', 'loose', 'post', 'user_role', 'person']) await db.knex(table).delete()
    ada = await Person.create({ email: 'ada@example.com' })
    bob = await Person.create({ email: 'bob@example.com' })
  })

  describe('ProfileMixin', () => {
    it('adds ten optional columns', async () => {
      const values = {
        firstName: 'Ada',
        lastName: 'Lovelace',
        displayName: 'Countess',
        avatarUrl: 'https://example.com/a.png',
        phone: '+44 1',
        address: '12 St James’s Square',
        city: 'London',
        state: 'Greater London',
        postalCode: 'SW1Y',
        country: 'GB',
      }
      await ada.update(values)
      expect(await Person.getOr404(ada.id)).to.include(values)
      for (const name of Object.keys(values))
        expect((await Person.getOr404(bob.id)) as unknown as Record<string, unknown>).to.have.property(name, null)
    })

    it('accepts only http and https URLs as avatarUrl, on every path', async () => {
      for (const avatarUrl of ['https://example.com/a.png', 'HTTP://example.com/a?b=c#d']) await ada.update({ avatarUrl })
      const bad = [
        ...[
          'javascript:alert(1)',
          'JavaScript:alert(1)',
          ' javascript:alert(1)',
          'java\tscript:alert(1)',
          'javascript://example.com/%0aalert(1)',
        ],
        ...['data:text/html,x', 'data:image/png;base64,AAAA', 'vbscript:x', 'file:///etc/passwd', 'blob:https://example.com/x'],
        ...[
          '//example.com/a.png',
          '/a.png',
          'https:',
          'https://',
          'https:\\\\example.com',
          ' https://example.com',
          'x\nhttps://example.com',
          '',
        ],
      ]
      for (const avatarUrl of bad) {
        expect(fieldsOf(await rejection(ada.update({ avatarUrl }))), JSON.stringify(avatarUrl)).to.deep.equal(['avatarUrl'])
        expect(fieldsOf(await rejection(ada.updateFrom({ avatarUrl } as never)))).to.deep.equal(['avatarUrl'])
        expect(fieldsOf(await rejection(Person.query().findById(ada.id).patch({ avatarUrl })))).to.deep.equal(['avatarUrl'])
      }
      expect((await Person.getOr404(ada.id)).avatarUrl).to.equal('HTTP://example.com/a?b=c#d')
    })

    it('fullName is first and last name, else the display name, else empty', () => {
      const nameOf = (values: Partial<Person>) => Person.build({ email: 'x@example.com', ...values }).fullName
      expect(nameOf({ firstName: 'Ada', lastName: 'Lovelace' })).to.equal('Ada Lovelace')
      expect(nameOf({ firstName: 'Ada' })).to.equal('Ada')
      expect(nameOf({ lastName: 'Lovelace', displayName: 'x' })).to.equal('Lovelace')
      expect(nameOf({ displayName: 'Countess' })).to.equal('Countess')
      expect(nameOf({ firstName: '', displayName: 'Countess' })).to.equal('Countess')
      expect(nameOf({})).to.equal('')
    })

    it('fullName is neither a column nor an input', async () => {
      expect(fieldsOf(await rejection(Person.createFrom({ email: 'x@example.com', fullName: 'X' })))).to.deep.equal(['fullName'])
      await ada.update({ firstName: 'Ada' })
      ada.lastName = 'L'
      await ada.save()
      expect((await Person.getOr404(ada.id)).fullName).to.equal('Ada L')
    })
  })

  describe('TimestampMixin', () => {
    it('adds two datetimes that clients cannot set', async () => {
      expect(ada).to.include({ lastLoginAt: null, emailVerifiedAt: null })
      expect(fieldsOf(await rejection(ada.updateFrom({ lastLoginAt: null, emailVerifiedAt: null })))).to.have.members([
        'lastLoginAt',
        'emailVerifiedAt',
      ])
      await ada.update({ emailVerifiedAt: new Date(5) })
      expect((await Person.getOr404(ada.id)).emailVerifiedAt).to.deep.equal(new Date(5))
    })
  })

  describe('HasUserMixin', () => {
    it('sets the caller as the owner by default', async () => {
      const mine = await runAs(ada, () => Jotting.create({ text: 'x' }))
      expect(mine.userId).to.equal(ada.id)
      expect((await Jotting.create({ text: 'x', userId: bob.id })).userId).to.equal(bob.id)
      expect((await Jotting.create({ text: 'x', user: bob })).userId).to.equal(bob.id)
    })

    it('requires an owner without a caller', async () => {
      expect(fieldsOf(await rejection((async () => Jotting.create({ text: 'x' }))()))).to.deep.equal(['userId'])
      expect(await Jotting.query()).to.deep.equal([])
    })

    it('rejects an owner that does not exist', async () => {
      const error = await rejection(Jotting.create({ text: 'x', userId: '0198c0de-0000-7000-8000-00000000000a' }))
      expect(error).to.be.instanceOf(MissingReferenceError)
      expect(fieldsOf(error)).to.deep.equal(['userId'])
    })

    it('adds the relation to the owner with the registered user model', async () => {
      await Jotting.create({ text: 'x', userId: ada.id })
      const [read] = await Jotting.query().withGraphFetched('user')
      expect(read?.user).to.be.instanceOf(Person)
      expect(read?.user?.email).to.equal('ada@example.com')
    })

    it('cascade: rows go with their owner [promise 55]', async () => {
      await Jotting.create({ text: 'x', userId: ada.id })
      await Jotting.create({ text: 'y', userId: bob.id })
      await ada.delete()
      expect((await Jotting.query()).map(({ text }) => text)).to.deep.equal(['y'])
    })

    it('set null: rows stay without an owner, also with custom names', async () => {
      const pin = await Pin.create({ label: 'x', makerId: ada.id })
      const [read] = await Pin.query().withGraphFetched('maker')
      expect(read?.maker?.id).to.equal(ada.id)
      expect(Object.keys(Pin.columnSpecs)).to.include('makerId').and.not.include('userId')
      await ada.delete()
      expect((await Pin.getOr404(pin.id)).makerId).to.equal(null)
      expect((await Pin.create({ label: 'by nobody' })).makerId).to.equal(null)
    })

    it('restrict: an owner with rows cannot be deleted', async () => {
      const contract = await Contract.create({ label: 'x', userId: ada.id })
      expect(await rejection(ada.delete())).to.be.instanceOf(StillReferencedError)
      await contract.delete()
      await ada.delete()
      expect(await Person.get(ada.id)).to.equal(null)
    })

    it('userIdNullable: rows may have no owner, and are still deleted with their owner', async () => {
      const nobodys = await Loose.create({ label: 'x' })
      expect(nobodys.userId).to.equal(null)
      await Loose.create({ label: 'y', userId: ada.id })
      await ada.delete()
      expect((await Loose.query()).map(({ label }) => label)).to.deep.equal(['x'])
    })

    it('userBackref adds a relation to the user and to every class over the user table', async () => {
      await Jotting.create({ text: 'x', userId: ada.id })
      await Pin.create({ label: 'p', makerId: ada.id })
      const [read] = await Person.query().where('email', 'ada@example.com').withGraphFetched('[jottings, pins]')
      expect([read?.jottings?.map(({ text }) => text), read?.pins?.map(({ label }) => label)]).to.deep.equal([['x'], ['p']])
      class PublicPerson extends Person {}
      expect((await PublicPerson.query().findById(ada.id).withGraphJoined('jottings'))?.jottings).to.have.length(1)
      expect(await ada.$relatedQuery<Jotting>('jottings').resultSize()).to.equal(1)
      expect(Object.keys(ada.toJSON())).not.to.include('jottings')
    })

    it('userBackref: the policy of the related rows applies', async () => {
      await Jotting.create({ text: 'x', userId: ada.id })
      await UserRole.create({ user: bob, role: Role.SUPERADMIN })
      const seen = await runAs(bob, () => Person.query().findById(ada.id).withGraphFetched('jottings'))
      expect(seen?.jottings).to.have.length(1)
      const own = await runAs(ada, () => Person.query().withGraphFetched('jottings'))
      expect(own.map((one) => one.jottings?.length)).to.deep.equal([1])
    })

    it('userBackref adds the relation when a class is first used', async () => {
      const name = `late${db.name.replace(/\W/g, '')}`
      expect(Object.keys(Person.getRelations())).not.to.include(name)
      class Late extends HasUserMixin(BasePermsModel).withColumns({ text: column.text() }) {
        static override tableName = 'jotting'
        static override userBackref = name
      }
      await Late.query().resultSize()
      expect(Object.keys(Person.getRelations())).to.include(name)
      expect(await Person.query().withGraphFetched(name)).to.have.length(2)
      class Shared extends Late {}
      await Shared.query().resultSize()
      class Other extends Late.withColumns({ more: column.string() }) {}
      expect(thrown(() => Other.build({ text: 'x', more: 'y' }))).to.be.instanceOf(ConfigurationError)
    })
  })

  describe('SoftDeleteMixin', () => {
    it('delete() marks the row, which no query then returns', async () => {
      const post = await Post.create({ title: 'a', userId: ada.id })
      const other = await Post.create({ title: 'b', userId: ada.id })
      await post.delete()
      expect(post.isDeleted).to.equal(true)
      expect(post.deletedAt).to.be.instanceOf(Date)
      expect(await Post.get(post.id)).to.equal(null)
      expect(await Post.getBy({ title: 'a' })).to.equal(null)
      expect((await Post.query()).map(({ id }) => id)).to.deep.equal([other.id])
      expect(await Post.query().resultSize()).to.equal(1)
      expect((await db.knex('post').where({ id: post.id })).length).to.equal(1)
      expect(other.isDeleted).to.equal(false)
    })

    it('withDeleted() finds the row, restore() restores it and hardDelete() removes it', async () => {
      const post = await Post.create({ title: 'a', userId: ada.id })
      await post.softDelete()
      const found = (await Post.withDeleted().findById(post.id)) as Post
      expect(found.isDeleted).to.equal(true)
      await found.restore()
      expect(found.isDeleted).to.equal(false)
      expect((await Post.getOr404(post.id)).deletedAt).to.equal(null)
      await found.delete()
      await found.hardDelete()
      expect(await Post.withDeleted()).to.deep.equal([])
    })

    it('query().delete(), deleteById() and where() mark only rows that are not marked yet', async () => {
      for (const title of ['a', 'b', 'c']) await Post.create({ title, userId: ada.id })
      const a = await Post.getByOr404({ title: 'a' })
      expect(await Post.query().deleteById(a.id)).to.equal(1)
      const at = ((await Post.withDeleted().findById(a.id)) as Post).deletedAt as Date
      await new Promise((resolve) => setTimeout(resolve, 5))
      expect(await Post.query().delete()).to.equal(2)
      expect(((await Post.withDeleted().findById(a.id)) as Post).deletedAt).to.deep.equal(at)
      expect((await db.knex('post')).length).to.equal(3)
    })

    it('a deleted row cannot be changed or deleted again, and its unique values stay taken', async () => {
      const post = await Post.create({ title: 'a', userId: ada.id })
      const copy = await Post.getOr404(post.id)
      await post.delete()
      expect(await rejection(copy.update({ title: 'x' }))).to.be.instanceOf(NotFoundError)
      expect(await rejection(copy.delete())).to.be.instanceOf(NotFoundError)
      expect(await rejection(Post.create({ title: 'a', userId: ada.id }))).to.have.property('status', 409)
    })

    it('omits deleted rows from relations', async () => {
      class Reader extends Person {
        static override relationMappings = () => ({
          posts: {
            relation: User.HasManyRelation,
            modelClass: Post,
            join: { from: 'person.id', to: 'post.userId' },
          },
        })
        declare posts?: Post[]
      }
      const post = await Post.create({ title: 'a', userId: ada.id })
      await Post.create({ title: 'b', userId: ada.id })
      await post.delete()
      for (const read of [
        await Reader.query().findById(ada.id).withGraphFetched('posts'),
        await Reader.query().findById(ada.id).withGraphJoined('posts'),
      ])
        expect(read?.posts?.map(({ title }) => title)).to.deep.equal(['b'])
    })

    it('needs the delete rule, also for restore()', async () => {
      const post = await Post.create({ title: 'a', userId: ada.id })
      expect(await runAs(bob, () => rejection(post.delete()))).to.be.instanceOf(NotFoundError)
      expect(post.isDeleted).to.equal(false)
      await runAs(ada, () => post.delete())
      expect(await runAs(bob, () => rejection(post.restore()))).to.be.instanceOf(Error)
      expect(post.isDeleted).to.equal(true)
      expect(await runAs(bob, () => Post.withDeleted())).to.deep.equal([])
      await runAs(ada, () => post.restore())
      expect(await Post.query().resultSize()).to.equal(1)
      expect(fieldsOf(await rejection(asSystem(() => post.updateFrom({ deletedAt: null }))))).to.deep.equal(['deletedAt'])
    })
  })
})

class Assistant extends SoftDeleteMixin(HasUserMixin(User)) {
  static override userOnDelete = 'set null' as const
}

eachDatabase('A user model with an owner and soft deletion', (db) => {
  let perms: Perms
  before(async () => {
    perms = initPerms({ knex: db.knex, user: Assistant, passwordHasher: testHasher() })
    await migrateAtOnce(perms)
  })
  after(() => perms.close())
  beforeEach(() => db.knex('assistant').delete())

  it('may have no owner, so that the first user can be created', async () => {
    const first = await Assistant.create({ email: 'first@example.com' })
    expect(first.userId).to.equal(null)
    const second = await Assistant.create({ email: 'second@example.com', userId: first.id })
    const [read] = await Assistant.query().findByIds([second.id]).withGraphFetched('user')
    expect((read as Assistant & { user?: Assistant }).user?.id).to.equal(first.id)
    await first.hardDelete()
    expect((await Assistant.getOr404(second.id)).userId).to.equal(null)
  })

  it('keeps the address of a deleted user reserved, and its roles and tokens invalid', async () => {
    const user = await Assistant.create({ email: 'ada@example.com' })
    await user.grantRole('editor')
    const { plain } = await Token.issue(user)
    await user.delete()
    expect(fieldsOf(await rejection(Assistant.create({ email: 'ADA@example.com' })))).to.deep.equal(['email'])
    expect(await Assistant.getBy({ email: 'ada@example.com' })).to.equal(null)
    expect(await Token.verify(plain)).to.equal(null)
    expect(await runAs(user, () => currentUser())).to.equal(null)
    await user.restore()
    expect((await Assistant.getByOr404({ email: 'ada@example.com' })).hasRole('editor')).to.equal(true)
    expect((await Token.verify(plain))?.userId).to.equal(user.id)
  })
})
