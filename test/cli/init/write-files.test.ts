import { chmodSync, statSync, symlinkSync } from 'node:fs'
import disk from 'node:fs/promises'
import { join } from 'node:path'
import process from 'node:process'
import { expect } from 'chai'
import { planFiles, signature } from '../../../src/cli/init/plan.js'
import { chooseFor, readProject } from '../../../src/cli/init/project.js'
import { assertNoConflicts, type Disk, writeFiles } from '../../../src/cli/init/write-files.js'
import { rejection } from '../../helpers/errors.js'
import { createFolder, type Folder } from './generated.js'

const functions = ['chmod', 'copyFile', 'mkdir', 'mkdtemp', 'rename', 'rm', 'rmdir', 'writeFile'] as const

/** A disk on which one call fails, counted over all functions. */
function failingDisk(failsAt: number, code: string): { on: Disk; calls(): number } {
  let count = 0
  const wrap = (name: (typeof functions)[number]) => [
    name,
    async (...args: unknown[]) => {
      if (count++ === failsAt) throw Object.assign(new Error(code), { code, path: String(args[0]) })
      return await Reflect.apply(disk[name], disk, args)
    },
  ]
  return { on: Object.fromEntries(functions.map(wrap)), calls: () => count }
}

describe('init writes all files or none', () => {
  const folders: Folder[] = []
  const newFolder = (files: Record<string, string> = {}) => {
    const folder = createFolder(files)
    folders.push(folder)
    return folder
  }
  after(() => {
    for (const folder of folders) folder.remove()
  })

  const planFor = async (path: string) => {
    const project = await readProject(path)
    return planFiles(project, chooseFor(project, {}), new Date()).files
  }

  for (const code of ['ENOSPC', 'EACCES', 'EIO']) {
    it(`leaves the folder as it was when any step fails with ${code}`, async () => {
      const files = { 'package.json': '{ "name": "shop", "private": true }', '.gitignore': 'dist/\n', 'src/old.ts': '' }
      const folder = newFolder(files)
      const before = folder.files()
      const plan = await planFor(folder.path)
      const { on, calls } = failingDisk(-1, code)
      const other = newFolder(files)
      await writeFiles(other.path, plan, on)
      expect(calls()).to.be.above(25)
      // The last call removes the temporary folder, when everything is in its place.
      for (let failsAt = 0; failsAt < calls() - 1; failsAt++) {
        const error = await rejection(writeFiles(folder.path, plan, failingDisk(failsAt, code).on))
        expect(error.message).to.match(/^Nothing was written to .+: .+\.$/)
        expect(folder.files(), `after a failure of call ${failsAt}`).to.deep.equal(before)
      }
      await writeFiles(folder.path, plan)
      expect(Object.keys(folder.files())).to.include.members(['src/perms.ts', 'src/old.ts', 'package.json'])
      expect(Object.keys(folder.files()).filter((path) => path.startsWith('.objection-perms'))).to.deep.equal([])
    })
  }

  it('removes a new folder again when a step fails', async () => {
    const folder = newFolder()
    const path = join(folder.path, 'deep/notes')
    const plan = await planFor(path)
    await rejection(writeFiles(path, plan, failingDisk(12, 'ENOSPC').on))
    expect(folder.files()).to.deep.equal({})
    await writeFiles(path, plan)
    expect(Object.keys(folder.files())).to.include('deep/notes/src/perms.ts')
  })

  it('names the folder when this user may not write there', async function () {
    const { seteuid, geteuid } = process
    if (!seteuid || geteuid?.() !== 0) return this.skip()
    const folder = newFolder()
    const plan = await planFor(folder.path)
    chmodSync(folder.path, 0o555)
    seteuid(65_534)
    try {
      const error = await rejection(writeFiles(folder.path, plan))
      expect(error.message).to.equal(
        `Nothing was written to ${folder.path}: you may not write there. Change the permissions, or name another folder.`,
      )
    } finally {
      seteuid(0)
    }
    expect(folder.files()).to.deep.equal({})
  })

  it('keeps the mode of a merged file, and a symbolic link as a link', async () => {
    const folder = newFolder({ 'real.json': '{}' })
    chmodSync(join(folder.path, 'real.json'), 0o600)
    symlinkSync('real.json', join(folder.path, 'package.json'))
    await writeFiles(folder.path, await planFor(folder.path))
    expect(statSync(join(folder.path, 'real.json')).mode & 0o777).to.equal(0o600)
    expect(folder.read('real.json')).to.contain('"objection-perms"')
    expect((await disk.lstat(join(folder.path, 'package.json'))).isSymbolicLink()).to.equal(true)
  })
})

describe('Existing files that init would have to overwrite', () => {
  const folders: Folder[] = []
  after(() => {
    for (const folder of folders) folder.remove()
  })
  const conflictsIn = async (files: Record<string, string>, isForced = false) => {
    const folder = createFolder(files)
    folders.push(folder)
    const project = await readProject(folder.path)
    const plan = planFiles(project, chooseFor(project, {}), new Date())
    return await assertNoConflicts(folder.path, plan.files, isForced).then(
      () => '',
      (error: Error) => error.message,
    )
  }

  it('are all named, and none is overwritten', async () => {
    expect(await conflictsIn({ 'src/app.ts': 'export {}', 'src/models.ts': '', 'test/api.test.ts': '' })).to.equal(
      'Nothing was written, because src/models.ts, src/app.ts and test/api.test.ts already exist. ' +
        'Move or rename these files, or name another folder: npx objection-perms init DIR.',
    )
  })

  it('include folders, files in the place of folders, and broken symbolic links', async () => {
    expect(await conflictsIn({ 'src/app.ts/x': '' })).to.contain('src/app.ts already exists')
    expect(await conflictsIn({ 'package.json/x': '' }).catch((error: Error) => error.message)).to.contain('EISDIR')
    expect(await conflictsIn({ migrations: '' })).to.match(/because migrations\/\d{14}_first_tables\.ts already exists/)
    const folder = createFolder({ 'src/x.ts': '' })
    folders.push(folder)
    symlinkSync('nowhere.ts', join(folder.path, 'src/app.ts'))
    const project = await readProject(folder.path)
    const plan = planFiles(project, chooseFor(project, {}), new Date())
    expect((await rejection(assertNoConflicts(folder.path, plan.files, true))).message).to.contain('src/app.ts already exists')
  })

  it('may be overwritten with --force only if an earlier init wrote them', async () => {
    const own = { 'src/app.ts': `${signature}\n`, 'migrations/20260101000000_first_tables.ts': `${signature}\n` }
    expect(await conflictsIn(own)).to.equal(
      'Nothing was written, because src/app.ts and migrations/20260101000000_first_tables.ts already exist. ' +
        'Pass --force to overwrite them: an earlier init wrote them.',
    )
    expect(await conflictsIn(own, true)).to.equal('')
    expect(await conflictsIn({ ...own, 'src/perms.ts': 'export {}' }, true)).to.contain('because src/perms.ts already exists')
  })
})
