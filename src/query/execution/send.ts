import type { Knex } from 'knex'
import { joinAmbient } from '../../database/transaction.js'

/** The members of Knex's client that this file uses. */
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
 * Sends a complete statement like `knex.raw(sql, bindings)`, with the same pool and events, inside the open transaction if there is
 * one. It skips Knex's builder and runner, which take as long as a small statement, and the application's postProcessResponse.
 *
 * @returns the driver's response
 * @throws the errors of the driver and of the pool
 */
export async function send(knex: Knex, sql: string, bindings: readonly unknown[]): Promise<unknown> {
  const client = joinAmbient(knex).client as KnexClient
  const connection = await client.acquireConnection()
  try {
    const query = await client.query(connection, { sql, bindings, method: 'raw' })
    client.emit('query-response', query.response, query)
    return query.response
  } finally {
    // The supported clients release the connection synchronously. The promise is for other clients.
    void client.releaseConnection(connection)
  }
}
