/** Runs a command line: finds the command, parses its options, runs it, prints its result and ends the process. */
import { cwd, exit, stdin } from 'node:process'
import { nearestNames } from '../core/nearest-names.js'
import { VERSION } from '../version.js'
import type { Application } from './application/application.js'
import { type ParsedArguments, parseArguments } from './arguments.js'
import type { Command, CommandContext } from './command.js'
import { type CommandEntry, commands } from './commands/index.js'
import { CliError, describeFailure } from './failure.js'
import { helpOf, overview } from './help.js'
import { type Output, takeOutput } from './output.js'
import { FAILURE, ProcessWatch } from './process-watch.js'

/** Exit codes. */
const SUCCESS = 0
const NEGATIVE = 1

/**
 * Runs a command line and ends the process, also if the application leaves connections or servers open.
 * The exit code is 0, or 1 for a negative result such as differences, or 2 for wrong use and for errors.
 *
 * @param argv the arguments after the name of the program
 */
export async function runCommandLine(argv: readonly string[]): Promise<never> {
  const output = takeOutput()
  const watch = new ProcessWatch(output, argv.includes('--json'))
  const session: Session = { output, watch, isJson: argv.includes('--json'), application: undefined }
  let code: number
  try {
    code = await watch.race(runNamed(session, argv))
  } catch (error) {
    code = FAILURE
    await reportFailure(session, error, argv.includes('--debug'))
  }
  await session.application?.close()
  watch.finish()
  return exit(code)
}

interface Session {
  readonly output: Output
  readonly watch: ProcessWatch
  readonly isJson: boolean
  application: Application | undefined
}

async function reportFailure({ output, isJson }: Session, error: unknown, isDebug: boolean): Promise<void> {
  const message = describeFailure(error)
  output.note(`objection-perms: ${message}`)
  if (isDebug) output.note(error instanceof Error ? stackOf(error) : String(error))
  if (isJson) await output.print(`${JSON.stringify({ error: { message } }, null, 2)}\n`)
}

function stackOf(error: Error): string {
  const { stack = error.message, cause } = error
  return cause instanceof Error ? `${stack}\nCaused by: ${stackOf(cause)}` : stack
}

async function runNamed(session: Session, argv: readonly string[]): Promise<number> {
  const given = argv[0] === 'help' ? [...argv.slice(1), '--help'] : argv
  const found = findCommand(given)
  if (!found) return await runWithoutCommand(session, given)
  const { entry, rest } = found
  const command = await entry.load()
  const parsed = parseArguments(entry.name, command, rest)
  if (parsed.common.help) {
    await session.output.print(`${helpOf(entry, command).join('\n')}\n`)
    return SUCCESS
  }
  const { lines, json, isNegative = false, isUnknown = false } = await command.run(contextOf(session, command, parsed))
  const text = session.isJson ? JSON.stringify(json, null, 2) : lines.join('\n')
  if (text !== '') await session.output.print(`${text}\n`)
  if (isUnknown) return FAILURE
  return isNegative ? NEGATIVE : SUCCESS
}

/** Finds the command by the first two words, or by the first one. */
function findCommand(argv: readonly string[]): { entry: CommandEntry; rest: readonly string[] } | undefined {
  for (const count of [2, 1]) {
    const entry = commands.find(({ name }) => name === argv.slice(0, count).join(' '))
    if (entry) return { entry, rest: argv.slice(count) }
  }
  return undefined
}

async function runWithoutCommand({ output }: Session, argv: readonly string[]): Promise<number> {
  const [first, second] = argv
  if (first === '--version') {
    await output.print(`${VERSION}\n`)
    return SUCCESS
  }
  const inGroup = commands.filter(({ name }) => name.startsWith(`${first} `))
  const isHelp = argv.includes('--help')
  if (first === undefined || first.startsWith('--help') || (inGroup.length > 0 && isHelp)) {
    const lines = inGroup.length > 0 ? overview(inGroup, first) : overview(commands)
    await output.print(`${lines.join('\n')}\n`)
    return first === undefined ? FAILURE : SUCCESS
  }
  if (first.startsWith('-')) throw new CliError(`Write the command first: npx objection-perms COMMAND ${first}. ${listOf(commands)}`)
  if (inGroup.length > 0 && (second === undefined || second.startsWith('-')))
    throw new CliError(`${first} needs one more word. ${listOf(inGroup)}`)
  const wrong = inGroup.length > 0 ? `${first} ${second}` : first
  throw new CliError(
    `There is no command '${wrong}'. ${nearestNames(
      wrong,
      (inGroup.length > 0 ? inGroup : commands).map(({ name }) => name),
      'The commands',
    )}`,
  )
}

const listOf = (entries: readonly CommandEntry[]): string => `The commands are ${entries.map(({ name }) => name).join(', ')}.`

function contextOf(session: Session, { examinesTables = false }: Command, { common, options, args }: ParsedArguments): CommandContext {
  const { output, watch } = session
  const folder = cwd()
  return {
    options,
    args,
    cwd: folder,
    progress: output.progress,
    note: output.note,
    async application() {
      if (session.application) return session.application
      if (examinesTables) output.leaveOutTableWarning()
      const { loadApplication } = await import('./application/application.js')
      const loading = loadApplication({ cwd: folder, app: common.app, envFile: common.env, watch })
      session.application = await output.progress('Loading the application', () => loading)
      return session.application
    },
    readStdin,
  }
}

async function readStdin(): Promise<string> {
  if (stdin.isTTY) throw new CliError('This reads stdin, which is a terminal. Use a pipe or a file: `... < FILE`.')
  const parts: Buffer[] = []
  for await (const part of stdin) parts.push(Buffer.from(part))
  return Buffer.concat(parts).toString('utf8')
}
