import { ownsUsers } from '../../../migrate/replay.js'
import { findMigrations } from '../../application/migrations.js'
import { defineCommand } from '../../command.js'
import { runPending } from './run-migrations.js'

/** `objection-perms migrate up` */
export const migrateUp = defineCommand({
  examinesTables: true,
  options: {},
  details: [
    "The library's migrations run first, and then those of the application; the other way round if the application creates the table",
    "of users. If the application's migrations contain those of the library (permsMigrations), they run as one.",
    'Several processes may start it at the same time: one runs, the others wait.',
  ],
  example: 'npx objection-perms migrate up',
  async run({ application, progress }) {
    const app = await application()
    const { library, application: own } = await findMigrations(app)
    const steps = [
      ...(library ? [() => progress("Running the library's migrations", () => app.perms.migrate())] : []),
      ...(own ? [() => progress("Running the application's migrations", () => runPending(app, own))] : []),
    ]
    const ran: string[] = []
    for (const step of ownsUsers(app.perms) ? steps.reverse() : steps) ran.push(...(await step()))
    return {
      lines: ran.length === 0 ? ['All migrations have run.'] : ['Ran:', ...ran.map((name) => `  ${name}`)],
      json: { ran },
    }
  },
})
