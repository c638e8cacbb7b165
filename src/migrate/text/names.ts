/** Names as an application writes them in its migrations. */
import type { Knex } from 'knex'
import { codeString } from './literals.js'

const simple = /^[\p{L}_][\p{L}\p{N}_$-]*$/u

interface NamingClient {
  wrapIdentifier(value: string, queryContext?: unknown): string
  wrapIdentifierImpl(value: string): string
  readonly config: Knex.Config
}

/** Finds the names that Knex converts to those of the database: with `knexSnakeCaseMappers()`, createdAt becomes created_at. */
export class Naming {
  readonly #client: NamingClient
  readonly #known = new Map<string, string | undefined>()

  /** @param knex an instance with the settings of the application */
  constructor(knex: Knex) {
    this.#client = knex.client as NamingClient
  }

  /**
   * Returns the code of a name in a call of Knex.
   *
   * @param name in the database
   * @returns undefined for a name that only raw SQL can contain
   */
  code(name: string): string | undefined {
    const written = this.#written(name)
    return written === undefined ? undefined : codeString(written)
  }

  /** Does the same for a table, whose name may contain a schema. */
  tableCode(table: string): string | undefined {
    const parts = table.split('.').map((part) => this.#written(part))
    return parts.includes(undefined) ? undefined : codeString(parts.join('.'))
  }

  /** Returns the code of the name of an index or constraint; undefined if Knex would convert it. */
  constraintCode(name: string): string | undefined {
    return this.#isSent(name, name) ? codeString(name) : undefined
  }

  #written(name: string): string | undefined {
    if (!this.#known.has(name)) this.#known.set(name, this.#find(name))
    return this.#known.get(name)
  }

  #find(name: string): string | undefined {
    return [this.#received(name), name].find((written) => written !== undefined && this.#isSent(written, name))
  }

  #isSent(written: string, name: string): boolean {
    return simple.test(written) && this.#client.wrapIdentifier(written) === this.#client.wrapIdentifierImpl(name)
  }

  // How the application sees the column of a row.
  #received(name: string): string | undefined {
    const convert = this.#client.config.postProcessResponse
    if (!convert || !simple.test(name)) return undefined
    try {
      const row: unknown = convert({ [name]: null }, undefined)
      const [key] = typeof row === 'object' && row !== null ? Object.keys(row) : []
      return key
    } catch {
      return undefined
    }
  }
}
