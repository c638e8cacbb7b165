import { ConfigurationError } from '../../core/errors.js'
import type { OptionNames } from '../../core/known-options.js'
import { requireEmailColumn } from '../../users/account/identifiers.js'
import type { PermsPort, ResourceModel, ServedModel } from '../core/ports.js'
import { type CrudResourceOptions, crudOptionNames } from '../crud/crud-options.js'
import type { MeOptions } from './me-options.js'

const defaultFeatures = ['login', 'me', 'refresh', 'logout', 'sessions', 'permissions'] as const
const furtherFeatures = [
  ...(['apiKeys', 'verifyEmail', 'resetPassword', 'changeEmail', 'magicLink', 'codes', 'totp', 'trustedDevices'] as const),
  ...(['passkeys', 'providers', 'invitations', 'impersonation', 'privateRegistration', 'confirm', 'export', 'deleteAccount'] as const),
] as const

/** The features that are on by default. */
export type UserFeature = (typeof defaultFeatures)[number]

/** The features that are off by default. */
export type FurtherUserFeature = (typeof furtherFeatures)[number]

export type UserFeatures = { readonly [K in UserFeature | FurtherUserFeature]?: boolean | undefined }

export interface UserResourceOptions<M extends ResourceModel = ResourceModel> extends Omit<CrudResourceOptions<M>, 'model'> {
  /** A user model with the table of the registered user model. Default: the registered user model. */
  model?: M | undefined
  /** The endpoints in addition to CRUD. Default: login, refresh, logout, me, permissions (of `me`) and sessions. */
  features?: UserFeatures | undefined
  /**
   * Restricts what `me/` accepts and shows further than the resource. A key or column that the resource does not accept or show
   * throws a ConfigurationError.
   *
   * @example new UserResource({ me: { argSchema: ['nickname'], schema: ['id', 'email', 'nickname'] } })
   */
  me?: MeOptions | undefined
}

const featureNames = Object.fromEntries([...defaultFeatures, ...furtherFeatures].map((name) => [name, true])) as OptionNames<UserFeatures>

/** The names of the options of UserResource. */
export const userOptionNames: OptionNames<UserResourceOptions> = {
  ...crudOptionNames,
  features: featureNames,
  me: { argSchema: true, schema: true },
}

/** @throws ConfigurationError for `features.passkeys` without the option of initPerms() */
export function assertPasskeyFeature({ passkeys }: UserFeatures, { options }: PermsPort): void {
  if (!passkeys || options.passkeys) return
  throw new ConfigurationError(
    "features.passkeys needs a domain: initPerms({ passkeys: { rpId: 'example.com', rpName: 'Example', origins: ['https://example.com'] } }).",
  )
}

/** @throws ConfigurationError for `features.providers` without providers */
export function assertProviders({ providers }: UserFeatures, perms: PermsPort): void {
  if (providers && !perms.auth.providers.isReady)
    throw new ConfigurationError(
      'features.providers needs identity providers: initPerms({ providers: { github: github({ clientId, clientSecret }) }, providerSignIn: { usersUrl } }).',
    )
}

/** @throws ConfigurationError for a feature that sends mail without a mailer, or without a column that it needs */
export function assertMailFeatures(features: UserFeatures, model: ServedModel, perms: PermsPort): void {
  const names = ['verifyEmail', 'resetPassword', 'changeEmail', 'magicLink', 'privateRegistration', 'invitations'] as const
  const wanted = names.find((name) => features[name])
  if (wanted !== undefined && !perms.auth.mail.isReady)
    throw new ConfigurationError(
      `features.${wanted} sends mail, but initPerms has no mailer. Add initPerms({ mail: { mailer: consoleMailer(), baseUrl: 'http://localhost:3000' } }).`,
    )
  if (wanted !== undefined) requireEmailColumn(model, `features.${wanted}`)
  if (features.codes) assertCodes(model, perms)
  if (features.trustedDevices && !perms.auth.devices.isReady)
    throw new ConfigurationError(
      'features.trustedDevices needs a lifetime in seconds: initPerms({ secondFactor: { trustedDevices: { lifetime: 2_592_000 } } }).',
    )
  if (features.verifyEmail && !('emailVerifiedAt' in model.columnSpecs))
    throw new ConfigurationError(
      `features.verifyEmail needs the column emailVerifiedAt. Add it with class ${model.name} extends TimestampMixin(User).`,
    )
}

function assertCodes(model: ServedModel, perms: PermsPort): void {
  requireEmailColumn(model, 'features.codes')
  if (perms.auth.codes.isReady) return
  throw new ConfigurationError(
    "features.codes sends codes, but initPerms has no mailer and no sender. Add initPerms({ mail: { mailer: consoleMailer(), baseUrl: 'http://localhost:3000' } }), or initPerms({ codes: { sender } }).",
  )
}
