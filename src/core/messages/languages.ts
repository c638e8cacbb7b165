import { ConfigurationError } from '../errors.js'
import { namesNear } from '../nearest-names.js'
import { negotiateLanguage } from './accept-language.js'
import { de } from './de.js'
import { en } from './en.js'
import { isMessageId, Message, type MessageId, type MessageText } from './message.js'
import { renderText } from './render.js'

/** The texts of a language by message id. English texts replace the missing ones. */
export type LanguageTexts = { readonly [K in MessageId]?: MessageText | undefined }

export interface LanguageOptions {
  /**
   * Further languages by their tag (BCP 47), such as `fr` or `pt-BR`, or other texts of `en` and `de`. False removes a language.
   *
   * @defaultValue English and German
   */
  readonly languages?: Readonly<Record<string, LanguageTexts | false>> | undefined
  /**
   * The language for clients that ask for none of the languages.
   *
   * @defaultValue 'en'
   */
  readonly defaultLanguage?: string | undefined
}

const builtIn: Readonly<Record<string, LanguageTexts>> = { en, de }

/**
 * The languages of one application: `perms.options.languages`.
 *
 * @example const language = perms.options.languages.choose('de-AT, en;q=0.5') // 'de'
 */
export class Languages {
  readonly #texts: ReadonlyMap<string, LanguageTexts>
  readonly #tags: readonly string[]
  /** The language for clients that ask for none of the languages. */
  readonly fallback: string

  /** @throws ConfigurationError for an invalid tag, an unknown message id or placeholder, and a default language without texts */
  constructor({ languages = {}, defaultLanguage = 'en' }: LanguageOptions = {}) {
    const texts = new Map(Object.entries(builtIn))
    for (const [tag, given] of Object.entries(languages)) {
      const canonical = canonicalTag(tag)
      if (given === false) texts.delete(canonical)
      else texts.set(canonical, { ...texts.get(canonical), ...checkedTexts(tag, given) })
    }
    this.#texts = texts
    this.#tags = [...texts.keys()]
    this.fallback = canonicalTag(defaultLanguage)
    if (!texts.has(this.fallback))
      throw new ConfigurationError(
        `initPerms({ defaultLanguage: ${JSON.stringify(defaultLanguage)} }): there are texts only in ${this.#tags.join(', ')}. Add them to languages.`,
      )
  }

  /** Returns the language of a response to a request with this Accept-Language header. */
  choose(acceptLanguage: string | undefined): string {
    return negotiateLanguage(acceptLanguage, this.#tags, this.fallback)
  }

  /** Returns a text in a language. Strings are the application's own texts and stay as they are. */
  render(text: string | Message, language: string): string {
    if (typeof text === 'string') return text
    const texts = this.#texts.get(language)
    return renderText(text, (id) => texts?.[id] ?? this.#english(id), texts ? language : 'en')
  }

  /** Returns the text of an id that has no placeholders, if there is such a text. */
  renderId(id: string, language: string): string | undefined {
    return isMessageId(id) ? this.render(new Message(id), language) : undefined
  }

  #english(id: MessageId): MessageText {
    return this.#texts.get('en')?.[id] ?? en[id] ?? id
  }
}

function canonicalTag(tag: unknown): string {
  try {
    const [canonical] = typeof tag === 'string' ? Intl.getCanonicalLocales(tag) : []
    if (canonical !== undefined) return canonical
  } catch {
    // The error below says more.
  }
  throw new ConfigurationError(`${JSON.stringify(tag)} is no language tag. Use tags of BCP 47, such as 'fr' or 'pt-BR'.`)
}

function checkedTexts(tag: string, texts: LanguageTexts): LanguageTexts {
  const where = `initPerms({ languages: { ${JSON.stringify(tag)} } })`
  if (typeof texts !== 'object' || texts === null)
    throw new ConfigurationError(`${where}: must be an object of texts by message id, or false.`)
  for (const [id, text] of Object.entries(texts)) {
    if (!isMessageId(id))
      throw new ConfigurationError(
        `${where}: there is no message '${id}'. Did you mean ${namesNear(id, Object.keys(en))[0] ?? 'another one'}? docs/languages.md lists all ids.`,
      )
    if (text === undefined) continue
    const forms: unknown[] = typeof text === 'string' ? [text] : Object.values(text ?? {})
    if (
      forms.length === 0 ||
      !forms.every((form) => typeof form === 'string') ||
      !(typeof text === 'string' || typeof text.other === 'string')
    )
      throw new ConfigurationError(
        `${where}: the text of '${id}' must be a string, or an object of strings by plural category, with 'other'.`,
      )
    const known = placeholdersIn(en[id as MessageId])
    const unknown = placeholdersIn(text).find((name) => !known.includes(name))
    if (unknown !== undefined)
      throw new ConfigurationError(
        `${where}: the text of '${id}' has the unknown placeholder {${unknown}}. ${known.length === 0 ? 'It has none' : `Use ${known.map((name) => `{${name}}`).join(', ')}`}.`,
      )
  }
  return texts
}

/** Returns the names of the placeholders in all forms of a text. */
export function placeholdersIn(text: MessageText): string[] {
  const forms = typeof text === 'string' ? [text] : Object.values(text)
  return [...new Set(forms.flatMap((form = '') => Array.from(form.matchAll(/\{(\w+)\}/g), ([, name]) => name as string)))]
}
