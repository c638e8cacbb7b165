import { expect } from 'chai'
import { LegacyHasher } from '../../../../src/auth/passwords/legacy/legacy-hasher.js'
import { ConfigurationError, type LegacyPasswordScheme, phpass, ServiceUnavailableError, saltedDigest } from '../../../../src/index.js'
import { rejection, thrown } from '../../../helpers/errors.js'
import { TestHasher } from '../../set-up.js'
import { CountingScheme } from './counting-scheme.js'

const password = 'correct horse battery'

describe('LegacyHasher', () => {
  let current: TestHasher
  let one: CountingScheme
  let other: CountingScheme
  let hasher: LegacyHasher
  const warnings: string[] = []
  const { warn } = console
  beforeEach(() => {
    current = new TestHasher()
    one = new CountingScheme('one')
    other = new CountingScheme('other')
    hasher = new LegacyHasher(current, [one, other])
    warnings.length = 0
    console.warn = (text: string) => void warnings.push(text)
  })
  afterEach(async () => {
    console.warn = warn
    await hasher.close()
  })

  it('verifies hashes of each scheme and of the current hasher', async () => {
    for (const stored of [one.make(password), other.make(password), await current.hash(password)]) {
      expect(await hasher.verify(password, stored), stored).to.equal(true)
      expect(await hasher.verify('wrong', stored), stored).to.equal(false)
    }
  })

  it('calls each scheme and the current hasher once, whatever is stored and whatever the password is [promises 10, 79]', async () => {
    const stored = [
      one.make(password),
      other.make(password),
      await current.hash(password),
      null,
      undefined,
      '',
      'plain',
      one.make('x'.repeat(200)),
    ]
    for (const text of stored) {
      for (const given of [password, 'wrong', '', 'x'.repeat(10_000), 'half a character \ud800']) {
        current.verified.length = 0
        await hasher.verify(given, text)
        const calls = [one.take(), other.take()].map(({ verified, dummies }) => verified + dummies)
        expect([...calls, current.verified.length], `${text} ${String(given).slice(0, 20)}`).to.deep.equal([1, 1, 1])
      }
    }
  })

  it('calls the current hasher without a hash where the hash belongs to a scheme', async () => {
    await hasher.verify(password, one.make(password))
    expect(current.verified).to.deep.equal([null])
  })

  it('passes the password to schemes as it was typed, and never one that is too long or no text [promise 4]', async () => {
    await hasher.verify('ﬁancé Ⅷ', one.make('ﬁancé Ⅷ'))
    expect(one.passwords).to.deep.equal(['ﬁancé Ⅷ'])
    one.passwords.length = 0
    expect(await hasher.verify('x'.repeat(10_000), one.make(''))).to.equal(false)
    expect(await hasher.verify('\ud800', one.make(''))).to.equal(false)
    expect(one.passwords).to.deep.equal(['', ''])
  })

  it('replaces every hash of a scheme, and those of the current hasher as it decides', async () => {
    expect(hasher.needsRehash(one.make(password))).to.equal(true)
    const made = await hasher.hash(password)
    expect(made).to.equal(await current.hash(password))
    expect(hasher.needsRehash(made)).to.equal(false)
    current.version += 1
    expect(hasher.needsRehash(made)).to.equal(true)
  })

  it('matches no hash that exceeds the bounds of a scheme, and logs the scheme once, without the hash [promise 79]', async () => {
    const long = 'x'.repeat(200)
    for (let i = 0; i < 3; i += 1) expect(await hasher.verify(long, one.make(long))).to.equal(false)
    expect(one.take()).to.deep.equal({ verified: 0, dummies: 3 })
    expect(warnings).to.have.length(1)
    expect(warnings[0]).to.contain('the length of a stored one hash')
    expect(warnings[0]).to.not.contain('xxx')
    await hasher.verify(long, other.make(long))
    expect(warnings).to.have.length(2)
    expect(hasher.recognises(one.make(long))).to.equal(false)
    expect(hasher.problemOf(one.make(long))).to.equal('length')
  })

  it('treats an error of a scheme as no match, and tries the next scheme [promise 6]', async () => {
    one.error = new Error('broken')
    expect(await hasher.verify(password, one.make(password))).to.equal(false)
    expect(await hasher.verify(password, other.make(password))).to.equal(true)
    one.error = new ServiceUnavailableError()
    expect(await rejection(hasher.verify(password, other.make(password)))).to.be.instanceOf(ServiceUnavailableError)
  })

  it('accepts only true as a match', async () => {
    const odd: LegacyPasswordScheme = {
      name: 'odd',
      recognises: () => true,
      verify: async () => 'yes' as never,
      dummy: async () => {},
    }
    expect(await new LegacyHasher(current, [odd]).verify(password, 'anything')).to.equal(false)
  })

  it('ignores stored text of more than 2048 characters', async () => {
    const endless = new CountingScheme('endless', 10_000)
    expect(await new LegacyHasher(current, [endless]).verify('x'.repeat(2100), endless.make('x'.repeat(2100)))).to.equal(false)
    expect(endless.take()).to.deep.equal({ verified: 0, dummies: 1 })
  })

  it('refuses more than may wait [promise 9]', async () => {
    const ends = await Promise.allSettled(Array.from({ length: 400 }, () => hasher.verify(password, null)))
    const refused = ends.filter((end) => end.status === 'rejected')
    expect(refused.length).to.be.greaterThan(0)
    for (const { reason } of refused) expect(reason).to.be.instanceOf(ServiceUnavailableError)
    expect(await hasher.verify(password, one.make(password))).to.equal(true)
  })

  it('closes the current hasher and refuses further work', async () => {
    const closed: string[] = []
    const closing = new LegacyHasher(Object.assign(new TestHasher(), { close: async () => void closed.push('current') }), [one])
    await closing.close()
    expect(closed).to.deep.equal(['current'])
    expect(await rejection(closing.verify(password, null))).to.be.instanceOf(ServiceUnavailableError)
  })

  it('refuses schemes without the needed functions, and names that are not valid or not unique', () => {
    const md5 = () => saltedDigest({ algorithm: 'md5', template: '{hash}' })
    const wrong: readonly [unknown, RegExp][] = [
      [[phpass], /Call the function/],
      [[null], /recognises/],
      [[{ ...md5(), dummy: undefined }], /dummy/],
      [[{ ...md5(), name: 'My Scheme' }], /name/],
      [[md5(), md5()], /two schemes are named 'salted-md5'/],
      [Array.from({ length: 9 }, (_, i) => new CountingScheme(`s${i}`)), /at most 8/],
      [phpass(), /array/],
    ]
    for (const [schemes, message] of wrong) {
      const error = thrown(() => new LegacyHasher(current, schemes as never))
      expect(error).to.be.instanceOf(ConfigurationError)
      expect(error.message).to.match(message)
    }
  })

  describe('wrapped digests', () => {
    const md5 = saltedDigest({ algorithm: 'md5', template: '{salt}:{hash}' })
    // md5('s$é correct horse battery'), computed with hashlib of Python.
    const stored = 's$é :d3d2c10e3636e6c6d501e6a5e18ec717'
    const wrapping = () => new LegacyHasher(current, [one, md5])

    it('are hashes of the current hasher that name the scheme and keep the salt', async () => {
      const wrapped = (await wrapping().wrap(stored)) as string
      expect(wrapped).to.match(/^wrapped\$salted-md5\$[\w-]+\$v1\$/)
      expect(wrapped).to.not.contain('d3d2c10e')
      expect(wrapping().recognises(wrapped)).to.equal(true)
      expect(wrapping().needsRehash(wrapped)).to.equal(true)
      expect(await wrapping().wrap(wrapped)).to.equal(null)
    })

    it('verify like the digest, with one call of the current hasher [promises 10, 79]', async () => {
      const both = wrapping()
      const wrapped = (await both.wrap(stored)) as string
      expect(await both.verify(password, stored)).to.equal(true)
      for (const [given, isRight] of [
        [password, true],
        ['wrong', false],
        ['x'.repeat(10_000), false],
      ] as const) {
        one.take()
        current.verified.length = 0
        expect(await both.verify(given, wrapped), given.slice(0, 20)).to.equal(isRight)
        expect([one.take().dummies, current.verified.length]).to.deep.equal([1, 1])
      }
    })

    it('match no password without their scheme, and the digest itself is not a password', async () => {
      const wrapped = (await wrapping().wrap(stored)) as string
      expect(await hasher.verify(password, wrapped)).to.equal(false)
      expect(await wrapping().verify('d3d2c10e3636e6c6d501e6a5e18ec717', wrapped)).to.equal(false)
    })

    it('are made of fast digests only', async () => {
      const hash = '$P$B12345678L6Lpt4BxNotVIMILOa9u81'
      expect(await new LegacyHasher(current, [phpass()]).wrap(hash)).to.equal(null)
      expect(await wrapping().wrap(one.make(password))).to.equal(null)
      expect(await wrapping().wrap('plain')).to.equal(null)
    })
  })
})
