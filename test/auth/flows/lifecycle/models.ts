import type { Knex } from 'knex'
import type { Model } from 'objection'
import {
  asSystem,
  BasePermsModel,
  column,
  createTables,
  HasUserMixin,
  type OnUserDeleted,
  owner,
  type Policy,
  SoftDeleteMixin,
  TimestampMixin,
  User,
  type UserDeletion,
  UserOwnershipMixin,
} from '../../../../src/index.js'

/** The registered user model of these tests. */
export class Member extends TimestampMixin(User) {
  static override tableName = 'user'
}

/** Deleted with the user by its foreign key. */
export class Note extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({ text: column.text() }) {}

/** Can be restored, and is marked as deleted. */
export class Post extends SoftDeleteMixin(UserOwnershipMixin(HasUserMixin(BasePermsModel))).withColumns({ title: column.string() }) {
  static override userIdNullable = true
  static override onUserDeleted: OnUserDeleted = 'softDelete'
}

/** Can be restored, and is deleted for good. */
export class Draft extends SoftDeleteMixin(UserOwnershipMixin(HasUserMixin(BasePermsModel))).withColumns({ title: column.string() }) {
  static override onUserDeleted: OnUserDeleted = 'delete'
}

/** Stays, without its author. */
export class Comment extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
  text: column.text(),
  authorName: column.string(),
  note: column.text().nullable(),
}) {
  static override userIdNullable = true
  static override onUserDeleted: OnUserDeleted = { anonymise: { authorName: 'deleted user', note: null } }
}

/** Stays as it is: its column has no foreign key. */
export class Invoice extends BasePermsModel.withColumns({
  customerId: column.uuid().sameTypeAs('user.id').index(),
  total: column.decimal(10, 2),
}) {
  static ownerFields = ['customerId']
  static onUserDeleted: OnUserDeleted = 'keep'
  static override policy: Policy = { read: owner('customerId') }
}

/** Its column declares no foreign key, but the table has one that deletes the rows: see createVisits(). */
export class Visit extends BasePermsModel.withColumns({ visitorId: column.uuid().sameTypeAs('user.id').index() }) {
  static ownerFields = ['visitorId']
  static override policy: Policy = { read: owner('visitorId') }
}

/** Creates the table of Visit as an application's own migration would. */
export async function createVisits(knex: Knex): Promise<void> {
  await createTables(knex, [
    class extends Visit.withColumns({ visitorId: column.uuid().references('user.id', { onDelete: 'cascade' }) }) {
      static override tableName = 'visit'
    },
  ])
}

/** Runs inside the function of Photo. */
export const photoHooks: { before: ((trx: Knex.Transaction) => Promise<void>) | undefined } = { before: undefined }

/** Handled by a function of the application. */
export class Photo extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({ file: column.string() }) {
  static override userIdNullable = true
  static override onUserDeleted: OnUserDeleted = async (rows: readonly Model[], { trx }: UserDeletion) => {
    await photoHooks.before?.(trx)
    for (const photo of rows as readonly Photo[]) await photo.$query(trx).patch({ userId: null as never, file: 'erased.png' })
  }
}

export const models = [Note, Post, Draft, Comment, Invoice, Photo]

/** Creates rows of each model for a user: `count` of each. One post and one draft are already deleted. */
export async function fill(user: User, count: number): Promise<void> {
  const userId = user.id
  await asSystem(async () => {
    for (let i = 0; i < count; i += 1) {
      await Note.create({ userId, text: `note ${i}` })
      await Post.create({ userId, title: `post ${i}` })
      await Draft.create({ userId, title: `draft ${i}` })
      await Comment.create({ userId, text: `comment ${i}`, authorName: 'Ada', note: 'private' })
      await Invoice.create({ customerId: userId, total: '1.00' })
      await Photo.create({ userId, file: `${i}.png` })
    }
    await (await Post.query().findOne({ userId }))?.delete()
    await (await Draft.query().findOne({ userId }))?.delete()
  })
}

/** Returns what is left of the rows that fill() created, without ids and times. */
export async function leftOver(userId: unknown): Promise<Record<string, unknown>> {
  return await asSystem(async () => ({
    users: await Member.query()
      .where('id', userId as string)
      .resultSize(),
    notes: await Note.query().resultSize(),
    posts: (await Post.withDeleted().orderBy('title')).map((post) => [post.title, post.userId, post.isDeleted]),
    drafts: await Draft.withDeleted().resultSize(),
    comments: (await Comment.query().orderBy('text')).map((row) => [row.text, row.userId, row.authorName, row.note]),
    invoices: await Invoice.query().resultSize(),
    photos: (await Photo.query()).map((photo) => [photo.userId, photo.file]),
  }))
}

export async function clear(knex: Knex): Promise<void> {
  for (const table of [
    'note',
    'post',
    'draft',
    'comment',
    'invoice',
    'photo',
    'account_deletion',
    'token',
    'user_setting',
    'user_role',
    'user',
  ])
    await knex(table).delete()
}
