import type { JsonWebKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import { verifyCompact } from '../../../src/auth/tokens/jwt.js'
import type { JwtAlgorithm, JwtKeyOptions } from '../../../src/auth/tokens/key.js'
import { parseKeys } from '../../../src/auth/tokens/key-set.js'
import { ConfigurationError, InvalidTokenError } from '../../../src/core/errors.js'

interface Vector {
  tcId: number
  comment: string
  jws: string
  result: 'valid' | 'invalid'
}

interface Group {
  comment: string
  private?: JsonWebKey
  public?: JsonWebKey
  tests: Vector[]
}

const file = new URL('../../vectors/wycheproof/json_web_signature_test.json', import.meta.url)
const { testGroups } = JSON.parse(readFileSync(file, 'utf8')) as { testGroups: Group[] }

/** Where our answer is not the vectors', and why. */
const EMPTY_PAYLOAD = 'a JWS may have no payload, a JWT has claims'
const SAME_AS_357 = 'byte for byte vector 357, which is valid: the padding that it is about is not in the file'
const NOT_BASE64URL = 'a "?" is no character of base64url (RFC 7515, 2): refused, as its siblings 363 to 371 want'
const EXCEPTIONS: Record<number, string> = {
  259: EMPTY_PAYLOAD,
  264: EMPTY_PAYLOAD,
  268: EMPTY_PAYLOAD,
  272: EMPTY_PAYLOAD,
  320: EMPTY_PAYLOAD,
  325: EMPTY_PAYLOAD,
  367: SAME_AS_357,
  370: SAME_AS_357,
  372: NOT_BASE64URL,
  373: NOT_BASE64URL,
}

/**
 * Keys whose `alg` in the file is not what the RFC's figure is signed with: Figure 20 of RFC 7520 uses PS384, and there
 * is no ES521. A key is for one algorithm here, so the file's would refuse them.
 */
const ALG_CORRECTIONS: Record<string, JwtAlgorithm> = { 'rfc7520 PS256': 'PS384', 'rfc7520 ES521': 'ES512' }

/** The keys that say no algorithm are for encryption; what the tokens are signed with then. */
const ALG_OF_UNSAID: Record<string, JwtAlgorithm> = { RSA: 'RS256', EC: 'ES256' }

/** One key alone to sign, so that the vector's may be known by its public half only. */
const SIGNER: JwtKeyOptions = { kid: 'signer', algorithm: 'HS256', secret: 's'.repeat(32) }

function verifies(group: Group, jws: string): boolean {
  try {
    verifyCompact(parseKeys({ keys: keysOf(group) }), jws)
    return true
  } catch (error) {
    if (error instanceof InvalidTokenError || error instanceof ConfigurationError) return false
    throw error
  }
}

/** The group's key, under its name and without one: some tokens name it, some do not. */
function keysOf(group: Group): JwtKeyOptions[] {
  const { kid, ...jwk } = (group.public ?? group.private) as JsonWebKey & { kid?: string }
  const said = jwk.alg as JwtAlgorithm | undefined
  const algorithm =
    ALG_CORRECTIONS[`${group.comment.replace(/With.*/, '')} ${said}`] ?? said ?? (ALG_OF_UNSAID[jwk.kty as string] as JwtAlgorithm)
  const material: JwtKeyOptions =
    jwk.kty === 'oct'
      ? { algorithm, secret: Buffer.from(jwk.k as string, 'base64url') }
      : { algorithm, publicKey: said === undefined ? jwk : { ...jwk, alg: algorithm }, retired: true }
  return [SIGNER, material, ...(kid === undefined ? [] : [{ ...material, kid }])]
}

describe('the JWS vectors of Project Wycheproof', () => {
  for (const group of testGroups) {
    const { alg = 'no algorithm', kid = 'no kid' } = (group.public ?? group.private) as { alg?: string; kid?: string }
    const first = group.tests[0]?.tcId
    const last = group.tests.at(-1)?.tcId
    it(`${group.comment} (${alg}, ${kid}), vectors ${first} to ${last} [promise 18] [promise 14]`, () => {
      for (const { tcId, comment, jws, result } of group.tests) {
        const expected = (result === 'valid') !== tcId in EXCEPTIONS
        expect(verifies(group, jws), `${tcId} ${comment}${tcId in EXCEPTIONS ? `, exception: ${EXCEPTIONS[tcId]}` : ''}`).to.equal(expected)
      }
    })
  }

  it('are all there [promise 18]', () => {
    expect(testGroups.flatMap(({ tests }) => tests)).to.have.length(401)
  })
})
