/**
 * The time and memory (RSS) from the start of the process to the first answered request, with 60 generated models: the library, beside
 * Express and Objection alone, on PostgreSQL. The two start in turns. Prints medians. Both run from the built package.
 *
 *     npm run build && POSTGRES_URL=postgres://... npx tsx bench/start-up.ts [rounds]
 *     ... npx tsx bench/start-up.ts profile                writes a CPU profile of one start to .tmp/
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { bundled } from '../test/helpers/bundled.js'
import { median, rounded, saveResult } from './results.js'
import { emptyDatabaseOf, versionOf } from './servers/empty-database.js'
import type { Usage } from './servers/usage.js'

const isProfile = process.argv[2] === 'profile'
const rounds = isProfile ? 1 : Number(process.argv[2] ?? 11)
const port = 4340
const server = process.env.POSTGRES_URL
if (!server) throw new Error('Set POSTGRES_URL: this bench is about PostgreSQL.')

const sides = ['ours', 'plain'] as const
type Side = (typeof sides)[number]
const { knex, url, drop } = await emptyDatabaseOf('pg', server)
const secret = randomBytes(32).toString('base64url')
const environment = { ...process.env, PORT: String(port), DATABASE_URL: url, JWT_SECRET: secret, NODE_ENV: 'production' }
const files = {
  ours: await bundled('bench/servers/start-up-ours.ts', { fromBuild: true }),
  plain: await bundled('bench/servers/start-up-plain.ts', { fromBuild: true }),
}
const watch = await bundled('bench/servers/usage.ts')
const run = (options: readonly string[], side: Side, env: NodeJS.ProcessEnv): ChildProcess =>
  spawn(process.execPath, [...options, files[side]], { env, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })

interface Start {
  readonly ms: number
  readonly rss: number
}

/** Starts a server, and asks until it answers a list of one of the models. */
async function start(side: Side, token: string): Promise<Start> {
  const profile = isProfile ? ['--cpu-prof', '--cpu-prof-dir', fileURLToPath(new URL('../.tmp', import.meta.url))] : []
  const begun = performance.now()
  const child = run([...profile, '--import', watch], side, environment)
  const ask = () =>
    fetch(`http://127.0.0.1:${port}/api/things-30/`, { headers: { authorization: `Bearer ${token}`, connection: 'close' } }).catch(
      () => undefined,
    )
  try {
    let answer = await ask()
    while (!answer) {
      if (child.exitCode !== null) throw new Error(`The server of ${side} ended.`)
      await new Promise((resolve) => setTimeout(resolve, 2))
      answer = await ask()
    }
    await answer.text()
    const ms = performance.now() - begun
    if (answer.status !== 200) throw new Error(`${side}: ${answer.status}`)
    child.send('usage')
    const [{ rss }] = (await once(child, 'message')) as [Usage]
    return { ms, rss }
  } finally {
    const ended = once(child, 'exit')
    // It ends with this channel, and then writes its profile.
    if (child.connected) child.disconnect()
    await ended
  }
}

try {
  const migration = run([], 'ours', { ...environment, MIGRATE: '1' })
  const [{ token }] = (await once(migration, 'message')) as [{ token: string }]
  await once(migration, 'exit')
  const starts: Record<Side, Start[]> = { ours: [], plain: [] }
  for (let round = -1; round < rounds; round += 1) {
    for (const side of round % 2 === 0 ? sides : sides.toReversed()) {
      const one = await start(side, token)
      if (round >= 0) starts[side].push(one)
    }
  }
  const figures = sides.map((side) => ({
    side,
    ms: Math.round(median(starts[side].map(({ ms }) => ms))),
    rss: rounded(median(starts[side].map(({ rss }) => rss))),
  }))
  console.log(`from the start of the process to the first answer, 60 models (median of ${rounds})`)
  for (const { side, ms, rss } of figures) console.log(`  ${side.padEnd(8)} ${String(ms).padStart(6)} ms ${rss.toFixed(0).padStart(6)} MB`)
  saveResult('start-up', [await versionOf(knex)], figures)
} finally {
  await drop()
}
