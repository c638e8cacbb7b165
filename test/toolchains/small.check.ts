import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { copyDriver, emptyFolder, expectScenario, install, node } from './set-up.js'

describe('The packed package', function () {
  this.timeout(300_000)
  let folder: string

  before(() => {
    folder = install('small')
  })

  it('works in a CommonJS program that calls require()', async () => {
    await expectScenario('app/require.cjs', folder)
  })

  describe('bundled by esbuild, in a folder that has no other package than the database driver', () => {
    let elsewhere: string

    before(async () => {
      await node(['esbuild.mjs'], folder)
      elsewhere = emptyFolder()
      copyDriver(elsewhere)
      cpSync(join(folder, 'out'), elsewhere, { recursive: true })
    })

    it('works as an ES module', async () => {
      await expectScenario('bundle.mjs', elsewhere)
    })

    it('works as a minified CommonJS program', async () => {
      await expectScenario('bundle.cjs', elsewhere)
    })
  })

  it('works in CommonJS tests of Jest', async () => {
    await node(['node_modules/jest/bin/jest.js', '--config', 'jest-commonjs/jest.config.cjs'], folder)
  })

  it('works in ES module tests of Jest', async () => {
    await node(
      ['--experimental-vm-modules', 'node_modules/jest/bin/jest.js', '--config', 'jest-esm/jest.config.cjs', '--runInBand'],
      folder,
    )
  })

  it('works in tests of Vitest', async () => {
    await node(['node_modules/vitest/vitest.mjs', 'run', 'vitest'], folder)
  })
})
