/** Refuses misspelled options. TypeScript reports them only in object literals, and JavaScript never. */
import { ConfigurationError } from './errors.js'
import { nearestNames } from './nearest-names.js'

/**
 * The names of the options of T: `true` for a value, and the names of nested options. A name that T lacks, and a missing one, do not
 * compile.
 *
 * @example const names: OptionNames<{ port?: number; tls?: { key: string } }> = { port: true, tls: { key: true } }
 */
export type OptionNames<T> = { readonly [K in keyof T]-?: NamesIn<Exclude<T[K], undefined>> }

/** 'unchecked' is for objects whose content is checked elsewhere. */
type NamesIn<V> = [OptionsIn<V>] extends [never]
  ? [ItemIn<V>] extends [never]
    ? true
    : EachItem<ItemIn<V>> | 'unchecked'
  : ([Exclude<V, OptionsIn<V>>] extends [never] ? OptionNames<OptionsIn<V>> : Alternative<OptionsIn<V>>) | 'unchecked'

type Callable = ((...args: never[]) => unknown) | (abstract new (...args: never[]) => unknown)
type Primitive = string | number | bigint | boolean | symbol | null | undefined

/** The members of a union that are objects of options. An object with a required function, such as a mailer, is none. */
type OptionsIn<V> = V extends Primitive | Callable | readonly unknown[] | Date
  ? never
  : string extends keyof V
    ? never
    : [keyof V] extends [never]
      ? never
      : [RequiredFunction<V>] extends [never]
        ? V
        : never

type RequiredFunction<V> = {
  [K in keyof V]-?: object extends Pick<V, K> ? never : V[K] extends (...args: never[]) => unknown ? K : never
}[keyof V]

/** The options that are the items of an array, or the values of a record with any names. */
type ItemIn<V> = V extends readonly (infer Item)[]
  ? OptionsIn<Item>
  : V extends Callable
    ? never
    : string extends keyof V
      ? OptionsIn<V[keyof V]>
      : never

/** Options of each item of an array, or of each value of a record. */
interface EachItem<T> {
  readonly each: OptionNames<T>
}

/** Options that may be something else instead, such as `true` or a function. */
interface Alternative<T> {
  readonly orOther: OptionNames<T>
  /** The name of a member that options do not have. */
  readonly unless?: string | undefined
}

/** Returns the names of options that may be given as another value too, such as `true`. */
export function orOther<T>(names: OptionNames<T>, unless?: string): Alternative<T> {
  return { orOther: names, unless }
}

/** Returns the names of options that are items of an array, or values of a record with any names. */
export function each<T>(names: OptionNames<T>): EachItem<T> {
  return { each: names }
}

type Names = Readonly<Record<string, unknown>>

/**
 * Throws for an option that does not exist, also in nested objects.
 *
 * @param names the names of all options
 * @param call the function for the message, such as `initPerms` or `nodeAdapter(perms, ...)`
 * @throws ConfigurationError that names the option, a similar name and all options
 * @example assertKnownOptions<{ port?: number }>({ port: 80 }, { port: true }, 'listen')
 */
export function assertKnownOptions<T>(given: T, names: OptionNames<T>, call: string): void {
  const place = (path: string) => (call.includes('...') ? call.replace('...', () => path) : `${call}(${path})`)
  assertNames(given, names as Names, place)
}

type Place = (path: string) => string

function assertNames(given: unknown, names: Names, place: Place): void {
  if (given === undefined) return
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw new ConfigurationError(`${place(shown(given))}: pass an object. ${nearestNames('', Object.keys(names), 'Its options')}`)
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(names, name)) throw unknownOption(name, names, place)
    const nested = names[name]
    // A getter may have a value later only.
    if (typeof nested === 'object' && nested !== null) assertNested((given as Names)[name], nested, (path) => place(`{ ${name}: ${path} }`))
  }
}

function assertNested(value: unknown, names: object, place: Place): void {
  if ('each' in names) assertItems(value, names.each as Names, place)
  else if ('orOther' in names) assertUnlessOther(value, names as Alternative<object>, place)
  else assertNames(value, names as Names, place)
}

function assertItems(value: unknown, names: Names, place: Place): void {
  if (typeof value !== 'object' || value === null) return
  const isList = Array.isArray(value)
  for (const [name, item] of Object.entries(value))
    if (typeof item === 'object' && item !== null) assertNames(item, names, (path) => place(isList ? `[${path}]` : `{ ${name}: ${path} }`))
}

function assertUnlessOther(value: unknown, { orOther: names, unless }: Alternative<object>, place: Place): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return
  if (unless === undefined || !(unless in value)) assertNames(value, names as Names, place)
}

function unknownOption(name: string, names: Names, place: Place): ConfigurationError {
  const elsewhere = placesOf(name, names).map((path) => ` '${name}' is an option of ${path}.`)
  return new ConfigurationError(
    `${place(`{ ${name} }`)}: there is no option '${name}'.${elsewhere.slice(0, 2).join('')} ${nearestNames(name, Object.keys(names), 'Its options')}`,
  )
}

/** Returns the nested options, two levels deep, that have a name. */
function placesOf(name: string, names: Names, above = '', depth = 0): string[] {
  return Object.entries(names).flatMap(([key, value]) => {
    const nested = nestedNames(value)
    if (!nested || depth > 1) return []
    return [...(Object.hasOwn(nested, name) ? [above + key] : []), ...placesOf(name, nested, `${above}${key}.`, depth + 1)]
  })
}

function nestedNames(value: unknown): Names | undefined {
  if (typeof value !== 'object' || value === null || 'each' in value) return undefined
  return ('orOther' in value ? value.orOther : value) as Names
}

const shown = (value: unknown): string =>
  typeof value === 'string' ? `'${value.slice(0, 40)}'` : Array.isArray(value) ? '[...]' : String(value)
