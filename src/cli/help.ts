/** The texts of `--help`. */
import { optionsOf } from './arguments.js'
import type { Command, OptionSpec } from './command.js'
import type { CommandEntry } from './commands/index.js'
import { table } from './table.js'

/** Returns the help of the command line: the list of commands, or of those of a group such as `migrate`. */
export function overview(entries: readonly CommandEntry[], group?: string): string[] {
  return [
    `Usage: npx objection-perms ${group ?? 'COMMAND'}${group === undefined ? '' : ' COMMAND'} [options]`,
    '',
    ...indented(entries.map(({ name, summary }) => [name, summary])),
    '',
    'npx objection-perms COMMAND --help shows the options of a command, and an example.',
  ]
}

/** Returns the help of one command. */
export function helpOf({ name, summary }: CommandEntry, command: Command): string[] {
  const args = (command.args ?? []).map((arg) => (arg.isOptional ? `[${arg.name}]` : arg.name))
  return [
    ['Usage: npx objection-perms', name, ...args, '[options]'].join(' '),
    '',
    summary,
    ...(command.details ?? []),
    '',
    ...(command.args ? [...indented(command.args.map((arg) => [arg.name, arg.summary])), ''] : []),
    ...indented(Object.entries(optionsOf(command)).map(([option, spec]) => [flag(option, spec), spec.summary])),
    '',
    'Example:',
    `  ${command.example}`,
  ]
}

function flag(option: string, { type, value }: OptionSpec): string {
  return type === 'boolean' ? `--${option}` : `--${option} ${value ?? 'TEXT'}`
}

const indented = (rows: readonly (readonly string[])[]): string[] => table(rows).map((line) => `  ${line}`)
