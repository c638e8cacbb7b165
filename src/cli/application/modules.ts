/** Imports modules of an application, TypeScript included. */
import { createRequire } from 'node:module'
import { extname, join } from 'node:path'
import process from 'node:process'
import { pathToFileURL } from 'node:url'
import { CliError } from '../failure.js'

/** The exports of a module. */
export type Exports = Readonly<Record<string, unknown>>

/**
 * Imports a module of the application. TypeScript runs with the application's tsx, or with Node's own support for types.
 *
 * @param folder the folder of the project, in which tsx is looked up
 * @throws CliError for TypeScript without tsx on a Node that cannot run it
 */
export async function importModule(path: string, folder: string): Promise<Exports> {
  if (/^\.[mc]?ts$/.test(extname(path))) await supportTypeScript(path, folder)
  // The comments tell bundlers that the file exists only at run time.
  return await import(/* webpackIgnore: true */ /* @vite-ignore */ pathToFileURL(path).href)
}

/** Lets this process import TypeScript. @throws CliError without tsx on a Node that cannot run it */
export async function supportTypeScript(path: string, folder: string): Promise<void> {
  // The main module of tsx registers itself for import and require, as `node --import tsx` does.
  const tsx = resolveFrom(folder, 'tsx')
  if (tsx !== undefined) requireOwnModules(folder)
  if (tsx !== undefined) await import(/* webpackIgnore: true */ /* @vite-ignore */ pathToFileURL(tsx).href)
  else if (!Reflect.get(process.features, 'typescript'))
    throw new CliError(
      `${path} is TypeScript, which Node ${process.versions.node} cannot run by itself. Run \`npm install --save-dev tsx\`.`,
    )
}

/**
 * Loads this package for require(). In a CommonJS project, tsx would otherwise compile it to CommonJS: a second copy, whose models are not
 * those of the command.
 */
function requireOwnModules(folder: string): void {
  const require = createRequire(join(folder, 'index.js'))
  for (const name of ['', '/express', '/koa', '/fastify', '/hono', '/fetch', '/node', '/testing']) {
    try {
      require(`objection-perms${name}`)
    } catch {
      // Not installed in the project, or a Node that cannot require() an ES module: the import reports it.
    }
  }
}

function resolveFrom(folder: string, name: string): string | undefined {
  try {
    return createRequire(join(folder, 'index.js')).resolve(name)
  } catch {
    return undefined
  }
}

/** Returns the default export; that of a CommonJS module whose TypeScript was compiled to `exports.default` is inside another one. */
export function defaultExport(exports: Exports): unknown {
  const { default: outer } = exports
  return typeof outer === 'object' && outer !== null && 'default' in outer ? outer.default : outer
}
