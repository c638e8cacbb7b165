import * as disk from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { CliError } from '../failure.js'
import { type PlannedFile, signature } from './plan.js'

/** The functions of node:fs/promises that change the disk. Tests pass failing ones. */
export type Disk = Pick<typeof disk, 'chmod' | 'copyFile' | 'mkdir' | 'mkdtemp' | 'rename' | 'rm' | 'rmdir' | 'writeFile'>

/**
 * Throws if one of the files exists that init would create.
 *
 * @param isForced whether files that begin with the signature of init may be overwritten
 * @throws CliError that names all of these files
 */
export async function assertNoConflicts(directory: string, files: readonly PlannedFile[], isForced: boolean): Promise<void> {
  const blocked: string[] = []
  const own: string[] = []
  for (const { path, isMerged } of files) {
    const state = await stateOf(join(directory, path))
    if (state === 'missing' || (isMerged && state !== 'blocked')) continue
    if (state === 'own') own.push(path)
    else blocked.push(path)
  }
  const inTheWay = isForced ? blocked : [...blocked, ...own]
  if (inTheWay.length === 0) return
  const advice =
    blocked.length === 0
      ? 'Pass --force to overwrite them: an earlier init wrote them.'
      : 'Move or rename these files, or name another folder: npx objection-perms init DIR.'
  throw new CliError(`Nothing was written, because ${listed(inTheWay)} already ${inTheWay.length === 1 ? 'exists' : 'exist'}. ${advice}`)
}

/** `own`: a file that init wrote. `blocked`: a folder, or a path below a file. */
async function stateOf(path: string): Promise<'missing' | 'own' | 'foreign' | 'blocked'> {
  try {
    // lstat, because a symbolic link to a missing file is in the way too.
    const found = await disk.lstat(path)
    if (found.isSymbolicLink()) return (await disk.stat(path).catch(() => undefined))?.isFile() ? 'foreign' : 'blocked'
    if (!found.isFile()) return 'blocked'
    return (await disk.readFile(path, 'utf8')).startsWith(signature) ? 'own' : 'foreign'
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return 'missing'
    if (code === 'ENOTDIR') return 'blocked'
    throw error
  }
}

/**
 * Writes all files, or none: it writes them into a temporary folder first, moves them to their places, and undoes that at an error.
 *
 * @throws CliError if the disk is full, or the folder cannot be written
 */
export async function writeFiles(directory: string, files: readonly PlannedFile[], on: Disk = disk): Promise<void> {
  const undo: (() => Promise<unknown>)[] = []
  try {
    await makeFolder(directory, undo, on)
    const temporary = await on.mkdtemp(join(directory, '.objection-perms-init-'))
    undo.push(() => on.rm(temporary, { recursive: true, force: true }))
    const moves: { from: string; to: string; backup: string | undefined }[] = []
    for (const [index, { path, text }] of files.entries()) {
      const to = await targetOf(join(directory, path))
      const from = join(temporary, `${index}`)
      await on.writeFile(from, text)
      moves.push({ from, to, backup: await keepOriginal(to, from, on) })
    }
    for (const { from, to, backup } of moves) {
      await makeFolder(dirname(to), undo, on)
      await on.rename(from, to)
      undo.push(() => (backup === undefined ? on.rm(to, { force: true }) : on.rename(backup, to)))
    }
    // Everything is in its place: a temporary folder that cannot be removed is no reason to undo it.
    await on.rm(temporary, { recursive: true, force: true }).catch(() => {})
  } catch (error) {
    for (const step of undo.toReversed()) await step().catch(() => {})
    throw explained(error, directory)
  }
}

/** Creates a folder and the missing ones above it. */
async function makeFolder(folder: string, undo: (() => Promise<unknown>)[], on: Disk): Promise<void> {
  if (await exists(folder)) return
  await makeFolder(dirname(folder), undo, on)
  await on.mkdir(folder)
  undo.push(() => on.rmdir(folder))
}

/** Returns the file that a symbolic link names, so that the link stays a link. */
async function targetOf(path: string): Promise<string> {
  return await disk.realpath(path).catch(() => path)
}

/** Copies an existing file beside its new text, which gets its mode. @returns the copy */
async function keepOriginal(to: string, from: string, on: Disk): Promise<string | undefined> {
  if (!(await exists(to))) return undefined
  const backup = `${from}.original`
  await on.copyFile(to, backup)
  await on.chmod(from, (await disk.stat(to)).mode)
  return backup
}

const exists = async (path: string): Promise<boolean> =>
  await disk.stat(path).then(
    () => true,
    () => false,
  )

const causes: Readonly<Record<string, string>> = {
  EACCES: 'you may not write there. Change the permissions, or name another folder',
  EPERM: 'you may not write there. Change the permissions, or name another folder',
  EROFS: 'the file system is read-only. Name another folder',
  ENOSPC: 'the disk is full. Free some space, and run init again',
  EDQUOT: 'your disk quota is used up. Free some space, and run init again',
  ENOTDIR: 'a part of the path is a file. Name another folder',
  ENAMETOOLONG: 'the path is too long. Name another folder',
}

/** Returns a CliError for an error of the disk, and other errors unchanged. */
export function explained(error: unknown, directory: string): unknown {
  const { code, path } = error as NodeJS.ErrnoException
  if (code === undefined || error instanceof CliError) return error
  const where = path === undefined || relative(directory, path).startsWith('.objection-perms-init-') ? directory : path
  return new CliError(`Nothing was written to ${where}: ${causes[code] ?? `the system reports ${code}. Name another folder`}.`)
}

function listed(paths: readonly string[]): string {
  return paths.length < 2 ? paths.join('') : `${paths.slice(0, -1).join(', ')} and ${paths.at(-1)}`
}
