import bcrypt from 'bcryptjs'
import { expect } from 'chai'
import { type BcryptHasher, bcryptHasher } from '../../../src/auth/passwords/bcrypt-hasher.js'
import { BcryptPool } from '../../../src/auth/passwords/bcrypt-pool.js'
import { ConfigurationError, ValidationError } from '../../../src/core/errors.js'

async function failure(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => expect.fail('it did not fail'),
    (error: unknown) => error,
  )
}

describe('bcryptHasher', () => {
  let hasher: BcryptHasher

  before(() => {
    hasher = bcryptHasher({ cost: 10 })
  })

  after(() => hasher.close())

  it('verifies the password that was hashed, and no other', async () => {
    const stored = await hasher.hash('correct horse battery')
    expect(stored).to.match(/^\$2b\$10\$/)
    expect(await hasher.verify('correct horse battery', stored)).to.equal(true)
    expect(await hasher.verify('correct horse batterY', stored)).to.equal(false)
  })

  it('salts: two hashes of the same password differ', async () => {
    expect(await hasher.hash('correct horse')).to.not.equal(await hasher.hash('correct horse'))
  })

  it('treats composed and decomposed Unicode as the same password [promise 1]', async () => {
    const stored = await hasher.hash('ﬁancé Ⅷ ｐａｓｓ')
    expect(await hasher.verify('fiance\u0301 VIII pass', stored)).to.equal(true)
  })

  it('accepts long passwords of any Unicode, with spaces [promise 1]', async () => {
    const password = 'пароль 密码 🔑 '.repeat(40)
    const stored = await hasher.hash(password)
    expect(await hasher.verify(password, stored)).to.equal(true)
    expect(await hasher.verify(password.trimEnd(), stored)).to.equal(false)
  })

  it('verifies $2x$ hashes of ASCII passwords only: the old crypt_blowfish confused other characters [promise 3]', async () => {
    for (const [password, isRight] of [
      ['correct horse', true],
      ['correct hörse', false],
    ] as const) {
      const stored = (await bcrypt.hash(password, 4)).replace('$2b$', '$2x$')
      expect(await hasher.verify(password, stored), password).to.equal(isRight)
      expect(hasher.needsRehash(stored)).to.equal(true)
      expect(await hasher.verify(`${password}x`, stored)).to.equal(false)
    }
  })

  it('neither trims nor folds case [promise 3]', async () => {
    const stored = await hasher.hash(' Secret word ')
    for (const near of ['Secret word ', ' Secret word', ' secret word ']) expect(await hasher.verify(near, stored), near).to.equal(false)
  })

  it('distinguishes passwords that agree in their first 72 bytes [promise 3]', async () => {
    const first = 'x'.repeat(72)
    const stored = await hasher.hash(`${first}a`)
    expect(stored).to.match(/^\$bcrypt-sha384\$2b\$10\$/)
    expect(await hasher.verify(`${first}a`, stored)).to.equal(true)
    expect(await hasher.verify(`${first}b`, stored)).to.equal(false)
    expect(await hasher.verify(first, stored)).to.equal(false)
  })

  it('distinguishes a password of 71 or 72 bytes from longer ones [promise 3]', async () => {
    const base = 'é'.repeat(35)
    const of71 = await hasher.hash(`${base}x`)
    expect(of71).to.match(/^\$2b\$/)
    for (const more of ['\0', 'y', '\0y', '\0'.repeat(9)])
      expect(await hasher.verify(`${base}x${more}`, of71), JSON.stringify(more)).to.equal(false)
    const of72 = await hasher.hash(`${base}xy`)
    expect(await hasher.verify(`${base}xy`, of72)).to.equal(true)
    expect(await hasher.verify(`${base}xyz`, of72)).to.equal(false)
  })

  it('neither truncates at a NUL nor treats it as a repetition of the password [promise 3]', async () => {
    const stored = await hasher.hash('abcd\0efgh')
    expect(await hasher.verify('abcd\0efgh', stored)).to.equal(true)
    for (const near of ['abcd', 'abcd\0', 'abcd\0efgi']) expect(await hasher.verify(near, stored), JSON.stringify(near)).to.equal(false)
    const plain = await hasher.hash('abcdefgh')
    expect(bcrypt.compareSync('abcdefgh\0abcdefgh', plain), 'bcrypt alone cannot tell').to.equal(true)
    for (const near of ['abcdefgh\0', 'abcdefgh\0abcdefgh']) expect(await hasher.verify(near, plain), JSON.stringify(near)).to.equal(false)
  })

  it('refuses more than 4096 bytes when a password is set, and answers false at sign-in [promise 4]', async () => {
    const most = 'é'.repeat(2048)
    expect(await hasher.verify(most, await hasher.hash(most))).to.equal(true)
    for (const over of [`${most}x`, 'x'.repeat(5000), 'x'.repeat(1_000_000), 'ﷺ'.repeat(200)]) {
      const error = await failure(hasher.hash(over))
      expect(error).to.be.instanceOf(ValidationError)
      expect((error as ValidationError).errors[0]?.field).to.equal('password')
      expect(await hasher.verify(over, await hasher.hash('another password'))).to.equal(false)
    }
  })

  it('refuses lone surrogates when a password is set, and never matches them at sign-in', async () => {
    const stored = await hasher.hash('abcdefgh\ufffd')
    expect(await failure(hasher.hash('abcdefgh\ud800'))).to.be.instanceOf(ValidationError)
    expect(await hasher.verify('abcdefgh\ud800', stored)).to.equal(false)
  })

  it('returns false for unreadable hashes and never throws [promise 6]', async () => {
    const stored = await hasher.hash('correct horse')
    const broken = [
      null,
      undefined,
      '',
      'correct horse',
      stored.slice(0, -1),
      `${stored}x`,
      stored.replace('$2b$', '$2c$'),
      stored.replace('$10$', '$03$'),
      stored.replace('$10$', '$31$'),
      stored.replace('$10$', '$99$'),
      stored.replace(/.$/, '!'),
      '$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b7dWRWJTmaasa',
      '$bcrypt-sha384$',
    ]
    for (const hash of broken) expect(await hasher.verify('correct horse', hash), String(hash)).to.equal(false)
    expect(await hasher.verify({} as string, stored)).to.equal(false)
  })

  it('distinguishes plain bcrypt hashes from marked ones', async () => {
    const short = await hasher.hash('correct horse')
    const long = await hasher.hash('x'.repeat(80))
    expect(await hasher.verify('correct horse', `$bcrypt-sha384${short}`)).to.equal(false)
    expect(await hasher.verify('x'.repeat(80), long.replace('$bcrypt-sha384', ''))).to.equal(false)
  })

  it('matches a password that is too long or holds a NUL with no hash, not even of the empty password [promise 3]', async () => {
    const ofNothing = '$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy'
    expect(await hasher.verify('', ofNothing)).to.equal(true)
    for (const other of ['x'.repeat(5000), 'a\0b', '\0', 'a\ud800']) expect(await hasher.verify(other, ofNothing)).to.equal(false)
  })

  it('rehashes cheaper or older hashes, and never to a weaker one [promise 5]', () => {
    const rest = 'CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW'
    expect(hasher.needsRehash(`$2b$10$${rest}`)).to.equal(false)
    expect(hasher.needsRehash(`$bcrypt-sha384$2b$10$${rest}`)).to.equal(false)
    expect(hasher.needsRehash(`$2b$09$${rest}`)).to.equal(true)
    expect(hasher.needsRehash(`$2a$10$${rest}`)).to.equal(true)
    expect(hasher.needsRehash(`$2y$10$${rest}`)).to.equal(true)
    expect(hasher.needsRehash('$argon2id$v=19$whatever')).to.equal(true)
    expect(hasher.needsRehash(`$2b$12$${rest}`)).to.equal(false)
    expect(hasher.needsRehash(`$2a$12$${rest}`)).to.equal(false)
  })

  it('rehashes an imported hash of a password that bcrypt had truncated', async () => {
    const imported = bcrypt.hashSync('x'.repeat(80), 10)
    expect(await hasher.verify('x'.repeat(80), imported)).to.equal(true)
    expect(hasher.needsRehash(imported, 'x'.repeat(80))).to.equal(true)
    expect(hasher.needsRehash(imported, 'x'.repeat(71))).to.equal(false)
    expect(hasher.needsRehash(await hasher.hash('x'.repeat(80)), 'x'.repeat(80))).to.equal(false)
  })

  it('refuses options out of their range [promise 5]', () => {
    for (const options of [
      { cost: 9 },
      { cost: 4 },
      { cost: 10.5 },
      { cost: 17 },
      { cost: Number.NaN },
      { threads: 0 },
      { maxQueue: 63 },
    ]) {
      expect(() => bcryptHasher(options), JSON.stringify(options)).to.throw(ConfigurationError)
    }
  })

  it('uses cost 12 by default', async () => {
    const byDefault = bcryptHasher()
    expect(await byDefault.hash('correct horse')).to.match(/^\$2b\$12\$/)
    await byDefault.close()
  })
})

