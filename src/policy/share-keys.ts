/** The subjects of shares: one user, the holders of a role, or the members of a domain. */
import { createHash } from 'node:crypto'

/** The columns of a share that name its subject. */
export interface ShareSubjectColumns {
  readonly userId?: unknown
  readonly role?: string | null | undefined
  readonly domainId?: unknown
}

/** The most characters of a key. */
export const MAX_SHARE_KEY_LENGTH = 160

/**
 * Returns the text that identifies a subject, so that a unique index covers shares of every kind: a unique index treats NULLs as
 * different.
 *
 * @example shareKey({ role: 'editor', domainId: null }) // 'role:editor'
 */
export function shareKey(subject: ShareSubjectColumns): string {
  const key = plainKey(subject)
  return key.length <= MAX_SHARE_KEY_LENGTH ? key : `hash:${createHash('sha256').update(key).digest('hex')}`
}

function plainKey({ userId, role, domainId }: ShareSubjectColumns): string {
  if (userId !== undefined && userId !== null) return `user:${String(userId)}`
  // An id may contain any character.
  const domain = domainId === undefined || domainId === null ? null : encodeURIComponent(String(domainId))
  if (role === undefined || role === null) return `domain:${domain ?? ''}`
  return domain === null ? `role:${role}` : `role@${domain}:${role}`
}
