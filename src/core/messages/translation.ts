import type { MessageText, PlaceholdersOf } from './message.js'

type Forms<T> = T extends string ? T : T extends object ? T[keyof T] : never
type Translated<Own, English> = {
  readonly [K in keyof English]: Exclude<PlaceholdersOf<Forms<Own[K & keyof Own]>>, PlaceholdersOf<Forms<English[K]>>> extends never
    ? MessageText
    : `The placeholder {${Exclude<PlaceholdersOf<Forms<Own[K & keyof Own]>>, PlaceholdersOf<Forms<English[K]>>> & string}} is not in the English text`
}

/** Returns a complete translation. It compiles only with a text for each id, and with the placeholders of the English texts. */
export function translationOf<English extends Readonly<Record<string, MessageText>>>(_english: English) {
  return <const Own extends Readonly<Record<keyof English, MessageText>>>(
    texts: Own & Translated<Own, English> & Record<Exclude<keyof Own, keyof English>, never>,
  ): { readonly [K in keyof English]: MessageText } => texts
}
