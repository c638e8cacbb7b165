import { expect } from 'chai'
import type { Knex } from 'knex'
import { createDatabase, type DatabaseName, eachDatabase, type OwnDatabase } from '../helpers/databases.js'
import { currentSources, loadLibrary, startApplication, type UserModelName, userModelNames } from './application.js'
import { type Dialect, loadRows, readStatements, type SentStatement } from './releases.js'
import { readAllRows, readRows } from './rows.js'

/** Sends statements over one connection, as the driver takes them. @returns what each of them answered */
async function send(knex: Knex, dialect: Dialect, statements: readonly SentStatement[]): Promise<unknown[]> {
  const connection = await knex.client.acquireConnection()
  const answers: unknown[] = []
  try {
    for (const { sql, bindings } of statements) {
      const answer = await sendOne(connection, dialect, sql, bindings).catch((error: Error) => {
        throw new Error(`${error.message}, in statement ${answers.length + 1}: ${sql}`)
      })
      answers.push(answer)
    }
  } finally {
    await knex.client.releaseConnection(connection)
  }
  return answers
}

async function sendOne(connection: any, dialect: Dialect, sql: string, bindings: readonly unknown[]): Promise<unknown> {
  if (dialect === 'pg') {
    const { rows, rowCount } = await connection.query(sql, bindings)
    return { rows, rowCount }
  }
  if (dialect === 'mysql') {
    const [answer] = await connection.promise().query(sql, bindings)
    return Array.isArray(answer) ? answer : { affectedRows: answer.affectedRows }
  }
  if (typeof connection.prepare === 'function' && !connection.all) {
    const statement = connection.prepare(sql)
    return statement.reader ? statement.all(bindings) : statement.run(bindings).changes
  }
  return await new Promise((resolve, reject) =>
    connection.all(sql, bindings, (error: Error | null, rows: unknown[]) => (error ? reject(error) : resolve(rows))),
  )
}

const rowCount = (answer: unknown) => (Array.isArray(answer) ? answer.length : (answer as { rowCount: number }).rowCount)

/** Creates a database with the rows of 0.1.0. */
async function oldDatabase(name: DatabaseName, dialect: Dialect, model: UserModelName): Promise<OwnDatabase> {
  const own = await createDatabase(name)
  await loadRows(own.knex, dialect, model)
  return own
}

for (const model of userModelNames)
  eachDatabase(`The statements of a 0.1.0 process, with ${model} as the user model`, (db) => {
    it('do the same on a migrated database as on their own', async function () {
      this.timeout(60_000)
      const statements = readStatements(db.dialect, model)
      const old = await oldDatabase(db.name, db.dialect, model)
      const migrated = await oldDatabase(db.name, db.dialect, model)
      try {
        const app = await startApplication(await loadLibrary(currentSources), migrated.knex, model)
        await app.perms.migrate()
        await app.close()
        const expected = await send(old.knex, db.dialect, statements)
        const found = await send(migrated.knex, db.dialect, statements)
        expect(found).to.have.length(statements.length)
        for (const [at, { sql }] of statements.entries()) {
          // The catalogue names the database and says when a table was created: compare the number of its rows.
          if (sql.includes('information_schema')) expect(rowCount(found[at]), sql).to.equal(rowCount(expected[at]))
          else expect(found[at], sql).to.deep.equal(expected[at])
        }
        expect(JSON.stringify(expected)).to.include('ada@example.com').and.to.include('Letter')
        const rows = await readAllRows(old.knex, db.dialect)
        const now = await readRows(migrated.knex, rows.keys())
        for (const [table, wanted] of rows) {
          expect(now.get(table)?.length, table).to.equal(wanted.length)
          for (const [at, row] of wanted.entries()) expect(now.get(table)?.[at], table).to.deep.include(row)
        }
      } finally {
        await Promise.all([old.destroy(), migrated.destroy()])
      }
    })
  })
