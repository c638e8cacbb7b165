/** Checks of secrets, and of cookies and addresses behind a proxy. */
import { env } from 'node:process'
import { type Check, error, type Finding, warning } from './finding.js'

/** The shortest secret that initPerms() accepts, in bytes. */
const SHORTEST = 32

/** Reports environment variables for secrets that are short, or that look like an example. */
export const checkSecrets: Check = () =>
  Object.entries(env).flatMap(([name, value]) => (/(?:^|_)SECRET(?:_KEY)?$/.test(name) && value ? secretFinding(name, value) : []))

/** Returns the finding for a secret. Its value is never part of it. */
export function secretFinding(name: string, value: string): Finding[] {
  const advice = 'Create one with `npx objection-perms secret`.'
  const bytes = Buffer.byteLength(value)
  if (bytes < SHORTEST) return [error('secrets', `${name} has ${bytes} bytes: fewer than ${SHORTEST}.`, advice)]
  const isExample = /secret|change.?me|example|password|your.|12345678|test/i.test(value)
  if (!isExample && new Set(value).size >= 12) return []
  return [
    warning('secrets', `${name} looks like an example: ${isExample ? 'it contains words' : 'it has few different characters'}.`, advice),
  ]
}

interface ExpressLike {
  get(name: 'trust proxy'): unknown
}

/** Reports cookies for origins without https, and an Express application that does not name its proxy. */
export const checkProxy: Check = ({ app }) => {
  const { cookies } = app.perms.options
  const open = (cookies?.origins ?? []).filter((origin) => /^http:\/\/(?!localhost|127\.|\[::1\])/.test(origin))
  const found = open.map((origin) =>
    error(
      'cookies',
      `Cookies are for https only, and ${origin} is http: browsers do not store them.`,
      `Serve it over https, and write the origin with https.`,
    ),
  )
  const isBehindProxy = cookies !== undefined || env['NODE_ENV'] === 'production'
  const express = Object.values(app.exports).find(isExpress)
  if (!express || !isBehindProxy || express.get('trust proxy')) return found
  return [
    ...found,
    warning(
      'proxy',
      "Express has no 'trust proxy': behind a proxy, all clients have its address, and share the limits of wrong passwords.",
      "If a proxy is in front, write app.set('trust proxy', 1), with the number of proxies. Without a proxy, ignore this.",
    ),
  ]
}

function isExpress(value: unknown): value is ExpressLike {
  return typeof value === 'function' && 'get' in value && 'handle' in value && 'settings' in value
}
