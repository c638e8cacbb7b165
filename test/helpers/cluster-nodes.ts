/**
 * The addresses through which `.ci/clusters` lets server processes reach their databases: PgBouncer before POSTGRES_URL, and the
 * nodes of the Galera cluster of which MARIADB_URL is the first. Without these variables, processes connect to the database itself.
 */
const pooler = process.env['PGBOUNCER_URL']
const nodes = (process.env['GALERA_URLS'] ?? '').split(',').filter((url) => url !== '')

/** Returns the address of a database on another server, with the same name of the database. */
export function elsewhere(database: string, server: string): string {
  const url = new URL(server)
  url.pathname = new URL(database).pathname
  return url.href
}

let turn = 0

/** Returns how the next server process reaches a database: each one gets another node of a cluster. */
export function placeOfNextProcess(client: string, database: string): { readonly url: string; readonly namedStatements?: boolean } {
  if (client === 'pg' && pooler) return { url: elsewhere(database, pooler), namedStatements: false }
  if (client !== 'mysql2' || nodes.length === 0) return { url: database }
  turn += 1
  return { url: elsewhere(database, nodes[turn % nodes.length] as string) }
}
