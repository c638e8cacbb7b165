import { createHash } from 'node:crypto'
import { PreconditionFailedError } from '../model/errors.js'
import type { ServedModel, ServedRow } from './ports.js'
import type { HttpRequest } from './request.js'
import { outputFields, shape } from './shape.js'

/** A row as this caller sees it, and its strong validator (RFC 9110, 8.8.3). */
export interface Representation {
  readonly text: string
  readonly etag: string
}

/** The whole of what this caller may see of a row. */
export function represent(row: ServedRow, model: ServedModel): Representation {
  const text = JSON.stringify(shape(row, model, outputFields(model)))
  return { text, etag: `"${createHash('sha256').update(text).digest('base64url').slice(0, 22)}"` }
}

/** The validator alone. */
export function etagOf(row: ServedRow, model: ServedModel): string {
  return represent(row, model).etag
}

/** Whether one of the validators in If-Match, or `*`, is this one; weak ones never are (RFC 9110, 13.1.1). */
function isMatch(header: string, etag: string): boolean {
  return header.trim() === '*' || header.split(',').some((one) => one.trim() === etag)
}

/** The same for If-None-Match, which compares weakly. */
export function isNoneMatch(header: string, etag: string): boolean {
  return isMatch(header.replace(/(^|,)\s*W\//g, '$1'), etag)
}

/** Whether a write asks for a state of the row. */
export function isConditional(request: HttpRequest): boolean {
  return request.header('if-match') !== undefined || request.header('if-none-match') !== undefined
}

/** @throws PreconditionFailedError where If-Match names another state of the row */
export function checkIfMatch(request: HttpRequest, etag: () => string): void {
  const wanted = request.header('if-match')
  if (wanted === undefined || isMatch(wanted, etag())) return
  throw new PreconditionFailedError('The row is not what If-Match says: fetch it again.')
}

/** The same for a write, which If-None-Match stops too: nothing is answered from a cache (RFC 9110, 13.1.2). */
export function checkPreconditions(request: HttpRequest, row: ServedRow, model: ServedModel): void {
  checkIfMatch(request, () => etagOf(row, model))
  const unwanted = request.header('if-none-match')
  if (unwanted === undefined || !isNoneMatch(unwanted, etagOf(row, model))) return
  throw new PreconditionFailedError('The row is what If-None-Match says that it must not be.')
}

/**
 * The same once more inside the transaction that writes: since the first look the row may have changed, and from here on it
 * is locked.
 */
export async function recheckPreconditions(request: HttpRequest, row: ServedRow, model: ServedModel): Promise<void> {
  const { id } = row as unknown as { id: string }
  const now = (await model.query().findById(id).forUpdate()) as unknown as ServedRow | undefined
  if (!now) throw new PreconditionFailedError('The row is gone.')
  checkPreconditions(request, now, model)
}
