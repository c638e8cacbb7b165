import { createHmac } from 'node:crypto'
import type { Model } from 'objection'
import { PreconditionFailedError } from '../../core/errors.js'
import { memoize } from '../../core/memoize.js'
import type { PermsPort, ServedModel, ServedRow } from '../core/ports.js'
import type { HttpRequest } from '../core/request.js'
import { serverKey } from '../core/server-key.js'
import { outputFields, shape } from './shape.js'

/** A row as this caller sees it, and its strong validator (RFC 9110, 8.8.3). */
export interface Representation {
  readonly text: string
  readonly etag: string
}

/** Everything that this caller may see of a row, and an ETag over that, the id and all columns. */
export function represent(row: ServedRow, model: ServedModel, perms: PermsPort): Representation {
  const text = JSON.stringify(shape(row, model, outputFields(model)))
  const values = row as unknown as Record<string, unknown>
  const rest = [model.getTableName(), (row as unknown as Model).$id(), ...unshownColumns(model).map((name) => values[name])]
  // Keyed: without the key, a client would find a short hidden value by hashing all candidates.
  const mac = createHmac('sha256', serverKey(perms, 'etag')).update(JSON.stringify(rest)).update(text)
  return { text, etag: `"${mac.digest('base64url').slice(0, 22)}"` }
}

const unshown = new WeakMap<object, readonly string[]>()

/** The columns that the text of a representation may lack: a change of one is a change of the row too. */
function unshownColumns(model: ServedModel): readonly string[] {
  return memoize(unshown, model, () =>
    Object.entries(model.columnSpecs)
      .filter(([, { isHidden, readable }]) => isHidden || readable)
      .map(([name]) => name),
  )
}

/** The validator alone. */
export function etagOf(row: ServedRow, model: ServedModel, perms: PermsPort): string {
  return represent(row, model, perms).etag
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
export function checkPreconditions(request: HttpRequest, row: ServedRow, model: ServedModel, perms: PermsPort): void {
  checkIfMatch(request, () => etagOf(row, model, perms))
  const unwanted = request.header('if-none-match')
  if (unwanted === undefined || !isNoneMatch(unwanted, etagOf(row, model, perms))) return
  throw new PreconditionFailedError('The row is what If-None-Match says that it must not be.')
}

/**
 * The same once more inside the transaction that writes: since the first look the row may have changed, and from here on it
 * is locked.
 */
export async function recheckPreconditions(request: HttpRequest, row: ServedRow, model: ServedModel, perms: PermsPort): Promise<void> {
  const { id } = row as unknown as { id: string }
  const now = (await model.query().findById(id).forUpdate()) as unknown as ServedRow | undefined
  if (!now) throw new PreconditionFailedError('The row is gone.')
  checkPreconditions(request, now, model, perms)
}
