/**
 * Runs the named benches, or all of them, one after the other. What needs a PostgreSQL is left out where POSTGRES_URL is not set. JSON
 * names a folder for the figures of those that docs/performance.md shows; plots.ts writes them into the page.
 *
 *     npm run bench -- [NAME]...
 */
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const needsPostgres = ['http', 'memory', 'start-up']
const all = ['perms', 'passwords', 'sign-in', 'enumeration', 'stalls', 'health', 'hierarchies', 'shares', 'growth', ...needsPostgres]
const chosen = process.argv.slice(2)
for (const name of chosen.length > 0 ? chosen : all) {
  console.log(`\n== ${name}`)
  if (needsPostgres.includes(name) && !process.env.POSTGRES_URL) {
    console.log('left out: POSTGRES_URL is not set')
    continue
  }
  const file = fileURLToPath(new URL(`./${name}.ts`, import.meta.url))
  const { status } = spawnSync(process.execPath, ['--import', 'tsx', file], { stdio: 'inherit' })
  if (status !== 0) process.exitCode = 1
}
