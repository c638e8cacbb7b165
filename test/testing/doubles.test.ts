import { expect } from 'chai'
import { ConfigurationError, type Mail } from '../../src/index.js'
import { capturedMailer, testHasher } from '../../src/testing/index.js'

describe('testHasher', () => {
  const hasher = testHasher()

  it('verifies a password by its hash, which is marked as test-only', async () => {
    const stored = await hasher.hash('correct horse battery')
    expect(stored).to.match(/^test-only\$[0-9a-f]{64}$/)
    expect(await hasher.verify('correct horse battery', stored)).to.equal(true)
    expect(hasher.needsRehash(stored)).to.equal(false)
    for (const other of ['Correct horse battery', 'correct horse battery ', '']) expect(await hasher.verify(other, stored)).to.equal(false)
    for (const bad of [null, undefined, '', 'test-only$', '$2b$10$x'])
      expect(await hasher.verify('correct horse battery', bad)).to.equal(false)
  })

  it('throws in production', () => {
    const before = process.env['NODE_ENV']
    try {
      process.env['NODE_ENV'] = 'production'
      expect(() => testHasher()).to.throw(ConfigurationError, 'production')
    } finally {
      if (before === undefined) delete process.env['NODE_ENV']
      else process.env['NODE_ENV'] = before
    }
  })
})

describe('capturedMailer', () => {
  const mail = (kind: Mail['kind'], to: string, text = '') => ({ kind, to, text, subject: kind })

  it('keeps the sent mails, and finds the last one of a kind or to an address', async () => {
    const mailer = capturedMailer()
    const sent = [mail('verifyEmail', 'ada@example.com'), mail('resetPassword', 'bob@example.com'), mail('verifyEmail', 'bob@example.com')]
    for (const one of sent) await mailer.send(one)
    expect(mailer.mails).to.deep.equal(sent)
    expect(mailer.last()).to.equal(sent[2])
    expect(mailer.last('verifyEmail')).to.equal(sent[2])
    expect(mailer.last('resetPassword')).to.equal(sent[1])
    expect(mailer.last(' ADA@example.com')).to.equal(sent[0])
    expect(() => mailer.last('magicLink')).to.throw(ConfigurationError, 'resetPassword to bob@example.com')
    mailer.clear()
    expect(mailer.mails).to.deep.equal([])
    expect(() => mailer.last()).to.throw(ConfigurationError, 'none')
  })

  it("reads the token of a mail's link, in the query or behind the hash", () => {
    const mailer = capturedMailer()
    const of = (text: string) => mailer.tokenFrom(mail('resetPassword', 'ada@example.com', text))
    expect(of('Hello,\nopen https://app.example.com/reset?token=abc-_1 within the hour.')).to.equal('abc-_1')
    expect(of('See https://example.com/help.\n<https://app.example.com/reset#token=xyz>')).to.equal('xyz')
    expect(of('https://app.example.com/?a=b&token=a%2Bb&c=d')).to.equal('a+b')
    for (const text of ['', 'token=abc', 'https://app.example.com/?token=', 'https://app.example.com/?tokens=x'])
      expect(() => of(text), text).to.throw(ConfigurationError, "'resetPassword' to ada@example.com")
  })
})
