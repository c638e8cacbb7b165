import type { Model } from 'objection'
import type { AbstractConstructor } from '../record/record-types.js'
import { column } from '../schema/column.js'
import { declareColumns, markIntermediate } from '../schema/definition/declarations.js'

/** The instance members that TimestampMixin adds. */
export interface Timestamps {
  /** When the user last signed in. Set by sign-in. */
  lastLoginAt: Date | null
  /** When the user verified the e-mail address. */
  emailVerifiedAt: Date | null
}

/**
 * Adds the times of the last sign-in and of the e-mail verification to a user model.
 *
 * @example class Member extends TimestampMixin(User).withColumns({ level: column.string() }) {}
 */
export function TimestampMixin<T extends AbstractConstructor<Model>>(Base: T): T & AbstractConstructor<Timestamps>
export function TimestampMixin(Base: AbstractConstructor<Model>): AbstractConstructor<Model> {
  abstract class WithTimestamps extends Base {}
  markIntermediate(WithTimestamps)
  declareColumns(WithTimestamps, {
    lastLoginAt: column.datetime().nullable().readOnly(),
    emailVerifiedAt: column.datetime().nullable().readOnly(),
  })
  return WithTimestamps
}
