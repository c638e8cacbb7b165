import type { Model } from 'objection'
import type { AbstractConstructor } from '../record/active-record.js'
import { column } from '../schema/column.js'
import { declareColumns, markIntermediate } from '../schema/definition.js'

/** What TimestampMixin gives to each row. */
export interface Timestamps {
  /** When the user last signed in; kept by sign-in. */
  lastLoginAt: Date | null
  /** When the user proved that the e-mail address is theirs. */
  emailVerifiedAt: Date | null
}

/**
 * When a user last signed in and verified the e-mail address.
 *
 * @example class Member extends TimestampMixin(User).withColumns({ level: column.string() }) {}
 */
export function TimestampMixin<T extends AbstractConstructor<Model>>(Base: T): T & AbstractConstructor<Timestamps> {
  abstract class WithTimestamps extends (Base as unknown as AbstractConstructor<Model>) {}
  markIntermediate(WithTimestamps)
  declareColumns(WithTimestamps, {
    lastLoginAt: column.datetime().nullable().readOnly(),
    emailVerifiedAt: column.datetime().nullable().readOnly(),
  })
  return WithTimestamps as unknown as T & AbstractConstructor<Timestamps>
}
