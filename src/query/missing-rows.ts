/** Errors of throwIfNotFound(), which Objection throws before the result of a write is checked. */
const thrown = new WeakSet<Error>()

/** Records an error that createNotFoundError() made, of the library's class or the application's. */
export function noteMissingRow(error: Error): Error {
  thrown.add(error)
  return error
}

/** Returns whether createNotFoundError() made the error. */
export function isMissingRow(error: unknown): boolean {
  return error instanceof Error && thrown.has(error)
}
