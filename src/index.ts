export type { ApiKeyInfo, ApiKeys } from './auth/api-keys.js'
export { type Argon2idOptions, argon2idHasher } from './auth/argon2id.js'
export type { AccessClaims, Auth, SecondFactorAsked, SignedIn, SignInResult } from './auth/auth.js'
export type { AuthEventName, AuthEvents, OnEvent } from './auth/events.js'
export type { Impersonation } from './auth/impersonation.js'
export type { Invitations, PrepareRegistration } from './auth/invitations.js'
export type { JwtClaims } from './auth/jwt.js'
export type { AsymmetricKeyInput, JwtAlgorithm, JwtKeyOptions } from './auth/key.js'
export type { JwtOptions, PublicJwks } from './auth/keys.js'
export type { MailFlows } from './auth/mail-flows.js'
export {
  consoleMailer,
  type LinkKind,
  type Mail,
  type MailContent,
  type Mailer,
  type MailKind,
  type MailOptions,
  nodemailerMailer,
} from './auth/mailer.js'
export type { Member, Members } from './auth/members.js'
export type { PasswordPolicy } from './auth/password-policy.js'
export { type BcryptHasher, type BcryptOptions, bcryptHasher } from './auth/passwords.js'
export type { RegistrationSteps } from './auth/register.js'
export type { SecondFactorOptions, SecondFactors } from './auth/second-factor.js'
export type { SessionInfo } from './auth/sessions.js'
export type { Attempt, Limit, Limiter, Throttle, ThrottledAction, ThrottledWho, ThrottleOptions } from './auth/throttle.js'
export { Api, type ApiOptions, type Route } from './http/api.js'
export type { BodyLimits } from './http/body.js'
export type { CookieOptions, CookieSettings } from './http/cookies.js'
export type { CrudHooks, CrudMethod, CrudResourceOptions, HookContext, MethodOptions } from './http/crud-options.js'
export { CrudResource, type PreparedRow } from './http/crud-resource.js'
export type { AdapterOptions } from './http/door.js'
export {
  Endpoint,
  type EndpointContext,
  type EndpointDescription,
  type EndpointOptions,
  type Loaded,
  type Method,
  type SchemaOption,
} from './http/endpoint.js'
export type { CallerOptions, RoleOptions } from './http/gate.js'
export type { MeOptions } from './http/me-options.js'
export type { Parent } from './http/parents.js'
export type { FactorAsked, IssuedTokens, PermsPort, ResourceModel, ServedModel, ServedRow } from './http/ports.js'
export type { ErrorInfo, OnError, Problem } from './http/problems.js'
export type { Included, IncludeOption, RelatedRows } from './http/related.js'
export type { BodySource, HttpRequest } from './http/request.js'
export { Resource, type ResourceOptions } from './http/resource.js'
export { HttpResponse, type ResponseOptions } from './http/response.js'
export type { Shaper } from './http/shape.js'
export {
  type FurtherUserFeature,
  type UserFeature,
  type UserFeatures,
  UserResource,
  type UserResourceOptions,
} from './http/user-resource.js'
export { initPerms, type Perms, type PermsOptions } from './init.js'
export { createTables, type ModelClass, type PermsMigrationStep, permsMigrations } from './migrations.js'
export { HasDomainMixin, type InDomain, type InDomainStatics } from './mixins/has-domain.js'
export { HasUserMixin, type Owned, type OwnedStatics } from './mixins/has-user.js'
export { type Profile, ProfileMixin } from './mixins/profile.js'
export { type SoftDelete, SoftDeleteMixin, type SoftDeleteStatics } from './mixins/soft-delete.js'
export { TimestampMixin, type Timestamps } from './mixins/timestamps.js'
export { UserOwnershipMixin } from './mixins/user-ownership.js'
export {
  type AbstractConstructor,
  type ActiveRecord,
  ActiveRecordMixin,
  type ActiveRecordStatics,
  type Constructor,
} from './model/active-record.js'
export { BaseModel } from './model/base-model.js'
export {
  Column,
  type ColumnSpec,
  type Columns,
  type ColumnType,
  column,
  type OnDelete,
  type Reference,
  type Row,
  type RuleLike,
  type StringOptions,
} from './model/column.js'
export * from './model/errors.js'
export { belongsTo, hasMany } from './model/relations.js'
export type { ModelSchemas, ObjectSchema } from './model/schemas.js'
export { type TransactionOptions, transaction } from './model/transaction.js'
export type { Unguarded } from './model/unguarded.js'
export { BasePermsModel } from './perms/base-perms-model.js'
export { type Actor, asAnonymous, asSystem, bypassPerms, currentUserId, type Grant } from './perms/context.js'
export { type Explanation, explain } from './perms/explain.js'
export { type Permissions, type PermissionsStatics, PermsMixin, type UserLike } from './perms/perms-mixin.js'
export type { Action } from './perms/policy.js'
export {
  ability,
  allOf,
  anyOf,
  authenticated,
  type Comparison,
  check,
  everyone,
  nobody,
  not,
  owner,
  type Policy,
  type Rule,
  related,
  role,
  type Scalar,
  type SqlRule,
  self,
  type WhereConditions,
  where,
} from './perms/rules.js'
export { currentUser, runAs, type UserClass } from './users/actor.js'
export { AuditLog } from './users/audit-log.js'
export { Domain } from './users/domain.js'
export type { UserEvents } from './users/events.js'
export { type DomainRef, HasRolesMixin, type WithRoles } from './users/has-roles-mixin.js'
export { inDomain } from './users/in-domain.js'
export { Invitation } from './users/invitation.js'
export type { PasswordHasher } from './users/password-hasher.js'
export { PasswordMixin, type WithPassword } from './users/password-mixin.js'
export { Role } from './users/roles.js'
export { SecondFactor } from './users/second-factor.js'
export { type IssueOptions, Token } from './users/token.js'
export { User } from './users/user.js'
export { UserRole } from './users/user-role.js'
export { UserSetting } from './users/user-setting.js'
