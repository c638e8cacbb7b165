/** Reads the arguments of a command line. */
import { parseArgs } from 'node:util'
import type { Command, OptionSpec, OptionValues } from './command.js'
import { CliError, firstLine } from './failure.js'

const applicationOptions = {
  app: { type: 'string', value: 'FILE', summary: 'The module of the application that calls initPerms().' },
  env: { type: 'string', value: 'FILE', summary: 'Environment variables for the application. Default: .env, if it exists.' },
} as const satisfies Record<string, OptionSpec>

const generalOptions = {
  json: { type: 'boolean', summary: 'Print the result as JSON.' },
  debug: { type: 'boolean', summary: 'Print the stack trace of an error.' },
  help: { type: 'boolean', summary: 'Print this help.' },
} as const satisfies Record<string, OptionSpec>

type CommonOptions = typeof applicationOptions & typeof generalOptions

/** Returns the options of a command, with those that it shares with other commands. */
export function optionsOf({ options, usesApplication = true }: Command): Readonly<Record<string, OptionSpec>> {
  return { ...options, ...(usesApplication ? applicationOptions : {}), ...generalOptions }
}

/** The arguments of a command, checked against its definition. */
export interface ParsedArguments {
  readonly common: OptionValues<CommonOptions>
  readonly options: Readonly<Record<string, string | boolean | readonly string[] | undefined>>
  readonly args: readonly string[]
}

/**
 * Parses the arguments after the name of a command.
 *
 * @throws CliError for an unknown option, a missing value, and too few or too many arguments
 */
export function parseArguments(name: string, command: Command, argv: readonly string[]): ParsedArguments {
  const { values, positionals } = parse(name, optionsOf(command), argv)
  const text = (option: string) => (typeof values[option] === 'string' ? values[option] : undefined)
  const common = {
    json: values['json'] === true,
    app: text('app'),
    env: text('env'),
    debug: values['debug'] === true,
    help: values['help'] === true,
  }
  if (!common.help) assertArguments(name, command, positionals)
  const options = Object.fromEntries(
    Object.entries(command.options).map(([option, { type }]) => {
      if (type === 'boolean') return [option, values[option] === true]
      if (type === 'string') return [option, text(option)]
      const list = values[option]
      return [option, Array.isArray(list) ? list.map(String) : []]
    }),
  )
  return { common, options, args: positionals }
}

const parsedAs = (type: OptionSpec['type']) =>
  type === 'boolean' ? ({ type: 'boolean' } as const) : ({ type: 'string', multiple: type === 'list' } as const)

function parse(name: string, specs: Readonly<Record<string, OptionSpec>>, argv: readonly string[]) {
  const options = Object.fromEntries(Object.entries(specs).map(([option, { type }]) => [option, parsedAs(type)]))
  try {
    return parseArgs({ args: [...argv], options, allowPositionals: true, strict: true })
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    // Node adds advice about positional arguments after the first sentence.
    const [what = ''] = firstLine(error).split(/\. (?=To )/)
    const list = Object.keys(specs).map((option) => `--${option}`)
    throw new CliError(`${what.replace(/\.?$/, '.')} The options of ${name} are ${list.join(', ')}.`)
  }
}

function assertArguments(name: string, { args = [], example }: Command, given: readonly string[]): void {
  const missing = args.slice(given.length).find(({ isOptional }) => !isOptional)
  if (missing) throw new CliError(`${name} needs ${missing.name}: ${missing.summary} Example: ${example}`)
  if (given.length <= args.length) return
  const surplus = given.slice(args.length).join(' ')
  throw new CliError(`${name} does not take the argument '${surplus}'. See \`npx objection-perms ${name} --help\`.`)
}
