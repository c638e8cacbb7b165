import type { Model } from 'objection'
import { AuditLog } from './audit-log.js'
import { Invitation } from './invitation.js'
import { SecondFactor } from './second-factor.js'

/** Models that the library owns and applications cannot replace. createTables() creates their tables too. */
export const internalModels: readonly (typeof Model)[] = [SecondFactor, Invitation, AuditLog] as unknown as (typeof Model)[]
