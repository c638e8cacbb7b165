import { expect } from 'chai'
import { MailService } from '../../../../src/auth/flows/mail/mail-service.js'
import { networkAddress, plainWords, subjectLine } from '../../../../src/auth/flows/mail/mail-text.js'
import { type Mail, type MailContent, type MailOptions, nodemailerMailer } from '../../../../src/index.js'
import { capturedMailer } from '../../../../src/testing/index.js'

describe("Users' text in mails", () => {
  it('shows no link, no markup, no line break and no more than 60 characters [promise 67]', () => {
    const hostile = [
      'editor: see https://evil.example/phish',
      'www.evil.example',
      'evil.example/x?y=z#a',
      'call me at attacker@evil.example',
      'javascript:alert(1)',
      'evil。example',
      'evil．example／x',
      '<a href="//evil.example">click</a>',
      "' onmouseover='alert(1)",
      '&lt;script&gt;',
      '[click](https://evil.example)',
      'editor\r\nBcc: victim@corp.com\r\n\r\nbody',
      'editor\u2028next\u2029line\u0085x\u000bx',
      'right\u202eto left\u200b hidden\u0000',
      'x'.repeat(5000),
      '👩‍👩‍👧'.repeat(500),
      'e\u0301'.repeat(100_000),
    ]
    for (const text of hostile) {
      const shown = plainWords(text)
      expect(shown, JSON.stringify(text)).to.match(/^[\p{L}\p{M}\p{N}_()’ …-]*$/u)
      expect(Array.from(shown).length).to.be.at.most(60)
    }
    expect(plainWords('Chief Editor (O’Neil)')).to.equal('Chief Editor (O’Neil)')
    expect(plainWords("the King's men")).to.equal('the King’s men')
    expect(plainWords('Größe 東京')).to.equal('Größe 東京')
    expect(plainWords(' .:/ ')).to.equal('')
  })

  it('a subject is one line without control characters [promise 67]', () => {
    expect(subjectLine('Hello\r\nBcc: victim@corp.com\0\u2028x')).to.equal('Hello Bcc: victim@corp.com x')
    expect(subjectLine('x'.repeat(10_000))).to.have.length(200)
  })

  it('a client address is shown only if it is an IP address [promise 67]', () => {
    for (const address of ['203.0.113.7', '2001:db8::1']) expect(networkAddress(address)).to.equal(address)
    for (const text of ['https://evil.example', 'unknown', '203.0.113.7, https://evil.example', ''])
      expect(networkAddress(text)).to.equal(undefined)
  })

  const service = (more: Partial<MailOptions> = {}) =>
    new MailService({ mailer: capturedMailer(), baseUrl: 'https://app.example.com', ...more })

  it('names of roles and domains are cleaned before they reach the texts of the library or the application [promise 67]', () => {
    const details = { role: 'editor <b>https://evil.example</b>', domain: 'Press\r\nBcc: x@evil.example' }
    let seen: MailContent | undefined
    const write = (content: MailContent) => {
      seen = content
      return { html: `<p>${content.details.role} ${content.details.domain}</p>` }
    }
    const mail = service({ write }).compose('invitation', 'ada@example.com', 'in_x', details)
    expect(`${mail.subject} ${mail.text}`).not.to.contain('evil.example')
    expect(mail.subject).not.to.match(/[\r\n]/)
    expect(mail.html).to.equal('<p>editor b https evil example b Press Bcc x evil example</p>')
    expect(seen?.details).to.deep.equal({ role: 'editor b https evil example b', domain: 'Press Bcc x evil example' })
  })

  it('text that is not one address gets no mail, and write() cannot change the recipient [promise 67]', () => {
    for (const to of ['x1,victim@corp.com', 'attacker@evil.com,.corp.com', 'a@evil.com\r\nBcc: b@evil.com'])
      expect(() => service().compose('magicLink', to, 'mt_x')).to.throw('not one e-mail address')
    const write = () => ({ to: 'thief@evil.com', kind: 'other', subject: 'A\r\nBcc: thief@evil.com' }) as never
    const mail = service({ write }).compose('magicLink', 'ada@example.com', 'mt_x')
    expect(mail).to.include({ to: 'ada@example.com', kind: 'magicLink', subject: 'A Bcc: thief@evil.com' })
  })
})

describe('nodemailerMailer', () => {
  const mail: Mail = { kind: 'magicLink', to: 'ada@example.com', subject: 'Sign in', text: 'a link' }
  const envelopeOf = async (given: Mail, options: Parameters<typeof nodemailerMailer>[1]) => {
    const sent = (await nodemailerMailer({ streamTransport: true, buffer: true }, options).send(given)) as {
      envelope: { from: string; to: string[] }
      message: Buffer
    }
    return { ...sent.envelope, message: sent.message.toString() }
  }

  it('sends to exactly one mailbox, and refuses a list [promise 67]', async () => {
    const { to } = await envelopeOf(mail, { from: 'Zoo <zoo@example.com>' })
    expect(to).to.deep.equal(['ada@example.com'])
    for (const list of ['x1,victim@corp.com', 'attacker@evil.com,.corp.com', 'a@x.com, b@x.com', 'Ada <a@x.com>']) {
      const error = await nodemailerMailer({ jsonTransport: true }, { from: 'zoo@example.com' })
        .send({ ...mail, to: list })
        .then(
          () => undefined,
          (reason: Error) => reason,
        )
      expect(error?.message, list).to.contain('not one e-mail address')
    }
  })

  it('keeps a subject from starting another header [promise 67]', async () => {
    const { message, to } = await envelopeOf({ ...mail, subject: 'A\r\nBcc: victim@corp.com' }, { from: 'zoo@example.com' })
    expect(to).to.deep.equal(['ada@example.com'])
    expect(message).not.to.match(/^Bcc:/m)
  })

  it('accepts one sender and one reply address, as text or as an object [promise 67]', async () => {
    const named = await envelopeOf(mail, { from: { name: 'Zoo, Inc.', address: 'zoo@example.com' }, replyTo: 'Desk <desk@example.com>' })
    expect(named.from).to.equal('zoo@example.com')
    expect(named.message).to.match(/^Reply-To: Desk <desk@example\.com>\r?$/m)
    for (const from of ['"Zoo, Inc." <zoo@example.com>', 'zoo@example.com', 'Zoo <zoo@example.com>'])
      expect((await envelopeOf(mail, { from })).from, from).to.equal('zoo@example.com')
    const wrong = [
      'a@x.com,b@x.com',
      'Zoo, Inc. <zoo@example.com>',
      'Zoo <zoo@example.com>, b@x.com',
      'Zoo\r\nBcc: b@x.com <zoo@example.com>',
      { name: 'Zoo\r\nBcc: b@x.com', address: 'zoo@example.com' },
      { address: 'a@x.com,b@x.com' },
      '',
      undefined,
    ]
    for (const sender of wrong)
      for (const options of [{ from: sender }, { from: 'zoo@example.com', replyTo: sender }])
        if (!('replyTo' in options && sender === undefined))
          expect(() => nodemailerMailer({ jsonTransport: true }, options as never), JSON.stringify(options)).to.throw('give one address')
    expect(() => nodemailerMailer({ jsonTransport: true }, undefined as never)).to.throw('give one address')
  })

  it('composes the message without sending it if there is no recipient [promise 10]', async () => {
    const sent: object[] = []
    const mailer = nodemailerMailer({ sendMail: async (message: object) => sent.push(message) }, { from: 'zoo@example.com' })
    await mailer.rehearse?.(mail)
    expect(sent).to.deep.equal([])
  })
})
