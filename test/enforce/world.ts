import { randomUUID } from 'node:crypto'
import type { Knex } from 'knex'
import { Model, snakeCaseMappers } from 'objection'
import {
  anyOf,
  authenticated,
  BaseModel,
  BasePermsModel,
  column,
  createTables,
  everyone,
  HasDomainMixin,
  HasUserMixin,
  hasMany,
  initPerms,
  owner,
  type Perms,
  PermsMixin,
  type Policy,
  Role,
  RowShare,
  role,
  ShareableMixin,
  SoftDeleteMixin,
  Domain as StockDomain,
  User as StockUser,
  shared,
  Token,
  UserOwnershipMixin,
  UserRole,
  UserSetting,
  where,
} from '../../src/index.js'
import type { Columns } from '../../src/schema/column.js'
import { schemaOf } from '../../src/schema/json-schemas.js'
import { dialectOf } from '../../src/schema/storage.js'
import { type SuiteIds, suiteIds } from '../helpers/id-kinds.js'

/** How the models declare their columns: with withColumns(), or over Objection's Model, as an application had them before. `shared`: rows may be shared. */
export type WorldForm = 'declared' | 'shared' | 'with a jsonSchema' | 'without a schema'

// The base class of such an application. It sets the columns that have no default. Its withColumns() lets the models look the same.
function existingBase(form: WorldForm): typeof BasePermsModel {
  class Existing extends PermsMixin(Model) {
    declare id: string
    declare createdAt: Date
    declare updatedAt: Date
    static override columnNameMappers = snakeCaseMappers()

    static override get tableName(): string {
      return this.name.toLowerCase()
    }

    static override withColumns(columns: Columns): never {
      const properties = Object.fromEntries(
        Object.entries(columns).map(([name, { spec }]) => [name, schemaOf({ ...spec, isNullable: true })]),
      )
      abstract class WithSchema extends this {
        static override jsonSchema = { type: 'object', properties: form === 'without a schema' ? {} : properties } as never
      }
      return WithSchema as never
    }

    override $beforeInsert(): void {
      this.id ??= randomUUID()
      this.createdAt ??= new Date()
      this.updatedAt ??= new Date()
    }

    override $beforeUpdate(): void {
      this.updatedAt = new Date()
    }
  }
  return Existing as unknown as typeof BasePermsModel
}

const isDeclared = (form: WorldForm) => form === 'declared' || form === 'shared'

const sharedPolicy: Policy = {
  read: anyOf(owner(), shared('viewer')),
  update: anyOf(owner(), shared('editor')),
  delete: anyOf(owner(), shared('editor')),
}

