// Fails on an import that points up the floors of src/, or that reaches into a package it should not know.
//
//   node scripts/check-imports.mjs [src]
//
// Prints one line for each bad import and exits with 1, or says how many files are in order and exits with 0.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve, sep } from 'node:path'
import ts from 'typescript-5.9'

/** From the ground up: a file imports from its own floor and from those before it in this list. */
const floors = ['model', 'perms', 'mixins', 'users', 'auth', 'http', 'adapters']

/** Beside the floors: what each may reach. */
const beside = {
  cli: floors.slice(0, floors.indexOf('http')),
  testing: [...floors, 'migrations.ts', 'init.ts', 'index.ts'],
  'runtime.ts': ['model', 'version.ts'],
  'migrations.ts': floors.slice(0, floors.indexOf('http')),
  'init.ts': [...floors, 'migrations.ts'],
  'index.ts': [...floors, 'migrations.ts', 'init.ts'],
}

/** The one part of the library that leans on Objection's inside, so that a new version is checked in one place. */
const mayReachIntoObjection = (file) => file === 'perms/objection.ts' || file.startsWith('model/')

/** Web frameworks are known to their adapters alone: everything else works without any of them installed. */
const frameworks = ['express', 'koa', '@koa/router', '@koa/bodyparser', 'fastify', 'hono', '@hono/node-server']

const root = resolve(process.argv[2] ?? 'src')

const files = readdirSync(root, { recursive: true, encoding: 'utf8' })
  .map((name) => name.split(sep).join('/'))
  .filter((name) => /\.[cm]?tsx?$/.test(name))
  .sort()

const problems = files.flatMap((file) => importsOf(file).flatMap((found) => problemWith(file, found)))

for (const problem of problems) console.log(problem)
if (problems.length > 0) process.exitCode = 1
else console.log(`Imports point down in all ${files.length} files of ${relative(process.cwd(), root) || '.'}.`)

/** Every module a file names: imports, re-exports, dynamic imports, import types, require; type-only ones too. */
function importsOf(file) {
  const text = readFileSync(join(root, file), 'utf8')
  const { importedFiles } = ts.preProcessFile(text, true, true)
  return importedFiles.map(({ fileName, pos }) => ({ name: fileName, line: text.slice(0, pos).split('\n').length }))
}

function problemWith(file, { name, line }) {
  const message = name.startsWith('.') ? problemWithPath(file, name) : problemWithPackage(file, name)
  return message ? [`${file}:${line}: '${name}' ${message}`] : []
}

function problemWithPath(file, name) {
  const target = relative(root, resolve(root, dirname(file), name))
    .split(sep)
    .join('/')
    .replace(/\.js$/, '.ts')
  if (target.startsWith('../')) return 'leaves the sources'
  const from = floorOf(file)
  const to = floorOf(target)
  // All state lives in the runtime, which knows nothing but errors.
  if (from === to || to === 'runtime.ts') return undefined
  const allowed = beside[from] ?? (floors.includes(from) ? floors.slice(0, floors.indexOf(from)) : undefined)
  if (!allowed) return `is imported by ${from}, which has no place among the floors (${floors.join(', ')})`
  return allowed.includes(to) ? undefined : `points up: ${from} may import from ${allowed.join(', ') || 'itself only'}`
}

function problemWithPackage(file, name) {
  if (name.startsWith('objection/') && !mayReachIntoObjection(file)) {
    return "reaches into Objection's inside: only perms/objection.ts and model/ may"
  }
  const known = frameworks.some((framework) => name === framework || name.startsWith(`${framework}/`))
  if (known && floorOf(file) !== 'adapters') return 'is a web framework: only adapters/ may know it'
  return undefined
}

/** The folder under src/, or the file's own name where it lies at the root, where the floors meet. */
function floorOf(file) {
  return file.split('/')[0]
}
