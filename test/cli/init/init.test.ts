import { expect } from 'chai'
import { createProject, type TestProject } from '../helpers/project.js'

describe('objection-perms init', function () {
  this.timeout(60_000)
  const projects: TestProject[] = []
  const newProject = (files: Record<string, string> = {}) => {
    const project = createProject(files)
    projects.push(project)
    return project
  }
  after(() => {
    for (const project of projects) project.remove()
  })

  it('writes an application into a new folder, and prints the next steps', async () => {
    const project = newProject()
    const { code, stdout, stderr } = await project.run([
      'init',
      'notes',
      '--framework',
      'koa',
      '--language',
      'js',
      '--database',
      'pg',
      '--yes',
    ])
    expect([code, stderr]).to.deep.equal([0, ''])
    expect(stdout).to.contain('Wrote an API with koa, JavaScript and pg:\n  src/models.js\n')
    expect(stdout).to.contain('Next steps:\n  cd notes\n  npm install\n')
    expect(project.read('notes/src/app.js')).to.contain("from 'objection-perms/koa'")
    expect(JSON.parse(project.read('notes/package.json'))).to.deep.include({ name: 'notes', private: true, type: 'module' })
  })

  it('writes nothing with --dry-run, and lists the files', async () => {
    const project = newProject()
    const { code, stdout } = await project.run(['init', 'notes', '--dry-run'])
    expect(code).to.equal(0)
    expect(stdout).to.contain('Would write an API with express, TypeScript and sqlite:\n  src/models.ts\n')
    expect(() => project.read('notes/package.json')).to.throw('ENOENT')
  })

  it('prints the choices, files, steps and requests as JSON', async () => {
    const { json } = await newProject().run(['init', 'notes', '--json', '--framework', 'hono'])
    expect(json).to.include({ framework: 'hono', language: 'ts', database: 'sqlite', written: true })
    expect(json.files).to.include.members(['src/perms.ts', 'package.json'])
    expect(json.steps).to.include('npm install')
    expect(json.requests).to.have.length(4)
  })

  it('refuses to run twice, overwrites its own files with --force, and adds no second migration', async () => {
    const project = newProject()
    expect((await project.run(['init', 'notes'])).code).to.equal(0)
    const again = await project.run(['init', 'notes'])
    expect([again.code, again.stdout]).to.deep.equal([2, ''])
    expect(again.stderr).to.match(/^objection-perms: Nothing was written, because src\/models\.ts, .* already exist\. Pass --force .*\n$/)
    project.write({ 'notes/src/models.ts': `${project.read('notes/src/models.ts')}// changed\n` })
    const forced = await project.run(['init', 'notes', '--force', '--json'])
    expect(forced.code).to.equal(0)
    expect(forced.json.files.filter((path: string) => path.startsWith('migrations/'))).to.have.length(1)
    expect(project.read('notes/src/models.ts')).not.to.contain('// changed')
  })

  const failures: [title: string, files: Record<string, string>, args: string[], message: RegExp][] = [
    ['an unknown framework', {}, ['--framework', 'hapi'], /--framework 'hapi' is not supported\. Use one of express, koa, fastify, hono\./],
    ['an unknown language', {}, ['--language', 'coffee'], /--language 'coffee' is not supported\. Use one of ts, js\./],
    ['an unknown database', {}, ['--database', 'oracle'], /--database 'oracle' is not supported\. Use one of sqlite, pg, mariadb\./],
    [
      'a broken package.json',
      { 'notes/package.json': '{ "name": ' },
      [],
      /package\.json is not valid JSON: .+\. Correct it, and run init again\./,
    ],
    ['a package.json that is no object', { 'notes/package.json': '[]' }, [], /package\.json must contain a JSON object\./],
    ['scripts that are no object', { 'notes/package.json': '{ "scripts": "x" }' }, [], /package\.json: 'scripts' must be an object\./],
    ['a folder that is a file', { notes: '' }, [], /notes is a file\. Name a folder: npx objection-perms init DIR\./],
    ['a foreign file in the way', { 'notes/src/app.ts': '' }, ['--force'], /because src\/app\.ts already exists\. Move or rename/],
    ['a second folder', {}, ['other'], /init does not take the argument/],
    ['an unknown option', {}, ['--databse', 'pg'], /Unknown option '--databse'/],
  ]
  for (const [title, files, args, message] of failures) {
    it(`prints one line for ${title}, and writes nothing`, async () => {
      const project = newProject(files)
      const { code, stdout, stderr } = await project.run(['init', 'notes', ...args])
      expect([code, stdout]).to.deep.equal([2, ''])
      expect(stderr).to.match(/^objection-perms: .+\n$/)
      expect(stderr).to.match(message)
      for (const path of ['notes/.gitignore', 'notes/src/perms.ts']) expect(() => project.read(path)).to.throw(/ENOENT|ENOTDIR/)
    })
  }

  it('says the same for a folder below a file', async () => {
    const { code, stderr } = await newProject({ file: '' }).run(['init', 'file/notes'])
    expect(code).to.equal(2)
    expect(stderr).to.match(/^objection-perms: Nothing was written to .+: a part of the path is a file\. Name another folder\.\n$/)
  })

  it('explains scripts of package.json that it keeps, and shows how to run the server without them', async () => {
    const project = newProject({ 'package.json': '{ "type": "module", "scripts": { "start": "node old.js" } }' })
    const { stdout } = await project.run(['init'])
    expect(stdout).to.contain('package.json keeps its own scripts: start.\n')
    expect(stdout).to.contain('\n  npm test\n  npx tsx src/server.ts\n')
  })

  it('quotes the name of the folder for the shell', async () => {
    const { json } = await newProject().run(['init', "Ada's notes", '--json'])
    expect(json.steps[0]).to.equal("cd 'Ada'\\''s notes'")
  })

  it('says which connection and migrations it uses beside a knexfile', async () => {
    const { json } = await newProject({ 'knexfile.js': "export default { client: 'pg' }" }).run(['init', '--json'])
    expect(json.notes).to.deep.equal([
      "src/perms.js connects to DATABASE_URL, and uses the folder 'migrations'. If the knexfile names others, write them into it.",
    ])
  })

  it('says that an existing tsconfig.json needs "module": "nodenext"', async () => {
    const run = async (tsconfig: string) => (await newProject({ 'tsconfig.json': tsconfig }).run(['init', '--json'])).json.notes
    expect(await run('{ "compilerOptions": { "module": "commonjs" } }')).to.deep.equal([
      'tsconfig.json needs "module": "nodenext", because objection-perms is an ES module.',
    ])
    expect(await run('{ "compilerOptions": { "module": "NodeNext" } }')).to.deep.equal([])
  })
})
