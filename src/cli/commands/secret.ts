import { randomBytes } from 'node:crypto'
import { defineCommand } from '../command.js'

/** The number of random bytes: as many as SHA-256 has. */
const BYTES = 32

/** `objection-perms secret` */
export const secret = defineCommand({
  options: {},
  usesApplication: false,
  details: ['Store it where the application reads its environment, and not in the repository. Each call prints another one.'],
  example: 'echo "JWT_SECRET=$(npx objection-perms secret)" >> .env',
  async run() {
    const text = randomBytes(BYTES).toString('base64url')
    return { lines: [text], json: { secret: text } }
  },
})
