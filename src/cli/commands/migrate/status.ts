import type { Application } from '../../application/application.js'
import { appliedMigrations, findMigrations, type History } from '../../application/migrations.js'
import { defineCommand } from '../../command.js'
import { table } from '../../table.js'

/** `objection-perms migrate status` */
export const migrateStatus = defineCommand({
  examinesTables: true,
  options: {},
  details: [
    'Reads the histories and changes nothing. The exit code is 1 if migrations are pending, or if files of migrations that ran are missing.',
  ],
  example: 'npx objection-perms migrate status',
  async run({ application }) {
    const app = await application()
    const { library, application: own } = await findMigrations(app)
    const states = [...(library ? await stateOf(app, library, 'library') : []), ...(own ? await stateOf(app, own, 'application') : [])]
    const open = states.filter(({ state }) => state !== 'applied')
    return {
      lines: [
        ...table([['history', 'state', 'migration'], ...states.map(({ history, state, name }) => [history, state, name])]),
        '',
        summaryOf(open),
      ],
      json: { migrations: states },
      isNegative: open.length > 0,
    }
  },
})

interface MigrationState {
  readonly history: 'library' | 'application'
  /** missing: it ran, but its file does not exist. */
  readonly state: 'applied' | 'pending' | 'missing'
  readonly name: string
}

async function stateOf({ perms }: Application, history: History, label: MigrationState['history']): Promise<MigrationState[]> {
  const applied = (await appliedMigrations(perms.knex, history)).map(({ name }) => name)
  const missing = applied.filter((name) => !history.names.includes(name))
  return [
    ...missing.map((name) => ({ history: label, state: 'missing' as const, name })),
    ...history.names.map((name) => ({ history: label, state: applied.includes(name) ? ('applied' as const) : ('pending' as const), name })),
  ]
}

function summaryOf(open: readonly MigrationState[]): string {
  const count = (wanted: MigrationState['state']) => open.filter(({ state }) => state === wanted).length
  const [pending, missing] = [count('pending'), count('missing')]
  if (missing > 0) return `${missing} that ran have no file: restore the files. Pending: ${pending}.`
  return pending === 0 ? 'All migrations have run.' : `Pending: ${pending}. Run \`npx objection-perms migrate up\`.`
}
