import type { AuthCore } from '../../core.js'
import type { OptionalTables } from '../../optional-tables.js'
import { deriveKeys } from '../../tokens/derived-keys.js'
import { type MailDelivery, mailDelivery } from '../mail/mail-delivery.js'
import { ProviderConnection } from './connection.js'
import type { ProviderSettings } from './options.js'
import type { SealKeys } from './sign-in-store.js'

/** The objects that the functions of providers share. */
export interface ProvidersContext {
  readonly core: AuthCore
  readonly settings: ProviderSettings
  readonly delivery: MailDelivery
  readonly tables: () => Promise<OptionalTables>
  /** The keys that encrypt stored values, the newest first. */
  readonly sealKeys: SealKeys
  /** The connections by the name of their provider. */
  readonly connections: ReadonlyMap<string, ProviderConnection>
}

export function providersContext(core: AuthCore, settings: ProviderSettings): ProvidersContext {
  const { providers, usersUrl, fetch, timeout } = settings
  const connections = [...providers].map(
    ([name, provider]) => [name, new ProviderConnection(provider, `${usersUrl}/providers/${name}/callback/`, { fetch, timeout })] as const,
  )
  return {
    core,
    settings,
    delivery: mailDelivery(core),
    tables: core.tables,
    sealKeys: deriveKeys(core.keys, 'provider sign-in'),
    connections: new Map(connections),
  }
}
