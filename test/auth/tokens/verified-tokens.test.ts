import { expect } from 'chai'
import { ACCESS_TOKEN_TYPE, MAX_TOKEN_LENGTH, signJwt } from '../../../src/auth/tokens/jwt.js'
import { parseKeys } from '../../../src/auth/tokens/key-set.js'
import { VerifiedTokens } from '../../../src/auth/tokens/verified-tokens.js'
import { InvalidTokenError } from '../../../src/core/errors.js'

const keys = parseKeys({ secret: 's'.repeat(32), leeway: 5 })
const sign = (expiresIn: number, more: object = {}) => signJwt(keys, { sub: 'ada', ...more }, { expiresIn, typ: ACCESS_TOKEN_TYPE })

describe('a token that was verified before', () => {
  const now = Date.now
  afterEach(() => {
    Date.now = now
  })
  const wait = (seconds: number) => {
    const later = now() + seconds * 1000
    Date.now = () => later
  }

  it('is not verified again: the claims are the same object', () => {
    const tokens = new VerifiedTokens(keys)
    const token = sign(60)
    expect(tokens.claimsOf(token)).to.equal(tokens.claimsOf(token)).and.to.include({ sub: 'ada' })
    expect(tokens.claimsOf(sign(61))).to.not.equal(tokens.claimsOf(token))
  })

  it('is refused once it has expired, and accepted within the leeway [promise 16]', () => {
    const tokens = new VerifiedTokens(keys)
    const token = sign(60)
    tokens.claimsOf(token)
    wait(64)
    expect(tokens.claimsOf(token).sub).to.equal('ada')
    wait(66)
    for (const again of [1, 2]) expect(() => tokens.claimsOf(token), String(again)).to.throw(InvalidTokenError)
  })

  it('is refused when the clock is set back before its beginning [promise 16]', () => {
    const tokens = new VerifiedTokens(keys)
    const token = sign(600, { nbf: Math.floor(now() / 1000) })
    tokens.claimsOf(token)
    wait(-60)
    expect(() => tokens.claimsOf(token)).to.throw(InvalidTokenError)
  })

  it('is remembered whole: another signature, header or spelling is verified [promise 14]', () => {
    const tokens = new VerifiedTokens(keys)
    const token = sign(60)
    tokens.claimsOf(token)
    const [header = '', payload = '', signature = ''] = token.split('.')
    const other = signJwt(parseKeys({ secret: 'o'.repeat(32) }), { sub: 'ada' }, { expiresIn: 60, typ: ACCESS_TOKEN_TYPE })
    const none = Buffer.from(JSON.stringify({ alg: 'none', typ: ACCESS_TOKEN_TYPE })).toString('base64url')
    const forged = [
      `${header}.${payload}.${other.split('.')[2]}`,
      `${none}.${payload}.${signature}`,
      `${header}.${payload}.`,
      `${token}=`,
      ` ${token}`,
      token.toLowerCase(),
    ]
    for (const one of forged) expect(() => tokens.claimsOf(one), one).to.throw(InvalidTokenError)
  })

  it('is forgotten with its key: other keys verify it themselves [promise 24]', () => {
    const token = sign(60)
    new VerifiedTokens(keys).claimsOf(token)
    expect(() => new VerifiedTokens(parseKeys({ secret: 'n'.repeat(32) })).claimsOf(token)).to.throw(InvalidTokenError)
  })

  it('was refused without being hashed, if it is no text or too long [promise 27]', () => {
    const tokens = new VerifiedTokens(keys)
    for (const bad of [undefined, null, {}, 'x'.repeat(MAX_TOKEN_LENGTH + 1)])
      expect(() => tokens.claimsOf(bad as string)).to.throw(InvalidTokenError)
  })
})
