import { randomBytes } from 'node:crypto'
import { rename, rm, writeFile } from 'node:fs/promises'

/**
 * Writes a file completely or not at all: into a temporary file beside it, which then gets its name.
 *
 * @throws the error of the file system
 */
export async function writeWholeFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  try {
    await writeFile(temporary, text, { flag: 'wx' })
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined)
    // The message names the file that the user named.
    throw error instanceof Error ? Object.assign(error, { path }) : error
  }
}
