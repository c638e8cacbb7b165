import { snakeCase } from '../../src/core/names.js'
import { internalModels } from '../../src/users/tables/internal-models.js'

const ofFirstRelease = ['second_factor', 'invitation', 'audit_log']

/** The tables of the library's models that version 0.1.0 did not have. They refer to users, so drop them first. */
export const laterTables = internalModels.map(({ name }) => snakeCase(name)).filter((table) => !ofFirstRelease.includes(table))
