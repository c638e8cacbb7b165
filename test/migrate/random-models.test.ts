import { readFileSync, writeFileSync } from 'node:fs'
import { expect } from 'chai'
import { codeString } from '../../src/migrate/text/literals.js'
import { encode } from '../../src/schema/storage.js'
import { availableDatabases, createDatabase, type DatabaseName, dialects } from '../helpers/databases.js'
import { generatedCases } from '../helpers/repetitions.js'
import { Application } from './application.js'
import {
  Choices,
  changedTables,
  modelsOf,
  type RandomColumn,
  type RandomTables,
  randomTables,
  randomValue,
  specOf,
} from './random-models.js'

const cases = generatedCases(24, 'MIGRATION_RUNS', 8)
const firstSeed = Number(process.env['MIGRATION_SEED'] ?? 1)

for (const driver of availableDatabases) {
  describe(`Migrations between random models (${driver})`, () => {
    const count = driver.includes('sqlite') ? cases * 4 : cases
    for (let seed = firstSeed; seed < firstSeed + count; seed += 1)
      it(`reach the second models and lead back to the first with all rows (MIGRATION_SEED=${seed} MIGRATION_RUNS=1)`, async function () {
        this.timeout(180_000)
        await tryModels(driver, seed)
      })
  })
}

async function tryModels(driver: DatabaseName, seed: number): Promise<void> {
  const database = await createDatabase(driver)
  const app = new Application(database.knex)
  try {
    const choices = new Choices(seed)
    const before = randomTables(choices)
    const after = changedTables(before, choices)
    const [first, second] = [modelsOf(before), modelsOf(after)]
    await app.change(first)
    expect(await app.drift(first), 'the first models').to.deep.equal([])
    const rows = new Rows(app, dialects[driver], choices)
    await rows.insert(before)
    await rows.prepare(before, after)
    const dump = await app.dump()
    const made = await app.make(second, { allowLoss: true })
    if (!made) return
    rows.fillIn(made.file, after)
    const { text } = made
    await app.up()
    expect(await app.check(second), `the check of the second models after ${text}`).to.deep.equal([])
    expect(await app.drift(second), `the database after ${text}`).to.deep.equal([])
    const changed = await app.dump()
    if (text.includes('This migration cannot be undone')) {
      await app.down().then(
        () => expect.fail('down() of a lossy migration did not throw'),
        (error: Error) => expect(error.message).to.match(/cannot be undone/),
      )
      expect(await app.dump(), 'the database after the refused down()').to.deep.equal(changed)
    } else {
      await app.down()
      expect(await app.drift(first), `the database after down() of ${text}`).to.deep.equal([])
      expect(rowsOf(await app.dump()), `the rows after down() of ${text}`).to.deep.equal(rowsOf(dump))
    }
  } finally {
    app.remove()
    await database.destroy()
  }
}

const sorted = (rows: unknown): string[] => (rows as unknown[]).map((row) => JSON.stringify(row)).sort()

/** Returns the rows of each table with the columns in one order: an undone drop adds a column at the end. */
function rowsOf(dump: Record<string, { columns: readonly string[]; rows: readonly (readonly unknown[])[] }>): Record<string, string[]> {
  return Object.fromEntries(
    Object.entries(dump).map(([table, { columns, rows }]) => {
      const order = columns.map((name, i) => [name, i] as const).sort(([one], [other]) => (one < other ? -1 : 1))
      return [table, sorted(rows.map((row) => order.map(([name, i]) => [name, row[i]])))]
    }),
  )
}

class Rows {
  readonly #app: Application
  readonly #dialect: 'sqlite' | 'pg' | 'mysql'
  readonly #choices: Choices
  readonly #ids = new Map<string, string[]>()

  constructor(app: Application, dialect: 'sqlite' | 'pg' | 'mysql', choices: Choices) {
    this.#app = app
    this.#dialect = dialect
    this.#choices = choices
  }

  async insert(tables: RandomTables): Promise<void> {
    const { knex } = this.#app
    const time = encode({ ...specOf({ type: 'datetime', isNullable: false }) }, new Date(1_700_000_000_000), this.#dialect)
    let count = 0
    for (const name of Object.keys(tables)) {
      const ids = [0, 1, 2].map(() => {
        count += 1
        return `00000000-0000-4000-8000-${count.toString(16).padStart(12, '0')}`
      })
      // References may point to any table, so they are set after all rows exist.
      const columns = Object.entries(tables[name] ?? {}).filter(([, { type }]) => type !== 'reference')
      for (const id of ids)
        await knex(name).insert({
          id,
          created_at: time,
          updated_at: time,
          ...Object.fromEntries(columns.map(([column, spec]) => [column, this.#value(spec)])),
        })
      this.#ids.set(name, ids)
    }
    for (const [name, columns] of Object.entries(tables))
      for (const [column, spec] of Object.entries(columns))
        if (spec.type === 'reference')
          for (const id of this.#ids.get(name) ?? [])
            await knex(name)
              .where({ id })
              .update({ [column]: this.#value(spec) })
  }

  #value(spec: RandomColumn): never {
    return encode(specOf(spec), randomValue(spec, this.#choices, this.#ids.get(spec.target ?? '') ?? []), this.#dialect) as never
  }

  /** Changes rows that the second models do not allow, as a developer does before the migration. */
  async prepare(before: RandomTables, after: RandomTables): Promise<void> {
    const { knex } = this.#app
    for (const [table, columns] of Object.entries(after)) {
      for (const [name, spec] of Object.entries(columns)) {
        const column = spec.renamedFrom ?? name
        const earlier = before[table]?.[column]
        if (!earlier) continue
        for (const id of this.#ids.get(table) ?? []) {
          const value = this.#value({
            ...earlier,
            ...(spec.values ? { values: spec.values.filter((one) => earlier.values?.includes(one)) } : {}),
            isNullable: false,
          })
          if (!spec.isNullable && earlier.isNullable)
            await knex(table)
              .where({ id })
              .whereNull(column)
              .update({ [column]: value })
          if (spec.values)
            await knex(table)
              .where({ id })
              .whereNotIn(column, [...spec.values])
              .update({ [column]: value })
          const isUnique = spec.isUnique && !earlier.isUnique
          if (isUnique)
            await knex(table)
              .where({ id })
              .update({ [column]: this.#value({ ...earlier, isUnique: true, isNullable: false }) })
        }
      }
    }
  }

  /** Writes a value for the rows of each new NOT NULL column into a migration, as its comment says. */
  fillIn(file: string, after: RandomTables): void {
    const filled = readFileSync(file, 'utf8').replaceAll(
      /\/\/ (await \w+\('(\w+)'\)\.whereNull\('(\w+)'\)\.update\(\{ )\w+: .* \}\)/g,
      (comment, start: string, table: string, column: string) => {
        const spec = after[table]?.[column]
        if (!spec || !column.startsWith('added')) return comment
        const value: unknown = this.#value({ ...spec, isNullable: false })
        return `${start}${column}: ${typeof value === 'string' ? codeString(value) : String(value)} })`
      },
    )
    writeFileSync(file, filled)
  }
}
