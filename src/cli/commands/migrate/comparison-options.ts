import { resolve } from 'node:path'
import type { CheckOptions } from '../../../migrate/make.js'
import type { Application } from '../../application/application.js'
import { findMigrations } from '../../application/migrations.js'
import type { OptionValues } from '../../command.js'

/** The options that `migrate make` and `migrate check` share. */
export const comparisonOptions = {
  against: { type: 'string', value: 'URL', summary: 'An empty database in which the migrations are replayed. Default: a temporary one.' },
  'drop-table': { type: 'list', value: 'NAME', summary: 'A table that no model declares any more, to drop. May be given several times.' },
} as const

/** Returns the options of the comparison, with the folder of the migrations if the project names one. */
export async function comparisonOf(app: Application, given: OptionValues<typeof comparisonOptions>): Promise<CheckOptions> {
  // Prepares for migrations in TypeScript.
  await findMigrations(app)
  const { folder, config } = app.project
  return {
    directory: config.migrations === undefined ? undefined : resolve(folder, config.migrations),
    against: given.against,
    dropTables: given['drop-table'],
  }
}
