import { randomFillSync } from 'node:crypto'
import { v7 } from 'uuid'

const BYTES = 16
const pool = Buffer.alloc(BYTES * 256)
let next = pool.length

// Random bytes by the pool: one call of the generator each 256 ids, which is most of what an id costs.
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

/** A new id: UUIDv7 (RFC 9562, 5.7), in lower case. Those of one process ascend, within a millisecond too. */
export function newId(): string {
  const random = randomBytes()
  const now = Date.now()
  if (now > lastMs) {
    lastMs = now
    // Room to count on, so that it does not overflow within the millisecond.
    sequence = (((random[6] as number) & 0x7f) << 24) | ((random[7] as number) << 16) | ((random[8] as number) << 8) | (random[9] as number)
  } else {
    sequence = (sequence + 1) | 0
    if (sequence === 0) lastMs += 1
  }
  return v7({ msecs: lastMs, seq: sequence, random })
}
