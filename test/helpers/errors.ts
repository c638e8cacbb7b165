/** The error that a promise (or a query) is rejected with; fails where it is not. */
export async function rejection(promise: PromiseLike<unknown>): Promise<Error> {
  let value: unknown
  try {
    value = await promise
  } catch (error) {
    return error as Error
  }
  throw new Error(`Expected a rejection, got ${JSON.stringify(value)}.`)
}

/** The error that fn throws; fails where it does not. */
export function thrown(fn: () => unknown): Error {
  let value: unknown
  try {
    value = fn()
  } catch (error) {
    return error as Error
  }
  throw new Error(`Expected an error, got ${JSON.stringify(value)}.`)
}

/** The fields that an error of the library names. */
export function fieldsOf(error: unknown): string[] {
  return ((error as { errors?: readonly { field: string }[] }).errors ?? []).map(({ field }) => field)
}
