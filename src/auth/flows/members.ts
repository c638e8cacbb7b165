import { ForbiddenError, NotFoundError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { asSystem } from '../../policy/context.js'
import type { DomainName, LibraryId, UserId } from '../../policy/registered-types.js'
import { decodeId } from '../../schema/ids.js'
import { requireStorableText } from '../../schema/text-input.js'
import { forbidApiKey } from '../../users/caller/caller-restrictions.js'
import type { UserRole } from '../../users/user-role.js'
import { administeredDomain, grants } from './domain-roles.js'

/** A role in a domain, and the user who holds it. */
export interface Member {
  readonly grantId: LibraryId
  readonly role: string
  readonly user: { readonly id: UserId; readonly email: string }
}

/**
 * Manages the members of a domain: `perms.auth.members`. Admins of the domain and global admins may use it; other callers get
 * NotFoundError.
 */
export interface Members {
  /**
   * Returns the roles held in a domain, the oldest first, each with its user.
   *
   * @param domain its name, its id or `{ id }`
   * @param options `page` starts at 1. Default of `pageSize`: 100.
   * @throws NotFoundError for callers who do not administer the domain
   * @example const { data, total } = await perms.auth.members.list('press')
   */
  list(
    domain: DomainName,
    options?: { page?: number | undefined; pageSize?: number | undefined },
  ): Promise<{ data: Member[]; total: number }>
  /** Returns one member. @throws NotFoundError, also for a grant of another domain */
  get(domain: DomainName, grantId: LibraryId): Promise<Member>
  /**
   * Replaces a member's role by another one below the caller's own rank.
   *
   * @throws NotFoundError for a grant of another domain, ForbiddenError by rank, UniqueViolationError (409) for a role that the
   * member already holds
   */
  change(domain: DomainName, grantId: LibraryId, role: string): Promise<Member>
  /** Revokes a member's role in the domain. @throws NotFoundError, ForbiddenError by rank */
  remove(domain: DomainName, grantId: LibraryId): Promise<void>
}

export function members(): Members {
  return {
    async list(domain, { page = 1, pageSize = 100 } = {}) {
      const { rows, total } = await memberGrants(domain, page, pageSize)
      return { data: rows.map((grant) => shown(grant)), total }
    },

    get: async (domain, grantId) => shown(await withUser(await grantIn(domain, grantId))),

    change: async (domain, grantId, role) => shown(await changeGrant(domain, grantId, role)),

    async remove(domain, grantId) {
      forbidApiKey(message('subject.roles'))
      await (await grantIn(domain, grantId)).delete()
    },
  }
}

/** Returns a page of the grants of a domain, each with its user. @throws NotFoundError for callers who do not administer the domain */
export async function memberGrants(domain: DomainName, page: number, pageSize: number): Promise<{ rows: UserRole[]; total: number }> {
  const { id } = await administeredDomain(domain)
  // An inner join leaves deleted users out. Runs as the system: this function, not the users' policy, decides which fields callers
  // see.
  const { tableName } = grants()
  const { results, total } = await asSystem(() =>
    grants()
      .query()
      .joinRelated('user')
      .where(`${tableName}.domainId`, id)
      .withGraphFetched('user')
      .orderBy([`${tableName}.createdAt`, `${tableName}.id`])
      .page(page - 1, pageSize),
  )
  return { rows: results, total }
}

/** Replaces a member's role and returns the grant with its user. @throws like Members.change */
export async function changeGrant(domain: DomainName, grantId: LibraryId, role: string): Promise<UserRole> {
  forbidApiKey(message('subject.roles'))
  const grant = await grantIn(domain, grantId)
  await grant.update({ role: requireStorableText(role, 'role') })
  return await withUser(grant)
}

/** Throws when the caller may not change the grant at all. @throws NotFoundError, ForbiddenError */
export async function assertChangeable(domain: DomainName, grantId: LibraryId): Promise<void> {
  forbidApiKey(message('subject.roles'))
  if (!(await (await grantIn(domain, grantId)).canWrite())) throw new ForbiddenError()
}

/** Returns a grant of the domain. The model's policy decides what the caller may do with it. @throws NotFoundError */
async function grantIn(domain: DomainName, grantId: LibraryId): Promise<UserRole> {
  const { id } = await administeredDomain(domain)
  const known = decodeId(grants(), grantId)
  const found = known === undefined ? undefined : await grants().query().findById(known)
  if (found?.domainId !== id) throw new NotFoundError()
  return found
}

async function withUser(grant: UserRole): Promise<UserRole> {
  return await asSystem(() => grant.$query().withGraphFetched('user'))
}

function shown({ id, role, user }: UserRole): Member {
  return { grantId: id, role, user: { id: user?.id ?? '', email: user?.email ?? '' } }
}
