import type { Readable } from 'node:stream'
import { BadRequestError, PayloadTooLargeError, UnsupportedMediaTypeError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { assertNoErrors } from '../../schema/validator.js'
import type { HttpRequest } from './request.js'

export interface BodyLimits {
  /** The maximum size in bytes. Default: 1 MiB. */
  readonly maxBytes: number
  /** The maximum nesting depth of objects and arrays. Default: 32. */
  readonly maxDepth: number
  /** The maximum number of keys in all objects together. Default: 2,000. */
  readonly maxKeys: number
  /** The maximum number of values in all objects and arrays together. Default: 50,000. */
  readonly maxValues: number
}

export const defaultBodyLimits: BodyLimits = { maxBytes: 1024 * 1024, maxDepth: 32, maxKeys: 2000, maxValues: 50_000 }

/**
 * Reads the JSON body of a request.
 *
 * @returns the parsed value, or undefined if the request has no body
 * @throws UnsupportedMediaTypeError, PayloadTooLargeError, BadRequestError (malformed), ValidationError (too many keys or values)
 */
export async function readJson(request: HttpRequest, limits: BodyLimits): Promise<unknown> {
  const { maxBytes } = limits
  const declared = Number(request.header('content-length') ?? Number.NaN)
  const hasBody = declared > 0 || request.header('transfer-encoding') !== undefined
  if (hasBody) checkType(request)
  if (declared > maxBytes) throw tooLarge(maxBytes)
  const source = request.body()
  let value = source.parsed
  if (value === undefined) {
    const bytes = await source.read(maxBytes)
    if (bytes.byteLength === 0) return undefined
    // The application's body parser may have read it with other limits.
    if (bytes.byteLength > maxBytes) throw tooLarge(maxBytes)
    checkType(request)
    checkEncoding(request)
    value = parse(bytes, limits)
  } else if (typeof value === 'string' || value instanceof Uint8Array) {
    if (value.length === 0) return undefined
    if (Buffer.byteLength(value) > maxBytes) throw tooLarge(maxBytes)
    value = parse(typeof value === 'string' ? Buffer.from(value) : value, limits)
  } else if (!hasBody) {
    // Body parsers of Express 4 set `{}` for a request without a body.
    return undefined
  }
  assertBodyLimits(value, limits)
  return value
}

function tooLarge(maxBytes: number): PayloadTooLargeError {
  return new PayloadTooLargeError(message('request.bodyTooLarge', { limit: maxBytes }))
}

const jsonType = /^application\/(?:[\w!#$&^.+-]+\+)?json\s*(?:;|$)/i
const otherCharset = /;\s*charset\s*=\s*"?(?!utf-?8\b)/i

function checkType(request: HttpRequest): void {
  const type = request.header('content-type')
  if (type !== undefined && jsonType.test(type) && !otherCharset.test(type)) return
  throw new UnsupportedMediaTypeError(message('request.bodyType'))
}

function checkEncoding(request: HttpRequest): void {
  const encoding = request.header('content-encoding')
  if (encoding === undefined || encoding === '' || encoding.toLowerCase() === 'identity') return
  throw new UnsupportedMediaTypeError(message('request.bodyCompressed'))
}

const decoder = new TextDecoder('utf-8', { fatal: true })

function parse(input: Uint8Array, limits: BodyLimits): unknown {
  assertParseable(input, limits)
  try {
    return JSON.parse(decoder.decode(input)) as unknown
  } catch {
    throw new BadRequestError(message('request.bodyJson'))
  }
}

const [QUOTE, COMMA, COLON, BRACKET, BACKSLASH, BRACE] = [0x22, 0x2c, 0x3a, 0x5b, 0x5c, 0x7b]

// Counts before parsing, because JSON.parse needs most of a second for a megabyte of distinct keys or empty objects.
function assertParseable(bytes: Uint8Array, { maxKeys, maxValues }: BodyLimits): void {
  let keys = 0
  let values = 0
  for (let i = 0; i < bytes.length; i += 1) {
    const byte = bytes[i]
    if (byte === QUOTE) {
      for (i += 1; i < bytes.length && bytes[i] !== QUOTE; i += 1) if (bytes[i] === BACKSLASH) i += 1
    } else if (byte === COLON) keys += 1
    else if (byte === COMMA || byte === BRACKET || byte === BRACE) values += 1
  }
  assertLimits(keys, values, maxKeys, maxValues)
}

function assertLimits(keys: number, values: number, maxKeys: number, maxValues: number): void {
  assertNoErrors([
    ...(keys > maxKeys ? [{ field: 'body', message: message('field.maxKeys', { limit: maxKeys }) }] : []),
    ...(values > maxValues ? [{ field: 'body', message: message('field.holdsValues', { limit: maxValues }) }] : []),
  ])
}

// A body parser of the application has other limits, and none for the depth.
function assertBodyLimits(body: unknown, { maxDepth, maxKeys, maxValues }: BodyLimits): void {
  let keys = 0
  let values = 0
  const visit = (value: unknown, depth: number): void => {
    if (typeof value !== 'object' || value === null) return
    if (depth === 0) throw new PayloadTooLargeError(message('request.bodyTooDeep', { limit: maxDepth }))
    const items = Array.isArray(value) ? value : Object.values(value)
    if (!Array.isArray(value)) keys += items.length
    values += items.length
    assertLimits(keys, values, maxKeys, maxValues)
    for (const item of items) visit(item, depth - 1)
  }
  visit(body, maxDepth)
}

const formType = /^application\/x-www-form-urlencoded\s*(?:;|$)/i

/**
 * Reads the body of a form, such as a provider's response that a page posts.
 *
 * @param maxBytes the largest body
 * @throws UnsupportedMediaTypeError, PayloadTooLargeError
 */
export async function readForm(request: HttpRequest, maxBytes: number): Promise<URLSearchParams> {
  if (!formType.test(request.header('content-type') ?? '')) throw new UnsupportedMediaTypeError(message('request.bodyForm'))
  checkEncoding(request)
  const source = request.body()
  const { parsed } = source
  if (parsed === undefined) return new URLSearchParams(Buffer.from(await source.read(maxBytes)).toString('utf8'))
  if (typeof parsed === 'string' || parsed instanceof Uint8Array) {
    if (Buffer.byteLength(parsed) > maxBytes) throw tooLarge(maxBytes)
    return new URLSearchParams(typeof parsed === 'string' ? parsed : Buffer.from(parsed).toString('utf8'))
  }
  // The application's body parser: a repeated name became a list.
  const pairs = Object.entries(typeof parsed === 'object' && parsed !== null ? parsed : {}).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map((one): [string, string] => [name, String(one)]),
  )
  return new URLSearchParams(pairs)
}

/** Reads a Node stream to its end. Discards the bytes past the limit, so that the client can read the response. */
export function readStream(stream: Readable, limit: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = []
    let size = 0
    const onData = (chunk: Uint8Array): void => {
      size += chunk.byteLength
      if (size > limit) finish(() => reject(tooLarge(limit)))
      else chunks.push(chunk)
    }
    const onEnd = (): void => finish(() => resolve(chunks.length === 1 ? (chunks[0] as Uint8Array) : Buffer.concat(chunks)))
    const onGone = (): void => finish(() => reject(new BadRequestError(message('request.bodyEnded'))))
    const finish = (settle: () => void): void => {
      stream.off('data', onData)
      stream.off('end', onEnd)
      stream.off('close', onGone)
      stream.resume()
      settle()
    }
    stream.on('data', onData)
    stream.on('end', onEnd)
    stream.on('close', onGone)
    // This listener stays, because an error after the response must not be unhandled.
    stream.on('error', onGone)
  })
}

/** Reads a web stream to its end. */
export async function readWebStream(stream: ReadableStream<Uint8Array> | null, limit: number): Promise<Uint8Array> {
  if (stream === null) return new Uint8Array(0)
  const chunks: Uint8Array[] = []
  let size = 0
  const reader = stream.getReader()
  for (;;) {
    const { done, value } = await reader.read().catch(() => {
      throw new BadRequestError(message('request.bodyEnded'))
    })
    if (done) return Buffer.concat(chunks)
    size += value.byteLength
    if (size > limit) {
      // Not awaited, because a server that cannot cancel would delay the response.
      reader.cancel().catch(() => undefined)
      throw tooLarge(limit)
    }
    chunks.push(value)
  }
}
