import { createHmac, generateKeyPairSync } from 'node:crypto'
import { expect } from 'chai'
import { ACCESS_TOKEN_TYPE, MAX_TOKEN_LENGTH, signJwt, verifyJwt } from '../../../src/auth/tokens/jwt.js'
import type { JwtAlgorithm, JwtKeyOptions } from '../../../src/auth/tokens/key.js'
import { parseKeys } from '../../../src/auth/tokens/key-set.js'
import { ConfigurationError, InvalidTokenError } from '../../../src/core/errors.js'

const typ = ACCESS_TOKEN_TYPE
const secret = 's'.repeat(32)
const keys = parseKeys({ secret })
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })

const now = () => Math.floor(Date.now() / 1000)
const encode = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

/** A token made by hand, signed with HMAC. */
function forge(header: unknown, payload: unknown, key: string | Buffer = secret, hash = 'sha256'): string {
  const input = `${encode(header)}.${encode(payload)}`
  return `${input}.${createHmac(hash, key).update(input).digest('base64url')}`
}

const header = { alg: 'HS256', typ }
const claims = () => ({ sub: 'ada', iat: now(), exp: now() + 60 })

/** 'accepted', or the reason for the refusal, which is always the same error to a client. */
function answer(token: string, set = keys, kind: string = typ): string {
  try {
    verifyJwt(set, token, { typ: kind })
    return 'accepted'
  } catch (error) {
    if (!(error instanceof InvalidTokenError)) throw error
    expect([error.status, error.code, error.message]).to.deep.equal([401, 'invalid_token', new InvalidTokenError().message])
    return error.cause instanceof Error ? error.cause.message : String(error.cause)
  }
}

describe('signJwt and verifyJwt', () => {
  it('return the claims that were signed', () => {
    const token = signJwt(keys, { sub: 'ada', sid: 'session', roles: ['x'] }, { expiresIn: 900, typ })
    const { iat, exp, ...rest } = verifyJwt(keys, token, { typ })
    expect(rest).to.deep.equal({ sub: 'ada', sid: 'session', roles: ['x'] })
    expect(iat).to.be.closeTo(now(), 2)
    expect(exp).to.equal((iat as number) + 900)
    expect(JSON.parse(Buffer.from(token.split('.')[0] as string, 'base64url').toString())).to.deep.equal({ alg: 'HS256', typ: 'at+jwt' })
  })

  it('accept a token that was built by hand according to RFC 7515', () => {
    expect(answer(forge(header, claims()))).to.equal('accepted')
  })

  const pairs: Record<string, () => JwtKeyOptions['privateKey']> = {
    RS: () => rsa.privateKey,
    PS: () => rsa.privateKey,
    ES256: () => generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
    ES384: () => generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
    ES512: () => generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey,
  }
  for (const algorithm of [
    'HS384',
    'HS512',
    'RS256',
    'RS384',
    'RS512',
    'PS256',
    'PS384',
    'PS512',
    'ES256',
    'ES384',
    'ES512',
  ] as JwtAlgorithm[]) {
    it(`sign and verify with ${algorithm}`, () => {
      const privateKey = (pairs[algorithm] ?? pairs[algorithm.slice(0, 2)])?.()
      const set = parseKeys({ keys: [privateKey === undefined ? { algorithm, secret: 's'.repeat(64) } : { algorithm, privateKey }] })
      const token = signJwt(set, { sub: 'ada' }, { expiresIn: 60, typ })
      expect(verifyJwt(set, token, { typ }).sub).to.equal('ada')
      expect(answer(token)).to.equal('no configured key fits')
    })
  }

  it('do not sign reserved claims, missing claims or too many claims', () => {
    const attempt =
      (values: Record<string, unknown>, expiresIn = 60) =>
      () =>
        signJwt(keys, values as { sub: string }, { expiresIn, typ })
    for (const claim of ['exp', 'iat', 'iss', 'aud']) expect(attempt({ sub: 'ada', [claim]: 1 }), claim).to.throw(ConfigurationError, claim)
    expect(attempt({})).to.throw(ConfigurationError, 'sub')
    expect(attempt({ sub: '' })).to.throw(ConfigurationError, 'sub')
    expect(attempt({ sub: 'ada', more: 'x'.repeat(MAX_TOKEN_LENGTH) })).to.throw(ConfigurationError, 'characters')
    for (const expiresIn of [0, -1, 1.5, Number.NaN])
      expect(attempt({ sub: 'ada' }, expiresIn), String(expiresIn)).to.throw(ConfigurationError)
  })
})

