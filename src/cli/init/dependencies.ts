import { VERSION } from '../../version.js'
import type { Choices, Client, Framework } from './choices.js'

/**
 * The version ranges that a generated application depends on. A test compares them with those that this package is tested with.
 * better-sqlite3 is missing: init uses it only where the application has it already.
 */
export const versions = {
  '@hono/node-server': '^2.1.8',
  '@types/express': '^5.0.6',
  '@types/koa': '^3.0.3',
  '@types/node': '^20.19.43',
  express: '^5.3.0',
  fastify: '^5.12.8',
  hono: '^4.13.19',
  knex: '^3.3.0',
  koa: '^3.3.0',
  mysql2: '^3.24.6',
  objection: '^3.1.5',
  pg: '^8.23.1',
  sqlite3: '^6.0.1',
  tsx: '^4.23.15',
  typescript: '^7.0.2',
} as const

type Package = keyof typeof versions

const ofFramework: Readonly<Record<Framework, { dependencies: Package[]; types: Package[] }>> = {
  express: { dependencies: ['express'], types: ['@types/express'] },
  koa: { dependencies: ['koa'], types: ['@types/koa'] },
  fastify: { dependencies: ['fastify'], types: [] },
  hono: { dependencies: ['@hono/node-server', 'hono'], types: [] },
}

const ofClient: Readonly<Record<Client, Package[]>> = { sqlite3: ['sqlite3'], 'better-sqlite3': [], pg: ['pg'], mysql2: ['mysql2'] }

/** Returns the packages that the application needs, with their version ranges, in alphabetical order. */
export function packagesOf({ framework, language, client }: Choices): {
  dependencies: Record<string, string>
  devDependencies: Record<string, string>
} {
  const { dependencies, types } = ofFramework[framework]
  const runtime: Package[] = [...dependencies, ...ofClient[client], 'knex', 'objection', ...(language === 'ts' ? (['tsx'] as const) : [])]
  const development: Package[] = language === 'ts' ? [...types, '@types/node', 'typescript'] : []
  return {
    dependencies: sorted({ ...rangesOf(runtime), 'objection-perms': `^${VERSION}` }),
    devDependencies: sorted(rangesOf(development)),
  }
}

/** Packages that compile or download a driver when they are installed. npm asks to allow this. */
export function packagesWithInstallScripts({ client, language }: Choices): readonly string[] {
  return [...(language === 'ts' ? ['esbuild'] : []), ...(client === 'sqlite3' || client === 'better-sqlite3' ? [client] : [])]
}

const rangesOf = (names: readonly Package[]): Record<string, string> => Object.fromEntries(names.map((name) => [name, versions[name]]))

const sorted = (packages: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(packages).sort(([a], [b]) => (a < b ? -1 : 1)))
