import { pathToFileURL } from 'node:url'
import { loadPackage } from './current-file.js'
import { ConfigurationError } from './errors.js'

/**
 * Loads an optional dependency.
 *
 * @param wantedBy the feature that needs the package, for the error message
 * @throws ConfigurationError when the package is not installed, or has no binary for this platform
 * @example const pg = loadOptionalPackage<typeof import('pg')>('pg', 'The client of PostgreSQL')
 */
export function loadOptionalPackage<T>(name: string, wantedBy: string): T {
  try {
    return loadPackage((require) => require(name) as T)
  } catch (cause) {
    throw new ConfigurationError(
      `${wantedBy} needs a package that is not installed, or not for this platform (a bundle needs it in node_modules too): npm install ${name}`,
      { cause },
    )
  }
}

/**
 * Imports an optional dependency that is an ES module.
 *
 * @param wantedBy the feature that needs the package, for the error message
 * @throws ConfigurationError when the package is not installed
 * @example const client = await importOptionalPackage<typeof import('openid-client')>('openid-client', 'Sign-in with providers')
 */
export async function importOptionalPackage<T>(name: string, wantedBy: string): Promise<T> {
  try {
    // Bundles often lie outside the folder whose node_modules they use.
    const url = loadPackage((require) => pathToFileURL(require.resolve(name)).href)
    return (await import(url)) as T
  } catch (cause) {
    throw new ConfigurationError(
      `${wantedBy} needs a package that is not installed (a bundle needs it in node_modules too): npm install ${name}`,
      { cause },
    )
  }
}

/**
 * Throws if an optional dependency is not installed. It looks for the package and does not load it, so that a start stays quick.
 *
 * @param option the option that needs the package, for the error message
 * @throws ConfigurationError
 * @example assertPackageInstalled('openid-client', 'initPerms({ providers })')
 */
export function assertPackageInstalled(name: string, option: string): void {
  try {
    loadPackage((require) => require.resolve(name))
  } catch (cause) {
    throw new ConfigurationError(
      `${option} needs the package ${name}, which is not installed (a bundle needs it in node_modules too): npm install ${name}`,
      { cause },
    )
  }
}
