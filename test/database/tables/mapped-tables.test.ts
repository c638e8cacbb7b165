import type { Knex } from 'knex'
import { type ColumnNameMappers, knexSnakeCaseMappers, snakeCaseMappers } from 'objection'
import type { PermsOptions } from '../../../src/index.js'
import { eachDatabase } from '../../helpers/databases.js'
import { itServes, type SmallApplication, startSmallApplication } from './small-application.js'

const tables = { prefix: 'perms_', names: { token: 'apiToken', userRole: 'group' } }

/** Mappers that an application wrote itself: they rename one column. */
const ownMappers: ColumnNameMappers = {
  parse: (row) => Object.fromEntries(Object.entries(row).map(([key, value]) => [key.replace(/^PinCode$/i, 'pinCODE'), value])),
  format: (row) => Object.fromEntries(Object.entries(row).map(([key, value]) => [key.replace(/^pinCODE$/, 'PinCode'), value])),
}

interface Mapping {
  readonly instance?: Partial<Knex.Config>
  readonly models?: ColumnNameMappers
  readonly tables?: PermsOptions['tables']
}

const mappings: Record<string, Mapping> = {
  'knexSnakeCaseMappers()': { instance: knexSnakeCaseMappers(), tables },
  'snakeCaseMappers() of the models': { models: snakeCaseMappers() },
  'mappers of its own of the models': { models: ownMappers, tables },
  'knexSnakeCaseMappers() and snakeCaseMappers() of the models': { instance: knexSnakeCaseMappers(), models: snakeCaseMappers(), tables },
  'knexSnakeCaseMappers() and mappers of its own of the models': { instance: knexSnakeCaseMappers(), models: ownMappers },
  'knexSnakeCaseMappers() in upper case': { instance: knexSnakeCaseMappers({ upperCase: true }), tables },
}

for (const [title, { instance = {}, models, tables }] of Object.entries(mappings))
  eachDatabase(`An application with named() columns over ${title}${tables ? ', and names of its own for the tables' : ''}`, (db) => {
    let app: SmallApplication
    before(async function () {
      this.timeout(30_000)
      app = await startSmallApplication(db.connect(instance), tables ? { tables } : {}, models)
    })
    after(() => app.perms.close())

    itServes(() => app)
  })
