import { fields } from './de/fields.js'
import { lifecycle } from './de/lifecycle.js'
import { mails } from './de/mails.js'
import { passkeys } from './de/passkeys.js'
import { problems } from './de/problems.js'
import { schemas } from './de/schemas.js'

/** The German texts by message id. */
export const de = { ...problems, ...fields, ...schemas, ...mails, ...passkeys, ...lifecycle }
