import { describeChanges } from '../../../migrate/compare/describe.js'
import { checkMigrations } from '../../../migrate/make.js'
import { defineCommand } from '../../command.js'
import { comparisonOf, comparisonOptions } from './comparison-options.js'

/** `objection-perms migrate check` */
export const migrateCheck = defineCommand({
  examinesTables: true,
  options: comparisonOptions,
  details: [
    "The migrations are replayed in a temporary database. Nothing is written to the application's",
    'database. The exit code is 1 if there are differences, for CI.',
  ],
  example: 'npx objection-perms migrate check',
  async run({ options, application, progress }) {
    const app = await application()
    const comparison = await comparisonOf(app, options)
    const found = await progress('Comparing the migrations with the models', () => checkMigrations(app.perms, comparison))
    const changes = describeChanges(found)
    return {
      lines:
        changes.length === 0
          ? ['The migrations make the tables that the models declare.']
          : [
              'The migrations do not make the tables that the models declare:',
              ...changes.map((change) => `  ${change}`),
              'Write the missing migration with `npx objection-perms migrate make NAME`.',
            ],
      json: { changes },
      isNegative: changes.length > 0,
    }
  },
})
