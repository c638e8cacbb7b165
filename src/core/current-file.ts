// Not a named import: bundles often begin with a declaration of createRequire.
import * as nodeModule from 'node:module'
import { join } from 'node:path'

/**
 * Returns the file of the calling code: a module of this package, or the application's bundle. Undefined if the engine does not tell.
 *
 * `import.meta.url` is not used: it is a syntax error where a test runner turns these modules into CommonJS, and undefined in a CommonJS
 * bundle.
 *
 * @returns an absolute path or a file: URL, without a query
 */
export function currentFile(): string | undefined {
  const { prepareStackTrace, stackTraceLimit } = Error
  try {
    Error.stackTraceLimit = 1
    Error.prepareStackTrace = (_error, sites) => sites[0]?.getFileName()
    const trace: { stack?: unknown } = {}
    Error.captureStackTrace(trace, currentFile)
    const { stack } = trace
    return typeof stack === 'string' ? stack.replace(/[?#].*$/, '') : undefined
  } catch {
    // Frozen intrinsics.
    return undefined
  } finally {
    restore(prepareStackTrace, stackTraceLimit)
  }
}

function restore(prepareStackTrace: typeof Error.prepareStackTrace, stackTraceLimit: number): void {
  try {
    Error.stackTraceLimit = stackTraceLimit
    if (prepareStackTrace === undefined) Reflect.deleteProperty(Error, 'prepareStackTrace')
    else Error.prepareStackTrace = prepareStackTrace
  } catch {
    // Frozen intrinsics: nothing was changed.
  }
}

/**
 * Calls `load` with a `require` function that finds packages from this package's folder, and if that fails, with one that finds them from
 * the working directory. Bundles often lie outside the folder whose node_modules they use.
 *
 * @throws the error of the first call when both calls fail
 * @example loadPackage((require) => require('bcrypt'))
 */
export function loadPackage<T>(load: (require: NodeJS.Require) => T): T {
  const fromCwd = () => load(nodeModule.createRequire(join(process.cwd(), 'index.js')))
  const file = currentFile()
  let own: NodeJS.Require
  try {
    if (file === undefined) return fromCwd()
    own = nodeModule.createRequire(file)
  } catch {
    // Not the name of a file, such as webpack-internal:///.
    return fromCwd()
  }
  try {
    return load(own)
  } catch (error) {
    try {
      return fromCwd()
    } catch {
      throw error
    }
  }
}
