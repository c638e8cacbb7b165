export type { AccessClaims, Auth, FactorName, SecondFactorAsked, SessionProof, SignedIn, SignInResult } from './auth/auth.js'
export type { AuthEventName, AuthEvents, OnEvent } from './auth/events.js'
export type { CodeMessage, CodeOptions, CodePurpose, CodeSender } from './auth/flows/codes/code-options.js'
export type { CodeSignIn, Codes } from './auth/flows/codes/codes.js'
export type { ConfirmCredentials, Confirmed } from './auth/flows/confirm.js'
export type { Impersonation } from './auth/flows/impersonation.js'
export type {
  ImportedRole,
  ImportedUser,
  ImportOptions,
  ImportProgress,
  ImportResult,
  ImportUsers,
  RefusedUser,
} from './auth/flows/import/import-users.js'
export type { PrepareRegistration } from './auth/flows/invitations/accept.js'
export type { Invitations } from './auth/flows/invitations/invitations.js'
export type { AccountDeletions, PendingDeletion } from './auth/flows/lifecycle/account-deletion.js'
export type { DueAccountsOptions, DueAccountsReport } from './auth/flows/lifecycle/delete-due.js'
export type { ExportData, ExportedRow, ExportHeader } from './auth/flows/lifecycle/export-data.js'
export type { MailFlows } from './auth/flows/mail/mail-flows.js'
export {
  consoleMailer,
  type LinkKind,
  type Mail,
  type MailContent,
  type Mailer,
  type MailKind,
  type MailOptions,
  nodemailerMailer,
} from './auth/flows/mail/mail-service.js'
export type { Member, Members } from './auth/flows/members.js'
export type { Passkeys } from './auth/flows/passkeys/passkeys.js'
export type { AddedPasskey } from './auth/flows/passkeys/register.js'
export type { PasskeyOptions } from './auth/flows/passkeys/settings.js'
export type { PasskeySignInOptions } from './auth/flows/passkeys/sign-in.js'
export type { PasskeyCreationOptions, PasskeyRequestOptions } from './auth/flows/passkeys/webauthn.js'
export type { StartedProviderSignIn, StartProviderOptions } from './auth/flows/providers/begin.js'
export type { Fetch, FetchInit } from './auth/flows/providers/bounded-fetch.js'
export type { ProviderTokens } from './auth/flows/providers/connection.js'
export type { IdentityInfo } from './auth/flows/providers/identities.js'
export type { ProviderSignInOptions, SignUpRule } from './auth/flows/providers/options.js'
export {
  type AppleOptions,
  apple,
  type ConfidentialProviderOptions,
  type GitLabOptions,
  github,
  gitlab,
  google,
  type MicrosoftOptions,
  microsoft,
  type OidcProviderOptions,
  oidc,
} from './auth/flows/providers/presets.js'
export type { IdentityProvider, ProviderClaims, ProviderOptions, ProviderProfile } from './auth/flows/providers/provider.js'
export { ProviderRefusal, ProviderResponseError } from './auth/flows/providers/provider-error.js'
export type {
  FinishProviderOptions,
  ProviderResult,
  Providers,
} from './auth/flows/providers/providers.js'
export type { Exchange } from './auth/flows/providers/sign-in-store.js'
export type { RegistrationSteps } from './auth/flows/register.js'
export type { SecondFactorOptions, SecondFactors } from './auth/flows/second-factor/second-factor.js'
export type { TrustedDeviceInfo, TrustedDeviceOptions, TrustedDevices } from './auth/flows/second-factor/trusted-devices.js'
export type { MaintenanceOptions, MaintenanceReport, MaintenanceResult } from './auth/maintenance.js'
export { type Argon2idOptions, argon2idHasher } from './auth/passwords/argon2id.js'
export { type BcryptHasher, type BcryptOptions, bcryptHasher } from './auth/passwords/bcrypt-hasher.js'
export type { BreachCheckFailure, BreachedRange } from './auth/passwords/breached-range.js'
export { type FirebaseScryptOptions, firebaseScrypt } from './auth/passwords/legacy/firebase-scrypt.js'
export { type Pbkdf2Digest, type Pbkdf2Format, type Pbkdf2Options, pbkdf2 } from './auth/passwords/legacy/pbkdf2.js'
export { type PhpassOptions, phpass } from './auth/passwords/legacy/phpass.js'
export { type SaltedDigestOptions, saltedDigest } from './auth/passwords/legacy/salted-digest.js'
export type { LegacyPasswordScheme, LegacyWrapping } from './auth/passwords/legacy/scheme.js'
export { type ScryptCost, type ScryptFormat, type ScryptOptions, scrypt } from './auth/passwords/legacy/scrypt.js'
export type { HashTemplate } from './auth/passwords/legacy/template.js'
export type { PasswordPolicy } from './auth/passwords/password-policy.js'
export type { Attempt, Limit, Limiter, Throttle, ThrottledAction, ThrottledWho, ThrottleOptions } from './auth/throttle/throttle.js'
export type { ApiKeyInfo, ApiKeys } from './auth/tokens/api-keys.js'
export type { JwtClaims } from './auth/tokens/jwt.js'
export type { AsymmetricKeyInput, JwtAlgorithm, JwtKeyOptions } from './auth/tokens/key.js'
export type { JwtOptions, PublicJwks } from './auth/tokens/key-set.js'
export type { LegacyTokenOptions } from './auth/tokens/legacy-tokens.js'
export type { RememberMeOptions } from './auth/tokens/session-life.js'
export type { SessionInfo } from './auth/tokens/sessions.js'
export * from './core/errors.js'
export type { LanguageOptions, Languages, LanguageTexts } from './core/messages/languages.js'
export { type Message, type MessageId, type MessageText, type MessageValue, message } from './core/messages/message.js'
export { type TransactionOptions, transaction } from './database/transaction.js'
export { BasePermsModel, type BasePermsModelWithoutId, type LibraryModel, type LibraryRow } from './enforce/base-perms-model.js'
export { type Permissions, type PermissionsStatics, PermsMixin, type UserLike } from './enforce/perms-mixin.js'
export type { CookieOptions, CookieSettings } from './http/caller/cookies.js'
export type { CallerOptions, RoleOptions } from './http/caller/request-authenticator.js'
export type { BodyLimits } from './http/core/body.js'
export {
  Endpoint,
  type EndpointContext,
  type EndpointDescription,
  type EndpointOptions,
  type Loaded,
  type Method,
  type SchemaOption,
} from './http/core/endpoint.js'
export type { FactorAsked, IssuedTokens, PermsPort, ResourceModel, ServedModel, ServedRow } from './http/core/ports.js'
export type { ErrorInfo, OnError, Problem } from './http/core/problems.js'
export type { BodySource, HttpRequest } from './http/core/request.js'
export { Resource, type ResourceOptions } from './http/core/resource.js'
export { HttpResponse, type ResponseOptions } from './http/core/response.js'
export type { CrudHooks, CrudMethod, CrudResourceOptions, HookContext, MethodOptions } from './http/crud/crud-options.js'
export { CrudResource } from './http/crud/crud-resource.js'
export type { PreparedRow } from './http/crud/crud-rows.js'
export type { Parent } from './http/crud/parents.js'
export type { Included, IncludeOption, RelatedRows } from './http/crud/related.js'
export type { Shaper } from './http/crud/shape.js'
export {
  type Adapter,
  type AdapterOptions,
  type CallerCheck,
  type Continuation,
  createAdapter,
  type ServedApi,
} from './http/serve/adapter-core.js'
export { Api, type ApiOptions, type Route } from './http/serve/api.js'
export type { SocketConnection, UpgradeOptions } from './http/serve/socket.js'
export type { MeOptions } from './http/users/me-options.js'
export type { FurtherUserFeature, UserFeature, UserFeatures, UserResourceOptions } from './http/users/user-options.js'
export { UserResource } from './http/users/user-resource.js'
export { initPerms } from './init.js'
export type { Change } from './insight/explain/changes.js'
export type { Counterfactual } from './insight/explain/counterfactuals.js'
export type { Explanation, FieldExplanation, RowExplanation } from './insight/explain/explanation.js'
export { formatExplanation } from './insight/explain/format.js'
export type { ExplanationNode } from './insight/explain/tree.js'
export { explain } from './insight/explain.js'
export type { LintCode, LintFinding, LintSettings } from './insight/lint/finding.js'
export { lint } from './insight/lint/lint.js'
export {
  type MatrixCell,
  type MatrixModel,
  type MatrixOptions,
  matrix,
  type PermissionMatrix,
} from './insight/matrix/matrix.js'
export { type Counterexample, type Verification, type VerifyOptions, verify } from './insight/verify/verify.js'
export { type Permission, whatCan } from './insight/what-can.js'
export { whoCan } from './insight/who-can.js'
export {
  createTables,
  type ModelClass,
  type PermsMigrationOptions,
  type PermsMigrationStep,
  type PermsMigrations,
  permsMigrations,
} from './migrations.js'
export { HasDomainMixin, type InDomain, type InDomainStatics } from './mixins/has-domain.js'
export { HasUserMixin, type OnUserDeleted, type Owned, type OwnedStatics, type UserDeletion } from './mixins/has-user.js'
export { type Profile, ProfileMixin } from './mixins/profile.js'
export {
  type Shareable,
  ShareableMixin,
  type ShareableStatics,
  type SharedRow,
  type ShareOptions,
  type ShareSubject,
} from './mixins/shareable.js'
export { type SoftDelete, SoftDeleteMixin, type SoftDeleteStatics } from './mixins/soft-delete.js'
export { TimestampMixin, type Timestamps } from './mixins/timestamps.js'
export { UserOwnershipMixin } from './mixins/user-ownership.js'
export type { Action, ActionName } from './policy/actions.js'
export { type Actor, asAnonymous, asSystem, bypassPerms, currentUserId, type Grant } from './policy/context.js'
export type { RoleDeclaration, RoleDeclarations } from './policy/declared-roles.js'
export type { StepUpRule } from './policy/fresh-session.js'
export { membersPolicy } from './policy/ready-policies.js'
export type { LibraryIds, TableKind, TableOptions } from './policy/registered-models.js'
export type { DomainId, DomainName, LibraryId, Register, RoleName, UserId } from './policy/registered-types.js'
export {
  ability,
  allOf,
  allowed,
  anyOf,
  authenticated,
  before,
  type Comparison,
  check,
  colleague,
  everyone,
  member,
  nobody,
  not,
  owner,
  type Policy,
  type RelatedOptions,
  type Rule,
  related,
  role,
  type Scalar,
  type SqlRule,
  self,
  shared,
  type WhereConditions,
  where,
} from './policy/rules.js'
export { type Factor, type FactorRule, factor, type RecentRule, recent } from './policy/session-rules.js'
export type { Allowed, FlaggedQuery, WithAllowed } from './query/allowed-flags.js'
export type { Unguarded } from './query/inspection/unguarded.js'
export { ActiveRecordMixin } from './record/active-record.js'
export { BaseModel, type BaseModelWithoutId } from './record/base-model.js'
export type {
  AbstractConstructor,
  ActiveRecord,
  ActiveRecordStatics,
  ClassWithColumns,
  Constructor,
  IdOf,
  StringId,
} from './record/record-types.js'
export { belongsTo, hasMany, type Relation, type Relations } from './record/relations.js'
export type { IdColumn, RelatedRow, RelationName, RowMember } from './record/row-names.js'
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
} from './schema/column.js'
export type { ColumnNames, TableKeys } from './schema/definition/declarations.js'
export type { ModelSchemas, ObjectSchema } from './schema/json-schemas.js'
export type { AccountDeletionOptions, PermsOptions, StepUpOptions } from './setup/options.js'
export type { Perms } from './setup/perms.js'
export type { PasswordHasher } from './users/account/password-hasher.js'
export { PasswordMixin, type WithPassword } from './users/account/password-mixin.js'
export { AccountDeletion, type DeletionReport, type DeletionState, type ModelReport } from './users/account-deletion.js'
export type { Audited } from './users/audit/row-changes.js'
export { AuditLog } from './users/audit-log.js'
export {
  type AnyUser,
  currentUser,
  type Presence,
  type RegisteredUser,
  type RegisteredUserClass,
  runAs,
  type UserClass,
  type UserRow,
} from './users/caller/actor.js'
export { inDomain } from './users/caller/in-domain.js'
export { Domain, type DomainWithoutId } from './users/domain.js'
export type { UserEvents } from './users/events.js'
export { Identity } from './users/identity.js'
export { Invitation } from './users/invitation.js'
export { Passkey } from './users/passkey.js'
export { ProviderSignIn } from './users/provider-sign-in.js'
export { type DomainRef, type DomainRow, HasRolesMixin, type WithRoles } from './users/roles/has-roles-mixin.js'
export { Role } from './users/roles/roles.js'
export { RowShare } from './users/row-share.js'
export { SecondFactor } from './users/second-factor.js'
export { type IssueOptions, Token } from './users/token.js'
export { TrustedDevice } from './users/trusted-device.js'
export { User, type UserWithoutId } from './users/user.js'
export { UserRole, type UserRoleWithoutId } from './users/user-role.js'
export { UserSetting, type UserSettingWithoutId } from './users/user-setting.js'
