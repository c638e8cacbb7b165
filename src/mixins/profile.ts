import type { Model } from 'objection'
import { message } from '../core/messages/message.js'
import type { AbstractConstructor } from '../record/record-types.js'
import { column } from '../schema/column.js'
import { declareColumns, markIntermediate } from '../schema/definition/declarations.js'
import { describePattern } from '../schema/validator.js'

// URLs are shown as links or images, where 'javascript:' and 'data:' would run in the page.
const HTTP_URL = describePattern('^[Hh][Tt][Tt][Pp][Ss]?://[^/?#]', message('field.httpUrl'))

/** The instance members that ProfileMixin adds. */
export interface Profile {
  firstName: string | null
  lastName: string | null
  displayName: string | null
  avatarUrl: string | null
  phone: string | null
  address: string | null
  city: string | null
  state: string | null
  postalCode: string | null
  country: string | null
  /** The first and last name, else the display name, else ''. */
  readonly fullName: string
}

/**
 * Adds optional names, address, phone and avatar of a person to a model.
 *
 * @example class Customer extends ProfileMixin(User).withColumns({ loyaltyPoints: column.integer().default(0) }) {}
 */
export function ProfileMixin<T extends AbstractConstructor<Model>>(Base: T): T & AbstractConstructor<Profile>
export function ProfileMixin(Base: AbstractConstructor<Model>): AbstractConstructor<Model> {
  abstract class WithProfile extends Base {
    declare firstName: string | null
    declare lastName: string | null
    declare displayName: string | null

    get fullName(): string {
      const names = [this.firstName, this.lastName].filter((name) => name)
      return names.length > 0 ? names.join(' ') : (this.displayName ?? '')
    }
  }
  markIntermediate(WithProfile)
  declareColumns(WithProfile, {
    firstName: column.string({ maxLength: 100 }).nullable(),
    lastName: column.string({ maxLength: 100 }).nullable(),
    displayName: column.string({ maxLength: 200 }).nullable(),
    avatarUrl: column.string({ maxLength: 2000, format: 'uri', pattern: HTTP_URL }).nullable(),
    phone: column.string({ maxLength: 50 }).nullable(),
    address: column.string({ maxLength: 255 }).nullable(),
    city: column.string({ maxLength: 100 }).nullable(),
    state: column.string({ maxLength: 100 }).nullable(),
    postalCode: column.string({ maxLength: 20 }).nullable(),
    country: column.string({ maxLength: 100 }).nullable(),
  })
  return WithProfile
}
