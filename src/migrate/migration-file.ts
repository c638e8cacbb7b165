/** Names and writes the file of a new migration. */
import { link, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { dirname, extname, join, resolve } from 'node:path'
import type { Knex } from 'knex'
import { ConfigurationError } from '../core/errors.js'
import { migrationFolders } from './replay.js'
import type { MigrationLanguage } from './text/migration-text.js'

/** Where a new migration goes. */
export interface NewMigrationFile {
  readonly file: string
  readonly language: MigrationLanguage
}

/** The name, folder and language that the developer chose for the file. */
export interface FileWishes {
  readonly name: string
  readonly directory?: string | undefined
  readonly language?: 'ts' | 'js' | undefined
}

/**
 * Returns the path of a new migration: in the style of the folder's other files, and after them.
 *
 * @throws ConfigurationError for a name that cannot be that of a file, and without a folder
 */
export async function newMigrationFile(config: Knex.MigratorConfig, { name, directory, language }: FileWishes): Promise<NewMigrationFile> {
  const words = name.trim().replaceAll(/\s+/g, '_')
  if (!/^[\p{L}\p{N}_-]{1,100}$/u.test(words))
    throw new ConfigurationError(
      `'${name}' cannot be the name of a migration: use up to 100 letters, digits, '_' and '-', such as add_title.`,
    )
  const folder = directory === undefined ? migrationFolders(config).at(-1) : resolve(directory)
  if (folder === undefined)
    throw new ConfigurationError(
      'The folder of the migrations is unknown, because they come from a migrationSource. Name it with --directory.',
    )
  const existing = await migrationsIn(folder, config)
  const extension = extensionOf(existing, config, language)
  return { file: join(folder, `${prefixAfter(existing)}_${words}${extension}`), language: await languageOf(folder, existing, extension) }
}

async function migrationsIn(folder: string, { migrationSource, loadExtensions }: Knex.MigratorConfig): Promise<string[]> {
  const files = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw new ConfigurationError(`The folder ${folder} cannot be read: ${error.message}.`, { cause: error })
  })
  const loaded = migrationSource ? extensions : (loadExtensions ?? knexExtensions)
  return files.filter((file) => extensions.includes(extname(file)) && loaded.includes(extname(file)) && !/\.d\.[mc]?ts$/.test(file)).sort()
}

/** Those that Knex loads unless its configuration names others. */
const knexExtensions: readonly string[] = ['.js', '.cjs', '.ts']

const extensions: readonly string[] = ['.ts', '.mts', '.cts', '.js', '.mjs', '.cjs']

function extensionOf(existing: readonly string[], { extension }: Knex.MigratorConfig, language: 'ts' | 'js' | undefined): string {
  const last = existing
    .map((file) => extname(file))
    .findLast((one) => language === undefined || one.endsWith(language.at(0) === 't' ? 'ts' : 'js'))
  return last ?? `.${language ?? extension ?? 'js'}`
}

// Names sort by time. A clock that is behind must not put a migration before those that have run.
function prefixAfter(existing: readonly string[]): string {
  const last = existing.map((file) => /^\d+(?=_)/.exec(file)?.[0]).findLast((digits) => digits !== undefined)
  if (last !== undefined && last.length < 14) return String(BigInt(last) + 1n).padStart(last.length, '0')
  const now = new Date().toISOString().replaceAll(/\D/g, '').slice(0, 14)
  return last !== undefined && last >= now ? String(BigInt(last) + 1n) : now
}

async function languageOf(folder: string, existing: readonly string[], extension: string): Promise<MigrationLanguage> {
  if (extension.endsWith('ts')) return 'ts'
  if (extension === '.mjs') return 'esm'
  if (extension === '.cjs') return 'cjs'
  const last = existing.findLast((file) => extname(file) === extension)
  if (last !== undefined) return /^export\s/m.test(await readFile(join(folder, last), 'utf8')) ? 'esm' : 'cjs'
  return (await isModulePackage(folder)) ? 'esm' : 'cjs'
}

async function isModulePackage(folder: string): Promise<boolean> {
  for (let place = folder; ; place = dirname(place)) {
    const text = await readFile(join(place, 'package.json'), 'utf8').catch(() => undefined)
    if (text !== undefined) return /"type"\s*:\s*"module"/.test(text)
    if (dirname(place) === place) return false
  }
}

/**
 * Writes a file as a whole, and makes its folder.
 *
 * @throws ConfigurationError for an existing file, and when it cannot be written
 */
export async function writeNewFile(file: string, text: string): Promise<void> {
  // Not an extension that Knex loads.
  const part = `${file}.${process.pid}.tmp`
  try {
    await mkdir(dirname(file), { recursive: true })
    await writeFile(part, text, { flag: 'wx' })
    // Unlike a rename, a link never replaces a file.
    await link(part, file)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') throw new ConfigurationError(`The file ${file} exists. Choose another name, or remove it.`, { cause: error })
    throw new ConfigurationError(`The migration cannot be written: ${message}.`, { cause: error })
  } finally {
    await rm(part, { force: true }).catch(() => undefined)
  }
}
