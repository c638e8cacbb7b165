import type { Knex } from 'knex'

/** A packaged migration. The second argument creates and drops the tables: see src/migrations.ts. */
export interface PackagedMigration {
  up(knex: Knex, tables: object): Promise<void>
  down(knex: Knex, tables: object): Promise<void>
}

export declare const packagedMigrations: readonly { readonly file: string; readonly migration: PackagedMigration }[]
