import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Ended, startInSharedProcess } from '../helpers/shared-process/programs.js'
import { runNode } from '../run-node.js'
import type { Program } from './parse.js'

const packageRoot = fileURLToPath(new URL('../../', import.meta.url))
const tsc = join(packageRoot, 'node_modules/typescript/bin/tsc')

const env = { HOST: '127.0.0.1', PORT: '0', JWT_SECRET: 'for the snippets of the documents only' }

/** The programs of one document, compiled as a user's would be: strict, and against the built package by its name. */
export interface Compiled {
  /** Returns the compiler's errors of a program, at the lines of the document. */
  errorsOf(program: Program): string[]
  /** Runs a program in an empty folder to its end. @throws Error with what it printed when it fails or takes over `timeout` ms */
  run(program: Program, timeout?: number): Promise<string>
  remove(): void
}

/**
 * Compiles the programs into a folder inside the package, where `import 'objection-perms'` finds dist/: build first.
 *
 * @param shareProcess runs ES modules one after the other in one process, which has loaded the package. A program that fails there
 * runs again in a process of its own, whose result counts.
 */
export async function compile(programs: readonly Program[], { shareProcess = false } = {}): Promise<Compiled> {
  mkdirSync(join(packageRoot, '.tmp'), { recursive: true })
  const folder = mkdtempSync(join(packageRoot, '.tmp', 'snippets-'))
  for (const program of programs) {
    // An empty export makes a module of a program without imports, so that it may await at its top level.
    writeFileSync(join(folder, fileName(program)), program.extension === 'ts' ? `${program.text}export {}\n` : program.text)
  }
  const files = programs.filter(({ extension }) => extension === 'ts').map(fileName)
  const compilerOptions = {
    target: 'es2022',
    module: 'nodenext',
    lib: ['es2023'],
    types: ['node'],
    strict: true,
    noUncheckedIndexedAccess: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: true,
    sourceMap: true,
    rootDir: '.',
    outDir: '.',
  }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files }))
  const output = files.length > 0 ? (await runNode([tsc, '-p', '.', '--pretty', 'false'], { cwd: folder, timeout: 120_000 })).output : ''
  const complaints = output.split('\n').filter(Boolean)
  const known = (line: string) => files.some((file) => line.startsWith(file))
  const general = complaints.filter((line) => !line.startsWith(' ') && !known(line))

  return {
    errorsOf(program) {
      const name = fileName(program)
      const own = complaints.filter((line) => line.startsWith(`${name}(`))
      return [...general, ...own.map((line) => line.replace(/^[^(]+\((\d+),\d+\)/, `${program.document}:$1`))]
    },
    async run(program, timeout = 60_000) {
      const cwd = mkdtempSync(join(tmpdir(), 'objection-perms-snippet-'))
      try {
        const file = join(folder, fileName(program).replace(/\.ts$/, '.js'))
        if (shareProcess && program.extension !== 'cjs') {
          const { code, stdout, stderr } = await runShared(file, cwd, timeout)
          if (code === 0) return stdout + stderr
          rmSync(cwd, { recursive: true, force: true })
          mkdirSync(cwd)
        }
        const { output, failure } = await runNode(['--enable-source-maps', file], { cwd, timeout, env })
        const readable = output.replaceAll(`${folder}/${fileName(program)}`, program.document)
        if (failure) throw new Error(`${program.document}, program '${program.name}': ${failure}\n${readable}`)
        return readable
      } finally {
        rmSync(cwd, { recursive: true, force: true })
      }
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

function runShared(file: string, cwd: string, timeout: number): Promise<Ended> {
  const { NODE_V8_COVERAGE: _coverage, NODE_OPTIONS: _options, ...inherited } = process.env
  const program = { file, args: [], cwd, env: { ...inherited, NO_COLOR: '1', ...env }, stdin: '', folder: dirname(file) }
  return startInSharedProcess(program, { node: ['--enable-source-maps'], timeout }).ended
}

const fileName = ({ document, name, extension }: Program) => `${document.replaceAll(/[^\w.]/g, '-')}-${name}.${extension}`