describe('verifyJwt', () => {
  it('refuses another signature, payload or header [promise 14]', () => {
    const [head, body, signature] = forge(header, claims()).split('.') as [string, string, string]
    expect(answer(forge(header, claims(), 't'.repeat(32)))).to.equal('invalid signature')
    expect(answer(`${head}.${encode({ ...claims(), sub: 'eve' })}.${signature}`)).to.equal('invalid signature')
    expect(answer(`${encode({ ...header, x: 1 })}.${body}.${signature}`)).to.equal('invalid signature')
  })

  it('refuses the algorithm "none" in any letter case, with and without a signature [promise 14]', () => {
    for (const alg of ['none', 'None', 'NONE', 'nOnE', '', null, undefined, ['HS256'], { alg: 'HS256' }]) {
      expect(answer(forge({ ...header, alg }, claims())), String(alg)).to.equal('no configured key fits')
      expect(answer(`${encode({ ...header, alg })}.${encode(claims())}.`), String(alg)).to.equal('not three parts of base64url')
    }
  })

  it('refuses HS256 signed with a public key [promise 14]', () => {
    const set = parseKeys({ keys: [{ algorithm: 'RS256', privateKey: rsa.privateKey }] })
    for (const type of ['spki', 'pkcs1'] as const) {
      for (const text of [rsa.publicKey.export({ type, format: 'pem' }), rsa.publicKey.export({ type, format: 'der' })]) {
        expect(answer(forge(header, claims(), text), set)).to.equal('no configured key fits')
      }
    }
  })

  it('refuses an algorithm that does not fit the key, even of the same family [promise 14]', () => {
    const long = 's'.repeat(64)
    const set = parseKeys({ keys: [{ algorithm: 'HS512', secret: long }] })
    expect(answer(forge({ ...header, alg: 'HS512' }, claims(), long, 'sha512'), set)).to.equal('accepted')
    expect(answer(forge(header, claims(), long), set)).to.equal('no configured key fits')
    const rs = parseKeys({ keys: [{ kid: '1', algorithm: 'RS256', privateKey: rsa.privateKey }] })
    const ps = parseKeys({ keys: [{ kid: '1', algorithm: 'PS256', privateKey: rsa.privateKey }] })
    expect(answer(signJwt(ps, { sub: 'ada' }, { expiresIn: 60, typ }), rs)).to.equal('no configured key fits')
  })

  it('refuses headers that supply a key or change what is signed [promise 14]', () => {
    const jwk = { kty: 'oct', k: encode('t'.repeat(32)) }
    const url = 'https://evil.example/keys'
    for (const [name, value] of Object.entries({ crit: ['exp'], jku: url, x5u: url, jwk, x5c: ['MIIB'], b64: false })) {
      expect(answer(forge({ ...header, [name]: value }, claims())), name).to.equal(`the header ${name} is not taken`)
    }
    expect(answer(forge({ ...header, crit: [] }, claims()))).to.equal('the header crit is not taken')
    expect(answer(forge({ ...header, jwk }, claims(), 't'.repeat(32)))).to.equal('the header jwk is not taken')
  })

  it('uses kid to look up a configured key, and for nothing else [promise 14]', () => {
    const set = parseKeys({
      keys: [
        { kid: '1', algorithm: 'HS256', secret },
        { kid: '2', algorithm: 'HS256', secret: 't'.repeat(32) },
      ],
    })
    expect(answer(forge({ ...header, kid: '1' }, claims()), set)).to.equal('accepted')
    expect(answer(forge({ ...header, kid: '2' }, claims()), set)).to.equal('invalid signature')
    for (const kid of ['3', '', '../../dev/null', "1' or '1'='1", '__proto__', 'constructor', null, 1, ['1'], { kid: '1' }]) {
      expect(answer(forge({ ...header, kid }, claims()), set), JSON.stringify(kid)).to.equal('no configured key fits')
    }
    expect(answer(forge(header, claims()), set), 'no kid, and each key has one').to.equal('no configured key fits')
    for (const kid of ['1', '', null])
      expect(answer(forge({ ...header, kid }, claims())), `${kid}: no key has one`).to.equal('no configured key fits')
  })

  it('tries the keys without kid for a token without kid, and the only key for every token', () => {
    const named = parseKeys({ keys: [{ kid: '1', algorithm: 'HS256', secret }] })
    expect(answer(forge(header, claims()), named)).to.equal('accepted')
    const two = parseKeys({
      keys: [
        { algorithm: 'HS256', secret: 't'.repeat(32) },
        { algorithm: 'HS256', secret },
      ],
    })
    expect(answer(forge(header, claims()), two)).to.equal('accepted')
    expect(answer(forge(header, claims(), 'u'.repeat(32)), two)).to.equal('invalid signature')
  })

  it('verifies with retired keys until they are removed [promise 24]', () => {
    const old: JwtKeyOptions = { algorithm: 'HS256', secret }
    const fresh: JwtKeyOptions = { kid: '2', algorithm: 'ES256', privateKey: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey }
    const before = signJwt(keys, { sub: 'ada' }, { expiresIn: 60, typ })
    const during = parseKeys({ keys: [fresh, { ...old, retired: true }] })
    const after = parseKeys({ keys: [fresh] })
    expect(answer(before, during)).to.equal('accepted')
    const fromNew = signJwt(during, { sub: 'ada' }, { expiresIn: 60, typ })
    expect(answer(fromNew, during)).to.equal('accepted')
    expect(answer(fromNew, after)).to.equal('accepted')
    expect(answer(before, after)).to.equal('no configured key fits')
  })

  it('requires exp, as a number, and sub, as text [promise 16]', () => {
    const { exp, ...rest } = claims()
    expect(answer(forge(header, rest))).to.contain('sub or exp')
    for (const odd of [String(exp), null, true, [exp], {}])
      expect(answer(forge(header, { ...rest, exp: odd })), JSON.stringify(odd)).to.not.equal('accepted')
    expect(answer(forge(header, `{"sub":"ada","exp":1e999}`))).to.contain('sub or exp')
    for (const sub of [undefined, '', null, 1, ['ada'], {}])
      expect(answer(forge(header, { ...claims(), sub })), JSON.stringify(sub)).to.contain('sub or exp')
    for (const odd of [{ iat: 'now' }, { nbf: '0' }, { jti: 1 }])
      expect(answer(forge(header, { ...claims(), ...odd }))).to.not.equal('accepted')
  })

  it('refuses expired and early tokens to the second, apart from the leeway [promise 16]', () => {
    const tolerant = parseKeys({ secret, leeway: 60 })
    expect(answer(forge(header, { ...claims(), exp: now() }))).to.equal('jwt expired')
    expect(answer(forge(header, { ...claims(), exp: now() - 30 }), tolerant)).to.equal('accepted')
    expect(answer(forge(header, { ...claims(), exp: now() - 61 }), tolerant)).to.equal('jwt expired')
    expect(answer(forge(header, { ...claims(), nbf: now() }))).to.equal('accepted')
    expect(answer(forge(header, { ...claims(), nbf: now() + 30 }))).to.equal('jwt not active')
    expect(answer(forge(header, { ...claims(), nbf: now() + 30 }), tolerant)).to.equal('accepted')
    expect(answer(forge(header, { ...claims(), nbf: now() + 90 }), tolerant)).to.equal('jwt not active')
  })

  it('compares iss and aud exactly [promise 16]', () => {
    const set = parseKeys({ secret, issuer: 'https://zoo.example', audience: 'zoo' })
    const own = { ...claims(), iss: 'https://zoo.example', aud: 'zoo' }
    expect(answer(forge(header, own), set)).to.equal('accepted')
    expect(answer(signJwt(set, { sub: 'ada' }, { expiresIn: 60, typ }), set)).to.equal('accepted')
    expect(answer(forge(header, { ...own, aud: ['zoo', 'shop'] }), set)).to.equal('accepted')
    for (const wrong of [
      { iss: undefined },
      { iss: 'https://zoo.example/' },
      { iss: 'HTTPS://zoo.example' },
      { iss: ['https://zoo.example'] },
      { aud: undefined },
      { aud: 'zoo2' },
      { aud: 'ZOO' },
      { aud: [] },
      { aud: { zoo: 1 } },
    ]) {
      expect(answer(forge(header, { ...own, ...wrong }), set), JSON.stringify(wrong)).to.match(/audience|issuer/)
    }
    expect(answer(forge(header, { ...claims(), aud: 'shop' })), 'we have no name, so it is not for us').to.contain('aud')
  })

  it('refuses every other kind of token [promise 17]', () => {
    const kinds = ['at+jwt', 'challenge+jwt', 'JWT']
    for (const made of kinds) {
      const token = signJwt(keys, { sub: 'ada' }, { expiresIn: 60, typ: made })
      for (const asked of kinds)
        expect(answer(token, keys, asked), `${made} as ${asked}`).to.equal(made === asked ? 'accepted' : `typ is not ${asked}`)
    }
    for (const odd of [undefined, null, '', 'AT+JWT', 'at+jwt ', ['at+jwt']]) {
      expect(answer(forge({ ...header, typ: odd }, claims())), JSON.stringify(odd)).to.equal('typ is not at+jwt')
    }
  })

  it('accepts each token in one spelling only [promise 14]', () => {
    // 32 bytes of signature end in two bits that mean nothing; the plain decoder takes all four characters for one.
    const token = forge(header, claims())
    const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const twin = token.slice(0, -1) + digits[digits.indexOf(token.slice(-1)) + 1]
    const decoded = (text: string) => Buffer.from(text.split('.')[2] as string, 'base64url').toString('hex')
    expect(decoded(twin)).to.equal(decoded(token))
    for (const other of [
      twin,
      `${token}=`,
      `${token}\n`,
      ` ${token}`,
      token.replace('.', '=.'),
      `${token}.`,
      `.${token}`,
      `${token}.e30`,
    ]) {
      expect(answer(other), JSON.stringify(other.slice(-9))).to.equal('not three parts of base64url')
    }
  })

  it('refuses text that is not a token', () => {
    const odd = ['', '.', '..', 'a.b.c', 'null', 'Bearer x', 'é.é.é', '\0', undefined, null, 1, {}, [forge(header, claims())]]
    for (const value of odd) expect(answer(value as string), JSON.stringify(value)).to.not.equal('accepted')
    for (const text of ['null', '[]', '"x"', '1', '{', '{"alg":"HS256"'])
      expect(answer(forge(text, claims())), text).to.not.equal('accepted')
    for (const text of ['null', '[]', '"x"', '1', '{', '{"sub":"ada"']) expect(answer(forge(header, text)), text).to.not.equal('accepted')
  })

  it('does not parse tokens over 8 KiB', () => {
    const long = forge(header, { ...claims(), more: 'x'.repeat(6000) })
    expect(long.length).to.be.lessThan(MAX_TOKEN_LENGTH + 1)
    expect(answer(long)).to.equal('accepted')
    expect(answer(forge(header, { ...claims(), more: 'x'.repeat(6200) }))).to.equal('no text, or too long')
  })

  it('returns claims named like members of Object.prototype as data', () => {
    const payload = `{"sub":"ada","exp":${now() + 60},"__proto__":{"isAdmin":true}}`
    const read = verifyJwt(keys, forge(header, payload), { typ })
    expect((read as { isAdmin?: boolean }).isAdmin).to.equal(undefined)
  })
})
