/** Models, users and rows with every kind of rule, for questions about a policy. */
import type { Knex } from 'knex'
import {
  allOf,
  allowed,
  anyOf,
  BasePermsModel,
  belongsTo,
  column,
  createTables,
  Domain,
  everyone,
  factor,
  HasDomainMixin,
  HasUserMixin,
  initPerms,
  member,
  membersPolicy,
  nobody,
  not,
  owner,
  recent,
  related,
  role,
  runAs,
  SoftDeleteMixin,
  Token,
  User,
  UserRole,
  UserSetting,
  where,
} from '../../src/index.js'
import { type Actor, currentActor } from '../../src/policy/context.js'
import { testHasher } from '../../src/testing/index.js'

class Person extends SoftDeleteMixin(User) {
  static override tableName = 'ask_user'
  static override policy = membersPolicy
}

class Project extends HasUserMixin(BasePermsModel).withColumns({ name: column.string(), isPublic: column.boolean().default(false) }) {
  static override tableName = 'ask_project'
  static override policy = { read: anyOf(owner(), where({ isPublic: true })), update: owner() }
}

class Post extends SoftDeleteMixin(HasDomainMixin(HasUserMixin(BasePermsModel))).withColumns({
  title: column.string(),
  status: column.enum(['draft', 'published', 'archived']).default('draft'),
  score: column.integer().nullable(),
  secret: column.string().nullable().readableBy(role('admin')).writableBy(role('admin')),
  projectId: column.uuid().references('ask_project.id').nullable(),
}) {
  static override tableName = 'ask_post'
  static override policy = {
    read: anyOf(owner(), role('editor'), where({ status: 'published' })),
    create: everyone(),
    update: anyOf(allOf(owner(), not(where({ status: 'archived' }))), role('editor')),
    delete: allOf(anyOf(owner(), role('admin')), recent(300)),
    publish: anyOf(role('editor', { domain: 'press' }), role('chief', { domain: 'any' })),
    feature: related('project', allowed('update')),
    mirror: related('project', anyOf(owner(), where({ isPublic: true }))),
    praise: not(role('editor')),
    sign: factor('passkey'),
    flag: where({ secret: 'yes' }),
    attend: member('domainId', ['editor']),
  }
  static override relationMappings = { project: belongsTo(() => Project, 'projectId') }
}

class Note extends HasUserMixin(BasePermsModel).withColumns({ body: column.string() }) {
  static override tableName = 'ask_note'
  static override delegateToUser = true
}

class Locked extends HasUserMixin(BasePermsModel).withColumns({ body: column.string() }) {
  static override tableName = 'ask_locked'
  static override adminBypass = false
  static override policy = { read: owner(), update: owner(), delete: nobody() }
}

const fresh = () => ({ authTime: new Date(), amr: ['pwd', 'otp', 'hwk', 'mfa'] })

/** Returns the actor of a user with a session that satisfies every rule; null for a disabled user. */
export const freshActor = (user: { id: string }): Promise<Actor | null> => runAs(user.id, () => currentActor(), fresh()) as never

/** Fills a database. */
export async function askWorld(knex: Knex) {
  const perms = initPerms({
    knex,
    user: Person,
    models: [Project, Post, Note, Locked],
    passwordHasher: testHasher(),
    jwt: { secret: 'a secret of the tests, 32 bytes long' },
    roles: { editor: {}, chief: { grants: ['editor'] } },
  })
  await createTables(knex, [Person, UserRole, Domain, Token, UserSetting, Project, Post, Note, Locked])
  const make = (name: string) => Person.create({ email: `${name}@example.com` })
  const names = ['ann', 'bob', 'cleo', 'dan', 'eve', 'admin', 'admin2', 'root', 'pressAdmin', 'gone', 'off', 'closedAdmin'] as const
  const users = {} as Record<(typeof names)[number], Person>
  for (const name of names) users[name] = await make(name)
  const press = await Domain.create({ name: 'press' })
  const radio = await Domain.create({ name: 'radio' })
  const closed = await Domain.create({ name: 'closed' })
  const grants: [keyof typeof users, string, Domain | null][] = [
    ['ann', 'user', press],
    ['bob', 'editor', press],
    ['cleo', 'editor', null],
    ['dan', 'chief', radio],
    ['eve', 'user', radio],
    ['eve', 'editor', closed],
    ['admin', 'admin', null],
    ['admin2', 'admin', null],
    ['root', 'superadmin', null],
    ['pressAdmin', 'admin', press],
    ['gone', 'editor', null],
    ['off', 'editor', null],
    ['closedAdmin', 'admin', closed],
  ]
  for (const [name, held, domain] of grants)
    await UserRole.create({ user: users[name], role: held, ...(domain ? { domain } : {}) } as never)
  await closed.update({ active: false })
  await users.off.update({ isEnabled: false })
  await users.gone.delete()
  const project = await Project.create({ name: 'open', userId: users.eve.id, isPublic: true })
  const hidden = await Project.create({ name: 'hidden', userId: users.ann.id })
  const base = { title: 'a', domainId: press.id, userId: users.ann.id }
  const posts = {
    draft: await Post.create({ ...base, projectId: project.id }),
    published: await Post.create({ ...base, status: 'published', projectId: hidden.id, secret: 'yes' }),
    archived: await Post.create({ ...base, status: 'archived', userId: users.admin.id }),
    radio: await Post.create({ ...base, domainId: radio.id, userId: users.dan.id }),
    homeless: await Post.create({ ...base, domainId: null, userId: users.bob.id }),
    closed: await Post.create({ ...base, domainId: closed.id, status: 'published' }),
    deleted: await Post.create({ ...base, status: 'published' }),
  }
  await posts.deleted.delete()
  const note = await Note.create({ body: 'n', userId: users.ann.id })
  const adminNote = await Note.create({ body: 'n', userId: users.admin.id })
  const locked = await Locked.create({ body: 'l', userId: users.ann.id })
  const { token } = await Token.issue(users.bob, { description: 't' })
  return { perms, Person, Project, Post, Note, Locked, users, press, radio, closed, project, hidden, posts, note, adminNote, locked, token }
}

export type AskWorld = Awaited<ReturnType<typeof askWorld>>
