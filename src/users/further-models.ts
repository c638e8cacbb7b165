import type { Model } from 'objection'

/** Models of the library's own that no application replaces: their tables are made with the others. */
export const furtherModels: readonly (typeof Model)[] = []
