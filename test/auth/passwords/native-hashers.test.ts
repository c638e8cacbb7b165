import { hash as argon2 } from '@node-rs/argon2'
import bcryptjs from 'bcryptjs'
import { expect } from 'chai'
import { argon2OfNode, loadArgon2 } from '../../../src/auth/passwords/argon2-implementation.js'
import { type Argon2idOptions, argon2idHasherWith } from '../../../src/auth/passwords/argon2id.js'
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

const ofNode = argon2OfNode()

for (const [title, load] of [
  ['@node-rs/argon2', loadArgon2],
  ['crypto.argon2', ofNode && (() => ofNode)],
] as const)
  if (load)
    describe(`argon2idHasher, by ${title}`, () => {
      const argon2idHasher = (options?: Argon2idOptions) => argon2idHasherWith(load, options)
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
        for (const options of [
          { memoryCost: 1024 },
          { timeCost: 1 },
          { parallelism: 0 },
          { threads: 0 },
          { maxQueue: 1 },
          { timeCost: 99 },
        ])
          expect(
            thrown(() => argon2idHasher(options)),
            JSON.stringify(options),
          ).to.be.instanceOf(ConfigurationError)
      })
    })

if (!ofNode)
  describe('argon2idHasher without crypto.argon2', () => {
    it('has no implementation of Node before 24.7', () => expect(Number(process.versions.node.split('.')[0])).to.be.lessThan(25))
  })
else
  describe('argon2id of Node', () => {
    // test.c of the reference implementation, https://github.com/P-H-C/phc-winner-argon2: m is 2^16 and 2^8, t and p are 2 and 1, and so on.
    const vectors = [
      ['password', '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc'],
      ['password', '$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4'],
      ['password', '$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc'],
      ['password', '$argon2id$v=19$m=65536,t=1,p=1$c29tZXNhbHQ$9qWtwbpyPd3vm1rB1GThgPzZ3/ydHL92zKL+15XZypg'],
      ['differentpassword', '$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$C4TWUs9rDEvq7w3+J4umqA32aWKB1+DSiRuBfYxFj94'],
      ['password', '$argon2id$v=19$m=65536,t=2,p=1$ZGlmZnNhbHQ$vfMrBczELrFdWP0ZsfhWsRPaHppYdP3MVEMIVlqoFBw'],
    ] as const

    for (const [word, stored] of vectors) {
      it(`verifies ${stored.slice(0, 60)} of the reference implementation, and no other password [promise 3]`, async () => {
        expect(await ofNode.verify(stored, word)).to.equal(true)
        expect(await ofNode.verify(stored, `${word}s`)).to.equal(false)
      })
    }

    it('verifies hashes of @node-rs/argon2, which verifies its hashes [promise 3]', async () => {
      for (const cost of [
        { memoryCost: 19_456, timeCost: 2, parallelism: 1 },
        { memoryCost: 1027, timeCost: 3, parallelism: 4 },
        { memoryCost: 8, timeCost: 1, parallelism: 1 },
      ]) {
        const word = ' Пароль 密码 🔑 \0'
        expect(await loadArgon2().verify(await ofNode.hash(word, cost), word)).to.equal(true)
        expect(await ofNode.verify(await loadArgon2().hash(word, cost), word)).to.equal(true)
        expect(await ofNode.verify(await loadArgon2().hash(word, cost), `${word} `)).to.equal(false)
      }
    })

    it('uses a new salt for each hash', async () => {
      const cost = { memoryCost: 8, timeCost: 1, parallelism: 1 }
      expect(await ofNode.hash(password, cost)).not.to.equal(await ofNode.hash(password, cost))
    })

    it('rejects text that is no hash, and Base64 that no encoder makes', async () => {
      const salt = 'c29tZXNhbHQ'
      const tag = 'CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc'
      for (const stored of ['', 'x', `$argon2i$v=19$m=8,t=1,p=1$${salt}$${tag}`, `$argon2id$v=19$m=8,t=1,p=1$${salt}$${tag.slice(0, -2)}`])
        expect(await rejection(ofNode.verify(stored, password)), stored).to.be.instanceOf(Error)
      expect(await rejection(ofNode.verify(`$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHR$${tag}`, password))).to.be.instanceOf(Error)
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
