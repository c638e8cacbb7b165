import { modelSlot } from '../runtime.js'

/** Where the engine finds users, roles, domains and sessions. initPerms says it; the engine only reads. */
export interface UserTables {
  readonly user: { readonly table: string; readonly hasDeletedAt: boolean }
  readonly userRole: { readonly table: string }
  readonly domain: { readonly table: string }
  readonly token: { readonly table: string }
}

const registered = modelSlot<UserTables | null>(() => null)

/** Sets the tables of the registered models. */
export function registerUserTables(tables: UserTables): void {
  registered.set(tables)
}

/** The tables, by their default names before initPerms. */
export function userTables(): UserTables {
  return (
    registered.get() ?? {
      user: { table: 'user', hasDeletedAt: false },
      userRole: { table: 'user_role' },
      domain: { table: 'domain' },
      token: { table: 'token' },
    }
  )
}

/** Whether a table holds users, roles, domains or sessions. */
export function isUserTable(table: string): boolean {
  return Object.values(userTables()).some((one: { table: string }) => one.table === table)
}

/** The roles that the library knows. */
export const SUPERADMIN = 'superadmin'
export const ADMIN = 'admin'

/** The granted roles that satisfy a wish for `asked`: a superadmin is an admin. */
export function rolesSatisfying(asked: readonly string[]): string[] {
  return asked.includes(ADMIN) && !asked.includes(SUPERADMIN) ? [...asked, SUPERADMIN] : [...asked]
}
