import { ForbiddenError, NotFoundError } from '../../core/errors.js'
import { asSystem } from '../../policy/context.js'
import { isUuid } from '../../schema/values.js'
import { forbidApiKey } from '../../users/caller-restrictions.js'
import type { UserRole } from '../../users/user-role.js'
import { administered, grants, textOf } from './domain-roles.js'

/** A role held in a domain, and by whom. */
export interface Member {
  readonly grantId: string
  readonly role: string
  readonly user: { readonly id: string; readonly email: string }
}

/** Who holds a role in a domain: `perms.auth.members`. For its admins, and global ones; to anybody else it is not there. */
export interface Members {
  /**
   * The members of a domain, those of longest standing first: one entry for each role that somebody holds there.
   *
   * @param domain its id or name
   * @param options a page, from 1 on, of so many (100)
   * @throws NotFoundError for anybody but its admins
   * @example const { data, total } = await perms.auth.members.list('press')
   */
  list(domain: string, options?: { page?: number | undefined; pageSize?: number | undefined }): Promise<{ data: Member[]; total: number }>
  /** One of them. @throws NotFoundError for a grant of another domain too */
  get(domain: string, grantId: string): Promise<Member>
  /**
   * Gives a member another role, below the caller's own rank, in place of the present one.
   *
   * @throws NotFoundError for a grant of another domain, ForbiddenError by rank, UniqueViolationError (409) for a role held already
   */
  change(domain: string, grantId: string, role: string): Promise<Member>
  /** Takes a member's role in the domain away. @throws NotFoundError, ForbiddenError by rank */
  remove(domain: string, grantId: string): Promise<void>
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
      forbidApiKey('Roles')
      await (await grantIn(domain, grantId)).delete()
    },
  }
}

/** Returns a page of the grants of a domain, each with its user. @throws NotFoundError for a caller who is not its admin */
export async function memberGrants(domain: string, page: number, pageSize: number): Promise<{ rows: UserRole[]; total: number }> {
  const { id } = await administered(domain)
  // Joined: who is deleted is no member. What each role may be told of its holder is decided here, not by the users' policy.
  const { results, total } = await asSystem(() =>
    grants()
      .query()
      .joinRelated('user')
      .where('user_role.domainId', id)
      .withGraphFetched('user')
      .orderBy(['user_role.createdAt', 'user_role.id'])
      .page(page - 1, pageSize),
  )
  return { rows: results as unknown as UserRole[], total }
}

/** Gives a member another role, and returns the grant with its user. @throws as Members.change */
export async function changeGrant(domain: string, grantId: string, role: string): Promise<UserRole> {
  forbidApiKey('Roles')
  const grant = await grantIn(domain, grantId)
  await grant.update({ role: textOf(role, 'role') } as never)
  return await withUser(grant)
}

/** Refuses whoever may do nothing with the grant, whatever they ask for. @throws NotFoundError, ForbiddenError */
export async function assertChangeable(domain: string, grantId: string): Promise<void> {
  forbidApiKey('Roles')
  if (!(await (await grantIn(domain, grantId)).canWrite())) throw new ForbiddenError()
}

/** A grant in the domain, as the caller may read it: what may be done with it, the model's own policy says. @throws NotFoundError */
async function grantIn(domain: string, grantId: string): Promise<UserRole> {
  const { id } = await administered(domain)
  const found = isUuid(grantId) ? ((await grants().query().findById(grantId.toLowerCase())) as unknown as UserRole | undefined) : undefined
  if (found?.domainId !== id) throw new NotFoundError()
  return found
}

async function withUser(grant: UserRole): Promise<UserRole> {
  return (await asSystem(() => grant.$query().withGraphFetched('user'))) as UserRole
}

function shown({ id, role, user }: UserRole): Member {
  return { grantId: id, role, user: { id: user?.id ?? '', email: user?.email ?? '' } }
}
