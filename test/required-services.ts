/**
 * Loaded before every run (.mocharc.json). A run without servers tests on SQLite and says what it left out;
 * with REQUIRE_DATABASES=1 (CI) leaving one out is a failure, so that a green run cannot be a partial one.
 */
import { idChoice } from './helpers/repetitions.js'

const services = { PostgreSQL: 'POSTGRES_URL', MariaDB: 'MARIADB_URL', Redis: 'REDIS_URL' } as const

const leftOut = Object.entries(services).filter(([, variable]) => !process.env[variable])

export function mochaGlobalSetup(): void {
  if (process.env['REQUIRE_DATABASES'] !== '1' || leftOut.length === 0) return
  throw new Error(
    `REQUIRE_DATABASES=1, and no address is given for: ${leftOut.map(([name, variable]) => `${name} (${variable})`).join(', ')}.`,
  )
}

export function mochaGlobalTeardown(): void {
  if (process.env['FULL'] !== '1') {
    console.log(
      '  Left out without FULL=1: better-sqlite3 above the query layer, most repetitions of races, most generated cases, some cases of the command line, of init and of the zoo on some servers and frameworks, some callers of query paths on servers, snippets in processes of their own, and types of ids on ' +
        `some databases (this run: ID_CHOICE=${idChoice()}).`,
    )
  }
  if (leftOut.length === 0) return
  console.log(`  Left out of this run: ${leftOut.map(([name, variable]) => `${name} (set ${variable})`).join(', ')}\n`)
}
