import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import {
  type Choices,
  type Database,
  databases,
  type Framework,
  frameworks,
  type Language,
  languages,
} from '../../../src/cli/init/choices.js'
import { planFiles } from '../../../src/cli/init/plan.js'
import { chooseFor, readProject } from '../../../src/cli/init/project.js'
import { writeFiles } from '../../../src/cli/init/write-files.js'

export const root = fileURLToPath(new URL('../../../', import.meta.url))

/** The choices for a generated application. */
export interface Combination {
  readonly framework: Framework
  readonly language: Language
  readonly database: Database
}

export const allCombinations: readonly Combination[] = frameworks.flatMap((framework) =>
  databases.flatMap((database) => languages.map((language) => ({ framework, language, database }))),
)

export const titleOf = ({ framework, language, database }: Combination): string => `${framework}, ${language}, ${database}`

/** A temporary folder, and what it contains. */
export interface Folder {
  readonly path: string
  write(files: Readonly<Record<string, string>>): void
  read(path: string): string
  /** The paths and texts of all files, without node_modules. */
  files(): Record<string, string>
  remove(): void
}

/** Creates a temporary folder with the given files. */
export function createFolder(files: Readonly<Record<string, string>> = {}): Folder {
  const path = mkdtempSync(join(tmpdir(), 'objection-perms-init-'))
  const write = (given: Readonly<Record<string, string>>) => {
    for (const [name, text] of Object.entries(given)) {
      mkdirSync(dirname(join(path, name)), { recursive: true })
      writeFileSync(join(path, name), text)
    }
  }
  write(files)
  const filesIn = (folder: string): [string, string][] =>
    readdirSync(join(path, folder), { withFileTypes: true }).flatMap((entry): [string, string][] => {
      const name = join(folder, entry.name)
      if (entry.name === 'node_modules') return []
      return entry.isDirectory() ? [[`${name}/`, ''], ...filesIn(name)] : [[name, readFileSync(join(path, name), 'utf8')]]
    })
  return {
    path,
    write,
    read: (name) => readFileSync(join(path, name), 'utf8'),
    files: () => Object.fromEntries(filesIn('')),
    remove: () => rmSync(path, { recursive: true, force: true }),
  }
}

/**
 * Writes an application into a folder, as `init` does. Its node_modules contain links to the packages that its package.json names,
 * and to no others.
 */
export async function generate(folder: Folder, combination: Combination): Promise<Choices> {
  const project = await readProject(folder.path)
  const choices = chooseFor(project, combination)
  await writeFiles(folder.path, planFiles(project, choices, new Date()).files)
  linkPackages(folder)
  return choices
}

function linkPackages(folder: Folder): void {
  for (const name of packagesOf(folder)) {
    const link = join(folder.path, 'node_modules', name)
    mkdirSync(dirname(link), { recursive: true })
    symlinkSync(name === 'objection-perms' ? root : join(root, 'node_modules', name), link)
  }
}

/** Returns the packages that package.json names. */
export function packagesOf(folder: Folder): string[] {
  const { dependencies = {}, devDependencies = {} } = JSON.parse(folder.read('package.json')) as Record<string, Record<string, string>>
  return [...Object.keys(dependencies), ...Object.keys(devDependencies)]
}
