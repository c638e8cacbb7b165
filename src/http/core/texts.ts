import type { FieldProblem } from '../../core/errors.js'
import { textProblem, UNSTORABLE_TEXT } from '../../schema/text-input.js'
import { assertNoErrors, unknownKeys } from '../../schema/validator.js'
import { isStorableText } from '../../schema/values.js'
import { objectOf } from '../crud/input.js'

/** Returns the fields of a body that must have exactly these strings. @throws ValidationError with one error per invalid field */
export function textsOf<const K extends string>(input: unknown, names: readonly K[]): Record<K, string> {
  const given = objectOf(input)
  const errors: FieldProblem[] = unknownKeys(given, (name) => (names as readonly string[]).includes(name))
  for (const name of names) {
    const value = Object.hasOwn(given, name) ? given[name] : undefined
    const problem = textProblem(value) ?? (name !== 'password' && !isStorableText(value as string) ? UNSTORABLE_TEXT : undefined)
    if (problem !== undefined) errors.push({ field: name, message: problem })
  }
  assertNoErrors(errors)
  return given as Record<K, string>
}

/** Returns the JSON Schema of such a body. */
export function textSchema(names: readonly string[], lengths: Readonly<Record<string, number>>): object {
  const properties = Object.fromEntries(names.map((name) => [name, { type: 'string', minLength: 1, maxLength: lengths[name] }]))
  return { type: 'object', properties, required: [...names], additionalProperties: false }
}
