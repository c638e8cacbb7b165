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
  {
    name: 'create-superuser',
    summary: 'Creates the first admin, or another one.',
    load: async () => (await import('./create-superuser.js')).createSuperuser,
  },
  {
    name: 'migrate up',
    summary: 'Runs all pending migrations, those of the library too.',
    load: async () => (await import('./migrate/up.js')).migrateUp,
  },
  {
    name: 'migrate down',
    summary: "Rolls back the application's last batch of migrations.",
    load: async () => (await import('./migrate/down.js')).migrateDown,
  },
  {
    name: 'migrate status',
    summary: 'Lists the migrations that have run, and those that are pending.',
    load: async () => (await import('./migrate/status.js')).migrateStatus,
  },
  {
    name: 'migrate make',
    summary: 'Writes a migration that changes the tables to those that the models declare.',
    load: async () => (await import('./migrate/make.js')).migrateMake,
  },
  {
    name: 'migrate check',
    summary: 'Compares the tables that the migrations make with those that the models declare.',
    load: async () => (await import('./migrate/check.js')).migrateCheck,
  },
  {
    name: 'users list',
    summary: 'Lists the users with their roles.',
    load: async () => (await import('./users/list.js')).listUsers,
  },
  {
    name: 'users disable',
    summary: 'Disables a user and ends the sessions.',
    load: async () => (await import('./users/disable.js')).disableUser,
  },
  {
    name: 'users sign-out',
    summary: 'Ends all sessions of a user.',
    load: async () => (await import('./users/sign-out.js')).signOutUser,
  },
  {
    name: 'openapi',
    summary: 'Prints the OpenAPI document of the API, or writes it into a file.',
    load: async () => (await import('./openapi.js')).openapi,
  },
  {
    name: 'doctor',
    summary: 'Looks for faults of the set-up, and says what to do about them.',
    load: async () => (await import('./doctor/doctor.js')).doctor,
  },
  {
    name: 'why',
    summary: 'Says why a user may or may not do something with a row.',
    load: async () => (await import('./questions/why.js')).why,
  },
  {
    name: 'who-can',
    summary: 'Lists the users who can do something with a row.',
    load: async () => (await import('./questions/who-can.js')).whoCanCommand,
  },
  {
    name: 'what-can',
    summary: 'Shows what a user can do, by model and action.',
    load: async () => (await import('./questions/what-can.js')).whatCanCommand,
  },
  {
    name: 'matrix',
    summary: 'Prints who may do what: roles by models and actions.',
    load: async () => (await import('./matrix.js')).matrixCommand,
  },
  {
    name: 'lint',
    summary: 'Looks for weaknesses of policies, such as rules that add nothing.',
    load: async () => (await import('./lint.js')).lintCommand,
  },
  {
    name: 'verify',
    summary: 'Searches for callers who reach rows of another tenant.',
    load: async () => (await import('./verify.js')).verifyCommand,
  },
  {
    name: 'coverage',
    summary: 'Shows which outcomes of policies the tests have seen.',
    load: async () => (await import('./coverage.js')).coverageCommand,
  },
  {
    name: 'maintain',
    summary: 'Deletes expired tokens and other rows that have aged.',
    load: async () => (await import('./maintain.js')).maintain,
  },
]
