import { expect } from 'chai'
import { commands } from '../../src/cli/commands/index.js'
import { VERSION } from '../../src/version.js'
import { createProject, type TestProject } from './helpers/project.js'

describe('The command line', () => {
  let project: TestProject
  before(() => {
    project = createProject()
  })
  after(() => project.remove())

  it('lists its commands with --help, and prints its version', async () => {
    const help = await project.run(['--help'], { ownProcess: true })
    expect(help.code).to.equal(0)
    for (const { name, summary } of commands)
      expect(help.stdout).to.match(new RegExp(`^  ${name} +${summary.replaceAll(/[()?.]/g, '\\$&')}$`, 'm'))
    expect(await project.run(['--version'])).to.include({ code: 0, stdout: `${VERSION}\n` })
  })

  it('lists its commands and fails without a command', async () => {
    const { code, stdout } = await project.run([])
    expect(code).to.equal(2)
    expect(stdout).to.contain('Usage: npx objection-perms COMMAND')
  })

  // test/docs/cli.test.ts reads the help of all commands.
  for (const { name, summary } of commands.filter(({ name: one }) => ['init', 'secret', 'users list'].includes(one))) {
    it(`${name} --help shows its options and an example`, async () => {
      const { code, stdout, stderr } = await project.run([...name.split(' '), '--help'])
      expect([code, stderr]).to.deep.equal([0, ''])
      expect(stdout).to.contain(`Usage: npx objection-perms ${name}`).and.to.contain(summary).and.to.contain('  --json ')
      expect(stdout).to.match(new RegExp(`\nExample:\n  .*npx objection-perms ${name}`))
    })
  }

  it('suggests the nearest command for a misspelled one', async () => {
    const { code, stderr, stdout } = await project.run(['sekret'])
    expect([code, stdout]).to.deep.equal([2, ''])
    expect(stderr).to.match(/^objection-perms: There is no command 'sekret'\. The commands are .*Did you mean 'secret'\?\n$/)
  })

  it('names an unknown option and those of the command', async () => {
    const { code, stderr } = await project.run(['secret', '--sise', '3'])
    expect(code).to.equal(2)
    expect(stderr).to.equal("objection-perms: Unknown option '--sise'. The options of secret are --json, --debug, --help.\n")
  })

  it('refuses an argument that the command does not take', async () => {
    const { code, stderr } = await project.run(['secret', 'long'])
    expect([code, stderr]).to.deep.equal([
      2,
      "objection-perms: secret does not take the argument 'long'. See `npx objection-perms secret --help`.\n",
    ])
  })

  it('asks for the command first when the line begins with an option', async () => {
    const { code, stderr } = await project.run(['--json', 'secret'])
    expect(code).to.equal(2)
    expect(stderr).to.contain('Write the command first')
  })

  it('prints a failure as JSON too with --json', async () => {
    const { code, json, stderr } = await project.run(['secret', 'long', '--json'])
    expect(code).to.equal(2)
    expect(`objection-perms: ${json.error.message}\n`).to.equal(stderr)
  })

  it('prints a stack trace only with --debug', async () => {
    expect((await project.run(['secret', 'long'])).stderr).not.to.contain('    at ')
    expect((await project.run(['secret', 'long', '--debug'])).stderr).to.contain('    at ')
  })
})

describe('The command line of another copy', () => {
  it("runs if it is the project's, also for the module of --app in another project", async () => {
    const project = createProject({}, { without: ['objection-perms'] })
    try {
      const own = `console.log('the copy of the project', process.argv.slice(2).join(' '))`
      for (const folder of ['.', 'packages/shop'])
        project.write({
          [`${folder}/package.json`]: '{ "type": "module" }',
          [`${folder}/node_modules/objection-perms/package.json`]: '{ "name": "objection-perms", "version": "9.9.9" }',
          [`${folder}/node_modules/objection-perms/dist/cli/main.js`]: own.replace('project', folder),
        })
      expect((await project.run(['users', 'list'])).stdout).to.equal('the copy of the . users list\n')
      const other = await project.run(['users', 'list', '--app', 'packages/shop/app.js'])
      expect(other.stdout).to.equal('the copy of the packages/shop users list --app packages/shop/app.js\n')
    } finally {
      project.remove()
    }
  })
})

describe('objection-perms secret', () => {
  it('prints another secret of 32 bytes at each call, without an application', async () => {
    const project = createProject()
    try {
      const [first, second] = await Promise.all([project.run(['secret']), project.run(['secret', '--json'])])
      expect([first.code, first.stderr]).to.deep.equal([0, ''])
      const secrets = [first.stdout.trim(), second.json.secret as string]
      for (const text of secrets) expect(Buffer.from(text, 'base64url')).to.have.length(32)
      expect(secrets[0]).not.to.equal(secrets[1])
    } finally {
      project.remove()
    }
  })
})
