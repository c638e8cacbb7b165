/** The form of a command of `npx objection-perms`, and what it gets when it runs. */
import type { Application } from './application/application.js'
import type { Progress } from './output.js'

/** An option of a command. Each command also has `--json`, `--debug` and `--help`, and `--app` and `--env` if it loads the application. */
export interface OptionSpec {
  /** A list may be given several times. */
  readonly type: 'string' | 'boolean' | 'list'
  /** The name of the value in the help, such as FILE. */
  readonly value?: string
  /** One line for the help. */
  readonly summary: string
}

export type OptionSpecs = Readonly<Record<string, OptionSpec>>

type OptionValue<T> = T extends 'boolean' ? boolean : T extends 'list' ? readonly string[] : string | undefined

/** The values of options: false for an absent flag, undefined for an absent text, an empty list for an absent list. */
export type OptionValues<O extends OptionSpecs> = { readonly [K in keyof O]: OptionValue<O[K]['type']> }

/** An argument without a name, such as the name of a migration. */
export interface ArgumentSpec {
  /** The name in the help, in capitals. */
  readonly name: string
  readonly summary: string
  readonly isOptional?: boolean
}

/** The arguments and functions that a running command gets. */
export interface CommandContext<O extends OptionSpecs = OptionSpecs> {
  readonly options: OptionValues<O>
  /** The arguments without a name, as many as the command declares. */
  readonly args: readonly string[]
  /** The folder in which the command was started. */
  readonly cwd: string
  /**
   * Loads the application's module, once.
   *
   * @throws CliError when there is no such module, or it fails
   */
  application(): Promise<Application>
  /** Runs fn. After two seconds, prints the title on stderr. */
  readonly progress: Progress
  /** Prints a line on stderr, for people: it is not part of the result. */
  note(line: string): void
  /** Returns all text of stdin. @throws CliError when stdin is a terminal */
  readStdin(): Promise<string>
}

/** The result that a command prints. */
export interface CommandResult {
  /** The output for people. */
  readonly lines: readonly string[]
  /** The output of `--json`. */
  readonly json: unknown
  /** Whether the exit code is 1: differences or errors were found, or the row does not exist. @defaultValue false */
  readonly isNegative?: boolean
  /** Whether the exit code is 2: the question could not be answered. @defaultValue false */
  readonly isUnknown?: boolean
}

export interface CommandDefinition<O extends OptionSpecs> {
  readonly args?: readonly ArgumentSpec[]
  readonly options: O
  /** Set it to false for a command that does not load the application. @defaultValue true */
  readonly usesApplication?: boolean
  /** Whether the command itself is about the tables: then `initPerms({ checkTables: 'warn' })` warns of nothing. @defaultValue false */
  readonly examinesTables?: boolean
  /** Sentences for the help, after the summary. */
  readonly details?: readonly string[]
  /** A complete command line for the help. */
  readonly example: string
  run(context: CommandContext<O>): Promise<CommandResult>
}

/** A command whose options are checked when it runs, so that commands with different options fit into one list. */
export interface Command extends Omit<CommandDefinition<OptionSpecs>, 'run'> {
  run(context: CommandContext): Promise<CommandResult>
}

/**
 * Defines a command. The types of its options follow from `options`.
 *
 * @example
 * export const secret = defineCommand({
 *   options: { bytes: { type: 'string', value: 'NUMBER', summary: 'The number of random bytes.' } },
 *   example: 'npx objection-perms secret',
 *   run: async ({ options }) => ({ lines: [String(options.bytes)], json: {} }),
 * })
 */
export function defineCommand<const O extends OptionSpecs>(definition: CommandDefinition<O>): Command {
  // The frame parses the options by `definition.options`, so the values have the types of O.
  return { ...definition, run: (context) => definition.run(context as CommandContext<O>) }
}
