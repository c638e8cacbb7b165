import { existsSync, mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { createProject, permsModule, type RunOptions, type TestProject } from './helpers/project.js'

const api = (name: string, title = 'Zoo') => `import { Api, UserResource } from 'objection-perms'
export const ${name} = new Api({ title: '${title}', version: '1.2.3', prefix: '/api', resources: [new UserResource()] })`

describe('objection-perms openapi', () => {
  let project: TestProject
  afterEach(() => project.remove())
  const run = (files: Record<string, string>, args: readonly string[] = [], options: RunOptions = {}) => {
    project = createProject({ 'perms.js': permsModule(), ...files })
    return project.run(['openapi', ...args], options)
  }

  it('prints the document of the Api that the module of initPerms exports, without a database', async () => {
    const { code, json, stderr } = await run({ 'perms.js': permsModule({ url: 'no/such/folder/app.db', after: api('zoo') }) }, [], {
      ownProcess: true,
    })
    expect(code, stderr).to.equal(0)
    expect([json.openapi, json.info.title, json.info.version]).to.deep.equal(['3.1.0', 'Zoo', '1.2.3'])
    expect(Object.keys(json.paths)).to.include('/api/users/login')
  })

  it('finds the Api in api.js, in the module of --api, and in the module of the option api', async () => {
    expect((await run({ 'src/api.js': api('api') })).json.info.title).to.equal('Zoo')
    project.remove()
    expect((await run({ 'lib/zoo.js': api('default_', 'Given') }, ['--api', 'lib/zoo.js'])).json.info.title).to.equal('Given')
    project.remove()
    const files = {
      'package.json': '{ "type": "module", "objection-perms": { "api": "lib/zoo.js" } }',
      'lib/zoo.js': api('x', 'Configured'),
    }
    expect((await run(files)).json.info.title).to.equal('Configured')
  }).timeout(60_000)

  it('finds the Api that an adapter serves, although no module exports it', async () => {
    const after = `${api('api').replace('export ', '')}
import { expressAdapter } from 'objection-perms/express'
expressAdapter(perms).router(api)`
    expect((await run({ 'perms.js': permsModule({ after }) })).json.info.title).to.equal('Zoo')
  })

  it('reads the columns of a model without a schema from the database', async () => {
    const after = `import { Model } from 'objection'
import { Api, CrudResource, PermsMixin } from 'objection-perms'
class Note extends PermsMixin(Model) {
  static tableName = 'notes'
  static policy = {}
}
await knex.schema.createTable('notes', (table) => {
  table.increments('id')
  table.boolean('isPinned')
  table.string('secretText')
})
export const api = new Api({ resources: [new CrudResource({ model: Note, schema: ['id', 'isPinned'] })] })`
    const { json, stderr } = await run({ 'perms.js': permsModule({ after }) })
    expect(stderr).to.equal('')
    const { properties } = json.components.schemas.Note
    expect(properties).to.have.all.keys('allowed', 'id', 'isPinned')
    expect(properties.isPinned.type).to.deep.equal(['boolean', 'null'])
  })

  it('--out writes the file, replaces an earlier document, and leaves no temporary file', async () => {
    const { code, stdout } = await run({ 'api.js': api('api') }, ['--out', 'openapi.json'])
    expect([code, stdout]).to.match(/^0,Wrote \d+ paths to openapi\.json\.\n$/)
    project.write({ 'api.js': api('api', 'Second') })
    expect((await project.run(['openapi', '--out', 'openapi.json', '--json'])).json.file).to.equal(join(project.folder, 'openapi.json'))
    expect(JSON.parse(project.read('openapi.json')).info.title).to.equal('Second')
    expect(readdirSync(project.folder).filter((name) => name.includes('tmp'))).to.deep.equal([])
  }).timeout(60_000)

  it('--out refuses a file that is no OpenAPI document, unless --force is given', async () => {
    const { code, problem } = await run({ 'api.js': api('api'), 'notes.json': '{ "keep": true }' }, ['--out', 'notes.json'])
    expect(code).to.equal(2)
    expect(problem).to.match(/notes\.json exists, and is no OpenAPI document\. Choose another file, or replace it with --force\.$/)
    expect(project.read('notes.json')).to.equal('{ "keep": true }')
    expect((await project.run(['openapi', '--out', 'notes.json', '--force'])).code).to.equal(0)
  }).timeout(60_000)

  it('--out names a folder that does not exist, a file used as a folder, and a folder used as a file', async () => {
    const { code, problem } = await run({ 'api.js': api('api') }, ['--out', 'missing/openapi.json'])
    expect(code).to.equal(2)
    expect(problem).to.match(/missing\/openapi\.json cannot be used: there is no such file or folder: check the path\.$/)
    expect(existsSync(join(project.folder, 'missing'))).to.equal(false)
    expect((await project.run(['openapi', '--out', 'api.js/openapi.json'])).problem).to.match(/a part of the path is a file/)
    mkdirSync(join(project.folder, 'docs'))
    expect((await project.run(['openapi', '--out', 'docs'])).problem).to.match(/docs cannot be used: it is a folder: name a file\.$/)
  }).timeout(60_000)

  it('--out names a folder in which this user may not write', async function () {
    // The administrator may write everywhere except into the files of the kernel.
    const isAdministrator = process.getuid?.() === 0
    if (isAdministrator && !existsSync('/sys/kernel')) this.skip()
    project = createProject({ 'perms.js': permsModule(), 'api.js': api('api') })
    const folder = isAdministrator ? '/sys/kernel' : join(project.folder, 'closed')
    if (!isAdministrator) mkdirSync(folder, { mode: 0o500 })
    const { code, problem } = await project.run(['openapi', '--out', join(folder, 'openapi.json')])
    expect(code).to.equal(2)
    expect(problem).to.match(/openapi\.json cannot be used: (?:this user may not do that|the file system is read-only): .*choose another/)
  })

  const refused: readonly [title: string, files: Record<string, string>, args: readonly string[], problem: RegExp][] = [
    ['no Api', {}, [], /^No module exports an Api\. Write `export const api = new Api/],
    ['a module that does not exist', {}, ['--api', 'x.js'], /^x\.js does not exist\. Name the module that exports the Api/],
    ['a module without an Api', { 'x.js': 'export const x = 1' }, ['--api', 'x.js'], /^x\.js exports no Api\. Write/],
    ['a module that ends the process', { 'x.js': 'process.exit(3)' }, ['--api', 'x.js'], /^x\.js ended the process with exit code 3/],
    ['a module that throws', { 'x.js': "throw new Error('broken')" }, ['--api', 'x.js'], /^x\.js failed while it was loaded: broken\.$/],
    [
      'several Apis',
      { 'api.js': `${api('a')}\nexport const b = new Api()` },
      [],
      /^api\.js exports several Apis: a, b\. Choose one with --export NAME\.$/,
    ],
    ['an unknown export', { 'api.js': api('a') }, ['--export', 'b'], /^api\.js exports no Api with the name 'b'\. It exports a\.$/],
  ]
  for (const [title, files, args, problem] of refused) {
    it(`refuses ${title} with one sentence`, async () => {
      const ran = await run(files, args, { ownProcess: title.includes('ends the process') })
      expect([ran.code, ran.stdout]).to.deep.equal([2, ''])
      expect(ran.problem).to.match(problem)
    })
  }

  it('--export chooses one of several Apis', async () => {
    const files = { 'api.js': `${api('a')}\nexport const b = new Api({ title: 'Other' })` }
    expect((await run(files, ['--export', 'b'])).json.info.title).to.equal('Other')
  })
})
