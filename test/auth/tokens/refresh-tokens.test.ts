import { createHmac, generateKeyPairSync } from 'node:crypto'
import { expect } from 'chai'
import { deriveKeys } from '../../../src/auth/tokens/derived-keys.js'
import { parseKeys } from '../../../src/auth/tokens/key-set.js'
import { hashSecret, RefreshTokens } from '../../../src/auth/tokens/refresh-tokens.js'
import { hashToken } from '../../../src/users/token.js'

const sessionId = '01890000-0000-7000-8000-000000000001'
const first = { kid: '1', algorithm: 'HS256', secret: 'a'.repeat(32) } as const
const second = { kid: '2', algorithm: 'HS256', secret: 'b'.repeat(32) } as const

describe('RefreshTokens', () => {
  const tokens = new RefreshTokens(parseKeys({ secret: first.secret }))

  it('creates tokens of 256 bits whose session only the server can verify [promise 20]', () => {
    const secret = tokens.newSecret()
    expect(secret.length).to.equal(32)
    expect(tokens.newSecret()).to.not.deep.equal(secret)
    const text = tokens.format(sessionId, secret)
    expect(text).to.match(/^rt_[\w-]{100,}$/)
    const read = tokens.parse(text)
    expect(read?.sessionId).to.equal(sessionId)
    expect(read?.secret).to.deep.equal(secret)
  })

  it('detects any changed character of a token [promise 21]', () => {
    const text = tokens.format(sessionId, tokens.newSecret())
    for (let i = 3; i < text.length; i += 1) {
      const changed = `${text.slice(0, i)}${text[i] === 'A' ? 'B' : 'A'}${text.slice(i + 1)}`
      expect(tokens.parse(changed), changed).to.equal(null)
    }
    for (const other of [
      '',
      'rt_',
      text.slice(3),
      text.slice(0, -1),
      `${text}A`,
      `${text}=`,
      ` ${text}`,
      `${text}\n`,
      'rt_'.padEnd(9999, 'A'),
      null,
      1,
      [text],
    ]) {
      expect(tokens.parse(other), String(other).slice(0, 120)).to.equal(null)
    }
  })

  it('refuses a token tagged with another key, or with the key that signs JWTs [promise 20]', () => {
    const others = new RefreshTokens(parseKeys({ secret: second.secret }))
    const secret = tokens.newSecret()
    expect(tokens.parse(others.format(sessionId, secret))).to.equal(null)
    const tag = createHmac('sha256', first.secret).update(secret).update(sessionId).digest().subarray(0, 16)
    expect(tokens.parse(`rt_${Buffer.concat([secret, tag, Buffer.from(sessionId)]).toString('base64url')}`)).to.equal(null)
  })

  it('derives one successor, the same in every process, which cannot be derived without the key [promise 21]', () => {
    const token = tokens.parse(tokens.format(sessionId, tokens.newSecret()))
    if (!token) return expect.fail('it did not parse')
    const elsewhere = new RefreshTokens(parseKeys({ secret: first.secret }))
    expect(elsewhere.successor(token)).to.deep.equal(tokens.successor(token))
    expect(tokens.successor(token)).to.not.deep.equal(token.secret)
    expect(new RefreshTokens(parseKeys({ secret: second.secret })).successor(token)).to.not.deep.equal(tokens.successor(token))
    expect(tokens.successorWithHash(token, hashSecret(tokens.successor(token)))).to.deep.equal(tokens.successor(token))
    expect(tokens.successorWithHash(token, hashSecret(token.secret))).to.equal(null)
  })

  it('accepts old tokens only while their key is configured [promise 24]', () => {
    const old = new RefreshTokens(parseKeys({ keys: [first] }))
    const rotated = new RefreshTokens(parseKeys({ keys: [second, { ...first, retired: true }] }))
    const removed = new RefreshTokens(parseKeys({ keys: [second] }))
    const text = old.format(sessionId, old.newSecret())
    const token = rotated.parse(text)
    if (!token) return expect.fail('it did not parse')
    expect(removed.parse(text)).to.equal(null)
    // Both processes of a roll-out make the same successor, and the new key vouches for it.
    const before = old.parse(text)
    expect(before && old.successor(before)).to.deep.equal(rotated.successor(token))
    expect(removed.parse(rotated.format(sessionId, rotated.successor(token)))?.sessionId).to.equal(sessionId)
  })

  it('works with key pairs: the private half is the secret', () => {
    const pair = (): string =>
      generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' }) as string
    const pem = pair()
    const made = new RefreshTokens(parseKeys({ keys: [{ algorithm: 'ES256', privateKey: pem }] }))
    const text = made.format(sessionId, made.newSecret())
    expect(new RefreshTokens(parseKeys({ keys: [{ algorithm: 'ES256', privateKey: pem }] })).parse(text)?.sessionId).to.equal(sessionId)
    expect(new RefreshTokens(parseKeys({ keys: [{ algorithm: 'ES256', privateKey: pair() }] })).parse(text)).to.equal(null)
  })

  it('stores a hash that no text of another kind of token has [promise 17]', () => {
    const secret = tokens.newSecret()
    for (const form of ['utf8', 'latin1', 'hex', 'base64url'] as const)
      expect(hashSecret(secret)).to.not.equal(hashToken(secret.toString(form)))
    expect(hashSecret(secret)).to.not.equal(hashToken(tokens.format(sessionId, secret)))
    expect(hashSecret(secret)).to.not.equal(hashToken(`\xff${secret.toString('latin1')}`))
  })
})

describe('deriveKeys', () => {
  it('gives each purpose and each key its own secret, the signing key first', () => {
    const keys = parseKeys({ keys: [{ ...first, retired: true }, second] })
    const cursor = deriveKeys(keys, 'cursor')
    expect(cursor).to.have.length(2)
    expect(cursor[0]).to.deep.equal(deriveKeys(parseKeys({ keys: [second] }), 'cursor')[0])
    expect(new Set([...cursor, ...deriveKeys(keys, 'mail')].map((key) => key.toString('hex'))).size).to.equal(4)
    expect(cursor.every((key) => key.length === 32)).to.equal(true)
  })
})
