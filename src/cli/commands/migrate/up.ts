import type { Application } from '../../application/application.js'
import { findMigrations } from '../../application/migrations.js'
import { defineCommand } from '../../command.js'
import { runPending } from './run-migrations.js'

/** `objection-perms migrate up` */
export const migrateUp = defineCommand({
  options: {
    'library-last': {
      type: 'boolean',
      summary: "Run the application's migrations first, because they create the table of users.",
    },
  },
  details: [
    "Runs the library's pending migrations, and then those of the application. If the application's migrations contain those of the",
    'library (permsMigrations), they run as one. Several processes may start it at the same time: one runs, the others wait.',
  ],
  example: 'npx objection-perms migrate up',
  async run({ options, application, progress }) {
    const app = await application()
    const { library, application: own } = await findMigrations(app)
    const steps = [
      ...(library ? [() => migrateLibrary(app)] : []),
      ...(own ? [() => progress("Running the application's migrations", () => runPending(app, own))] : []),
    ]
    const ran: string[] = []
    for (const step of options['library-last'] ? steps.reverse() : steps) ran.push(...(await step()))
    return {
      lines: ran.length === 0 ? ['All migrations have run.'] : ['Ran:', ...ran.map((name) => `  ${name}`)],
      json: { ran },
    }

    function migrateLibrary({ perms }: Application): Promise<string[]> {
      return progress("Running the library's migrations", () => perms.migrate())
    }
  },
})
