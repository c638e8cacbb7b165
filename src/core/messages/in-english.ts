import type { FieldError, FieldProblem } from '../errors.js'

/** Renders the messages of field errors in English. */
export function inEnglish(errors: readonly FieldProblem[]): readonly FieldError[] {
  const isText = (one: FieldProblem): one is FieldError => typeof one.message === 'string'
  return errors.every(isText) ? errors : errors.map(({ field, message: text }) => ({ field, message: String(text) }))
}
