/**
 * Replaces dist/auth/passwords/bcrypt-worker-source.js by a module that contains the program of the worker thread as text, so that a
 * bundle needs no file beside it. `npm run build` runs it after the compiler.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const require = createRequire(import.meta.url)
const module = new URL('../dist/auth/passwords/bcrypt-worker-source.js', import.meta.url)
const { workerSource } = await import(module.href)

const folder = join(dirname(require.resolve('bcryptjs')), '..')
const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
const license = readFileSync(join(folder, 'LICENSE'), 'utf8').trim()

writeFileSync(
  module,
  `/*!
The text below contains bcryptjs ${version}.

${license}
*/
const source = ${JSON.stringify(workerSource())}

export function workerSource() {
  return source
}
`,
)
rmSync(new URL('bcrypt-worker-source.js.map', module))
