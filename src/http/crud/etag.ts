import { createHmac } from 'node:crypto'
import { PreconditionFailedError } from '../../core/errors.js'
import { memoize } from '../../core/memoize.js'
import { message } from '../../core/messages/message.js'
import { valuesByName } from '../../schema/model-class.js'
import type { PermsPort, ServedModel, ServedRow } from '../core/ports.js'
import type { HttpRequest } from '../core/request.js'
import { serverKey } from '../core/server-key.js'
import { jsonTextShaper, outputFields } from './shape.js'

/** The JSON text of a row for this caller, and its strong ETag (RFC 9110, 8.8.3). */
export interface Representation {
  readonly text: string
  readonly etag: string
}

/** Returns the JSON of all columns that this caller may see, and an ETag over that text, the id and all other columns. */
export function represent(row: ServedRow, model: ServedModel, perms: PermsPort): Representation {
  const text = JSON.stringify(jsonTextShaper(model, outputFields(model))(row))
  const values = valuesByName(row)
  const rest = [model.getTableName(), row.$id(), ...unshownColumns(model).map((name) => values[name])]
  // Without a key, a client could find a short hidden value by hashing all candidates.
  const mac = createHmac('sha256', serverKey(perms, 'etag')).update(JSON.stringify(rest)).update(text)
  return { text, etag: `"${mac.digest('base64url').slice(0, 22)}"` }
}

const unshown = new WeakMap<object, readonly string[]>()

/** Returns the columns that the JSON text may omit. The ETag must change with them too. */
function unshownColumns(model: ServedModel): readonly string[] {
  return memoize(unshown, model, () =>
    Object.entries(model.columnSpecs)
      .filter(([, { isHidden, readable }]) => isHidden || readable)
      .map(([name]) => name),
  )
}

/** Returns only the ETag of a row. */
export function etagOf(row: ServedRow, model: ServedModel, perms: PermsPort): string {
  return represent(row, model, perms).etag
}

/** Returns whether If-Match contains this ETag or `*`. Weak ETags never match (RFC 9110, 13.1.1). */
function isMatch(header: string, etag: string): boolean {
  return header.trim() === '*' || header.split(',').some((one) => one.trim() === etag)
}

/** Returns whether If-None-Match contains this ETag or `*`. Weak ETags match as well. */
export function isNoneMatch(header: string, etag: string): boolean {
  return isMatch(header.replace(/(^|,)\s*W\//g, '$1'), etag)
}

/** Returns whether a request has If-Match or If-None-Match. */
export function isConditional(request: HttpRequest): boolean {
  return request.header('if-match') !== undefined || request.header('if-none-match') !== undefined
}

/** Checks If-Match. @throws PreconditionFailedError if the row has another ETag */
export function checkIfMatch(request: HttpRequest, etag: () => string): void {
  const wanted = request.header('if-match')
  if (wanted === undefined || isMatch(wanted, etag())) return
  throw new PreconditionFailedError(message('row.changed'))
}

/** Checks If-Match and If-None-Match of a write (RFC 9110, 13.1.2). @throws PreconditionFailedError */
export function checkPreconditions(request: HttpRequest, row: ServedRow, model: ServedModel, perms: PermsPort): void {
  checkIfMatch(request, () => etagOf(row, model, perms))
  const unwanted = request.header('if-none-match')
  if (unwanted === undefined || !isNoneMatch(unwanted, etagOf(row, model, perms))) return
  throw new PreconditionFailedError(message('row.unchanged'))
}

/**
 * Locks the row and repeats the check, inside the transaction that writes. The row may have changed since the first check.
 *
 * @param query for the rows among which the row is found. Default: those that the caller may read
 */
export async function recheckPreconditions(
  request: HttpRequest,
  row: ServedRow,
  model: ServedModel,
  perms: PermsPort,
  query = model.query(),
): Promise<void> {
  const now = await query.findById(row.$id()).forUpdate()
  if (!now) throw new PreconditionFailedError(message('row.deleted'))
  checkPreconditions(request, now, model, perms)
}
