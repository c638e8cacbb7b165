/**
 * Measures what a stranger can tell of who has an account: status, body and median time of asking for a mail and of registering
 * privately, of signing in with a wrong password, whatever hash is stored, or with a provider that has not verified the address, and of
 * the next request, which waits for the work behind the response; and of the pairs of test/helpers/equal-pairs.ts. Known and unknown
 * take turns, on every driver that can be reached (POSTGRES_URL, MARIADB_URL), with a mailer that works and one that fails. The
 * difference should be below 5 %, and the numbers of statements are equal.
 *
 *     npx tsx bench/enumeration.ts [tries] [drivers, separated by commas] [a part of the titles]
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { Agent, type IncomingHttpHeaders, request } from 'node:http'
import { fileURLToPath } from 'node:url'

const tries = Number(process.argv[2] ?? 300)
const [, , , chosenDrivers, chosenTitle = ''] = process.argv
const port = 4330
const agent = new Agent({ keepAlive: true, maxSockets: 1 })

interface Answer {
  readonly status: number
  readonly text: string
  readonly headers: IncomingHttpHeaders
  /** Milliseconds. */
  readonly took: number
}

function send(method: string, path: string, body?: object, cookie?: string, token?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const text = body && JSON.stringify(body)
    const headers = {
      ...(text && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
      ...(cookie && { cookie }),
      ...(token && { authorization: `Bearer ${token}` }),
    }
    const begun = performance.now()
    const sent = request({ agent, host: '127.0.0.1', port, method, path, headers }, (answer) => {
      let said = ''
      answer.setEncoding('utf8').on('data', (chunk: string) => {
        said += chunk
      })
      answer.on('end', () =>
        resolve({ status: answer.statusCode ?? 0, text: said, headers: answer.headers, took: performance.now() - begun }),
      )
    })
    sent.on('error', reject)
    sent.end(text)
  })
}

/** Returns from GitHub, which has not verified the address. */
async function returnFromProvider(email: string): Promise<Answer> {
  const { text, headers } = await send('POST', '/api/users/providers/github/start')
  const state = new URL((JSON.parse(text) as { url: string }).url).searchParams.get('state')
  const path = `/api/users/providers/github/callback/?${new URLSearchParams({ code: email, state: state ?? '' })}`
  const answer = await send('GET', path, undefined, headers['set-cookie']?.[0]?.replace(/;.*/, ''))
  return { ...answer, text: answer.headers.location ?? answer.text }
}

const median = (list: readonly number[]): number => [...list].sort((a, b) => a - b)[list.length >> 1] ?? 0
const password = 'correct horse battery'
const flows: Readonly<Record<string, (email: string) => Promise<Answer>>> = {
  'reset-password/request': (email) => send('POST', '/api/users/reset-password/request', { email }),
  'magic-link/request': (email) => send('POST', '/api/users/magic-link/request', { email }),
  'verify-email/request': (email) => send('POST', '/api/users/verify-email/request', { email }),
  'codes/request': (email) => send('POST', '/api/users/codes/request', { email }),
  'codes, a wrong one': (email) => send('POST', '/api/users/codes', { email, code: '000000' }),
  'sign-in, mixed hashes': (email) => send('POST', '/api/users/login', { email, password: 'a wrong password' }),
  'provider, not verified': returnFromProvider,
  'private registration': (email) => send('POST', '/api/users', { email, password }),
}

interface Request {
  readonly method?: string
  readonly path: string
  readonly body?: object
  readonly token?: string
  readonly cookie?: string
}

type Kind = 'known' | 'unknown'

/** Returns a function that makes a request, and returns another one that sends it. */
function byEmail(ask: (email: string) => Promise<Answer>): (kind: Kind, i: number) => Promise<() => Promise<Answer>> {
  // Of one length, and each unknown one new: the registration makes it known.
  const stranger = () => `un${Math.random().toString(36).slice(2, 8).padEnd(6, 'x')}@example.com`
  return async (kind, i) => {
    const email = kind === 'known' ? `known-${i % 100}@example.com` : stranger()
    return () => ask(email)
  }
}

function byCase(title: string): (kind: Kind) => Promise<() => Promise<Answer>> {
  return async (kind) => {
    const { status, text } = await send('GET', `/make?${new URLSearchParams({ title, kind })}`)
    if (status !== 200) throw new Error(`${title}: ${text}`)
    const { method = 'POST', path, body, token, cookie } = JSON.parse(text) as Request
    return () => send(method, `/api/users/${path}`, body, cookie, token)
  }
}

