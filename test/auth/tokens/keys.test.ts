import { createSecretKey, generateKeyPairSync, randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import { expect } from 'chai'
import type { JwtKeyOptions } from '../../../src/auth/tokens/key.js'
import { type JwtOptions, parseKeys, publicJwks } from '../../../src/auth/tokens/key-set.js'
import { ConfigurationError } from '../../../src/core/errors.js'

const secret = 's'.repeat(32)
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const pem = (pair: typeof rsa) => pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
const publicPem = (pair: typeof rsa) => pair.publicKey.export({ type: 'spki', format: 'pem' }).toString()

function refusal(options: JwtOptions): string {
  try {
    parseKeys(options)
  } catch (error) {
    expect(error).to.be.instanceOf(ConfigurationError)
    return (error as Error).message
  }
  return 'accepted'
}

const key = (options: JwtKeyOptions) => refusal({ keys: [options] })

describe('parseKeys', () => {
  it('refuses to start without a secret, and says how to make one [promise 15]', () => {
    for (const missing of [undefined, '', null as unknown as string]) {
      expect(refusal({ secret: missing })).to.match(
        /^jwt\.secret is missing: make one with: node -e "console\.log\(require\('crypto'\)\.randomBytes\(32\)/,
      )
    }
    expect(refusal({})).to.contain('is missing')
    expect(refusal({ keys: [] })).to.contain('is missing')
  })

  it('refuses secrets shorter than their hash, in UTF-8 bytes [promise 15]', () => {
    expect(refusal({ secret: 's'.repeat(31) })).to.match(/has 31 bytes, and HS256 needs 32 or more: make one with: node/)
    expect(refusal({ secret: 'é'.repeat(16) })).to.equal('accepted')
    expect(key({ algorithm: 'HS384', secret: 's'.repeat(47) })).to.contain('randomBytes(48)')
    expect(key({ algorithm: 'HS384', secret: 's'.repeat(48) })).to.equal('accepted')
    expect(key({ algorithm: 'HS512', secret: randomBytes(63) })).to.contain('randomBytes(64)')
    expect(key({ algorithm: 'HS512', secret: createSecretKey(randomBytes(64)) })).to.equal('accepted')
  })

  it('accepts the secret that its own advice makes', () => {
    expect(refusal({ secret: randomBytes(32).toString('base64url') })).to.equal('accepted')
  })

  it('refuses RSA below 2048 bits and other curves than the algorithm has [promise 15]', () => {
    const small = generateKeyPairSync('rsa', { modulusLength: 1024 })
    expect(key({ algorithm: 'RS256', privateKey: small.privateKey })).to.match(
      /has 1024 bits, and RS256 needs 2048 or more: make one with: openssl/,
    )
    expect(key({ algorithm: 'PS256', publicKey: small.publicKey, retired: true })).to.contain('1024 bits')
    expect(key({ algorithm: 'ES384', privateKey: ec.privateKey })).to.contain('needs the curve P-384')
    const other = generateKeyPairSync('ec', { namedCurve: 'secp256k1' })
    expect(key({ algorithm: 'ES256', privateKey: other.privateKey })).to.contain('needs the curve P-256')
  })

  it('refuses keys of another kind than the algorithm takes [promise 14]', () => {
    expect(key({ algorithm: 'RS256', privateKey: ec.privateKey })).to.contain('does not fit RS256')
    expect(key({ algorithm: 'ES256', privateKey: rsa.privateKey })).to.contain('does not fit ES256')
    expect(key({ algorithm: 'RS256', secret })).to.contain('takes privateKey')
    expect(key({ algorithm: 'HS256', privateKey: rsa.privateKey })).to.contain('takes a secret')
    expect(key({ algorithm: 'RS256' })).to.contain('needs a privateKey')
    expect(key({ algorithm: 'RS256', privateKey: 'no key' })).to.contain('cannot be read')
    expect(key({ algorithm: 'RS256', privateKey: rsa.publicKey })).to.contain('privateKey is a public key')
    const pss = generateKeyPairSync('rsa-pss', { modulusLength: 2048, hashAlgorithm: 'sha256', mgf1HashAlgorithm: 'sha256' })
    expect(key({ algorithm: 'RS256', privateKey: pss.privateKey })).to.contain('does not fit RS256')
    expect(key({ algorithm: 'PS512', privateKey: pss.privateKey })).to.contain('not made for the hash of PS512')
    expect(key({ algorithm: 'PS256', privateKey: pss.privateKey })).to.equal('accepted')
  })

  it('refuses a public key as an HMAC secret, with which everyone could sign [promise 14]', () => {
    expect(refusal({ secret: publicPem(rsa) })).to.contain('HS256 takes a secret')
    expect(key({ algorithm: 'HS256', secret: Buffer.from(publicPem(rsa)) })).to.contain('HS256 takes a secret')
    expect(key({ algorithm: 'HS256', secret: rsa.publicKey })).to.contain('HS256 takes a secret')
  })

  it('refuses unknown algorithms, including "none" [promise 14]', () => {
    for (const algorithm of ['none', 'None', 'hs256', 'EdDSA', 'toString', '__proto__']) {
      expect(key({ algorithm: algorithm as 'HS256', secret }), algorithm).to.contain('the algorithm must be one of HS256')
    }
  })

  it('respects the use and algorithm of a JSON Web Key', () => {
    const jwk = rsa.privateKey.export({ format: 'jwk' })
    expect(key({ algorithm: 'RS256', privateKey: jwk })).to.equal('accepted')
    expect(key({ algorithm: 'RS256', privateKey: { ...jwk, use: 'enc' } })).to.contain('not for signing')
    expect(key({ algorithm: 'RS256', privateKey: { ...jwk, key_ops: ['decrypt'] } })).to.contain('not for signing')
    expect(key({ algorithm: 'RS256', privateKey: { ...jwk, alg: 'PS256' } })).to.contain('is for PS256, not RS256')
    expect(key({ algorithm: 'RS256', privateKey: { ...jwk, use: 'sig', key_ops: ['sign'], alg: 'RS256' } })).to.equal('accepted')
  })

  it('reads PEM, and refuses a public key of another pair', () => {
    expect(key({ algorithm: 'RS256', privateKey: pem(rsa), publicKey: publicPem(rsa) })).to.equal('accepted')
    const other = generateKeyPairSync('rsa', { modulusLength: 2048 })
    expect(key({ algorithm: 'RS256', privateKey: pem(rsa), publicKey: publicPem(other) })).to.contain('not of one pair')
  })

  it('refuses duplicate kids, a secret together with keys, and invalid kids', () => {
    const one: JwtKeyOptions = { kid: '1', algorithm: 'HS256', secret }
    expect(refusal({ keys: [one, one] })).to.contain("two keys have the kid '1'")
    expect(refusal({ secret, keys: [one] })).to.contain('either secret or keys')
    expect(key({ ...one, kid: '' })).to.contain('kid')
    expect(key({ ...one, kid: 'k'.repeat(257) })).to.contain('kid')
    expect(refusal({ keys: [one, { ...one, kid: '2', secret: 'short' }] })).to.match(/^jwt\.keys\[1\] has 5 bytes/)
  })

  it('signs with the first key that is not retired, which must have a private half [promise 24]', () => {
    const one: JwtKeyOptions = { kid: '1', algorithm: 'HS256', secret }
    const two: JwtKeyOptions = { kid: '2', algorithm: 'ES256', privateKey: ec.privateKey }
    expect(parseKeys({ keys: [one, two] }).signing.kid).to.equal('1')
    expect(parseKeys({ keys: [{ ...one, retired: true }, two] }).signing.kid).to.equal('2')
    expect(refusal({ keys: [{ ...one, retired: true }] })).to.contain('every key is retired')
    expect(refusal({ keys: [{ kid: '3', algorithm: 'RS256', publicKey: rsa.publicKey }, two] })).to.contain('has no privateKey')
    expect(refusal({ keys: [two, { kid: '3', algorithm: 'RS256', publicKey: rsa.publicKey }] })).to.equal('accepted')
  })

  it('has a leeway of at most 60 seconds, 0 by default [promise 16]', () => {
    expect(parseKeys({ secret }).leeway).to.equal(0)
    expect(parseKeys({ secret, leeway: 60 }).leeway).to.equal(60)
    for (const leeway of [61, -1, 0.5, Number.POSITIVE_INFINITY, Number.NaN])
      expect(refusal({ secret, leeway }), String(leeway)).to.contain('jwt.leeway')
  })

  it('takes times in seconds, with the defaults of the documentation', () => {
    const { accessTokenExpires, refreshTokenExpires } = parseKeys({ secret })
    expect([accessTokenExpires, refreshTokenExpires]).to.deep.equal([900, 2_592_000])
    expect(parseKeys({ secret, accessTokenExpires: 3600 }).accessTokenExpires).to.equal(3600)
    expect(refusal({ secret, accessTokenExpires: 0 })).to.contain('jwt.accessTokenExpires')
    expect(refusal({ secret, refreshTokenExpires: '30d' as unknown as number })).to.contain('jwt.refreshTokenExpires')
    expect(refusal({ secret, issuer: '' })).to.contain('jwt.issuer')
    expect(refusal({ secret, audience: ['a'] as unknown as string })).to.contain('jwt.audience')
  })

  it('shows no secret when it is logged', () => {
    const value = 'never-to-be-seen-in-any-log-file!'
    expect(inspect(parseKeys({ secret: value }), { depth: 10, showHidden: true })).to.not.contain('never-to-be-seen')
  })
})

describe('publicJwks', () => {
  it('returns the public halves of all asymmetric keys and nothing else', () => {
    const keys = parseKeys({
      keys: [
        { kid: 'e', algorithm: 'ES256', privateKey: ec.privateKey },
        { kid: 'h', algorithm: 'HS256', secret },
        { algorithm: 'PS256', privateKey: rsa.privateKey, retired: true },
      ],
    })
    const jwks = publicJwks(keys).keys
    const { x, y } = ec.publicKey.export({ format: 'jwk' })
    const { n, e } = rsa.publicKey.export({ format: 'jwk' })
    expect(jwks).to.deep.equal([
      { kty: 'EC', crv: 'P-256', x, y, kid: 'e', alg: 'ES256', use: 'sig' },
      { kty: 'RSA', n, e, alg: 'PS256', use: 'sig' },
    ])
  })
})
