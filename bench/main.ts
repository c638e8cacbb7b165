/** Runs every bench, one after the other. What needs a PostgreSQL is left out where POSTGRES_URL is not set. */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const needsPostgres = ['http']
for (const name of ['perms', 'passwords', 'sign-in', 'enumeration', 'stalls', 'health', 'hierarchies', 'shares', 'http']) {
  console.log(`\n== ${name}`)
  if (needsPostgres.includes(name) && !process.env.POSTGRES_URL) {
    console.log('left out: POSTGRES_URL is not set')
    continue
  }
  const file = fileURLToPath(new URL(`./${name}.ts`, import.meta.url))
  const { status } = spawnSync(process.execPath, ['--import', 'tsx', file], { stdio: 'inherit' })
  if (status !== 0) process.exitCode = 1
}