/** Random values differ in equal answers. */
const withoutRandom = (text: string) => text.replace(/"challenge":"[^"]*"/g, '"challenge":"..."')

interface Times {
  readonly known: number[]
  readonly unknown: number[]
}

async function compare(title: string, make: (kind: Kind, i: number) => Promise<() => Promise<Answer>>): Promise<void> {
  const times: Times = { known: [], unknown: [] }
  const next: Times = { known: [], unknown: [] }
  const said = new Set<string>()
  const statements: Times = { known: [], unknown: [] }
  for (let i = -20; i < tries; i += 1) {
    const order = i % 2 === 0 ? (['known', 'unknown'] as const) : (['unknown', 'known'] as const)
    for (const kind of order) {
      // It is made before it is sent, so that making it is not part of its time.
      const ask = await make(kind, i + 20)
      await send('GET', '/settled')
      const { status, text, took } = await ask()
      const { took: tookNext } = await send('GET', '/ping')
      const settled = await send('GET', '/settled')
      if (i < 0) continue
      said.add(`${status} ${withoutRandom(text)}`)
      times[kind].push(took)
      next[kind].push(tookNext)
      statements[kind].push((JSON.parse(settled.text) as { statements: number }).statements)
    }
  }
  const alike = said.size === 1 ? `alike: ${[...said][0]}` : `NOT ALIKE: ${[...said].join(' | ')}`
  console.log(`${title.padEnd(24)} ${summary(times)}; answers ${alike}`)
  console.log(
    `${'  the next request'.padEnd(24)} ${summary(next)}; statements ${median(statements.known)} and ${median(statements.unknown)}`,
  )
  if (said.size !== 1) process.exitCode = 1
}

function summary({ known: ofKnown, unknown: ofUnknown }: Times): string {
  const [known, unknown] = [median(ofKnown), median(ofUnknown)]
  // Within each pair, since other work of the machine affects both of a pair alike.
  const paired = (median(ofKnown.map((took, i) => took - (ofUnknown[i] as number))) / unknown) * 100
  const difference = `${(((known - unknown) / unknown) * 100).toFixed(1)} %`
  return `known ${known.toFixed(3)} ms, unknown ${unknown.toFixed(3)} ms, ${difference.padStart(7)}, in pairs ${paired.toFixed(1).padStart(5)} %`
}

const { POSTGRES_URL, MARIADB_URL } = process.env
const databases = [
  { driver: 'better-sqlite3', url: '' },
  { driver: 'sqlite3', url: '' },
  ...(POSTGRES_URL ? [{ driver: 'pg', url: POSTGRES_URL }] : []),
  ...(MARIADB_URL ? [{ driver: 'mysql2', url: MARIADB_URL }] : []),
]
for (const { driver, url } of databases.filter(({ driver: one }) => chosenDrivers?.split(',').includes(one) ?? true)) {
  for (const mailer of ['working', 'failing']) {
    console.log(`${driver}, a ${mailer} mailer; medians of ${tries} in turn`)
    const child = spawn(process.execPath, ['--import', 'tsx', fileURLToPath(new URL('./servers/enumeration.ts', import.meta.url))], {
      env: { ...process.env, DRIVER: driver, DATABASE_URL: url, PORT: String(port), COUNT: '100', MAILER: mailer, NODE_ENV: 'production' },
      stdio: ['pipe', 'inherit', 'inherit'],
    })
    try {
      for (let i = 0; (await send('GET', '/settled').catch(() => ({ status: 0 }))).status !== 200; i += 1) {
        if (child.exitCode !== null || i > 300) throw new Error('The server did not start.')
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      for (const [title, ask] of Object.entries(flows)) if (title.includes(chosenTitle)) await compare(title, byEmail(ask))
      // The pairs depend on no mailer.
      const titles = mailer === 'working' ? (JSON.parse((await send('GET', '/cases')).text) as string[]) : []
      for (const title of titles) if (title.includes(chosenTitle)) await compare(title, byCase(title))
    } finally {
      const ended = once(child, 'exit')
      child.stdin?.end()
      await ended
    }
  }
}
agent.destroy()
