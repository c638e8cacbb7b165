import { hash as argon2 } from '@node-rs/argon2'
import bcryptjs from 'bcryptjs'
import { expect } from 'chai'
import { argon2idHasher } from '../../../src/auth/passwords/argon2id.js'
import { type BcryptHasher, bcryptHasher } from '../../../src/auth/passwords/bcrypt-hasher.js'
import { WorkQueue } from '../../../src/auth/passwords/work-queue.js'
import { loadOptionalPackage } from '../../../src/core/optional-package.js'
import { ConfigurationError, ServiceUnavailableError } from '../../../src/index.js'
import { rejection, thrown } from '../../helpers/errors.js'

const password = 'correct horse battery'
const long = 'x'.repeat(72)

describe('bcryptHasher({ native: true })', () => {
  let native: BcryptHasher
  let inJavaScript: BcryptHasher
  before(() => {
    native = bcryptHasher({ cost: 10, native: true })
    inJavaScript = bcryptHasher({ cost: 10 })
  })
  after(async () => {
    await native.close()
    await inJavaScript.close()
  })

  it('creates hashes that the other hasher verifies, and verifies its hashes [promise 3]', async () => {
    for (const word of [password, ' Пароль 密码 🔑 ', `${long}a`, 'a\0b', 'ﬁsh and chips']) {
      for (const [one, two] of [
        [native, inJavaScript],
        [inJavaScript, native],
      ] as const) {
        const stored = await one.hash(word)
        expect(await two.verify(word, stored), word).to.equal(true)
        expect(await two.verify(`${word}b`, stored), word).to.equal(false)
      }
    }
    expect(await native.verify(`${long}b`, await native.hash(`${long}a`))).to.equal(false)
  })

  it('verifies $2a$, $2b$ and $2y$ hashes of other libraries', async () => {
    const made = await bcryptjs.hash(password, 10)
    for (const name of ['2a', '2b', '2y']) expect(await native.verify(password, made.replace('$2b$', `$${name}$`)), name).to.equal(true)
  })

  it('returns false for unreadable hashes and for a missing user [promise 6]', async () => {
    for (const stored of [null, '', 'plain', '$2b$10$short', '$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA'])
      expect(await native.verify(password, stored), String(stored)).to.equal(false)
  })

  it('refuses calls beyond the limit of the queue, and keeps working [promise 9]', async () => {
    const small = bcryptHasher({ cost: 10, native: true, threads: 1, maxQueue: 64 })
    const ends = await Promise.allSettled(Array.from({ length: 70 }, () => small.verify(password, null)))
    const refused = ends.filter((end) => end.status === 'rejected')
    expect(refused).to.have.length(5)
    expect(refused[0]?.reason).to.be.instanceOf(ServiceUnavailableError)
    expect(await small.verify(password, null)).to.equal(false)
    await small.close()
    expect(await rejection(small.hash(password))).to.be.instanceOf(ServiceUnavailableError)
  }).timeout(30_000)
})

