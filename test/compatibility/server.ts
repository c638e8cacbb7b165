/**
 * Serves the application on one release, in a process of its own, after it has migrated the database. `startRelease()` of processes.ts
 * runs it. Prints each mail as a line of JSON.
 */
import Knex from 'knex'
import { defineModels, loadLibrary, password, startApplication } from './application.js'

const { sources, client, connection, model } = JSON.parse(process.argv[2] ?? '{}')
const knex = Knex({ client, connection, ...(client === 'sqlite3' ? { useNullAsDefault: true } : { pool: { min: 0, max: 4 } }) })
const library = await loadLibrary(new URL(sources))
const app = await startApplication(library, knex, model, (mail) => console.log(`mail ${JSON.stringify(mail)}`))
await app.perms.migrate()
const { asSystem, createTables, Role, UserRole } = library.root
await createTables(knex, [defineModels(library, model).Paper])
await asSystem(async () => {
  if (await app.User.getBy({ email: 'root@example.com' })) return
  const user = await app.User.create({ email: 'root@example.com', password })
  await UserRole.create({ user, role: Role.SUPERADMIN })
})
console.log(`listening on ${app.url}`)
// Does not outlive the tests, however they end.
process.stdin.on('end', () => process.exit(0)).resume()
