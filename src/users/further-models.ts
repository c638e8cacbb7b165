import type { Model } from 'objection'
import { SecondFactor } from './second-factor.js'

/** Models of the library's own that no application replaces: their tables are made with the others. */
export const furtherModels: readonly (typeof Model)[] = [SecondFactor] as unknown as (typeof Model)[]
