/** The list of commands. Each is loaded when it runs, so that `secret` and `init` work without Objection and Knex. */
import type { Command } from '../command.js'

/** A command in the list. */
export interface CommandEntry {
  /** One word, or the group and the word: 'migrate up'. */
  readonly name: string
  /** One line for the help. */
  readonly summary: string
  load(): Promise<Command>
}

export const commands: readonly CommandEntry[] = [
  {
    name: 'init',
    summary: 'Writes a first application: models with policies, a migration, a server and a test.',
    load: async () => (await import('../init/init.js')).init,
  },
  {
    name: 'secret',
    summary: 'Prints a random secret for JWT_SECRET.',
    load: async () => (await import('./secret.js')).secret,
  },
]
