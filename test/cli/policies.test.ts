import { expect } from 'chai'
import { createProject, permsModule, type TestProject } from './helpers/project.js'

const models = `import { BasePermsModel, column, HasUserMixin, owner, where, anyOf, authenticated, role } from 'objection-perms'
class Note extends HasUserMixin(BasePermsModel).withColumns({ title: column.string({ maxLength: 50 }), isPublic: column.boolean() }) {
  static policy = { read: anyOf(owner(), where({ isPublic: true })), create: authenticated(), update: owner(), publish: role('editor') }
}`

describe('The commands about policies', function () {
  this.timeout(120_000)
  let project: TestProject
  before(() => {
    project = createProject({ 'perms.js': permsModule({ before: models, options: 'models: [Note]' }) })
  })
  after(() => project.remove())

  describe('objection-perms matrix', () => {
    it('prints the matrix, and writes it in the format of the file', async () => {
      const { code, stdout, stderr } = await project.run(['matrix'])
      expect(code, stderr).to.equal(0)
      expect(stdout).to.contain('| read | some (1) | some (2) | all |')
      expect((await project.run(['matrix', '--json'])).json.models[0].name).to.equal('Note')
      for (const [name, begin] of [
        ['permissions.md', '# Permissions\n'],
        ['permissions.json', '{\n  "callers"'],
        ['permissions.html', '<!doctype html>'],
      ] as const) {
        expect((await project.run(['matrix', '--out', name])).code).to.equal(0)
        expect(project.read(name).startsWith(begin)).to.equal(true)
        expect((await project.run(['matrix', '--check', name])).stdout).to.equal(`${name} is up to date.\n`)
      }
      expect((await project.run(['matrix', '--format', 'html', '--check', 'permissions.md'])).code).to.equal(1)
      expect((await project.run(['matrix', '--all'])).stdout).to.contain('## UserRole')
    })

    it('ends with 1 if the file differs or is missing, and shows the lines that differ', async () => {
      await project.run(['matrix', '--out', 'permissions.md'])
      const text = project.read('permissions.md')
      project.write({ 'permissions.md': text.replaceAll('\n', '\r\n') })
      expect((await project.run(['matrix', '--check', 'permissions.md'])).code).to.equal(0)
      project.write({ 'permissions.md': text.replace('| delete | none |', '| delete | all |') })
      const { code, stdout } = await project.run(['matrix', '--check', 'permissions.md'])
      expect(code).to.equal(1)
      expect(stdout.split('\n').map((line) => line.slice(0, 18))).to.deep.equal([
        'permissions.md dif',
        '-| delete | all | ',
        '+| delete | none |',
        'If this is intende',
        '',
      ])
      const missing = await project.run(['matrix', '--check', 'none.md', '--json'])
      expect(missing.code).to.equal(1)
      expect(missing.json.isUpToDate).to.equal(false)
    })

    it('refuses wrong options, and an application without models, in a sentence', async () => {
      expect(await project.run(['matrix', '--format', 'pdf'])).to.include({ code: 2, problem: '--format pdf: use md, json or html.' })
      const both = await project.run(['matrix', '--out', 'a', '--check', 'b'])
      expect(both).to.include({ code: 2, problem: 'Use either --out or --check.' })
      project.write({ 'empty.js': permsModule() })
      const empty = await project.run(['matrix', '--app', 'empty.js'])
      expect(empty.code).to.equal(2)
      expect(empty.problem).to.equal(
        "empty.js names no models. Add them to initPerms({ models: [...] }), or include the library's own with --all.",
      )
    })
  })

  describe('objection-perms why, who-can and what-can', () => {
    let id: string
    before(async () => {
      project.write({
        'questions.js': `import { asSystem, createTables, User } from 'objection-perms'
import { perms, knex, Note } from './perms.js'
await perms.migrate()
await createTables(knex, [Note])
await asSystem(async () => {
  const [ann, bob] = await Promise.all(['ann', 'bob'].map((name) => User.create({ email: name + '@example.com' })))
  await bob.grantRole('editor')
  console.log((await Note.create({ title: 'Otters', isPublic: false, userId: ann.id })).id)
})
await perms.close()
await knex.destroy()
`,
        'perms.js': permsModule({ before: models.replace('class Note', 'export class Note'), options: 'models: [Note]' }),
      })
      id = (await project.runModule('questions.js')).trim()
    })

    it('say why a user may or may not do something, with exit code 1 for a refusal', async () => {
      const allowed = await project.run(['why', 'ann@example.com', 'update', 'Note', id])
      expect(allowed.code, allowed.stderr).to.equal(0)
      expect(allowed.stdout).to.contain(`update Note ${id}: allowed\n`).and.to.contain('✓ the owner')
      const refused = await project.run(['why', 'anonymous', 'read', 'Note', id])
      expect(refused.code).to.equal(1)
      expect(refused.stdout).to.contain('refused').and.to.contain('allowed if isPublic were true')
      expect((await project.run(['why', 'anonymous', 'read', 'Note', id, '--json'])).json.allowed).to.equal(false)
    })

    it('list the users who can do something, and what a user can do', async () => {
      expect((await project.run(['who-can', 'update', 'Note', id])).stdout).to.equal('ann@example.com\n')
      const nobody = await project.run(['who-can', 'delete', 'UserSetting', id])
      expect(nobody).to.include({ code: 2, problem: `There is no UserSetting with the id ${id}.` })
      const { json } = await project.run(['who-can', 'publish', 'Note', id, '--json'])
      expect(json).to.deep.equal({ users: [], isComplete: true })
      const { stdout } = await project.run(['what-can', 'bob@example.com'])
      expect(stdout.split('\n').map((line) => line.replace(/ {2,}/g, ' | '))).to.include.members([
        'model | action | rows | rule',
        'Note | publish | some | holders of editor',
      ])
      expect((await project.run(['what-can', 'anonymous', '--json'])).json.permissions[1]).to.include({ action: 'create', rows: 'none' })
    })

    it('refuse names that do not exist, in a sentence', async () => {
      const refusals = {
        'why eve@example.com read Note': "There is no user 'eve@example.com'. `npx objection-perms users list` shows the users.",
        'why anonymous read Nope': "There is no model 'Nope'. The models are Note,",
        'why anonymous fly Note': 'fly',
        'who-can fly Note': 'fly',
      }
      for (const [line, problem] of Object.entries(refusals)) {
        const { code, problem: said } = await project.run([...line.split(' '), id])
        expect(code, said).to.equal(2)
        expect(said).to.contain(problem)
      }
      expect((await project.run(['who-can', 'read', 'Note', 'x'])).problem).to.equal('There is no Note with the id x.')
    })
  })

  describe('objection-perms lint', () => {
    it('prints findings, and ends with 1 for errors and for more warnings than allowed', async () => {
      const faulty = models
        .replace('owner(), where({ isPublic: true })', "owner(), allOf(owner(), where({ isPublic: true })), role('editor')")
        .replace('anyOf,', 'allOf, anyOf,')
      project.write({
        'faulty.js': permsModule({ before: faulty, options: 'models: [Note]' }),
        'good.js': permsModule({ before: models.replace("publish: role('editor')", 'publish: owner()'), options: 'models: [Note]' }),
      })
      const { code, stdout, stderr } = await project.run(['lint', '--app', 'faulty.js'])
      expect(code, stderr).to.equal(1)
      expect(stdout).to.equal(
        [
          'warning: Note.read (adds-nothing)',
          '  anyOf[1]: (the owner (userField) and rows where {"isPublic":true})',
          '  It stands beside "the owner (userField)", which allows it already.',
          '  Remove it.',
          '',
          'Errors: 0. Warnings: 1. For information: 0.',
          '',
        ].join('\n'),
      )
      expect((await project.run(['lint', '--app', 'faulty.js', '--max-warnings', '1'])).code).to.equal(0)
      const good = await project.run(['lint', '--app', 'good.js', '--json'])
      expect(good).to.deep.include({ code: 0, json: { findings: [], errors: 0, warnings: 0 } })
      project.write({
        'error.js': permsModule({
          before: models.replace('create: authenticated()', 'create: anyOf(authenticated(), where({}))'),
          options: 'models: [Note]',
        }),
      })
      expect((await project.run(['lint', '--app', 'error.js', '--max-warnings', '9'])).code).to.equal(1)
    })

    it('refuses a wrong number', async () => {
      expect(await project.run(['lint', '--max-warnings', 'many'])).to.include({
        code: 2,
        problem: '--max-warnings many: use a number, 0 or more.',
      })
    })
  })

  describe('objection-perms verify', () => {
    const shared = `import { BasePermsModel, column, HasDomainMixin, HasUserMixin, anyOf, authenticated, belongsTo, check, everyone, hasMany, member, owner, related, role, where } from 'objection-perms'`
    const leaky = `${shared}
export class Article extends HasDomainMixin(HasUserMixin(BasePermsModel)).withColumns({ title: column.string(), isPublic: column.boolean(), price: column.decimal(9, 2) }) {
  static unguarded = ['domain']
  static policy = { read: anyOf(member(), where({ isPublic: true })), update: anyOf(member(), related('notes', owner())), publish: member() }
  static relationMappings = () => ({ notes: hasMany(() => Note, 'articleId') })
}
export class Note extends HasUserMixin(BasePermsModel).withColumns({ articleId: column.uuid().nullable() }) {
  static policy = { read: owner() }
}
export class Task extends HasDomainMixin(BasePermsModel).withColumns({ state: column.string() }) {
  static policy = { read: member(), update: role('editor', { domain: 'any' }), close: role('editor', { domain: 'any' }) }
}
export class Ledger extends BasePermsModel.withColumns({ companyId: column.uuid() }) {
  static policy = { read: member('companyId'), create: authenticated(), update: { from: member('companyId'), to: authenticated() } }
}`

    it('prints each counterexample as a test that fails, and ends with 1 [promise 225]', async () => {
      project.write({
        'models.js': leaky,
        'verify.js': permsModule({
          before: "import { Article, Ledger, Note, Task } from './models.js'",
          options: 'models: [Article, Note, Task, Ledger]',
        }),
      })
      const { code, json, stderr } = await project.run(['verify', '--app', 'verify.js', '--tenant', 'Ledger=companyId', '--json'])
      expect(code, stderr).to.equal(1)
      const found: { model: string; action: string; description: string; test: string }[] = json.counterexamples
      expect(found.map(({ model, action }) => `${model} ${action}`)).to.deep.equal([
        ...[
          'Article read',
          'Article update',
          'Article delete',
          'Task update',
          'Task move',
          'Task delete',
          'Task close',
          'Ledger create',
          'Ledger move',
        ],
      ])
      for (const [i, { test, description }] of found.entries()) {
        project.write({ [`counterexample${i}.js`]: test })
        const output = await project.runModule(`counterexample${i}.js`)
        expect(output, `${test}\n${output}`).to.contain('AssertionError').and.to.contain(description.slice(0, 60))
      }
      const text = await project.run(['verify', '--app', 'verify.js'])
      expect(text.stdout).to.contain("import { Article } from './models.js'").and.to.contain('COUNTEREXAMPLE')
    })

    it('ends with 0 if there is none, and with 2 if it cannot know [promise 226]', async () => {
      const app = (policy: string) =>
        permsModule({
          before: `${shared}\nclass Article extends HasDomainMixin(BasePermsModel).withColumns({ title: column.string() }) { static policy = ${policy} }`,
          options: 'models: [Article]',
        })
      project.write({
        'pass.js': app('{ read: everyone(), update: member() }'),
        'unknown.js': app('{ read: everyone(), update: check(() => true) }'),
      })
      const passed = await project.run(['verify', '--app', 'pass.js'])
      expect(passed.code, passed.stderr).to.equal(0)
      expect(passed.stdout).to.equal('PASS: no caller of one tenant reaches rows of another one.\nThe tenants: Article.domainId.\n')
      const unknown = await project.run(['verify', '--app', 'unknown.js'])
      expect(unknown.code).to.equal(2)
      expect(unknown.stdout).to.contain('UNKNOWN').and.to.contain('Article.update: check() is code')
      const wrong = await project.run(['verify', '--app', 'pass.js', '--tenant', 'Article'])
      expect(wrong).to.include({ code: 2, problem: '--tenant Article: write the model and the column, such as Article=companyId.' })
    })
  })
})
