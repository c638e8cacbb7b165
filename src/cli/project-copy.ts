import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { currentFile } from '../core/current-file.js'

/**
 * Returns the command line of the copy of this package that the project uses. npx may start another copy, whose policies and
 * models would not be those of the application.
 *
 * @param args the arguments of the command line, for `--app`
 * @returns the path of its `main.js`; undefined if this copy is the project's, the project has none, or it has no command line
 */
export function mainOfProject(args: readonly string[], cwd: string): string | undefined {
  const own = ownFolder()
  const installed = installedCopy(resolve(cwd, appArgument(args) ?? 'index.js'))
  if (own === undefined || installed === undefined || installed === own) return undefined
  const main = join(installed, 'dist/cli/main.js')
  return existsSync(main) ? main : undefined
}

function appArgument(args: readonly string[]): string | undefined {
  const at = args.indexOf('--app')
  return at >= 0 ? args[at + 1] : args.find((one) => one.startsWith('--app='))?.slice('--app='.length)
}

function installedCopy(file: string): string | undefined {
  try {
    return realpathSync(dirname(createRequire(file).resolve('objection-perms/package.json')))
  } catch {
    return undefined
  }
}

/** Returns the folder of this package, whose package.json is the nearest one with its name. */
function ownFolder(): string | undefined {
  const given = currentFile()
  if (given === undefined) return undefined
  let folder = dirname(realpathSync(given.startsWith('file:') ? fileURLToPath(given) : given))
  for (;;) {
    const manifest = join(folder, 'package.json')
    if (existsSync(manifest) && readFileSync(manifest, 'utf8').includes('"name": "objection-perms"')) return folder
    const parent = dirname(folder)
    if (parent === folder) return undefined
    folder = parent
  }
}
