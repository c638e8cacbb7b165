import type { Message, MessageId, MessageText, MessageValue } from './message.js'

/** Returns the text of an id in one language. */
export type TextSource = (id: MessageId) => MessageText

const placeholder = /\{(\w+)\}/g

/**
 * Renders a message. Values are inserted into the text once and not parsed again, so that a value such as '{password}' is only text.
 *
 * @param language its plural rules choose the form of a text
 */
export function renderText({ id, values }: Message, textOf: TextSource, language: string): string {
  const text = textOf(id)
  const form = typeof text === 'string' ? text : (text[pluralOf(values.count, language)] ?? text.other)
  return form.replace(placeholder, (whole, name: string) =>
    Object.hasOwn(values, name) ? renderValue(values[name] as MessageValue, textOf, language) : whole,
  )
}

function renderValue(value: MessageValue, textOf: TextSource, language: string): string {
  if (typeof value === 'string') return value
  if (typeof value === 'number') return String(value)
  if (isList(value)) return value.map((one) => renderValue(one, textOf, language)).join(', ')
  if ('items' in value) return value.items.map((one) => renderValue(one, textOf, language)).join(value.separator)
  return renderText(value, textOf, language)
}

const isList = (value: MessageValue): value is readonly MessageValue[] => Array.isArray(value)

function pluralOf(count: MessageValue | undefined, language: string): Intl.LDMLPluralRule {
  return typeof count === 'number' ? new Intl.PluralRules(language).select(count) : 'other'
}
