import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Knex } from 'knex'
import { readSchema } from '../../src/database/catalogue/read-schema.js'
import type { SchemaChange } from '../../src/database/catalogue/schema-types.js'
import { select } from '../../src/database/tables/existing-tables.js'
import { initPerms, type Perms } from '../../src/index.js'
import { compareSchemas } from '../../src/migrate/compare.js'
import { declaredSchema } from '../../src/migrate/declared-schema.js'
import { declaredTables } from '../../src/migrate/declared-tables.js'
import { checkMigrations, type MadeMigration, type MakeOptions, makeMigration } from '../../src/migrate/make.js'
import { withScratchDatabase } from '../../src/migrate/scratch.js'
import { sqlTable } from '../../src/migrate/text/literals.js'
import type { ModelClass } from '../../src/schema/model-class.js'
import { dialectOf } from '../../src/schema/storage.js'

/** A table with its rows. */
export interface Dump {
  readonly columns: readonly string[]
  /** The values of each row, in the order of the columns. */
  readonly rows: readonly (readonly unknown[])[]
  readonly types: unknown
  readonly keys: unknown
}

type Models = readonly ModelClass[]

/** An application with a folder of migrations, whose models change. */
export class Application {
  readonly folder = mkdtempSync(join(tmpdir(), 'objection-perms-migrations-'))
  readonly knex: Knex

  constructor(knex: Knex) {
    this.knex = knex
  }

  /** Runs fn with a Perms object of these models. */
  async with<T>(models: Models, fn: (perms: Perms) => Promise<T>): Promise<T> {
    const perms = initPerms({ knex: this.knex, jwt: { secret: 'a secret of at least thirty-two characters' }, models: [...models] })
    try {
      return await fn(perms)
    } finally {
      await perms.close()
    }
  }

  make(models: Models, options: Partial<MakeOptions> = {}): Promise<MadeMigration | null> {
    return this.with(models, (perms) => makeMigration(perms, { name: 'change', directory: this.folder, ...options }))
  }

  check(models: Models): Promise<readonly SchemaChange[]> {
    return this.with(models, (perms) => checkMigrations(perms, { directory: this.folder }))
  }

  /** Returns the differences between the database itself and the models. */
  drift(models: Models): Promise<readonly SchemaChange[]> {
    return this.with(models, async (perms) => {
      const tables = declaredTables(perms)
      const to = await withScratchDatabase(this.knex, {}, (scratch) => perms.enter(() => declaredSchema(scratch, tables)))
      return compareSchemas(await readSchema(this.knex), to)
    })
  }

  /** Makes a migration and runs it. */
  async change(models: Models, options: Partial<MakeOptions> = {}): Promise<string> {
    const made = await this.make(models, options)
    await this.up()
    return made?.text ?? ''
  }

  async up(): Promise<void> {
    await this.knex.migrate.latest(this.#config)
  }

  /** Undoes the last migration. */
  async down(): Promise<void> {
    await this.knex.migrate.down(this.#config)
  }

  get #config(): Knex.MigratorConfig {
    return { directory: this.folder }
  }

  /** Returns all tables with their rows, except those of Knex. */
  async dump(): Promise<Record<string, Dump>> {
    const { tables } = await readSchema(this.knex)
    const dump: Record<string, Dump> = {}
    for (const [name, { sql: _sql, columns, ...keys }] of tables) {
      if (name.startsWith('knex_migrations')) continue
      const rows = await select(this.knex, `select * from ${sqlTable(dialectOf(this.knex), name)}`, [])
      dump[name] = { columns: [...columns.keys()], rows, types: [...columns.values()], keys }
    }
    return dump
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}
