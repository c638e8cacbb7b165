import { randomFillSync } from 'node:crypto'
import { v7 } from 'uuid'

const BYTES = 16
const pool = Buffer.alloc(BYTES * 256)
let next = pool.length

// The call of the generator is most of the cost of an id, so one call serves 256 ids.
function randomBytes(): Uint8Array {
  if (next >= pool.length) {
    randomFillSync(pool)
    next = 0
  }
  next += BYTES
  return pool.subarray(next - BYTES, next)
}

let lastMs = 0
let sequence = 0

/**
 * Returns a new id: a UUIDv7 (RFC 9562, 5.7) in lower case. The ids of one process ascend, also within a millisecond.
 *
 * @example newId() // '019ac1f0-7d3c-7b1e-9c55-0f6f6a1d2b3c'
 */
export function newId(): string {
  const random = randomBytes()
  const now = Date.now()
  if (now > lastMs) {
    lastMs = now
    // The highest bit stays 0, so that counting up does not overflow within the millisecond.
    sequence = (((random[6] as number) & 0x7f) << 24) | ((random[7] as number) << 16) | ((random[8] as number) << 8) | (random[9] as number)
  } else {
    sequence = (sequence + 1) | 0
    if (sequence === 0) lastMs += 1
  }
  return v7({ msecs: lastMs, seq: sequence, random })
}
