import { relative, resolve } from 'node:path'
import { type CommandResult, defineCommand } from '../command.js'
import { CliError } from '../failure.js'
import { type Choices, databases, frameworks, languages, sourceExtension } from './choices.js'
import { firstRequests, nextSteps } from './next-steps.js'
import { scriptsOf } from './package-json.js'
import { type Plan, planFiles } from './plan.js'
import { chooseFor, type Project, readProject } from './project.js'
import { assertNoConflicts, explained, writeFiles } from './write-files.js'

/** `objection-perms init` */
export const init = defineCommand({
  args: [{ name: 'DIR', summary: 'The folder of the application. Default: the current folder.', isOptional: true }],
  usesApplication: false,
  options: {
    framework: { type: 'string', value: frameworks.join('|'), summary: 'Default: the one in package.json, or express.' },
    language: { type: 'string', value: languages.join('|'), summary: 'Default: js if the folder has JavaScript only, or ts.' },
    database: { type: 'string', value: databases.join('|'), summary: 'Default: that of the driver in package.json, or sqlite.' },
    'dry-run': { type: 'boolean', summary: 'List the files, and write nothing.' },
    force: { type: 'boolean', summary: 'Overwrite files that an earlier init wrote.' },
    yes: { type: 'boolean', summary: 'Accepted for scripts: init never asks.' },
  },
  details: [
    'Writes models with policies, a migration, a server and a test, and adds scripts and packages to package.json.',
    'Existing files are not overwritten: if one is in the way, nothing is written.',
  ],
  example: 'npx objection-perms init notes --framework koa --language ts --database pg',
  async run({ args: [given = '.'], options, cwd }) {
    const wishes = {
      framework: oneOf('framework', frameworks, options.framework),
      language: oneOf('language', languages, options.language),
      database: oneOf('database', databases, options.database),
    }
    const directory = resolve(cwd, given)
    const isDryRun = options['dry-run']
    try {
      const project = await readProject(directory)
      const choices = chooseFor(project, wishes)
      const plan = planFiles(project, choices, new Date())
      await assertNoConflicts(directory, plan.files, options.force)
      const result = report({ project, choices, plan, isDryRun, folder: shownFolder(cwd, directory) })
      if (!isDryRun) await writeFiles(directory, plan.files)
      return result
    } catch (error) {
      throw explained(error, directory)
    }
  },
})

/** Returns the folder for `cd`: relative if it is inside the working directory, '' if it is the working directory. */
function shownFolder(cwd: string, directory: string): string {
  const short = relative(cwd, directory)
  return short.startsWith('..') ? directory : short
}

function oneOf<T extends string>(option: string, allowed: readonly T[], value: string | undefined): T | undefined {
  if (value === undefined) return undefined
  const found = allowed.find((one) => one === value)
  if (found === undefined) throw new CliError(`--${option} '${value}' is not supported. Use one of ${allowed.join(', ')}.`)
  return found
}

interface Written {
  readonly project: Project
  readonly choices: Choices
  readonly plan: Plan
  readonly isDryRun: boolean
  readonly folder: string
}

function report({ project, choices, plan, isDryRun, folder }: Written): CommandResult {
  const { framework, language, database } = choices
  const steps = nextSteps(choices, { folder, keptScripts: plan.keptScripts, scripts: scriptsOf(choices) })
  const requests = firstRequests()
  const files = plan.files.map(({ path }) => path)
  const notes = notesOn(project, choices, plan)
  const lines = [
    `${isDryRun ? 'Would write' : 'Wrote'} an API with ${framework}, ${language === 'ts' ? 'TypeScript' : 'JavaScript'} and ${database}:`,
    ...files.map((path) => `  ${path}`),
    ...notes,
    '',
    'Next steps:',
    ...steps.map((step) => `  ${step}`),
    '',
    'Then, in another terminal, with the password that create-superuser printed:',
    ...requests.map((request) => `  ${request}`),
    '',
    'The last request gives 401, because anonymous callers may not read notes.',
  ]
  return { lines, json: { directory: project.directory, framework, language, database, written: !isDryRun, files, notes, steps, requests } }
}

/** Sentences about settings of the project that init leaves as they are. */
function notesOn({ tsconfig, knexfile }: Project, choices: Choices, { keptScripts }: Plan): string[] {
  const kept = keptScripts.length > 0 ? [`package.json keeps its own scripts: ${keptScripts.join(', ')}.`] : []
  const needsModules =
    choices.language === 'ts' &&
    tsconfig !== undefined &&
    !/"module(?:Resolution)?"\s*:\s*"(?:nodenext|node2\d|bundler|preserve)"/i.test(tsconfig)
  const modules = needsModules ? ['tsconfig.json needs "module": "nodenext", because objection-perms is an ES module.'] : []
  const extension = sourceExtension(choices)
  const connection =
    knexfile === undefined
      ? []
      : [
          `src/perms.${extension} connects to DATABASE_URL, and uses the folder 'migrations'. If the knexfile names others, write them into it.`,
        ]
  return [...kept, ...modules, ...connection]
}
