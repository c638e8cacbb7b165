import { randomBytes, scryptSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import {
  ConfigurationError,
  firebaseScrypt,
  type LegacyPasswordScheme,
  pbkdf2,
  phpass,
  saltedDigest,
  scrypt,
} from '../../../../src/index.js'
import { thrown } from '../../../helpers/errors.js'

interface Vector {
  readonly scheme: string
  readonly source: string
  readonly signerKey?: string
  readonly password: string
  readonly stored: string
}

const vectors = JSON.parse(
  readFileSync(new URL('../../../vectors/legacy-passwords/vectors.json', import.meta.url), 'utf8'),
) as readonly Vector[]

const firebase = {
  signerKey: 'jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==',
  saltSeparator: 'Bw==',
  rounds: 8,
  memCost: 14,
}
// In a template of a stored text, `$` stands for itself.
const dollar = '$'
const schemes: Readonly<Record<string, (vector: Vector) => LegacyPasswordScheme>> = {
  pbkdf2: () => pbkdf2({ iterations: 320_000 }),
  // The default covers all of them but the one of passlib.
  scrypt: ({ stored }) => scrypt(stored.includes('ln=16') ? { cost: { N: 65_536, r: 8, p: 1 } } : {}),
  'firebase-scrypt': ({ signerKey = firebase.signerKey }) => firebaseScrypt({ ...firebase, signerKey }),
  phpass: () => phpass(),
  'salted-sha1': () => saltedDigest({ algorithm: 'sha1', template: `sha1${dollar}{salt}${dollar}{hash}` }),
  'salted-md5': () => saltedDigest({ algorithm: 'md5', template: `md5${dollar}{salt}${dollar}{hash}` }),
  'unsalted-md5': () => saltedDigest({ algorithm: 'md5', template: '{hash}', name: 'unsalted-md5' }),
}
const schemeOf = (vector: Vector) => (schemes[vector.scheme] as (given: Vector) => LegacyPasswordScheme)(vector)
const storedBy = (name: string) => vectors.find(({ scheme }) => scheme === name) as Vector

/** Milliseconds: the shortest of a few tries, since other work of the machine only adds to them. */
async function timeOf(work: () => Promise<unknown>): Promise<number> {
  let shortest = Number.POSITIVE_INFINITY
  for (let i = 0; i < 3; i += 1) {
    const start = performance.now()
    await work()
    shortest = Math.min(shortest, performance.now() - start)
  }
  return shortest
}

describe('Legacy password schemes', () => {
  for (const vector of vectors) {
    it(`${vector.scheme}: verifies ${vector.stored.slice(0, 24)} of ${vector.source}, and no other password`, async () => {
      const scheme = schemeOf(vector)
      expect(scheme.name).to.equal(vector.scheme)
      expect(scheme.recognises(vector.stored)).to.equal(true)
      expect(scheme.exceeds?.(vector.stored)).to.equal(undefined)
      expect(await scheme.verify(vector.password, vector.stored)).to.equal(true)
      expect(await scheme.verify(`${vector.password}x`, vector.stored)).to.equal(false)
    })
  }

  it('recognise no hash of another scheme, no bcrypt hash and no other text', () => {
    const others = [
      '',
      'plain text',
      '$2b$12$.....................',
      '$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo',
      'x'.repeat(5000),
    ]
    for (const scheme of vectors.map(schemeOf)) {
      for (const { scheme: name, stored } of vectors) {
        if (name === scheme.name) continue
        expect(scheme.recognises(stored), `${scheme.name}: ${stored}`).to.equal(false)
      }
      for (const text of others) expect(scheme.recognises(text), `${scheme.name}: ${text}`).to.equal(false)
    }
  })

  it('answer false for damaged text and for text of another scheme [promise 6]', async () => {
    for (const name of ['pbkdf2', 'phpass', 'salted-sha1', 'firebase-scrypt', 'scrypt']) {
      const { password, stored } = storedBy(name)
      const scheme = schemeOf(storedBy(name))
      for (const text of ['', 'plain', `${stored.slice(0, -8)}AAAAAAAA`, `${stored}!`, stored.replace(/\$/g, '')])
        expect(await scheme.verify(password, text), `${name}: ${text}`).to.equal(false)
    }
  })

  it('name the parameter that exceeds the bounds, and do not compute such a hash [promise 79]', async () => {
    const key = randomBytes(32).toString('base64')
    const long = 'x'.repeat(300)
    const aspNet = Buffer.from(storedByAspNet(), 'base64')
    aspNet.writeUInt32BE(0xffff_ffff, 5)
    const cases: readonly [LegacyPasswordScheme, string, string][] = [
      [pbkdf2(), `pbkdf2_sha256$2000000000$salt$${key}`, 'iterations'],
      [pbkdf2(), `pbkdf2_sha256$999999999999$salt$${key}`, 'iterations'],
      [pbkdf2(), `pbkdf2_sha256$0$salt$${key}`, 'iterations'],
      [pbkdf2({ iterations: 1000 }), `pbkdf2_sha256$1001$salt$${key}`, 'iterations'],
      [pbkdf2({ iterations: 1000 }), `pbkdf2_sha256$501$salt$${randomBytes(64).toString('base64')}`, 'iterations'],
      [pbkdf2(), aspNet.toString('base64'), 'iterations'],
      [pbkdf2(), `pbkdf2_sha256$1000$${long}$${key}`, 'salt length'],
      [pbkdf2(), `pbkdf2_sha256$1000$salt$${randomBytes(600).toString('base64')}`, 'key length'],
      [pbkdf2(), `pbkdf2_sha256$1000$salt$${randomBytes(15).toString('base64')}`, 'key length'],
      [scrypt(), `scrypt$1073741824$salt$8$1$${key}`, 'cost'],
      [scrypt(), `scrypt$16384$salt$8$999999$${key}`, 'cost'],
      [scrypt(), `scrypt$16384$salt$999999$1$${key}`, 'cost'],
      [scrypt(), `scrypt$16383$salt$8$1$${key}`, 'cost'],
      [scrypt(), `scrypt$0$salt$8$1$${key}`, 'cost'],
      [scrypt({ cost: { N: 2, r: 8, p: 64 } }), `scrypt$4$salt$8$65$${key}`, 'cost'],
      // PBKDF2 alone would take five times as long as the standard.
      [scrypt(), `scrypt$2$salt$1$393216$${key}`, 'cost'],
      [scrypt({ cost: { N: 16_384, r: 8, p: 64 } }), `scrypt$131072$salt$8$1$${key}`, 'memory'],
      [scrypt(), `scrypt$16384$${long}$8$1$${key}`, 'salt length'],
      [scrypt(), `scrypt$16384$salt$8$1$${randomBytes(600).toString('base64')}`, 'key length'],
      [phpass(), '$P$P12345678L6Lpt4BxNotVIMILOa9u81', 'iterations'],
      [phpass(), '$P$z12345678L6Lpt4BxNotVIMILOa9u81', 'iterations'],
      [phpass(), '$P$.12345678L6Lpt4BxNotVIMILOa9u81', 'iterations'],
      [firebaseScrypt(firebase), storedBy('firebase-scrypt').stored.replace(/=*$/, 'AAAA=='), 'key length'],
      [
        firebaseScrypt(firebase),
        storedBy('firebase-scrypt').stored.replace('42xEC', randomBytes(300).toString('base64url')),
        'salt length',
      ],
      [firebaseScrypt(firebase), (vectors.find(({ signerKey }) => signerKey) as Vector).stored, 'parameters'],
    ]
    const begun = performance.now()
    for (const [scheme, stored, parameter] of cases) {
      expect(scheme.recognises(stored), stored).to.equal(true)
      expect(scheme.exceeds?.(stored), stored).to.equal(parameter)
      expect(await scheme.verify('correct horse', stored), stored).to.equal(false)
    }
    // The first of them alone would take a quarter of an hour.
    expect(performance.now() - begun).to.be.lessThan(5000)
  })

  it('do the work of the most expensive hash for a cheap one, and for none [promises 10, 79]', async () => {
    const key = randomBytes(32)
    const cheap: readonly [LegacyPasswordScheme, string][] = [
      [pbkdf2({ iterations: 200_000 }), `pbkdf2_sha256$1$salt$${key.toString('base64')}`],
      [scrypt({ cost: { N: 16_384, r: 8, p: 1 } }), `scrypt$2$salt$1$1$${key.toString('base64')}`],
      [phpass({ cost: 15 }), '$P$512345678L6Lpt4BxNotVIMILOa9u81'],
    ]
    for (const [scheme, stored] of cheap) {
      expect(scheme.exceeds?.(stored), scheme.name).to.equal(undefined)
      const own = await timeOf(() => scheme.verify('correct horse', stored))
      const dummy = await timeOf(() => scheme.dummy('correct horse'))
      // Without completion the cheap hash would take less than a hundredth of the time.
      expect(own / dummy, scheme.name).to.be.within(0.25, 4)
    }
  })

  it('do not block the event loop [promise 9]', async () => {
    const scheme = phpass({ cost: 16 })
    let turns = 0
    let longest = 0
    let last = performance.now()
    let isBusy = true
    const turn = () => {
      const now = performance.now()
      longest = Math.max(longest, now - last)
      last = now
      turns += 1
      if (isBusy) setImmediate(turn)
    }
    setImmediate(turn)
    const begun = performance.now()
    await scheme.dummy('x'.repeat(4096))
    const took = performance.now() - begun
    isBusy = false
    expect(turns).to.be.greaterThan(20)
    expect(longest).to.be.lessThan(took / 4)
  })

  it('read templates of an application: where the salt stands, how it is encoded, other costs', async () => {
    const salt = randomBytes(16)
    const key = (used: string | Buffer, r = 8) => scryptSync('correct horse', used, 64, { N: 16_384, r, maxmem: 2 ** 26 }).toString('hex')
    const hex = salt.toString('hex')
    const small = { N: 16_384, r: 8, p: 1 }
    const cases: readonly [LegacyPasswordScheme, string][] = [
      [scrypt({ cost: small, formats: [{ template: '{hash}.{salt}' }] }), `${key(hex)}.${hex}`],
      [scrypt({ cost: small, formats: [{ template: '{salt}:{hash}', saltEncoding: 'hex' }] }), `${hex}:${key(salt)}`],
      [
        scrypt({ formats: [{ template: 'v1|{salt}|{hash}', saltEncoding: 'base64', r: 16 }] }),
        `v1|${salt.toString('base64')}|${key(salt, 16)}`,
      ],
    ]
    for (const [scheme, stored] of cases) {
      expect(await scheme.verify('correct horse', stored), stored).to.equal(true)
      expect(await scheme.verify('correct horses', stored), stored).to.equal(false)
    }
    const iterated = pbkdf2({ iterations: 1000, formats: [{ template: '{salt}.{hash}', digest: 'sha512', iterations: 100 }] })
    // Computed with hashlib of Python.
    const stored = 'saltsalt.53676802b0d220e612e931eba4b69b0f8dc4b5195e604c3e1db59275eca0f507'
    expect(await iterated.verify('correct horse', stored)).to.equal(true)
    expect(await iterated.verify('correct horses', stored)).to.equal(false)
  })

  it('read salted digests with the salt after the password, a pepper, Base64, and no separator', async () => {
    const { createHash } = await import('node:crypto')
    const sha256 = (text: string) => createHash('sha256').update(text)
    const cases: readonly [LegacyPasswordScheme, string][] = [
      [
        saltedDigest({ algorithm: 'sha256', template: '{salt}:{hash}', input: '{password}{salt}' }),
        `s4lt:${sha256('correct horses4lt').digest('hex')}`,
      ],
      [
        saltedDigest({ algorithm: 'sha256', template: '{hash}{salt}', input: 'pepper-{salt}-{password}' }),
        `${sha256('pepper-a$b-correct horse').digest('hex')}a$b`,
      ],
      [
        saltedDigest({ algorithm: 'sha256', template: '{salt}{hash}', encoding: 'base64', saltEncoding: 'hex' }),
        `616263${sha256('abccorrect horse').digest('base64')}`,
      ],
    ]
    for (const [scheme, stored] of cases) {
      expect(scheme.recognises(stored), stored).to.equal(true)
      expect(await scheme.verify('correct horse', stored), stored).to.equal(true)
      expect(await scheme.verify('correct Horse', stored), stored).to.equal(false)
      expect(scheme.recognises(stored.slice(0, -20)), stored).to.equal(false)
    }
  })

  it('read hostile text in linear time [promise 62]', () => {
    const texts = [
      '$'.repeat(2048),
      'a'.repeat(2048),
      `pbkdf2_sha256$1$${'a'.repeat(2000)}`,
      `scrypt$1$${'$'.repeat(2000)}`,
      ':'.repeat(2048),
    ]
    const all = [...Object.values(schemes).map((make) => make(storedBy('pbkdf2'))), scrypt({ formats: [{ template: '{salt}{hash}' }] })]
    const begun = performance.now()
    for (const scheme of all) for (const text of texts) scheme.recognises(text)
    expect(performance.now() - begun).to.be.lessThan(500)
  })

  it('refuse options that are out of range, without showing secrets', () => {
    const wrong: readonly [() => unknown, RegExp][] = [
      [() => pbkdf2({ iterations: 0 }), /iterations/],
      [() => pbkdf2({ iterations: 1.5 }), /iterations/],
      [() => pbkdf2({ formats: [{ template: '{salt}', digest: 'sha1', iterations: 1 }] }), /\{hash\}/],
      [() => pbkdf2({ formats: [{ template: '{hash}', digest: 'md5' as never, iterations: 1 }] }), /digest/],
      [() => scrypt({ cost: { N: 1000, r: 8, p: 1 } }), /power of two/],
      [() => scrypt({ cost: { N: 1024, r: 0, p: 1 } }), /cost\.r/],
      [() => scrypt({ formats: [{ template: '{hash}{hash}' }] }), /\{hash\} once/],
      [() => firebaseScrypt({ ...firebase, rounds: 17 }), /rounds/],
      [() => firebaseScrypt({ ...firebase, memCost: 30 }), /memCost/],
      [() => firebaseScrypt({ ...firebase, signerKey: '' }), /signerKey/],
      [() => phpass({ cost: 31 }), /cost/],
      [() => saltedDigest({ algorithm: 'crc32' as never, template: '{hash}' }), /algorithm/],
      [() => saltedDigest({ algorithm: 'md5', template: '{salt}' }), /\{hash\}/],
      [() => saltedDigest({ algorithm: 'md5', template: '{salt}:{hash}', input: '{password}' }), /both/],
      [() => saltedDigest({ algorithm: 'md5', template: '{hash}', input: 'constant' }), /\{password\}/],
    ]
    for (const [make, message] of wrong) {
      const error = thrown(make)
      expect(error).to.be.instanceOf(ConfigurationError)
      expect(error.message).to.match(message)
      expect(error.message).to.not.contain(firebase.signerKey)
    }
  })
})

function storedByAspNet(): string {
  return (vectors.find(({ source }) => source.includes('version 3, SHA-256')) as Vector).stored
}
