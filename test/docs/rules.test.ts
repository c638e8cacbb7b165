import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import Knex from 'knex'
import { Model } from 'objection'
import * as library from '../../src/index.js'
import {
  BasePermsModel,
  belongsTo,
  column,
  Domain,
  explain,
  HasDomainMixin,
  HasUserMixin,
  hasMany,
  initPerms,
  type Policy,
  Role,
  User,
  type UserLike,
  UserRole,
} from '../../src/index.js'
import { fakeClock } from '../../src/testing/index.js'
import { toActor } from '../../src/users/caller/actor.js'

const page = fileURLToPath(new URL('../../docs/rules.md', import.meta.url))
const ruleNames = [
  ...readFileSync(new URL('../../src/index.ts', import.meta.url), 'utf8').matchAll(
    /export \{([^}]*)\} from '.\/policy\/(?:session-)?rules.js'/g,
  ),
]
  .flatMap(([, names = '']) => names.split(',').map((name) => name.trim()))
  .filter((name) => /^[a-z]\w+$/.test(name))

// The models of the page. A column that is missing here or there changes the SQL or does not compile.
class Employee extends User.withColumns({ id: column.integer() }) {}
class Region extends Domain.withColumns({ id: column.integer() }) {
  static override tableName = 'domain'
}
class Project extends BasePermsModel.withColumns({ id: column.integer(), isPublic: column.boolean() }) {}
class Tag extends BasePermsModel.withColumns({ id: column.integer(), name: column.string() }) {}

function modelsWith(policy: Policy) {
  class Post extends HasUserMixin(BasePermsModel).withColumns({
    id: column.integer(),
    title: column.string(),
    status: column.enum(['draft', 'published']),
    price: column.decimal(10, 2).nullable(),
    views: column.integer(),
    isPinned: column.boolean(),
    publishedAt: column.datetime().nullable(),
    reviewerId: column.integer().nullable(),
    projectId: column.integer().nullable(),
  }) {
    static override policy = policy
    static override relationMappings = {
      project: belongsTo(() => Project, 'projectId'),
      comments: hasMany(() => Comment, 'postId'),
      tags: {
        relation: Model.ManyToManyRelation,
        modelClass: Tag,
        join: { from: 'post.id', through: { from: 'post_tag.postId', to: 'post_tag.tagId' }, to: 'tag.id' },
      },
    }
  }
  class Comment extends HasUserMixin(BasePermsModel).withColumns({ id: column.integer(), postId: column.integer() }) {
    static override policy = policy
    static override relationMappings = { post: belongsTo(() => ReadablePost, 'postId') }
  }
  class ReadablePost extends Post {
    static override tableName = 'post'
    static override policy: Policy = {
      read: library.anyOf(library.where({ status: 'published' }), library.owner()),
      update: library.owner(),
    }
  }
  class Article extends HasDomainMixin(BasePermsModel).withColumns({ id: column.integer(), title: column.string() }) {
    static override policy = policy
  }
  class Memo extends library.ShareableMixin(HasUserMixin(BasePermsModel)).withColumns({ id: column.integer(), title: column.string() }) {
    static override policy = policy
  }
  class Account extends Employee {
    static override policy = policy
  }
  return { Post, Article, Account, Comment, Memo }
}

type AnyModel = ReturnType<typeof modelsWith>[keyof ReturnType<typeof modelsWith>]

const press = Domain.fromJson({ id: 3, name: 'press', active: true } as never, { skipValidation: true })

function person(id: number, ...grants: { role: string; domain?: Domain }[]): Employee {
  const user = Employee.fromJson({ id, email: `${id}@example.com`, isEnabled: true } as never, { skipValidation: true })
  user.roles = grants.map(({ role, domain }) => {
    const grant = UserRole.fromJson({ id: `${id}`, userId: id, role, domainId: domain?.id ?? null } as never, { skipValidation: true })
    return Object.assign(grant, { domain: domain ?? null })
  })
  return user
}