/** Makes the models of this file, with ids of one kind. */
function modelsWith(ids: SuiteIds, form: WorldForm = 'declared') {
  const Base = isDeclared(form) ? BasePermsModel : existingBase(form)
  const Owning = () => UserOwnershipMixin(HasUserMixin(Base))
  // A class of the same type: the tests share nothing by themselves.
  const MaybeShared = (form === 'shared' ? ShareableMixin(Owning()) : Owning()) as ReturnType<typeof Owning>
  // UUIDs are the default: the library's own models.
  const isDefault = ids.name === 'uuid'
  const User = isDefault ? StockUser : (class User extends StockUser.withColumns({ id: ids.key() }) {} as unknown as typeof StockUser)
  const Domain = isDefault
    ? StockDomain
    : (class Domain extends StockDomain.withColumns({ id: ids.key() }) {} as unknown as typeof StockDomain)
  /** Every caller may read a public project. Only its owner may read another one. */
  class Project extends HasUserMixin(Base).withColumns({
    id: ids.key(),
    name: column.string({ maxLength: 100 }),
    isPublic: column.boolean().default(false),
  }) {
    static override policy = { read: anyOf(where({ isPublic: true }), owner()), create: authenticated(), update: owner(), delete: owner() }
  }

  /** A tag belongs to a user; which documents carry it stands in a table without a model. */
  class Tag extends UserOwnershipMixin(HasUserMixin(Base)).withColumns({
    id: ids.key(),
    name: column.string({ maxLength: 100 }),
  }) {}

  class Comment extends UserOwnershipMixin(HasUserMixin(Base)).withColumns({
    id: ids.key(),
    text: column.text(),
    docId: ids.column().references('doc.id', { onDelete: 'cascade' }).nullable(),
  }) {}

  class Doc extends MaybeShared.withColumns({
    id: ids.key(),
    title: column.string({ maxLength: 200 }),
    rating: column.integer().default(0),
    projectId: ids.column().references('project.id', { onDelete: 'set null' }).nullable(),
    parentId: ids.column().references('doc.id', { onDelete: 'set null' }).nullable(),
  }) {
    static override policy = form === 'shared' ? sharedPolicy : {}
    static override relationMappings(): any {
      return {
        comments: hasMany(() => Comment, 'docId'),
        project: { relation: Model.BelongsToOneRelation, modelClass: Project, join: { from: 'doc.projectId', to: 'project.id' } },
        parent: { relation: Model.BelongsToOneRelation, modelClass: Doc, join: { from: 'doc.parentId', to: 'doc.id' } },
        children: { relation: Model.HasManyRelation, modelClass: Doc, join: { from: 'doc.id', to: 'doc.parentId' } },
        tags: {
          relation: Model.ManyToManyRelation,
          modelClass: Tag,
          join: { from: 'doc.id', through: { from: 'doc_tag.doc_id', to: 'doc_tag.tag_id', extra: ['note'] }, to: 'tag.id' },
        },
      }
    }
    static override modifiers = { good: (query: any) => query.where('rating', '>', 3).orWhere('rating', '<', -3) }
  }

  /** Members of its domain read it. */
  class Article extends HasDomainMixin(HasUserMixin(Base)).withColumns({
    id: ids.key(),
    title: column.string({ maxLength: 200 }),
  }) {
    static override policy = { read: authenticated(), create: authenticated(), update: owner(), delete: role(Role.ADMIN) }
  }

  class Post extends SoftDeleteMixin(UserOwnershipMixin(HasUserMixin(Base))).withColumns({
    id: ids.key(),
    title: column.string({ maxLength: 200 }),
  }) {}

  /** A class of Objection's own over a table that has a policy. */
  class LegacyDoc extends Model {
    static override tableName = 'doc'
  }

  /** Every caller may read it, only its owner may write it. */
  class Notice extends HasUserMixin(Base).withColumns({
    id: ids.key(),
    title: column.string({ maxLength: 200 }),
    // Without a foreign key: it may name what is not there.
    docId: ids.column().nullable(),
  }) {
    static override policy = { read: everyone(), create: authenticated(), update: owner(), delete: owner() }
    static override relationMappings(): any {
      return {
        doc: { relation: Model.BelongsToOneRelation, modelClass: Doc, join: { from: 'notice.docId', to: 'doc.id' } },
        legacy: { relation: Model.HasManyRelation, modelClass: LegacyDoc, join: { from: 'notice.userId', to: 'doc.user_id' } },
      }
    }
  }

  /** A model without permissions. */
  class Plain extends BaseModel.withColumns({ id: ids.key(), title: column.string({ maxLength: 200 }) }) {}

  /** No permissions of its own, over a table that has them. */
  class BareDoc extends BaseModel.withColumns({ id: ids.key(), title: column.string({ maxLength: 200 }) }) {
    static override tableName = 'doc'
  }

  /** A model without a policy. */
  class Closed extends Base.withColumns({ id: ids.key(), title: column.string({ maxLength: 200 }) }) {}

  const models = [Project, Doc, Comment, Tag, Article, Post, Notice, Closed, Plain]

  return { form, ids, Project, Tag, Comment, Doc, Article, Post, LegacyDoc, Notice, Plain, BareDoc, Closed, User, Domain, models }
}

/** The models with the ids of the last useIds(). Paths see them through live bindings. */
export let { form, ids, Project, Tag, Comment, Doc, Article, Post, LegacyDoc, Notice, Plain, BareDoc, Closed, User, Domain, models } =
  modelsWith(suiteIds[0] as SuiteIds)
export type Doc = InstanceType<typeof Doc>

/**
 * Replaces the models of this file by models with these ids. Call it without ids when the suite ends: other suites in the same process
 * share this file, and expect UUIDs.
 */
export function useIds(kind: SuiteIds = suiteIds[0] as SuiteIds, how: WorldForm = 'declared'): void {
  ;({ form, ids, Project, Tag, Comment, Doc, Article, Post, LegacyDoc, Notice, Plain, BareDoc, Closed, User, Domain, models } = modelsWith(
    kind,
    how,
  ))
}

