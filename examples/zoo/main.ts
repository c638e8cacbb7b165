import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { initPerms, type PasskeyOptions } from 'objection-perms'
import { ensureAdmin } from './admin.js'
import { connect, makeTables } from './database.js'
import { serveWithExpress } from './express.js'
import { serveWithFastify } from './fastify.js'
import { serveWithFetch } from './fetch.js'
import { serveWithHono } from './hono.js'
import { serveWithKoa } from './koa.js'
import { zooMailer } from './mail.js'
import { Critter, User, UserDocument } from './models.js'
import { serveWithNode } from './node.js'
import { zooProviders } from './providers.js'
import { readSettings, SettingsError } from './settings.js'
import { welcomeLines } from './welcome.js'

const serve = {
  express: serveWithExpress,
  koa: serveWithKoa,
  fastify: serveWithFastify,
  hono: serveWithHono,
  fetch: serveWithFetch,
  node: serveWithNode,
}

async function main(): Promise<void> {
  const settings = readSettings(process.env)
  for (const warning of settings.warnings) console.warn(`Warning: ${warning}`)

  // Links in mails lead here, whatever Host a request names: the port has to be known before the server listens.
  const port = settings.port === 0 ? await freePort(settings.host) : settings.port
  const baseUrl = settings.baseUrl ?? localUrl(settings.host, port)
  const knex = connect(settings.databaseUrl)
  const perms = initPerms({
    knex,
    jwt: { secret: settings.jwtSecret },
    passwords: { cost: settings.passwordCost },
    user: User,
    models: [UserDocument, Critter],
    cookies: settings.takesCookies && { origins: [new URL(baseUrl).origin] },
    mail: { mailer: zooMailer(settings), baseUrl },
    secondFactor: { issuer: 'Zoo', trustedDevices: { lifetime: 30 * 86_400 } },
    passkeys: passkeysOf(baseUrl, port),
    ...zooProviders(process.env, baseUrl),
    auditLog: true,
    // Counted in the database: several processes of this server count together.
    throttle: settings.isThrottled && { store: 'database' },
  })
  await makeTables(perms)
  const admin = await ensureAdmin(settings.adminEmail, settings.adminPassword)

  const server = await serve[settings.framework](perms, port, settings.host)
  if (!server.listening) await once(server, 'listening')

  let isStopping = false
  const stop = async (): Promise<void> => {
    if (isStopping) return
    isStopping = true
    // Requests under way are answered; connections without one are closed.
    const closed = once(server, 'close')
    server.close()
    server.closeIdleConnections()
    setTimeout(() => server.closeAllConnections(), 5000).unref()
    await closed
    await perms.close()
    await knex.destroy()
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  stopWithNpm(stop)

  const { address, family } = server.address() as AddressInfo
  const name = ['0.0.0.0', '::'].includes(address) ? '127.0.0.1' : family === 'IPv6' ? `[${address}]` : address
  const base = `http://${name}:${port}`
  if (admin.isGenerated) console.log(`The admin is ${admin.email} with the password ${admin.password}: it is not shown again.`)
  const password = admin.password ?? settings.adminPassword
  const shown = password === undefined || settings.isProduction ? undefined : { email: admin.email, password }
  console.log(`\n${(await welcomeLines({ base, admin: shown })).join('\n')}\n`)
  console.log(`The API, to read and to try: ${base}/docs`)
  if (settings.takesCookies) console.log(`A page that signs in with cookies: ${base}/cookies.html`)
  console.log('Mail, a second factor, API keys, invitations, the audit log: docs/walkthrough.md\n')
  console.log(`The zoo is open at ${base} (${settings.framework}); end it with Ctrl+C.`)
}

async function freePort(host: string): Promise<number> {
  const probe = createServer().listen(0, host)
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  await once(probe, 'close')
  return port
}

/** Passkeys belong to a domain. Without BASE_URL, the page is http://localhost:3000/passkeys.html. */
function passkeysOf(baseUrl: string, port: number): PasskeyOptions {
  const { protocol, hostname, origin } = new URL(baseUrl)
  const isDomain = protocol === 'https:' && /[a-z]$/.test(hostname) && hostname.includes('.')
  return {
    rpName: 'Zoo',
    ...(isDomain ? { rpId: hostname, origins: [origin] } : { rpId: 'localhost', origins: [`http://localhost:${port}`] }),
  }
}

/** Plain http is for this machine alone: a page elsewhere is named with BASE_URL. */
function localUrl(host: string, port: number): string {
  const name = host === 'localhost' ? host : host === '::1' ? '[::1]' : '127.0.0.1'
  return `http://${name}:${port}`
}

/** A signal sent to `npm start` ends npm and its shell, but is not passed on: the server would stay behind and hold the port. */
function stopWithNpm(stop: () => Promise<void>): void {
  if (process.env['npm_lifecycle_event'] !== 'start') return
  const parent = process.ppid
  const watch = setInterval(() => {
    if (process.ppid === parent) return
    clearInterval(watch)
    void stop()
  }, 500)
  watch.unref()
}

main().catch((error: unknown) => {
  const { code, message } = error as { code?: unknown; message?: string }
  if (error instanceof SettingsError) console.error(message)
  else if (/^(?:EADDR|EACCES)/.test(String(code))) console.error(`The server cannot listen there (${message}): set another PORT or HOST.`)
  else console.error(error)
  process.exit(1)
})
