/**
 * The application's types, for declaration merging. Without it, users are `User`, ids are strings and roles are any text.
 *
 * - `user`: the registered user model. It types `currentUser()`, `currentUserId()`, `runAs(id, ...)` and the ids of actors.
 * - `domain`: the registered domain model, if its ids are no strings.
 * - `ids`: `'integer'`, for `initPerms({ ids: 'integer' })`.
 * - `roles`: the names of the roles, as a union. It types `role()`, `hasRole()`, `grantRole()` and `requireRole()`.
 *
 * @example
 * declare module 'objection-perms' {
 *   interface Register { user: Employee; roles: 'agent' | 'customer' }
 * }
 */
// biome-ignore lint/suspicious/noEmptyInterface: applications add its members
export interface Register {}

/** The type of an id of the library's own tables: number with `Register.ids`, else string. */
export type LibraryId = Register extends { ids: 'integer' } ? number : string

/** The type of a user's id: that of `Register.user`, else that of the library's own tables. */
export type UserId = Register extends { user: { id: infer I } } ? I : LibraryId

/** The type of a domain's id: that of `Register.domain`, else that of the library's own tables. */
export type DomainId = Register extends { domain: { id: infer I } } ? I : LibraryId

/** The built-in roles, whose names every application may use. */
export type BuiltInRole = 'superadmin' | 'admin' | 'user'

/** The name of a role: one of `Register.roles` or a built-in role, else any string. */
export type RoleName = Register extends { roles: infer R extends string } ? R | BuiltInRole : string

/** A domain by its id, as `{ id }`, or by its name. A string is a name, unless ids of domains are UUIDs and it is a UUID. */
export type DomainName = string | number | { readonly id: unknown }
