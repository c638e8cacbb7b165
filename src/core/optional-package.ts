import { createRequire } from 'node:module'
import { ConfigurationError } from './errors.js'

/**
 * Loads an optional dependency.
 *
 * @param wantedBy the feature that needs the package, for the error message
 * @throws ConfigurationError when the package is not installed, or has no binary for this platform
 * @example optionalPackage<Bcrypt>('bcrypt', 'bcryptHasher({ native: true })')
 */
export function loadOptionalPackage<T>(name: string, wantedBy: string): T {
  try {
    return createRequire(import.meta.url)(name) as T
  } catch (cause) {
    throw new ConfigurationError(`${wantedBy} needs a package that is not installed, or not for this platform: npm install ${name}`, {
      cause,
    })
  }
}
