import { expect } from 'chai'
import { canonicalEmail, isEmailAddress, mailboxOf } from '../../../src/schema/email.js'

describe('E-mail addresses', () => {
  it('follow the HTML standard and have a domain of at least two labels [promise 67]', () => {
    const valid = [
      'ada@example.com',
      'Ada.Lovelace+tag@mail.example.co.uk',
      "o'brien_1/x=y?z&a%b!c#d$e*f^g`h{i|j}k~l-m@example.com",
      `${'a'.repeat(64)}@example.com`,
      'a@b.c',
      'a@xn--bcher-kva.example',
    ]
    for (const text of valid) expect(isEmailAddress(text), text).to.equal(true)
  })

  it('are never lists, groups, names, routes or other text that a mail program could split [promise 67]', () => {
    const invalid = [
      'x1,victim@corp.com',
      'attacker@evil.com,.corp.com',
      'a@evil.com,victim@corp.com',
      'a@evil.com;victim@corp.com',
      'a@evil.com victim@corp.com',
      'group:a@evil.com;',
      'Ada <a@evil.com>',
      '<a@evil.com>',
      '"a"@evil.com',
      '"x,victim@corp.com"@evil.com',
      'a(comment)@evil.com',
      'a@evil.com(comment)',
      'a@[127.0.0.1]',
      'a@[IPv6:::1]',
      'a@127.0.0.1',
      'a@localhost',
      'a@-evil.com',
      'a@evil-.com',
      'a@evil..com',
      'a@.evil.com',
      'a@evil.com.',
      'a@evil.com@corp.com',
      'a\\@corp.com@evil.com',
      'a@evil.com\nBcc: victim@corp.com',
      'a@evil.com\r\n',
      'a@evil.com\n',
      'a@evil.com\0',
      'a\t@evil.com',
      'a\u2028@evil.com',
      'a@evil。com',
      'a＠evil.com',
      'а@example.com',
      'a@exämple.com',
      'a\u202e@evil.com',
      `${'a'.repeat(65)}@example.com`,
      `a@${'b'.repeat(64)}.com`,
      `a@${'b.'.repeat(126)}com`,
      '',
      '@',
      'a@',
      '@example.com',
    ]
    for (const text of invalid) expect(isEmailAddress(text), JSON.stringify(text)).to.equal(false)
    for (const value of [undefined, null, 1, {}, ['a@example.com'], { address: 'a@example.com' }])
      expect(isEmailAddress(value)).to.equal(false)
  })

  it('have one canonical form (NFC, trimmed, lower case), and look-alikes do not share it [promise 11]', () => {
    expect(canonicalEmail(' JOSE\u0301@Example.com ')).to.equal('jos\u00e9@example.com')
    // Characters that Unicode normalisation or lower case turns into ASCII, of all there are.
    for (let code = 128; code <= 0x10ffff; code += 1) {
      if (code >= 0xd800 && code <= 0xdfff) continue
      const form = canonicalEmail(`a${String.fromCodePoint(code)}b@example.com`)
      if (/^[\0-\x7f]*$/.test(form)) expect.fail(`U+${code.toString(16)} becomes ${form}`)
    }
  })

  it('are not normalised when they are longer than any valid address [promise 62]', () => {
    const long = `${'e\u0301'.repeat(60_000)}@Example.com`
    expect(canonicalEmail(long)).to.equal(long)
    expect(canonicalEmail(` ${'É'.repeat(3)}@Example.com `)).to.equal('ééé@example.com')
  })

  it('share the limit of one mailbox, whatever follows a + [promise 67]', () => {
    expect(mailboxOf('Ada+1@Example.com')).to.equal('ada@example.com')
    expect(mailboxOf('ada+a+b@example.com')).to.equal('ada@example.com')
    expect(mailboxOf('+ada@example.com')).to.equal('+ada@example.com')
    expect(mailboxOf('ada@example.com')).to.equal('ada@example.com')
  })
})
