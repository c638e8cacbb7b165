import { appliedMigrations, findMigrations, type History } from '../../application/migrations.js'
import { defineCommand } from '../../command.js'
import { CliError } from '../../failure.js'
import { rollBack } from './run-migrations.js'

/** `objection-perms migrate down` */
export const migrateDown = defineCommand({
  examinesTables: true,
  options: {
    library: { type: 'boolean', summary: "Roll back the library's migrations: drops the tables of users, roles and sessions." },
  },
  details: ["The last batch are the migrations that the last `migrate up` ran. The library's tables stay, unless --library is given."],
  example: 'npx objection-perms migrate down',
  async run({ options, application, progress }) {
    const app = await application()
    const { application: own, library } = await findMigrations(app)
    const history = options.library && library ? library : own
    if (!history) return { lines: ['The application has no migrations.'], json: { rolledBack: [] } }
    const batch = await lastBatch(app.perms.knex, history)
    const dropping = batch.filter((name) => history.library.has(name))
    if (dropping.length > 0 && !options.library)
      throw new CliError(
        `The last batch contains ${dropping.join(', ')}: rolling it back drops the library's tables with all users. Add --library if you mean that.`,
      )
    const rolledBack = batch.length === 0 ? [] : await progress('Rolling back', () => rollBack(app, history))
    return {
      lines: rolledBack.length === 0 ? ['Nothing to roll back.'] : ['Rolled back:', ...rolledBack.map((name) => `  ${name}`)],
      json: { rolledBack },
    }
  },
})

async function lastBatch(knex: Parameters<typeof appliedMigrations>[0], history: History): Promise<string[]> {
  const applied = await appliedMigrations(knex, history)
  const last = Math.max(...applied.map(({ batch }) => batch))
  return applied.filter(({ batch }) => batch === last).map(({ name }) => name)
}
