import type { Model } from 'objection'
import { AuditLog } from './audit-log.js'
import { Invitation } from './invitation.js'
import { SecondFactor } from './second-factor.js'

/** Models of the library's own that no application replaces: their tables are made with the others. */
export const furtherModels: readonly (typeof Model)[] = [SecondFactor, Invitation, AuditLog] as unknown as (typeof Model)[]