describe('argon2idHasher', () => {
  const hasher = argon2idHasher()
  after(() => hasher.close())

  it('verifies the password that was hashed, and no other [promise 3]', async () => {
    for (const word of [password, `${long}a`, 'a\0b', ' Пароль 密码 🔑 ']) {
      const stored = await hasher.hash(word)
      expect(stored).to.match(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/)
      expect(await hasher.verify(word, stored)).to.equal(true)
      for (const near of [`${word} `, word.trim() === word ? word.toUpperCase() : word.trim(), `${long}b`])
        expect(await hasher.verify(near, stored), near).to.equal(false)
    }
  })

  it('treats composed and decomposed Unicode as the same password [promise 1]', async () => {
    expect(await hasher.verify('fiance\u0301 VIII pass', await hasher.hash('ﬁancé Ⅷ ｐａｓｓ'))).to.equal(true)
  })

  it('refuses to hash a password that is too long, and returns false when it verifies one [promise 4]', async () => {
    expect((await rejection(hasher.hash('x'.repeat(5000)))).name).to.equal('ValidationError')
    expect(await hasher.verify('x'.repeat(5000), await hasher.hash(password))).to.equal(false)
  })

  it('returns false for unreadable hashes and for a missing user [promise 6]', async () => {
    const broken = (await hasher.hash(password)).slice(0, -60)
    const greedy = (await hasher.hash(password)).replace('m=19456', 'm=9999999')
    for (const stored of [null, '', 'plain', broken, greedy, '$2b$10$......................F5mzCEQ5E01or2Zs1UUMeqS/7rfVb16'])
      expect(await hasher.verify(password, stored), String(stored)).to.equal(false)
  })

  it('rehashes weaker hashes, never stronger ones [promise 5]', async () => {
    const made = (memoryCost: number, timeCost: number) => argon2(password, { memoryCost, timeCost, parallelism: 1, algorithm: 2 })
    const weak = await made(8192, 1)
    expect(await hasher.verify(password, weak)).to.equal(true)
    expect(hasher.needsRehash(weak)).to.equal(true)
    expect(hasher.needsRehash(await hasher.hash(password))).to.equal(false)
    expect(hasher.needsRehash(await made(65_536, 3))).to.equal(false)
    expect(hasher.needsRehash(await made(19_456, 3))).to.equal(false)
    const strong = argon2idHasher({ memoryCost: 32_768, timeCost: 3 })
    expect(strong.needsRehash(await hasher.hash(password))).to.equal(true)
    await strong.close()
  })

  it('verifies hashes of the previous hasher, and rehashes them [promise 5]', async () => {
    const previous = bcryptHasher({ cost: 10 })
    const both = argon2idHasher({ previous })
    const old = await previous.hash(password)
    expect(await both.verify(password, old)).to.equal(true)
    expect(await both.verify('a wrong password', old)).to.equal(false)
    expect(both.needsRehash(old)).to.equal(true)
    const fresh = await both.hash(password)
    expect(await both.verify(password, fresh)).to.equal(true)
    expect(await both.verify('a wrong password', fresh)).to.equal(false)
    await both.close()
    expect(await rejection(previous.hash(password))).to.be.instanceOf(ServiceUnavailableError)
  })

  it('does the work of both hashers for every stored value while a previous hasher is set [promise 10]', async () => {
    const asked: unknown[] = []
    const previous = {
      ...bcryptHasher({ cost: 10 }),
      verify: async (_: string, stored: unknown) => {
        asked.push(stored)
        return false
      },
    }
    const both = argon2idHasher({ previous })
    await both.verify(password, null)
    await both.verify(password, await hasher.hash(password))
    await both.verify(password, '$2b$10$old')
    expect(asked).to.deep.equal([null, null, '$2b$10$old'])
    await both.close()
  })

  it('refuses costs below the minimum and above the maximum', () => {
    for (const options of [{ memoryCost: 1024 }, { timeCost: 1 }, { parallelism: 0 }, { threads: 0 }, { maxQueue: 1 }, { timeCost: 99 }])
      expect(
        thrown(() => argon2idHasher(options)),
        JSON.stringify(options),
      ).to.be.instanceOf(ConfigurationError)
  })
})

describe('the queue of native hashes', () => {
  it('runs a limited number at once, and the others in order', async () => {
    const queue = new WorkQueue(2, 64)
    let [running, most] = [0, 0]
    const order: number[] = []
    await Promise.all(
      Array.from({ length: 9 }, (_, i) =>
        queue.run(async () => {
          order.push(i)
          running += 1
          most = Math.max(most, running)
          await new Promise(setImmediate)
          running -= 1
        }),
      ),
    )
    expect(most).to.equal(2)
    expect(order).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7, 8])
  })

  it('continues after a failed call', async () => {
    const queue = new WorkQueue(1, 64)
    const failing = queue.run(() => Promise.reject(new Error('broken')))
    const next = queue.run(async () => 'fine')
    expect((await rejection(failing)).message).to.equal('broken')
    expect(await next).to.equal('fine')
  })

  it('names the missing package', () => {
    const error = thrown(() => loadOptionalPackage('no-such-package-here', 'argon2idHasher()'))
    expect(error).to.be.instanceOf(ConfigurationError)
    expect(error.message).to.match(/argon2idHasher\(\) needs a package .*: npm install no-such-package-here$/)
  })
})
