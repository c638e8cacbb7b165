/** The database in memory in which rules are evaluated. */
import createKnex, { type Knex } from 'knex'
import type { Model } from 'objection'
import { ConfigurationError } from '../../core/errors.js'
import type { Condition } from '../../policy/compiler/condition.js'
import { tableOf } from '../../schema/class-statics.js'
import { namedColumn, structureOf } from '../../schema/definition/definition.js'
import { encode } from '../../schema/storage.js'
import { idFor } from './tenants.js'
import type { Tree } from './trees.js'

/** Opens an SQLite database in memory. @throws ConfigurationError without a driver */
export async function openSearch(): Promise<Knex> {
  for (const client of ['better-sqlite3', 'sqlite3']) {
    try {
      const knex = createKnex({ client, connection: { filename: ':memory:' }, useNullAsDefault: true, pool: { min: 1, max: 1 } })
      await knex.raw('select 1')
      return knex
    } catch {
      // The other driver may be installed.
    }
  }
  throw new ConfigurationError('verify() searches in SQLite. Install better-sqlite3 or sqlite3 as a development dependency.')
}

/** A row as it was inserted, with the id of its root. */
export interface Inserted {
  readonly cls: typeof Model
  readonly values: Readonly<Record<string, unknown>>
}

/** Tables that are filled with rows, and asked for the rows that satisfy conditions. */
export class SearchDatabase {
  #count = 100
  readonly #rows = new Map<string, Inserted[]>()
  readonly #made = new Set<string>()

  constructor(readonly knex: Knex) {}

  /** Adds a row and its related rows. @returns all of them, the row first */
  add({ cls, values, children }: Tree): Inserted[] {
    this.#count += 1
    const row: Record<string, unknown> = { id: idFor(cls, this.#count), ...values }
    const own: Inserted = { cls, values: row }
    const others = children.flatMap(({ relation, tree }): Inserted[] => {
      if (relation.isObjectionBelongsToOneRelation) {
        const [child, ...more] = this.add(tree)
        row[relation.ownerProp.props[0] ?? ''] = child?.values[relation.relatedProp.props[0] ?? '']
        return child ? [child, ...more] : []
      }
      const key = row[relation.ownerProp.props[0] ?? '']
      if (!relation.joinTableModelClass)
        return this.add({ ...tree, values: { ...tree.values, [relation.relatedProp.props[0] ?? '']: key } })
      const [child, ...more] = this.add(tree)
      const link = {
        [relation.joinTableOwnerProp?.cols[0] ?? '']: key,
        [relation.joinTableRelatedProp?.cols[0] ?? '']: child?.values[relation.relatedProp.props[0] ?? ''],
      }
      this.#insert(String(relation.joinTable), { cls: relation.joinTableModelClass, values: link })
      return child ? [child, ...more] : []
    })
    this.#insert(tableOf(cls), own)
    return [own, ...others]
  }

  /** Adds a row whose columns are named as in the database. */
  addRaw(cls: typeof Model, values: Readonly<Record<string, unknown>>): void {
    this.#insert(tableOf(cls), { cls, values })
  }

  #insert(table: string, row: Inserted): void {
    const known = this.#rows.get(table)
    if (known) known.push(row)
    else this.#rows.set(table, [row])
  }

  /** Creates the tables, those of the classes as well if they have no rows, and writes the rows. */
  async write(classes: readonly (typeof Model)[]): Promise<void> {
    for (const cls of classes) if (!this.#rows.has(tableOf(cls))) this.#rows.set(tableOf(cls), [])
    for (const [table, rows] of this.#rows) await this.#writeTable(table, rows)
  }

  async #writeTable(table: string, rows: readonly Inserted[]): Promise<void> {
    const stored = rows.map(({ cls, values }) => storedValues(cls, values))
    const cls = rows[0]?.cls
    const declared = cls ? Object.keys(structureOf(cls).specs).map((name) => namedColumn(cls, name)) : []
    const columns = [...new Set(['id', ...declared, ...stored.flatMap((row) => Object.keys(row))])]
    const [schema] = table.includes('.') ? table.split('.') : []
    if (schema !== undefined && !this.#made.has(schema)) await this.knex.raw("attach ':memory:' as ??", [schema])
    if (schema !== undefined) this.#made.add(schema)
    await this.knex.raw(`create table ?? (${columns.map(() => '??').join(', ')})`, [table, ...columns])
    const size = Math.max(1, Math.floor(900 / columns.length))
    for (let i = 0; i < stored.length; i += size) {
      const part = stored.slice(i, i + size)
      const marks = part.map(() => `(${columns.map(() => '?').join(', ')})`).join(', ')
      const values = part.flatMap((row) => columns.map((name) => row[name] ?? null))
      await this.knex.raw(`insert into ?? values ${marks}`, [table, ...values] as Knex.RawBinding[])
    }
  }

  /** Returns the ids of the rows of a class that satisfy a condition. */
  async idsWhere(cls: typeof Model, ref: string, condition: Condition): Promise<ReadonlySet<unknown>> {
    if (condition === false) return new Set()
    const { sql, bindings } = condition === true ? { sql: '1 = 1', bindings: [] } : condition
    const rows: readonly { id: unknown }[] = await this.knex.raw(`select ?? as id from ?? as ?? where ${sql}`, [
      ...[`${ref}.${namedColumn(cls, 'id')}`, tableOf(cls), ref],
      ...bindings,
    ] as Knex.RawBinding[])
    return new Set(rows.map(({ id }) => String(id)))
  }
}

function storedValues(cls: typeof Model, values: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const { specs } = structureOf(cls)
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => {
      const spec = specs[name]
      return [namedColumn(cls, name), spec && value !== null ? encode({ ...spec, isNullable: true }, value, 'sqlite') : value]
    }),
  )
}
