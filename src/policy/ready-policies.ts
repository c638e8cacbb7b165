import { anyOf, colleague, nobody, type Policy, self } from './rules.js'

/**
 * A policy for user models: members of a domain see each other, and change only themselves.
 *
 * @example
 * class Employee extends User {
 *   static override policy = membersPolicy
 * }
 */
export const membersPolicy = Object.freeze({ read: anyOf(self(), colleague()), update: self(), delete: nobody() }) satisfies Policy
