import { expect } from 'chai'
import fc from 'fast-check'
import { readSchema } from '../../src/database/catalogue/read-schema.js'
import type { DatabaseSchema } from '../../src/database/catalogue/schema-types.js'
import { createTablesFromSpecs, dropTables, type TableSpec } from '../../src/database/tables/tables.js'
import { describeChanges } from '../../src/migrate/compare/describe.js'
import { compareSchemas } from '../../src/migrate/compare.js'
import { eachDatabase } from '../helpers/databases.js'
import { generatedCases } from '../helpers/repetitions.js'
import { changesOf, randomTables } from './random-tables.js'

const seed = Number(process.env['FAST_CHECK_SEED'] ?? 20261128)
const runs = generatedCases(120, 'FAST_CHECK_RUNS', 12)

eachDatabase('Random tables', (db) => {
  /** Creates tables, reads them, and drops them. */
  async function schemaOf(tables: readonly TableSpec[]): Promise<DatabaseSchema> {
    try {
      await createTablesFromSpecs(db.knex, tables)
      return await readSchema(db.knex)
    } finally {
      await dropTables(db.knex, tables)
    }
  }

  it('do not differ from themselves, and one change makes exactly its differences', async function () {
    this.timeout(300_000)
    await fc.assert(
      fc.asyncProperty(randomTables, fc.nat(1000), async (tables, choice) => {
        const from = await schemaOf(tables)
        expect([...from.tables.keys()]).to.have.members(tables.map(({ name }) => name))
        expect(describeChanges(compareSchemas(from, await schemaOf(tables)))).to.deep.equal([])
        const changes = changesOf(tables, db.dialect)
        for (const change of [changes[choice % changes.length], changes[(choice * 7 + 3) % changes.length]]) {
          if (!change) continue
          const found = compareSchemas(from, await schemaOf(change.tables))
          expect(
            found.map(({ kind }) => kind),
            `${change.title}: ${describeChanges(found).join(' ')}`,
          ).to.deep.equal(change.kinds)
        }
      }),
      { seed, numRuns: runs, endOnFailure: true },
    )
  })
})
