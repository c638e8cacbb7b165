const functions = new WeakSet<object>()

/** Marks a function that makes the default of a column as code of the library. */
export function libraryDefault<F extends object>(make: F): F {
  functions.add(make)
  return make
}

/** Returns whether code of the application makes a default. */
export const isOwnDefault = (value: unknown): boolean => typeof value === 'function' && !functions.has(value)
