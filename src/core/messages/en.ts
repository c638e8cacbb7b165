import { fields } from './en/fields.js'
import { lifecycle } from './en/lifecycle.js'
import { mails } from './en/mails.js'
import { passkeys } from './en/passkeys.js'
import { problems } from './en/problems.js'
import { schemas } from './en/schemas.js'

/** The English texts by message id. They define the ids and the placeholders of all languages. */
export const en = { ...problems, ...fields, ...schemas, ...mails, ...passkeys, ...lifecycle }

export type EnglishTexts = typeof en
