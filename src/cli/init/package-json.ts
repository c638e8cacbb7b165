import { type Choices, sourceExtension } from './choices.js'
import { packagesOf, packagesWithInstallScripts } from './dependencies.js'

/** The parts of a package.json that init reads. Other parts stay as they are. */
export interface PackageJson {
  readonly name?: unknown
  readonly type?: unknown
  readonly [key: string]: unknown
}

/** Returns whether a value of JSON is an object. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Returns an object of package.json, or an empty one if the key is missing or holds something else. */
export function section(manifest: PackageJson, key: string): Record<string, unknown> {
  const value = manifest[key]
  return isObject(value) ? value : {}
}

/** Returns the names of all packages that package.json depends on. */
export function dependencyNames(manifest: PackageJson): ReadonlySet<string> {
  const kinds = ['dependencies', 'devDependencies', 'optionalDependencies']
  return new Set(kinds.flatMap((kind) => Object.keys(section(manifest, kind))))
}

/** A merged package.json. */
export interface MergedManifest {
  readonly text: string
  /** The scripts that package.json had already with another command. init does not change them. */
  readonly keptScripts: readonly string[]
}

/**
 * Adds the scripts, packages and settings of a generated application. Nothing that is there is changed or removed.
 *
 * @param text the present package.json, for its indentation; undefined for a new one
 * @param name the name of a new package
 */
export function mergeManifest(manifest: PackageJson, text: string | undefined, name: string, choices: Choices): MergedManifest {
  const scripts = scriptsOf(choices)
  const present = Object.fromEntries(Object.entries(section(manifest, 'scripts')).filter(([, command]) => command !== noTests))
  const packages = packagesOf(choices)
  const known = dependencyNames(manifest)
  const missing = (wanted: Record<string, string>) => Object.fromEntries(Object.entries(wanted).filter(([key]) => !known.has(key)))
  const extension = sourceExtension(choices)
  const modules = { app: `src/perms.${extension}`, api: `src/app.${extension}` }
  const allowScripts = section(manifest, 'allowScripts')
  const allowed = Object.fromEntries(packagesWithInstallScripts(choices).map((key) => [key, true]))
  const merged = {
    ...(text === undefined ? { name, version: '0.1.0', private: true } : {}),
    ...manifest,
    ...(manifest.type === undefined && choices.isModule ? { type: 'module' } : {}),
    scripts: { ...present, ...absentFrom(present, scripts) },
    dependencies: { ...section(manifest, 'dependencies'), ...missing(packages.dependencies) },
    devDependencies: { ...section(manifest, 'devDependencies'), ...missing(packages.devDependencies) },
    allowScripts: { ...allowScripts, ...absentFrom(allowScripts, allowed) },
    'objection-perms': { ...modules, ...section(manifest, 'objection-perms') },
  }
  const entries = Object.entries(merged).filter(([key, value]) => key in manifest || !isEmptyObject(value))
  const result = `${JSON.stringify(Object.fromEntries(entries), null, indentationOf(text))}\n`
  return {
    text: text?.includes('\r\n') ? result.replaceAll('\n', '\r\n') : result,
    keptScripts: Object.keys(scripts).filter((key) => present[key] !== undefined && present[key] !== scripts[key]),
  }
}

/** The script that `npm init` writes. It is replaced. */
const noTests = 'echo "Error: no test specified" && exit 1'

const isEmptyObject = (value: unknown): boolean => isObject(value) && Object.keys(value).length === 0

const absentFrom = <T>(present: Record<string, unknown>, wanted: Record<string, T>): Record<string, T> =>
  Object.fromEntries(Object.entries(wanted).filter(([key]) => present[key] === undefined))

/** Returns the scripts of package.json. */
export function scriptsOf(choices: Choices): Record<string, string> {
  const extension = sourceExtension(choices)
  const node = choices.language === 'ts' ? 'node --import tsx' : 'node'
  return {
    start: `${node} src/server.${extension}`,
    test: `${node} --test test/*.test.${extension}`,
    migrate: 'objection-perms migrate up',
    ...(choices.language === 'ts' ? { typecheck: 'tsc --noEmit' } : {}),
  }
}

function indentationOf(text: string | undefined): string {
  return /^\s*\{\r?\n([ \t]+)"/.exec(text ?? '')?.[1] ?? '  '
}
