/**
 * Measures importUsers() with ready hashes on PostgreSQL (POSTGRES_URL), else on SQLite: `npx tsx bench/import-users.ts [users]`. Half of
 * the users have a role. 100,000 users should take less than 60 seconds. The second run skips all of them.
 */
import { initPerms, pbkdf2, phpass, TimestampMixin, User } from '../src/index.js'
import { type Driver, emptyDatabaseOf } from './servers/empty-database.js'

const total = Number(process.argv[2] ?? 100_000)
const { POSTGRES_URL, DRIVER = POSTGRES_URL ? 'pg' : 'better-sqlite3', DATABASE_URL = POSTGRES_URL } = process.env

class Member extends TimestampMixin(User) {}

function* rows() {
  for (let i = 0; i < total; i += 1) {
    const passwordHash =
      i % 2 === 0
        ? '$2b$10$abcdefghijklmnopqrstuuHMMUTqHkSSkQvVPhvFbUzcQqWnVwLGu'
        : 'pbkdf2_sha256$600000$saltsaltsalt$Toj2II2rBvFiGQcPmUml1Nlni2UtvyRWwz/jz4q6q/4='
    yield { email: `member-${i}@example.com`, passwordHash, roles: i % 2 === 0 ? ['customer'] : [] }
  }
}

const { knex, drop } = await emptyDatabaseOf(DRIVER as Driver, DATABASE_URL)
try {
  const jwt = { secret: 'a secret for the bench, 32 bytes long' }
  const perms = initPerms({ knex, jwt, user: Member as never, passwords: { legacy: [pbkdf2(), phpass()] } })
  await perms.migrate()
  for (const run of ['import', 'run again']) {
    const begun = performance.now()
    const { imported, skipped, refused } = await perms.auth.importUsers(rows())
    const seconds = (performance.now() - begun) / 1000
    const memory = Math.round(process.memoryUsage().rss / 2 ** 20)
    console.log(
      `${DRIVER}, ${run}: ${imported} imported, ${skipped} skipped, ${refused.length} refused in ${seconds.toFixed(1)} s; ${memory} MiB`,
    )
  }
  await perms.close()
} finally {
  await drop()
}
