import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { matrix, type PermissionMatrix } from '../../insight/matrix/matrix.js'
import { changedLines, linesOf } from '../changed-lines.js'
import { type CommandResult, defineCommand } from '../command.js'
import { CliError } from '../failure.js'
import { writeWholeFile } from '../write-file.js'
import { modelsOf } from './policies.js'

const formats = {
  md: (found: PermissionMatrix) => found.toMarkdown(),
  json: (found: PermissionMatrix) => `${JSON.stringify(found, null, 2)}\n`,
  html: (found: PermissionMatrix) => found.toHtml(),
}

/** The most lines that `--check` shows of the difference. */
const SHOWN = 40

/** `objection-perms matrix` */
export const matrixCommand = defineCommand({
  options: {
    format: { type: 'string', value: 'md|json|html', summary: "Default: by the file's name, or md." },
    out: { type: 'string', value: 'FILE', summary: 'Write the matrix into this file. Default: print it.' },
    check: { type: 'string', value: 'FILE', summary: 'Compare this file with the matrix. The exit code is 1 if they differ.' },
    all: { type: 'boolean', summary: "Include the library's own models." },
  },
  details: ['The matrix comes from the policies alone: the database is not read. Commit the file, and compare it in CI with --check.'],
  example: 'npx objection-perms matrix --check permissions.md',
  async run({ options, cwd, application }) {
    if (options.out !== undefined && options.check !== undefined) throw new CliError('Use either --out or --check.')
    const file = options.out ?? options.check
    const format = formatOf(options.format, file)
    const app = await application()
    await app.perms.ready()
    const found = app.perms.enter(() => matrix(modelsOf(app, options.all)))
    const text = formats[format](found)
    if (options.check !== undefined) return await compare(resolve(cwd, options.check), options.check, text)
    if (options.out === undefined) return { lines: [text.trimEnd()], json: found }
    await writeWholeFile(resolve(cwd, options.out), text)
    return { lines: [`Wrote the permissions of ${found.models.length} models to ${options.out}.`], json: { file: options.out } }
  },
})

function formatOf(given: string | undefined, file: string | undefined): keyof typeof formats {
  const name = given ?? /\.(json|html)$/.exec(file ?? '')?.[1] ?? 'md'
  if (Object.hasOwn(formats, name)) return name as keyof typeof formats
  throw new CliError(`--format ${name}: use md, json or html.`)
}

async function compare(path: string, shown: string, text: string): Promise<CommandResult> {
  const committed = await readFile(path, 'utf8').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return ''
    throw error instanceof Error ? Object.assign(error, { path }) : error
  })
  const isSame = linesOf(committed).join('\n') === linesOf(text).join('\n')
  if (isSame) return { lines: [`${shown} is up to date.`], json: { file: shown, isUpToDate: true } }
  const changes = changedLines(committed, text, SHOWN)
  const hint = `If this is intended: npx objection-perms matrix --out ${shown}`
  return {
    lines: [`${shown} differs from the policies:`, ...changes, hint],
    json: { file: shown, isUpToDate: false, changes },
    isNegative: true,
  }
}