const drivers = { SQLite: 'better-sqlite3', PostgreSQL: 'pg', MariaDB: 'mysql2' }

/** Returns the SQL of each title on each database. No statement is sent, so nothing connects. */
async function explainAll(titles: readonly string[]): Promise<Map<string, Map<string, string>>> {
  const results = new Map(titles.map((title) => [title, new Map<string, string>()]))
  // shared() compares with the current time.
  const clock = fakeClock('2030-01-01T00:00:00Z')
  for (const [database, client] of Object.entries(drivers)) {
    const knex = Knex({ client, connection: { filename: ':memory:' }, useNullAsDefault: true })
    const perms = initPerms({ knex, user: Employee, domain: Region })
    try {
      for (const [title, found] of results) found.set(database, explained(title))
    } finally {
      await perms.close()
      await knex.destroy()
    }
  }
  clock.restore()
  return results
}

function explained(title: string): string {
  const [, name = '', action = '', source = '', caller = ''] = /^(\w+)\.(read|update|delete): (.+), for (.+)$/.exec(title) ?? []
  const rule = new Function(...Object.keys(library), `return ${source}`)(...Object.values(library))
  const model = (modelsWith({ read: library.everyone(), [action]: rule }) as Record<string, AnyModel>)[name] as AnyModel
  const callers: Record<string, UserLike | null> = {
    Ada: person(7),
    'Ed, an editor': person(8, { role: 'editor' }),
    'Pat, an author in the domain press': person(9, { role: 'author', domain: press }),
    'an admin': person(1, { role: Role.ADMIN }),
    'Ada, who signed in with a code a minute ago': toActor(person(7) as never, {
      authTime: new Date(Date.now() - 60_000),
      amr: ['pwd', 'otp'],
    }),
    'an anonymous caller': null,
  }
  expect(callers, `the caller of '-- ${title}'`).to.have.property(caller)
  // The page shows the start of the clock.
  const sql = explain(model, action as 'read', callers[caller] ?? null).sql
  return sql.replaceAll(/1893456\d{6}/g, '1893456000000').replaceAll(/(2030-01-01[T ])00:\d\d:\d\d\.\d{3}/g, '$100:00:00.000')
}

/** The block for one rule: databases with the same SQL share a line. */
function blockOf(title: string, found: ReadonlyMap<string, string>): string {
  const byText = new Map<string, [string, string][]>()
  for (const entry of found) byText.set(entry[1], [...(byText.get(entry[1]) ?? []), entry])
  const parts = [...byText].map(([sql, entries]) => (byText.size === 1 ? sql : `-- ${entries.map(([name]) => name).join(', ')}\n${sql}`))
  return `-- ${title}\n${parts.join('\n')}\n`
}

const block = /^```sql\n(-- (.+)\n[\s\S]*?)^```$/gm

describe('docs/rules.md', () => {
  it('shows the SQL that explain() returns on each database', async () => {
    const text = readFileSync(page, 'utf8')
    const titles = [...text.matchAll(block)].map(([, , title = '']) => title)
    expect(titles.length).to.be.greaterThan(30)
    const found = await explainAll(titles)
    const expected = text.replaceAll(block, (_, __, title: string) => `\`\`\`sql\n${blockOf(title, found.get(title) ?? new Map())}\`\`\``)
    // UPDATE_DOCS=1 writes the SQL into the page.
    if (process.env.UPDATE_DOCS) writeFileSync(page, expected)
    else expect(text).to.equal(expected)
  })

  it('has a section with SQL for each rule of the package', () => {
    const text = readFileSync(page, 'utf8')
    expect(ruleNames).to.include.members(['owner', 'where', 'related', 'check', 'ability'])
    for (const name of ruleNames) {
      expect(text, name).to.match(new RegExp(`^### .*\`${name}\\(`, 'm'))
      expect(text, name).to.match(new RegExp(`^-- \\w+\\.\\w+: .*\\b${name}\\(.*, for `, 'm'))
    }
  })
})
