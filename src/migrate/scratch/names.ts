/** Names of scratch databases, which tell which process made them and when. */
import { createHash, randomBytes } from 'node:crypto'
import { hostname } from 'node:os'

/** The mark of the databases and roles of this file: others with such a name stay. */
export const MARK = 'objection-perms: a scratch database for migrations'

/** The first part of each name. */
export const PREFIX = 'objection_perms_scratch_'

const DAY = 86_400_000

const thisHost = (): string => createHash('sha256').update(hostname()).digest('hex').slice(0, 6)

/** Returns a new name. */
export function scratchName(): string {
  return `${PREFIX}${thisHost()}_${process.pid}_${Date.now().toString(36)}_${randomBytes(4).toString('hex')}`
}

/** Returns a password for a temporary role. */
export function scratchPassword(): string {
  return randomBytes(24).toString('base64url')
}

/** Returns whether the process that made a database has ended. A process on another host is given a day. */
export function isLeftOver(name: string): boolean {
  const parts = /^objection_perms_scratch_([0-9a-f]{6})_(\d+)_([0-9a-z]+)_[0-9a-f]{8}$/.exec(name)
  if (!parts) return false
  const [, host, pid, time] = parts
  if (Date.now() - Number.parseInt(time as string, 36) > DAY) return true
  return host === thisHost() && !isRunning(Number(pid))
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // The process exists, and belongs to another user.
    return (error as { code?: string }).code === 'EPERM'
  }
}
