import { execFileSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { runNode } from '../run-node.js'

export const root = fileURLToPath(new URL('../../', import.meta.url))

/** The packages that better-sqlite3 needs at run time. They are copied: building the driver takes minutes. */
const driver = ['better-sqlite3', 'bindings', 'file-uri-to-path']

const home = mkdtempSync(join(tmpdir(), 'objection-perms-toolchains-'))
process.once('exit', () => rmSync(home, { recursive: true, force: true }))

const installed = new Map<string, string>()
let packed: string | undefined

/** Packs the package as it is built, once. @returns the path of the tarball */
export function tarball(): string {
  packed ??= join(home, npm(['pack', '--ignore-scripts', '--silent', '--pack-destination', home], root).trim())
  return packed
}

/**
 * Copies a folder of test/toolchains, and `app` into it, to a temporary directory, and installs its dependencies and the packed package
 * there. A second call for the same folder returns the first result.
 *
 * @returns the directory
 */
export function install(name: string): string {
  const known = installed.get(name)
  if (known !== undefined) return known
  const folder = copy(name)
  npm(['install', '--no-package-lock', '--no-audit', '--no-fund', '--prefer-offline', '--ignore-scripts', '--silent', tarball()], folder)
  copyDriver(folder)
  installed.set(name, folder)
  return folder
}

/** Copies a folder of test/toolchains, and `app` into it, to a temporary directory. */
export function copy(name: string): string {
  const folder = mkdtempSync(join(home, `${name}-`))
  cpSync(join(root, 'test/toolchains', name), folder, { recursive: true })
  cpSync(join(root, 'test/toolchains/app'), join(folder, 'app'), { recursive: true })
  return folder
}

/** Returns a new temporary directory. */
export function emptyFolder(): string {
  return mkdtempSync(join(home, 'empty-'))
}

/** Copies the built SQLite driver into the node_modules of a directory. */
export function copyDriver(folder: string): void {
  for (const name of driver) cpSync(join(root, 'node_modules', name), join(folder, 'node_modules', name), { recursive: true })
}

export function npm(args: readonly string[], cwd: string): string {
  const { NODE_V8_COVERAGE: _coverage, NODE_OPTIONS: _options, ...env } = process.env
  return execFileSync('npm', args, { cwd, env, encoding: 'utf8', stdio: 'pipe', timeout: 300_000 })
}

/** Runs Node in a directory. Fails with the output when the program fails. @returns what it printed */
export async function node(args: readonly string[], cwd: string, env: NodeJS.ProcessEnv = {}): Promise<string> {
  const { output, failure } = await runNode(args, { cwd, timeout: 240_000, env })
  if (failure !== undefined) throw new Error(`node ${args.join(' ')} ${failure}:\n${output}`)
  return output
}

/** Runs a program that prints the result of app/scenario.mjs, and compares it with app/expected.json. */
export async function expectScenario(file: string, cwd: string): Promise<void> {
  const output = await node(['--no-warnings', file], cwd)
  const expected: unknown = JSON.parse(readFileSync(join(root, 'test/toolchains/app/expected.json'), 'utf8'))
  expect(JSON.parse(output.trim().split('\n').at(-1) ?? '')).to.deep.equal(expected)
}
