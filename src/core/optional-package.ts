import { createRequire } from 'node:module'
import { ConfigurationError } from './errors.js'

/**
 * A package that only some applications install.
 *
 * @throws ConfigurationError where it is not there, or was not made for this machine
 */
export function optionalPackage<T>(name: string, wantedBy: string): T {
  try {
    return createRequire(import.meta.url)(name) as T
  } catch (cause) {
    throw new ConfigurationError(`${wantedBy} needs a package that is not installed, or not for this machine: npm install ${name}`, {
      cause,
    })
  }
}
