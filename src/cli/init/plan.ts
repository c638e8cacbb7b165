import { type Choices, sourceExtension } from './choices.js'
import { mergeManifest } from './package-json.js'
import { type Project, packageName } from './project.js'
import { appModule } from './templates/app.js'
import { firstMigration } from './templates/migration.js'
import { modelsModule } from './templates/models.js'
import { permsModule } from './templates/perms.js'
import { serverModule } from './templates/server.js'
import { environmentExample, mergeGitignore, tsconfig } from './templates/settings.js'
import { apiTestModule, testEnvironmentModule } from './templates/test.js'

/** The first line of each source file that init writes. `--force` overwrites only files that begin with it. */
export const signature = '// Written by `objection-perms init`. The file is yours: change it as you like.'

/** A file that init writes. */
export interface PlannedFile {
  /** Relative to the folder of the application, with slashes. */
  readonly path: string
  readonly text: string
  /** Whether the text contains everything of an existing file. Other files must not exist yet. */
  readonly isMerged: boolean
}

/** Everything that init writes. */
export interface Plan {
  readonly files: readonly PlannedFile[]
  /** Scripts of package.json that stay as they are, although the generated application has other ones. */
  readonly keptScripts: readonly string[]
}

/**
 * Returns the files of a generated application.
 *
 * @param now the time in the name of the first migration
 */
export function planFiles(project: Project, choices: Choices, now: Date): Plan {
  const extension = sourceExtension(choices)
  const name = typeof project.manifest.name === 'string' ? project.manifest.name : packageName(project.directory)
  const { text, keptScripts } = mergeManifest(project.manifest, project.manifestText, name, choices)
  const created: [path: string, text: string][] = [
    [`src/models.${extension}`, modelsModule(choices)],
    [`src/perms.${extension}`, permsModule(choices)],
    [`src/app.${extension}`, appModule(choices, name)],
    [`src/server.${extension}`, serverModule(choices)],
    [`migrations/${migrationName(project, extension, now)}`, firstMigration(choices)],
    [`test/environment.${extension}`, testEnvironmentModule(choices)],
    [`test/api.test.${extension}`, apiTestModule(choices)],
  ]
  const merged: [path: string, text: string | undefined][] = [
    ['package.json', text === project.manifestText ? undefined : text],
    ['.gitignore', mergeGitignore(project.gitignore, choices)],
    ['.env.example', environmentExample(choices, project.environmentExample)],
    ['tsconfig.json', choices.language === 'ts' && project.tsconfig === undefined ? tsconfig() : undefined],
  ]
  return {
    files: [
      ...created.map(([path, source]) => ({ path, text: `${signature}\n${source}`, isMerged: false })),
      ...merged.flatMap(([path, changed]) => (changed === undefined ? [] : [{ path, text: changed, isMerged: true }])),
    ],
    keptScripts,
  }
}

/** Returns the name of the first migration. A second run of init finds the one that the first run wrote. */
function migrationName({ migrations }: Project, extension: string, now: Date): string {
  const written = migrations.find((name) => /^\d{14}_first_tables\.(?:ts|js|mjs)$/.test(name))
  return written ?? `${now.toISOString().replaceAll(/\D/g, '').slice(0, 14)}_first_tables.${extension}`
}