describe('bcryptHasher with hashes made elsewhere', () => {
  // From crypt_blowfish, jBCrypt, pyca/bcrypt and the manual of PHP.
  const vectors: [string, string][] = [
    ['U*U', '$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW'],
    ['U*U*', '$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK'],
    ['U*U*U', '$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a'],
    ['', '$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy'],
    [
      '0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789chars after 72 are ignored',
      '$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui',
    ],
    ['a', '$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe'],
    ['abc', '$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i'],
    ['abcdefghijklmnopqrstuvwxyz', '$2a$06$.rCVZVOThsIa97pEDOxvGuRRgzG64bvtJ0938xuqzv18d3ZpQhstC'],
    ['~!@#$%^&*()      ~!@#$%^&*()PNBFRD', '$2a$06$fPIsBO8qRqkjj273rfaOI.HtSV9jLDpTbZn782DC6/t7qT67P6FfO'],
    ['Kk4DQuMMfZL9o', '$2b$04$cVWp4XaNU8a4v1uMRum2SO026BWLIoQMD/TXg5uZV.0P.uO8m3YEm'],
    ['rasmuslerdorf', '$2y$07$BCryptRequires22Chrcte/VlQH0piJtjXl.0t1XkA8pw9dMXTpOq'],
    // A salt with bits set past its end, as some libraries write them.
    ['abc', '$2y$05$CCCCCCCCCCCCCCCCCCCCC/gNn9EDJdrUJF53AHnb.4T9BCvqhUYdW'],
  ]
  let hasher: BcryptHasher

  before(() => {
    hasher = bcryptHasher({ cost: 10 })
  })

  after(() => hasher.close())

  for (const [password, stored] of vectors) {
    it(`verifies ${JSON.stringify(password.slice(0, 40))} against ${stored.slice(0, 7)}`, async () => {
      expect(await hasher.verify(password, stored)).to.equal(true)
      expect(await hasher.verify(`x${password}`, stored)).to.equal(false)
      expect(hasher.needsRehash(stored)).to.equal(true)
    })
  }
})

