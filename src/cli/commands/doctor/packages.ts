/** Checks of installed packages: versions and second copies. */
import { existsSync, readdirSync, readFileSync, realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { versions } from 'node:process'
import type { Knex } from 'knex'
import { VERSION } from '../../../version.js'
import { type Check, error, type Finding, warning } from './finding.js'

/** The oldest versions that this package supports, as in its peerDependencies. */
const oldest: Readonly<Record<string, string>> = {
  objection: '3.1.5',
  knex: '3.2.9',
  pg: '8.11.0',
  mysql2: '3.9.8',
  sqlite3: '5.1.7',
  'better-sqlite3': '11.0.0',
}

/** Two copies of these packages do not see each other's models. */
const single = ['objection', 'knex', 'objection-perms']

interface Installed {
  readonly name: string
  readonly version: string
  readonly folder: string
}

/** Returns the installed versions for the report. */
export function versionsOf(folder: string, knex: Knex): Readonly<Record<string, string>> {
  const found = ['objection', 'knex', driverOf(knex)].flatMap((name) => installedIn(folder, name) ?? [])
  return {
    node: versions.node,
    'objection-perms': VERSION,
    ...Object.fromEntries(found.map(({ name, version }) => [name, version])),
  }
}

/** Reports versions that are not supported. */
export const checkVersions: Check = ({ app }) => {
  const { folder } = app.project
  return ['objection', 'knex', driverOf(app.perms.knex)].flatMap((name): Finding[] => {
    const found = installedIn(folder, name)
    const least = oldest[name]
    if (!found || least === undefined || compareVersions(found.version, least) >= 0) return []
    return [error('versions', `${name} ${found.version} is older than ${least}.`, `Run \`npm install ${name}@latest\`.`)]
  })
}

/** Reports second copies of Objection, Knex and this package. */
export const checkCopies: Check = ({ app }) => {
  const { folder } = app.project
  return single.flatMap((name) => {
    const copies = new Map(
      [installedIn(folder, name), ...nestedCopies(folder, name)].flatMap((one) => (one ? [[one.folder, one] as const] : [])),
    )
    if (copies.size < 2) return []
    const list = [...copies.values()].map(({ version, folder: place }) => `${version} in ${place}`).join(', ')
    return [
      warning(
        'copies',
        `${name} is installed ${copies.size} times: ${list}.`,
        `Models of one copy do not work with another: run \`npm ls ${name}\` and \`npm dedupe\`.`,
      ),
    ]
  })
}

/** Returns the package of the driver that a Knex instance uses. */
function driverOf(knex: Knex): string {
  const name: unknown = knex.client.driverName
  return typeof name === 'string' ? name : ''
}

function installedIn(folder: string, name: string): Installed | undefined {
  const path = join(folder, 'node_modules', name, 'package.json')
  if (name !== '' && existsSync(path)) return readPackage(path)
  return dirname(folder) === folder ? undefined : installedIn(dirname(folder), name)
}

/** Finds copies in the node_modules of installed packages. */
function nestedCopies(folder: string, name: string): (Installed | undefined)[] {
  const modules = join(folder, 'node_modules')
  if (!existsSync(modules)) return []
  const packages = readdirSync(modules).flatMap((entry) =>
    entry.startsWith('@') ? readdirSync(join(modules, entry)).map((inner) => join(modules, entry, inner)) : [join(modules, entry)],
  )
  return packages
    .map((place) => join(place, 'node_modules', name, 'package.json'))
    .filter((path) => existsSync(path))
    .map(readPackage)
}

function readPackage(path: string): Installed | undefined {
  const manifest: unknown = JSON.parse(readFileSync(path, 'utf8'))
  if (typeof manifest !== 'object' || manifest === null || !('name' in manifest) || !('version' in manifest)) return undefined
  return { name: String(manifest.name), version: String(manifest.version), folder: realpathSync(dirname(path)) }
}

/** Returns a negative number if `a` is older than `b`. A pre-release counts as its release. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => (text.split(/[-+]/)[0] ?? '').split('.').map(Number))
  for (let at = 0; at < 3; at += 1) {
    const difference = (left?.[at] ?? 0) - (right?.[at] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}
