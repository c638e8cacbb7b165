import { expect } from 'chai'
import { asAnonymous, asSystem, type Mail, type Perms, Role, runAs, transaction, type User, UserRole } from '../../../../src/index.js'
import { capturedMailer } from '../../../../src/testing/index.js'
import { eachDatabase } from '../../../helpers/databases.js'
import { rejection } from '../../../helpers/errors.js'
import { Member, member, password, setUp } from '../../set-up.js'

eachDatabase('Notices of changes to an account', (db) => {
  const mailer = capturedMailer<Mail>()
  const languages: Record<string, string> = {}
  let perms: Perms
  let user: Member

  before(async () => {
    const mail = {
      mailer,
      baseUrl: 'https://app.example.com',
      notices: true,
      languageOf: (one: { id: unknown }) => languages[String(one.id)],
    }
    perms = (await setUp(db.knex, { mail, throttle: { mail: { account: 4, address: 1000 } } })).perms
  })
  after(() => perms.close())
  beforeEach(async () => {
    await perms.auth.settled()
    mailer.clear()
    user = await member()
  })

  const sent = async () => {
    await perms.auth.settled()
    const all = mailer.mails.map(({ kind, to, text }) => ({ kind, to, text }))
    mailer.clear()
    return all
  }
  const kinds = async () => (await sent()).map(({ kind, to }) => `${kind} ${to}`)
  const change = (values: object) => asSystem(() => (user as unknown as User).update(values as never))

  it('[promise 180] a changed address is told to the address before, whoever changes it', async () => {
    const before = user.email
    await change({ email: `new-${before}` })
    const [mail, ...further] = await sent()
    expect(further).to.deep.equal([])
    expect(mail).to.include({ kind: 'emailChanged', to: before })
    expect(mail?.text).to.include(`new-${before}`)
    await perms.auth.mail.requestEmailChange(user as unknown as User, { email: before, oldPassword: password })
    await perms.auth.settled()
    const token = mailer.tokenFrom(mailer.last('changeEmail'))
    mailer.clear()
    await perms.auth.mail.confirmEmailChange(token)
    expect(await kinds()).to.deep.equal([`emailChanged new-${before}`])
  })

  it('[promise 180] a new password is told, by whom it was set, and by a reset too', async () => {
    await runAs(user as never, () =>
      (user as unknown as User).update({ password: 'another password of hers', oldPassword: password } as never),
    )
    const [own] = await sent()
    expect(own).to.include({ kind: 'passwordChanged', to: user.email })
    expect(own?.text).not.to.include('administrator')
    const admin = await member()
    await asSystem(() => UserRole.create({ userId: admin.id, role: Role.SUPERADMIN } as never))
    await runAs(admin as never, async () => (await Member.get(user.id as never))?.update({ password: 'a password of the admin' } as never))
    const [other] = await sent()
    expect(other).to.include({ kind: 'passwordChanged', to: user.email })
    expect(other?.text).to.include('An administrator made this change.')
    await perms.auth.mail.requestPasswordReset(user.email)
    await perms.auth.settled()
    const token = mailer.tokenFrom(mailer.last('resetPassword'))
    mailer.clear()
    await perms.auth.mail.resetPassword({ token, password: 'a third password of hers' })
    expect(await kinds()).to.include(`passwordChanged ${user.email}`)
  })

  it('[promise 180] a change that is rolled back is not told, and a change of other columns neither', async () => {
    const undo = () =>
      transaction(async () => {
        await change({ email: `new-${user.email}` })
        throw new Error('undo')
      })
    expect(await rejection(undo())).to.have.property('message', 'undo')
    await asSystem(() => (user as unknown as User).update({ level: '1.00' } as never))
    expect(await kinds()).to.deep.equal([])
  })

  it('[promise 181] notices count toward the limit of the mailbox, and a mail over it is reported', async () => {
    const failed: unknown[] = []
    const stop = perms.on('mailFailed', (payload) => failed.push(payload))
    for (let i = 0; i < 5; i += 1) await change({ password: `password number ${i} of hers` })
    expect(await kinds()).to.have.length(4)
    expect(failed).to.deep.equal([{ userId: user.id, kind: 'passwordChanged' }])
    stop()
  })

  it('mails are in the language of the user, else in that of the request', async () => {
    const setPassword = (text: string, acceptLanguage: string | undefined) =>
      asAnonymous(() => change({ password: text }), { acceptLanguage })
    await setPassword('a first password', 'de-AT, en;q=0.5')
    await setPassword('a second password', undefined)
    await perms.auth.settled()
    languages[String(user.id)] = 'de'
    await setPassword('a third password', 'en')
    const texts = (await sent()).map(({ text }) => (text.includes('Passwort') ? 'de' : 'en'))
    expect(texts).to.deep.equal(['de', 'en', 'de'])
  })
})
