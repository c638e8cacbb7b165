import { describeChanges } from '../../../migrate/compare/describe.js'
import { makeMigration } from '../../../migrate/make.js'
import { findMigrations } from '../../application/migrations.js'
import { shownPath } from '../../application/project.js'
import { defineCommand } from '../../command.js'
import { CliError } from '../../failure.js'
import { comparisonOf, comparisonOptions } from './comparison-options.js'

/** `objection-perms migrate make NAME` */
export const migrateMake = defineCommand({
  examinesTables: true,
  args: [{ name: 'NAME', summary: 'What the migration does, such as add_title.' }],
  options: {
    ...comparisonOptions,
    'allow-loss': { type: 'boolean', summary: 'Run steps that lose values, such as dropping a column. Default: they are comments.' },
    language: {
      type: 'string',
      value: 'ts|js',
      summary: 'The language of the file. Default: that of the other migrations, or of the application.',
    },
  },
  details: [
    'The migrations are replayed in a temporary database, whose tables are compared with the models.',
    "Nothing is written to the application's database. Declare a rename with column.string().renamedFrom('title').",
  ],
  example: 'npx objection-perms migrate make add_title',
  async run({ args: [name = ''], options, application, progress }) {
    const { language } = options
    if (language !== undefined && language !== 'ts' && language !== 'js') throw new CliError(`--language ${language}: must be ts or js.`)
    const app = await application()
    const comparison = await comparisonOf(app, options)
    const { application: own } = await findMigrations(app)
    const isFirst = own === null || own.names.length === own.library.size
    const like = isFirst && app.file.endsWith('ts') ? 'ts' : undefined
    const made = await progress('Comparing the migrations with the models', () =>
      makeMigration(app.perms, { ...comparison, name, language: language ?? like, allowLoss: options['allow-loss'] }),
    )
    if (made === null)
      return { lines: ['The migrations make the tables that the models declare: nothing to write.'], json: { file: null, changes: [] } }
    const changes = describeChanges(made.changes)
    return {
      lines: [
        `Wrote ${shownPath(made.file, app.project.folder)}:`,
        ...changes.map((change) => `  ${change}`),
        'Read it, and run it with `npx objection-perms migrate up`.',
      ],
      json: { file: made.file, changes },
    }
  },
})
