import { expect } from 'chai'
import { readSchema } from '../../src/database/catalogue/read-schema.js'
import { initPerms } from '../../src/index.js'
import { describeChanges } from '../../src/migrate/compare/describe.js'
import { compareSchemas } from '../../src/migrate/compare.js'
import { declaredSchema } from '../../src/migrate/declared-schema.js'
import { declaredTables } from '../../src/migrate/declared-tables.js'
import { findTableDrift } from '../../src/migrate/table-drift.js'
import { availableDatabases, createDatabase, dialects } from '../helpers/databases.js'
import { existingSchemas } from './existing-schemas.js'

for (const name of availableDatabases) {
  describe(`Models with only a JSON Schema do not differ from existing tables (${name})`, () => {
    for (const { title, create, models } of existingSchemas) {
      it(`of ${title}`, async function () {
        this.timeout(20_000)
        const [own, scratch] = [await createDatabase(name), await createDatabase(name)]
        const perms = initPerms({ knex: own.knex, models })
        try {
          await create(own.knex, dialects[name])
          const tables = declaredTables(perms)
          const changes = compareSchemas(await readSchema(own.knex), await declaredSchema(scratch.knex, tables))
          expect(describeChanges(changes)).to.deep.equal([])
          const drift = await findTableDrift(
            own.knex,
            tables.filter(({ isCreatedByLibrary }) => !isCreatedByLibrary),
          )
          expect(drift.differences).to.deep.equal([])
        } finally {
          await perms.close()
          await own.destroy()
          await scratch.destroy()
        }
      })
    }
  })
}
