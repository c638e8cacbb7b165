import { ValidationError } from '../../core/errors.js'
import { type Message, message } from '../../core/messages/message.js'

/**
 * Returns the error for a wrong password, code or passkey of a signed-in user: 422 with its fields. A 401 would tell clients that the
 * session has ended, and some would sign the user out.
 *
 * @param fields all given ones: the error must not tell which of them is wrong
 */
export function wrongProof(fields: readonly string[], text: Message): ValidationError {
  return new ValidationError(
    text,
    fields.map((field) => ({ field, message: message('field.wrong') })),
  )
}
