import type { Model, TransactionOrKnex } from 'objection'
import { ValidationError } from '../../../core/errors.js'
import { type Message, message } from '../../../core/messages/message.js'
import { registeredModel } from '../../../policy/registered-models.js'
import { inParts } from '../../../query/execution/insert-results.js'
import { valuesByName } from '../../../schema/model-class.js'
import { dialectOf } from '../../../schema/storage.js'
import type { DomainRef } from '../../../users/roles/has-roles-mixin.js'
import { checkRole } from '../../../users/roles/roles.js'
import { UserRole } from '../../../users/user-role.js'

/** The values of a grant without its user. `domainId` is missing where the row names no domain. */
export interface GrantValues {
  readonly role: string
  readonly domainId?: string | null | undefined
}

/** Inserts rows with one statement on PostgreSQL. Elsewhere Objection inserts single rows, since it could not tell the ids of several. */
export async function insertRows<T extends object>(rows: readonly T[], insert: (some: T[]) => PromiseLike<unknown>): Promise<void> {
  const size = dialectOf(registeredModel('user').knex()) === 'pg' ? rows.length : 1
  for (const part of inParts(rows, size)) await insert(part)
}

/** Reads and inserts the roles of imported users. */
export class ImportedGrants {
  readonly #domainIds = new Map<string, string | null>()

  /** @throws ValidationError for the field `roles`: no roles, or a domain that does not exist */
  async read(roles: unknown): Promise<GrantValues[]> {
    if (roles === undefined) return []
    if (!Array.isArray(roles)) throw invalidRoles(message('field.list'))
    const grants = new Map<string, GrantValues>()
    for (const given of roles as readonly unknown[]) {
      const grant = await this.#grant(typeof given === 'object' && given !== null ? given : { role: given })
      grants.set(JSON.stringify([grant.role, grant.domainId ?? null]), grant)
    }
    return [...grants.values()]
  }

  /** Inserts the grants of users whose ids are known. */
  async insert(
    members: readonly { readonly row: Model; readonly grants: readonly GrantValues[] }[],
    trx: TransactionOrKnex,
  ): Promise<void> {
    const rows = members.flatMap(({ row, grants }) => grants.map((grant) => ({ ...grant, userId: valuesByName(row).id })))
    await insertRows(rows, (some) => registeredModel('userRole').query(trx).insert(some))
  }

  async #grant({ role, domain }: { role?: unknown; domain?: DomainRef }): Promise<GrantValues> {
    try {
      const name = checkRole(role)
      return domain === undefined ? { role: name } : { role: name, domainId: await this.#domainIdOf(domain) }
    } catch (error) {
      if (error instanceof ValidationError) throw invalidRoles(error.texts.errors[0]?.message ?? message('field.plural.invalid'))
      throw error
    }
  }

  async #domainIdOf(domain: DomainRef): Promise<string | null> {
    // A name stands for the same domain in the whole import. Ids and rows need no query.
    if (typeof domain !== 'string') return await UserRole.domainIdOf(domain)
    const known = this.#domainIds.get(domain)
    if (known !== undefined) return known
    const id = await UserRole.domainIdOf(domain)
    this.#domainIds.set(domain, id)
    return id
  }
}

function invalidRoles(problem: string | Message): ValidationError {
  return new ValidationError(message('input.field', { field: 'roles', problem }), [{ field: 'roles', message: problem }])
}
