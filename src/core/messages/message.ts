import { type EnglishTexts, en } from './en.js'
import { renderText } from './render.js'

/** A text of the catalogue with placeholders: `{name}`. Texts that depend on `count` have one form for each plural category (CLDR). */
export type MessageText = string | PluralText
export type PluralText = { readonly other: string } & { readonly [K in Exclude<Intl.LDMLPluralRule, 'other'>]?: string | undefined }

/** The id of a text that clients and users can see. Ids do not change between versions. docs/languages.md lists them. */
export type MessageId = keyof EnglishTexts

/** The value of a placeholder. A list is joined with commas. A message is rendered in the same language. */
export type MessageValue = string | number | Message | MessageList | readonly MessageValue[]

/** A list with another separator than a comma. */
export interface MessageList {
  readonly items: readonly MessageValue[]
  readonly separator: string
}

type TextOf<T> = T extends string ? T : T extends { readonly other: infer O } ? O : never
/** The names of the placeholders in a text. Braces around other text, as in code, are no placeholder. */
export type PlaceholdersOf<T> = T extends `${string}{${infer Name}}${infer Rest}`
  ? (Name extends `${string} ${string}` | '' ? never : Name) | PlaceholdersOf<Rest>
  : never
/** The values that a message needs. */
export type MessageValues<K extends MessageId> = { readonly [N in PlaceholdersOf<TextOf<EnglishTexts[K]>>]: MessageValue }

/**
 * A text that is rendered in the language of its reader. As a string it is English. `message()` creates it.
 *
 * @example console.log(String(message('field.required'))) // is required
 */
export class Message {
  readonly id: MessageId
  readonly values: Readonly<Record<string, MessageValue>>

  constructor(id: MessageId, values: Readonly<Record<string, MessageValue>> = {}) {
    this.id = id
    this.values = values
  }

  /** Returns the English text. */
  toString(): string {
    return renderText(this, (id) => en[id], 'en')
  }
}

/** Returns whether a text is the id of a message. */
export const isMessageId = (id: string): id is MessageId => Object.hasOwn(en, id)

/**
 * Returns a text of the catalogue. Errors and field errors take it in place of a string. Responses contain it in the client's language.
 *
 * @param values one value for each placeholder. They are inserted as they are: a placeholder inside of a value stays as it is.
 * @example throw new ForbiddenError(message('row.create', { model: 'Critter' }))
 */
export function message<K extends MessageId>(
  id: K,
  ...[values]: keyof MessageValues<K> extends never ? [] : [values: MessageValues<K>]
): Message {
  return new Message(id, values as Readonly<Record<string, MessageValue>> | undefined)
}

/** Joins alternatives: `a, b or c` without the comma: 'a or b or c'. */
export function either(items: readonly MessageValue[]): MessageValue {
  return items.reduce((first, second) => message('list.or', { first, second }))
}

/** Puts a name in quotes for the list of a message. */
export const quoted = (name: string): string => `'${name}'`