describe('the work of verifying a password', () => {
  const original = BcryptPool.prototype.run
  let work = 0

  before(() => {
    BcryptPool.prototype.run = async (hashes) => {
      for (const [, salt] of hashes) work += 2 ** bcrypt.getRounds(salt)
      return hashes.map(() => 'x'.repeat(60))
    }
  })

  after(() => {
    BcryptPool.prototype.run = original
  })

  it('equals one current hash for every kind of stored value [promise 10] [promise 4] [promise 6]', async () => {
    const hasher = bcryptHasher({ cost: 12 })
    const rest = 'CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW'
    const hashes = [null, undefined, '', 'junk', `$2b$31$${rest}`, `$2b$12$${rest}`, `$bcrypt-sha384$2b$12$${rest}`]
    for (let cost = 4; cost < 12; cost++) hashes.push(`$2a$${String(cost).padStart(2, '0')}$${rest}`)
    for (const password of ['correct horse', '', 'a\0b', 'x'.repeat(80), 'x'.repeat(5000), 'x'.repeat(100_000), 'abc\ud800']) {
      for (const stored of hashes) {
        work = 0
        await hasher.verify(password, stored)
        expect(work, `${password.slice(0, 20)} against ${stored}`).to.equal(2 ** 12)
      }
    }
  })
})
