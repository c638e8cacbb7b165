import type { Knex } from 'knex'
import { joinAmbient } from '../database/transaction.js'

/** What is used of a Knex client. */
interface KnexClient {
  acquireConnection(): Promise<object>
  releaseConnection(connection: object): Promise<void>
  query(connection: object, query: Query): Promise<Query>
  emit(event: 'query-response', response: unknown, query: Query): unknown
}

interface Query {
  readonly sql: string
  readonly bindings: readonly unknown[]
  readonly method: 'raw'
  response?: unknown
}

/**
 * Sends a statement whose text is ready, as `knex.raw(sql, bindings)` would, with the same pool and events; the transaction that
 * is open is joined. Knex's builder and runner, which cost as much as a small statement, are left out, and so is the application's
 * postProcessResponse.
 *
 * @returns what the driver answered
 * @throws what the driver or the pool throws
 */
export async function send(knex: Knex, sql: string, bindings: readonly unknown[]): Promise<unknown> {
  const client = joinAmbient(knex).client as KnexClient
  const connection = await client.acquireConnection()
  try {
    const query = await client.query(connection, { sql, bindings, method: 'raw' })
    client.emit('query-response', query.response, query)
    return query.response
  } finally {
    // Resolved already; Knex returns a promise for the sake of other clients.
    void client.releaseConnection(connection)
  }
}
