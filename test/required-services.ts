/**
 * Loaded before every run (.mocharc.json). A run without servers tests on SQLite and says what it left out;
 * with REQUIRE_DATABASES=1 (CI) leaving one out is a failure, so that a green run cannot be a partial one.
 */
import * as crypto from 'node:crypto'
import { hasNodeSqlite } from '../src/database/node-sqlite/module.js'
import { idChoice } from './helpers/repetitions.js'

const services = { PostgreSQL: 'POSTGRES_URL', MariaDB: 'MARIADB_URL', Redis: 'REDIS_URL' } as const

const leftOut = Object.entries(services).filter(([, variable]) => !process.env[variable])

/** The parts that a run without FULL=1 leaves out: long tests, and repetitions of what other tests cover. */
const withoutFull = [
  'better-sqlite3 above the query layer',
  'the seed document, and most callers of query paths, on servers',
  'four fifths of the repetitions of races, and most generated cases',
  'migrations of the library in the set-up of most tests: one process sends their statements at once after the first time',
  'the command line on MariaDB, and many of its cases on PostgreSQL; many cases of init',
  'the zoo: most cases on other frameworks than Express; the conformance suite on Hapi',
  'processes of 0.1.0 with further user models',
  'snippets of the documents in processes of their own',
  'most kinds of ids on most databases',
] as const

export function mochaGlobalSetup(): void {
  if (process.env['REQUIRE_DATABASES'] !== '1' || leftOut.length === 0) return
  throw new Error(
    `REQUIRE_DATABASES=1, and no address is given for: ${leftOut.map(([name, variable]) => `${name} (${variable})`).join(', ')}.`,
  )
}

export function mochaGlobalTeardown(): void {
  if (process.env['FULL'] !== '1') {
    console.log(`  Left out without FULL=1 (.ci/nightly runs it; this run: ID_CHOICE=${idChoice()}):`)
    for (const part of withoutFull) console.log(`    - ${part}`)
  }
  if (!hasNodeSqlite()) console.log(`  Left out on Node ${process.versions.node}: node:sqlite, which needs Node 22.13.`)
  if (!('argon2' in crypto)) console.log(`  Left out on Node ${process.versions.node}: crypto.argon2, which needs Node 24.7.`)
  if (leftOut.length === 0) return
  console.log(`  Left out of this run: ${leftOut.map(([name, variable]) => `${name} (set ${variable})`).join(', ')}\n`)
}
