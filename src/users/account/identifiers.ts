/** The columns by which users sign in: `static identifiers` of the user model. */

import { ConfigurationError } from '../../core/errors.js'
import { either, type MessageValue, message } from '../../core/messages/message.js'
import { structureOf } from '../../schema/definition/definition.js'
import { canonicalEmail, MAX_EMAIL_INPUT_LENGTH } from '../../schema/email.js'
import { valuesByName } from '../../schema/model-class.js'

const onlyEmail: readonly string[] = ['email']

/** Returns the identifiers of a user model. @defaultValue ['email'] */
export function identifiersOf(cls: object): readonly string[] {
  return (cls as { identifiers?: readonly string[] }).identifiers ?? onlyEmail
}

/**
 * Returns the form in which an identifier is stored and looked up. E-mail addresses are in lower case; others keep their case. Both
 * are trimmed and in NFC. Text of more than 320 characters is returned unchanged.
 *
 * @example canonicalIdentifier('username', ' Ada ') // 'Ada'
 */
export function canonicalIdentifier(name: string, text: string): string {
  if (name === 'email') return canonicalEmail(text)
  return text.length > MAX_EMAIL_INPUT_LENGTH ? text : text.normalize('NFC').trim()
}

/** Returns values with their identifiers in canonical form. */
export function withCanonicalIdentifiers<V extends object>(cls: object, values: V): V {
  const given = valuesByName(values)
  const changed: Record<string, string> = {}
  for (const name of protectedIdentifiers(cls)) {
    const text = given[name]
    if (typeof text !== 'string') continue
    const canonical = canonicalIdentifier(name, text)
    if (canonical !== text) changed[name] = canonical
  }
  return Object.keys(changed).length === 0 ? values : { ...values, ...changed }
}

/** Returns the columns besides the password that protect an account: `email`, to which mails go, and the identifiers. */
export function protectedIdentifiers(cls: object): readonly string[] {
  const identifiers = identifiersOf(cls)
  return identifiers.includes('email') ? identifiers : [...onlyEmail, ...identifiers]
}

/** Returns whether values set a protected identifier, also to the value that it has. */
export function setsIdentifier(cls: object, values: object): boolean {
  const given = valuesByName(values)
  return protectedIdentifiers(cls).some((name) => given[name] !== undefined)
}

/** Returns the protected identifiers whose value in `changes` differs from the stored one. Another spelling of a value is no change. */
export function changedIdentifiers(cls: object, changes: object, stored: object | undefined): readonly string[] {
  const [after, before] = [valuesByName(changes), valuesByName(stored ?? {})]
  const canonical = (name: string, value: unknown) => (typeof value === 'string' ? canonicalIdentifier(name, value) : value)
  return protectedIdentifiers(cls).filter(
    (name) => after[name] !== undefined && canonical(name, after[name]) !== canonical(name, before[name]),
  )
}

/** Returns the values of the protected identifiers of a user. */
export function identifierValues(user: object): Record<string, string> {
  const values = valuesByName(user)
  return Object.fromEntries(
    protectedIdentifiers(user.constructor).flatMap((name) => {
      const value = values[name]
      return typeof value === 'string' ? [[name, value]] : []
    }),
  )
}

/** Returns the protected columns for a message: `password, e-mail address or username`. */
export function credentialsInWords(cls: object): MessageValue {
  const { specs } = structureOf(cls)
  const named = protectedIdentifiers(cls).filter((name) => specs[name])
  const words = [message('word.password'), ...named.map((name) => (name === 'email' ? message('word.email') : name))]
  return either([words.slice(0, -1), ...words.slice(-1)].filter((one) => !Array.isArray(one) || one.length > 0))
}

/** Returns the name under which the throttle counts attempts on an account. The name of an address is the address. */
export function accountName(name: string, value: string): string {
  return name === 'email' ? value : `${name}:${value}`
}

/** Returns the account name of a user, by the first identifier that the user has. */
export function accountNameOf(user: object): string {
  const values = valuesByName(user)
  for (const name of identifiersOf(user.constructor)) {
    const value = values[name]
    if (typeof value === 'string') return accountName(name, canonicalIdentifier(name, value))
  }
  return `id:${String(values.id)}`
}

/**
 * Checks `static identifiers` of the registered user model.
 *
 * @throws ConfigurationError for a name that is no text column, and for a declared column that is not unique
 */
export function assertIdentifiers(cls: object): void {
  const { name } = cls as { name: string }
  if (!Array.isArray((cls as { identifiers?: unknown }).identifiers ?? [])) throw unusable(name, 'must be a list of columns')
  const { specs, uniques } = structureOf(cls)
  // The default is for models that sign in otherwise, too.
  if (!('identifiers' in cls)) return
  if (identifiersOf(cls).length === 0) throw unusable(name, 'is empty')
  for (const one of identifiersOf(cls)) {
    const spec = specs[one]
    if (!spec) throw unusable(name, `names '${one}', which is no column of ${name}`)
    if ((spec.type !== 'string' && spec.type !== 'text') || spec.isHidden)
      throw unusable(name, `names '${one}', which is not a visible column of text`)
    const isUnique = spec.isUnique || uniques.some((columns) => columns.length === 1 && columns[0] === one)
    if (!spec.isExisting && !isUnique) throw unusable(name, `names '${one}', which is not unique: declare it with .unique()`)
  }
}

const unusable = (name: string, why: string): ConfigurationError =>
  new ConfigurationError(
    `${name}.identifiers ${why}. Write the columns by which users sign in, such as static identifiers = ['email', 'username'].`,
  )

/** Throws when the user model has no column `email`, which mail and invitations need. @throws ConfigurationError */
export function requireEmailColumn(cls: object, feature: string): void {
  if (structureOf(cls).specs.email) return
  const { name } = cls as { name: string }
  throw new ConfigurationError(`${feature} sends mail to users, but ${name} has no column email. Add the column, or turn ${feature} off.`)
}
