/** The subjects of shares, as code and clients name them. */
import { Model } from 'objection'
import { type FieldProblem, MissingReferenceError, ValidationError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import type { ShareSubject } from '../../mixins/shareable.js'
import { asSystem } from '../../policy/context.js'
import { namedDomain } from '../../policy/domain-ref.js'
import { assertRegisteredUser, registeredModel } from '../../policy/registered-models.js'
import type { DomainName } from '../../policy/registered-types.js'
import { shareKey } from '../../policy/share-keys.js'
import { holdsUsers } from '../../policy/user-tables.js'
import { assertHome } from '../../query/home.js'
import { tableOf } from '../../schema/class-statics.js'
import { decodeId } from '../../schema/ids.js'
import { isStorableText } from '../../schema/values.js'
import { checkRole } from '../roles/roles.js'

/** The subject of a share in the columns of its table. */
export interface SubjectColumns {
  readonly userId: unknown
  readonly role: string | null
  readonly domainId: unknown
  readonly subjectKey: string
}

const columnsOf = (userId: unknown, role: string | null, domainId: unknown): SubjectColumns => ({
  ...{ userId, role, domainId },
  subjectKey: shareKey({ userId, role, domainId }),
})

/** How subjects are looked up. */
interface LookUp {
  /** Whether ids of users and domains must be readable for the caller. Otherwise they need not exist. */
  readonly isChecked: boolean
}

/**
 * Returns the columns of a subject. A user who is given as a row is taken as is. If it is checked, an id or a domain must be readable for
 * the caller, so that the answer does not tell who or what exists.
 *
 * @throws ValidationError for a value that names no subject
 * @throws MissingReferenceError for a user or a domain that does not exist or that the caller may not read
 */
export async function subjectColumns(given: ShareSubject, lookUp: LookUp): Promise<SubjectColumns> {
  if (given instanceof Model && tableOf(given.constructor) === tableOf(registeredModel('domain')))
    return columnsOf(null, null, await domainId({ id: (given as { id?: unknown }).id } as DomainName, lookUp))
  assertRegisteredUser(given)
  if (given instanceof Model && holdsUsers(given.constructor)) {
    assertHome(given)
    return columnsOf(idOfUser((given as { id?: unknown }).id), null, null)
  }
  if (typeof given !== 'object' || given === null) return columnsOf(await userId(given, lookUp), null, null)
  const { id, userId: ofUser, role, domain } = given as { id?: unknown; userId?: unknown; role?: unknown; domain?: DomainName | null }
  const user = id ?? ofUser
  const [isUser, isGroup] = [user !== undefined, role !== undefined || (domain ?? null) !== null]
  if (isUser === isGroup) throw noSubject()
  if (isUser) return columnsOf(await userId(user, lookUp), null, null)
  const name = role === undefined ? null : storableRole(role)
  return columnsOf(null, name, (domain ?? null) === null ? null : await domainId(domain as DomainName, lookUp))
}

const MAX_ROLE_LENGTH = 100

function storableRole(given: unknown): string {
  const role = checkRole(given)
  const limit = MAX_ROLE_LENGTH
  const problem = !isStorableText(role)
    ? message('field.storableText')
    : [...role].length > limit
      ? message('field.maxLength', { limit })
      : null
  if (problem === null) return role
  throw new ValidationError(message('input.field', { field: 'role', problem }), [{ field: 'role', message: problem }])
}

const noSubject = (): ValidationError =>
  new ValidationError(message('share.subject'), [{ field: 'userId', message: message('field.requiredOr', { others: 'role, domainId' }) }])

function missing(field: string): MissingReferenceError {
  const errors: FieldProblem[] = [{ field, message: message('field.missingRow') }]
  return new MissingReferenceError(message('row.missingReference', { fields: [field] }), { errors })
}

function idOfUser(given: unknown): string | number {
  const id = decodeId(registeredModel('user'), given)
  if (id === undefined) throw missing('userId')
  return id
}

async function userId(given: unknown, { isChecked }: LookUp): Promise<string | number> {
  const id = idOfUser(given)
  const User = registeredModel('user')
  if (isChecked && (await User.query().findById(id).resultSize()) === 0) throw missing('userId')
  return id
}

async function domainId(given: DomainName, { isChecked }: LookUp): Promise<unknown> {
  const Domain = registeredModel('domain')
  const { id, name } = namedDomain(given)
  if (id === null) throw missing('domainId')
  if (!isChecked && id !== undefined) return id
  const find = async () => await Domain.query().findOne(id === undefined ? { name: name as string } : { id })
  const found = isChecked ? await find() : await asSystem(find)
  if (!found) throw missing('domainId')
  return found.$id()
}
