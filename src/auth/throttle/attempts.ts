import type { Attempt } from './throttle.js'

/**
 * Runs work under an attempt. The attempt succeeds with the work. It counts as failed for the errors that `isFailure` names, and is
 * taken back for all others, such as those of the database.
 *
 * @throws the errors of the work
 */
export async function withAttempt<T>(attempt: Attempt, isFailure: (error: unknown) => boolean, work: () => Promise<T>): Promise<T> {
  try {
    const result = await work()
    await attempt.succeeded()
    return result
  } catch (error) {
    if (!isFailure(error)) await attempt.withdrawn()
    throw error
  }
}
