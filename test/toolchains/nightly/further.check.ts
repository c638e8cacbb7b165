import { spawn } from 'node:child_process'
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import { copy, copyDriver, emptyFolder, expectScenario, install, node, root, tarball } from '../set-up.js'

const expected = JSON.stringify(JSON.parse(readFileSync(join(root, 'test/toolchains/app/expected.json'), 'utf8')))

describe('The packed package in further toolchains', function () {
  this.timeout(480_000)
  let folder: string

  before(() => {
    folder = install('nightly')
  })

  for (const tool of ['rollup', 'webpack', 'vite']) {
    it(`works in a bundle of ${tool}, in a folder without the package`, async () => {
      await node(['bundle.mjs', tool], folder)
      const elsewhere = emptyFolder()
      mkdirSync(join(elsewhere, 'node_modules'))
      for (const name of readdirSync(join(folder, 'node_modules'))) {
        if (name !== 'objection-perms') symlinkSync(join(folder, 'node_modules', name), join(elsewhere, 'node_modules', name))
      }
      cpSync(join(folder, 'out', tool), elsewhere, { recursive: true })
      await expectScenario('main.mjs', elsewhere)
    })
  }

  it('works in CommonJS tests of ts-jest', async () => {
    cpSync(join(folder, 'app/scenario.mjs'), join(folder, 'ts-jest/scenario.ts'))
    await node(['node_modules/jest/bin/jest.js', '--config', 'ts-jest/jest.config.cjs'], folder)
  })

  it('works again after tsx watch has reloaded the program', async () => {
    const child = spawn(process.execPath, ['node_modules/tsx/dist/cli.mjs', 'watch', 'watched.mjs'], { cwd: folder, stdio: 'pipe' })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk))
    const printed = async (word: string) => {
      const end = Date.now() + 60_000
      while (!output.includes(`${word}: ${expected}`)) {
        if (Date.now() > end) throw new Error(`'${word}' was not printed:\n${output}`)
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
    }
    try {
      await printed('first')
      writeFileSync(join(folder, 'word.mjs'), "export const word = 'second'\n")
      await printed('second')
      expect(output).not.to.match(/Error/)
    } finally {
      const gone = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGTERM')
      await gone
    }
  })

  it('works when pnpm hoists nothing and refuses missing peer dependencies', async () => {
    const app = copy('pnpm')
    const pnpm = join(folder, 'node_modules/pnpm/bin/pnpm.cjs')
    await node([pnpm, 'add', '--ignore-scripts', '--store-dir', emptyFolder(), tarball()], app)
    copyDriver(app)
    await expectScenario('app/main.mjs', app)
  })
})
