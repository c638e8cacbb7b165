import type { Knex } from 'knex'
import { Model } from 'objection'
import { v7 as uuid } from 'uuid'
import {
  anyOf,
  authenticated,
  BaseModel,
  BasePermsModel,
  column,
  createTables,
  Domain,
  everyone,
  HasDomainMixin,
  HasUserMixin,
  hasMany,
  initPerms,
  owner,
  type Perms,
  Role,
  role,
  SoftDeleteMixin,
  Token,
  User,
  UserOwnershipMixin,
  UserRole,
  UserSetting,
  where,
} from '../../src/index.js'

/** Projects are seen by everybody where they are public, else by their owner. */
export class Project extends HasUserMixin(BasePermsModel).withColumns({
  name: column.string({ maxLength: 100 }),
  isPublic: column.boolean().default(false),
}) {
  static override policy = { read: anyOf(where({ isPublic: true }), owner()), create: authenticated(), update: owner(), delete: owner() }
}

/** A tag belongs to a user; which documents carry it stands in a table without a model. */
export class Tag extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
  name: column.string({ maxLength: 100 }),
}) {}

export class Comment extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
  text: column.text(),
  docId: column.uuid().references('doc.id', { onDelete: 'cascade' }).nullable(),
}) {}

export class Doc extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
  title: column.string({ maxLength: 200 }),
  rating: column.integer().default(0),
  projectId: column.uuid().references('project.id', { onDelete: 'set null' }).nullable(),
  parentId: column.uuid().references('doc.id', { onDelete: 'set null' }).nullable(),
}) {
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
export class Article extends HasDomainMixin(HasUserMixin(BasePermsModel)).withColumns({
  title: column.string({ maxLength: 200 }),
}) {
  static override policy = { read: authenticated(), create: authenticated(), update: owner(), delete: role(Role.ADMIN) }
}

export class Post extends SoftDeleteMixin(UserOwnershipMixin(HasUserMixin(BasePermsModel))).withColumns({
  title: column.string({ maxLength: 200 }),
}) {}

/** A class of Objection's own over a table that has a policy. */
export class LegacyDoc extends Model {
  static override tableName = 'doc'
}

/** Everybody reads it, its owner changes it: readable and not writable. */
export class Notice extends HasUserMixin(BasePermsModel).withColumns({
  title: column.string({ maxLength: 200 }),
  // Without a foreign key: it may name what is not there.
  docId: column.uuid().nullable(),
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
export class Plain extends BaseModel.withColumns({ title: column.string({ maxLength: 200 }) }) {}

/** No permissions of its own, over a table that has them. */
export class BareDoc extends BaseModel.withColumns({ title: column.string({ maxLength: 200 }) }) {
  static override tableName = 'doc'
}

/** A model without a policy. */
export class Closed extends BasePermsModel.withColumns({ title: column.string({ maxLength: 200 }) }) {}

export const models = [Project, Doc, Comment, Tag, Article, Post, Notice, Closed, Plain]
export const tables = ['project', 'tag', 'doc', 'comment', 'doc_tag', 'article', 'post', 'notice', 'closed', 'plain']

/** The library over an empty database with the tables of this file. */
export async function openWorld(knex: Knex): Promise<Perms> {
  // Nothing here has to outlive the process.
  if (/sqlite/.test(knex.client.driverName))
    for (const off of ['journal_mode = memory', 'synchronous = off']) await knex.raw(`pragma ${off}`)
  const perms = initPerms({ knex, models: [...models] })
  await createTables(knex, [User, UserRole, Domain, Token, UserSetting, ...models])
  await knex.schema.createTable('doc_tag', (table) => {
    table.uuid('doc_id').notNullable()
    table.uuid('tag_id').notNullable()
    table.string('note')
    table.primary(['doc_id', 'tag_id'])
  })
  return perms
}

let count = 0

/** A user with these global roles and roles in domains, without a password. */
export async function makeUser(name: string, grants: readonly [role: string, domain?: Domain][] = []): Promise<User> {
  count += 1
  const user = await User.create({ email: `${name}-${count}@example.com` })
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
  const one = () => uuid()
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

/** What everybody may read of a user. */
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