export const tables = ['project', 'tag', 'doc', 'comment', 'doc_tag', 'article', 'post', 'notice', 'closed', 'plain']

/** The library over an empty database with the tables of this file. */
export async function openWorld(knex: Knex): Promise<Perms> {
  // Nothing here has to outlive the process.
  if (/sqlite/.test(knex.client.driverName))
    for (const off of ['journal_mode = memory', 'synchronous = off']) await knex.raw(`pragma ${off}`)
  if (!isDeclared(form)) await createDeclaredTables(knex)
  const perms = initPerms({ knex, user: User, domain: Domain, models: [...models] })
  if (isDeclared(form)) await createTables(knex, [User, UserRole, Domain, Token, UserSetting, RowShare, ...models])
  await knex.schema.createTable('doc_tag', (table) => {
    for (const name of ['doc_id', 'tag_id']) ids.inTable(table, name, dialectOf(knex)).notNullable()
    table.string('note')
    table.primary(['doc_id', 'tag_id'])
  })
  return perms
}

// The existing tables are those that the declared models describe. A runtime of its own forgets these models.
async function createDeclaredTables(knex: Knex): Promise<void> {
  const { User, Domain, models } = modelsWith(ids)
  const perms = initPerms({ knex, user: User, domain: Domain, models: [...models] })
  await createTables(knex, [User, UserRole, Domain, Token, UserSetting, RowShare, ...models])
  await perms.close()
}

let count = 0

/** The id of a new row that no other text contains. UUIDs are made by the library. */
export const ownId = (): { id?: string } => (ids.name === 'uuid' ? {} : { id: ids.nth(++count) })

/** A user with these global roles and roles in domains, without a password. */
export async function makeUser(name: string, grants: readonly [role: string, domain?: StockDomain][] = []): Promise<StockUser> {
  count += 1
  const user = await User.create({ ...ownId(), email: `${name}-${count}@example.com` })
  for (const [granted, domain] of grants) await UserRole.create({ user, role: granted, ...(domain ? { domain } : {}) } as never)
  return await User.getOr404(user.id)
}

/** A user id and the ids of the rows that belong to them. */
export interface Rows {
  readonly user: string
  readonly doc: string
  readonly other: string
  readonly project: string
  readonly comment: string
  readonly tag: string
  readonly article: string
  readonly post: string
  readonly deleted: string
  readonly notice: string
}

export function idsFor(user: string): Rows {
  const one = () => ids.nth(++count)
  return {
    user,
    doc: one(),
    other: one(),
    project: one(),
    comment: one(),
    tag: one(),
    article: one(),
    post: one(),
    deleted: one(),
    notice: one(),
  }
}

/** Inserts a row of the user that every caller may read. */
export async function insertNotice(ids: Rows): Promise<void> {
  await Notice.query().insert({ id: ids.notice, title: 'a notice', docId: ids.doc, userId: ids.user } as never)
}

/** The rows of one user, with `word` in everything that can be read; closed and linked ones too. */
export async function insertRows(ids: Rows, word: string, domainId: string | null, rating: number): Promise<void> {
  const mine = { userId: ids.user }
  const insert = async (Class: any, ...rows: object[]) => {
    for (const row of rows) await Class.query().insert(row)
  }
  await insert(Project, { id: ids.project, name: `${word} project`, isPublic: false, ...mine })
  await insert(
    Doc,
    { id: ids.doc, title: `${word} doc`, rating, projectId: ids.project, ...mine },
    { id: ids.other, title: `${word} other`, rating: rating - 1, parentId: ids.doc, ...mine },
  )
  await insert(
    Comment,
    { id: ids.comment, text: `${word} comment`, docId: ids.doc, ...mine },
    { text: `${word} further comment`, docId: ids.other, ...mine },
  )
  await insert(Tag, { id: ids.tag, name: `${word} tag`, ...mine })
  await insert(Article, { id: ids.article, title: `${word} article`, domainId, ...mine })
  await insert(
    Post,
    { id: ids.post, title: `${word} post`, ...mine },
    { id: ids.deleted, title: `${word} deleted`, deletedAt: new Date(), ...mine },
  )
  await insert(Closed, { title: `${word} closed` })
  await Doc.knex()('doc_tag').insert({ doc_id: ids.doc, tag_id: ids.tag, note: `${word} note` })
}
