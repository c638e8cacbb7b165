import * as usersRolesTokens from './001_users_roles_tokens.js'
import * as furtherTables from './002_further_tables.js'
import * as stepUp from './003_step_up.js'
import * as passkeys from './004_passkeys.js'
import * as identities from './005_identities.js'
import * as trustedDevices from './006_trusted_devices.js'
import * as accountLifecycle from './007_account_lifecycle.js'
import * as rowChanges from './008_row_changes.js'
import * as shares from './009_shares.js'

/** The packaged migrations in their order. They are imported rather than read from the folder, so that a bundle contains them. */
export const packagedMigrations = [
  { file: '001_users_roles_tokens.js', migration: usersRolesTokens },
  { file: '002_further_tables.js', migration: furtherTables },
  { file: '003_step_up.js', migration: stepUp },
  { file: '004_passkeys.js', migration: passkeys },
  { file: '005_identities.js', migration: identities },
  { file: '006_trusted_devices.js', migration: trustedDevices },
  { file: '007_account_lifecycle.js', migration: accountLifecycle },
  { file: '008_row_changes.js', migration: rowChanges },
  { file: '009_shares.js', migration: shares },
]
