import { expect } from 'chai'
import { deviceOf } from '../../../src/auth/flows/new-places.js'
import { asAnonymous, asSystem, type Mail, type Perms, Token } from '../../../src/index.js'
import { capturedMailer } from '../../../src/testing/index.js'
import { countQueries, eachDatabase } from '../../helpers/databases.js'
import { type Member, member, password, setUp } from '../set-up.js'

const firefox = 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
const chrome = 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0.0.0 Safari/537.36'

eachDatabase('Sign-in from a new place', (db) => {
  const mailer = capturedMailer<Mail>()
  let perms: Perms
  let user: Member
  const events: unknown[] = []
  let stops: (() => void)[] = []

  before(async () => {
    const mail = { mailer, baseUrl: 'https://app.example.com' }
    perms = (await setUp(db.knex, { mail, newPlaces: true, throttle: false })).perms
    stops = [
      perms.on('signInFromNewPlace', ({ network, device }) => events.push({ network, device })),
      perms.on('newPlaceCheckFailed', ({ userId }) => events.push({ failed: userId })),
    ]
  })
  after(async () => {
    for (const stop of stops) stop()
    await perms.close()
  })
  beforeEach(async () => {
    user = await member()
    events.length = 0
    mailer.clear()
  })

  const signIn = async (address: string | undefined, userAgent: string | undefined): Promise<string> => {
    const result = await asAnonymous(() => perms.auth.signIn({ email: user.email, password }), { address, userAgent })
    await perms.auth.settled()
    return result.status
  }
  const places = () => asSystem(() => Token.query().where({ userId: user.id as never, kind: 'place' }))

  it('[promise 182] is told by event and mail with time, network and program; the first place ever is not', async () => {
    await signIn('192.0.2.1', firefox)
    await signIn('192.0.2.1', firefox.replaceAll('140.0', '141.0'))
    expect([events, mailer.mails]).to.deep.equal([[], []])
    await signIn('198.51.100.7', firefox)
    await signIn('198.51.100.7', chrome)
    expect(events).to.deep.equal([
      { network: '198.51.100.7', device: 'Firefox, Linux' },
      { network: '198.51.100.7', device: 'Chrome, Windows' },
    ])
    expect(mailer.mails.map(({ kind, to }) => [kind, to])).to.deep.equal([
      ['newPlace', user.email],
      ['newPlace', user.email],
    ])
    expect(mailer.mails[1]?.text).to.match(/ on \d{4}-\d\d-\d\d \d\d:\d\d UTC with Chrome, Windows, from the network 198\.51\.100\.7\./)
    await signIn('2001:db8:1:2::5', firefox)
    events.length = 0
    await signIn('2001:db8:1:2:ffff::9', firefox)
    expect(events).to.deep.equal([])
  })

  it('[promise 183] stores keyed hashes of at most 20 places, which expire', async () => {
    for (let i = 0; i < 22; i += 1) await signIn(`192.0.2.${i}`, firefox)
    const rows = await places()
    expect(rows).to.have.length(20)
    expect(JSON.stringify(rows)).not.to.match(/192\.0\.2|Firefox/)
    for (const row of rows)
      expect([row.revoked, (row.expiresAt?.getTime() ?? 0) > Date.now() + 179 * 86_400_000]).to.deep.equal([true, true])
    await asSystem(() =>
      Token.query()
        .patch({ expiresAt: new Date(Date.now() - 1000) })
        .where({ kind: 'place', userId: user.id as never }),
    )
    events.length = 0
    await signIn('192.0.2.21', firefox)
    expect(events).to.deep.equal([])
    expect(await places()).to.have.length.at.most(20)
  })

  it('[promise 183] costs one statement at a known place', async () => {
    await signIn('192.0.2.1', firefox)
    const { statements: known } = await countQueries(db.knex, () => signIn('192.0.2.1', firefox))
    const { statements: without } = await countQueries(db.knex, () => signIn(undefined, undefined))
    expect(known.length - without.length).to.equal(1)
  })

  it('[promise 184] a look-up that fails is reported and does not fail the sign-in', async () => {
    await signIn('192.0.2.1', firefox)
    const { client } = db.knex as unknown as { client: { query(connection: unknown, given: { bindings?: unknown[] }): Promise<unknown> } }
    const { query } = client
    client.query = function (connection, given) {
      return given.bindings?.includes('place') ? Promise.reject(new Error('down')) : query.call(this, connection, given)
    }
    try {
      expect(await signIn('203.0.113.9', chrome)).to.equal('signedIn')
    } finally {
      client.query = query
    }
    expect(events).to.deep.equal([{ failed: user.id }])
  })

  it('[promises 66, 182] the first proof of the address forgets the places of earlier sessions, a later proof keeps them', async () => {
    const prove = async (address: string) => {
      await perms.auth.mail.requestMagicLink(user.email)
      await perms.auth.settled()
      const link = mailer.tokenFrom(mailer.last('magicLink'))
      await asAnonymous(() => perms.auth.mail.signInWithMagicLink(link), { address, userAgent: firefox })
      await perms.auth.settled()
    }
    await signIn('203.0.113.66', chrome)
    const [before] = await places()
    await prove('192.0.2.1')
    const [known, ...others] = await places()
    expect([known?.token === before?.token, others.length, events]).to.deep.equal([false, 0, []])
    await prove('198.51.100.7')
    expect(await places()).to.have.length(2)
    expect(events).to.have.length(1)
  })

  it('code without a client has no place', async () => {
    await signIn(undefined, undefined)
    expect(await places()).to.deep.equal([])
  })
})

describe('The program in a User-Agent header', () => {
  it('is a family without a version, and never text of the client', () => {
    expect(deviceOf(firefox)).to.equal('Firefox, Linux')
    expect(deviceOf(chrome)).to.equal('Chrome, Windows')
    expect(deviceOf(`${chrome} Edg/150.0.0.0`)).to.equal('Edge, Windows')
    expect(deviceOf('Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 Version/19.0 Safari/604.1')).to.equal(
      'Safari, iOS',
    )
    expect(deviceOf('see https://evil.example')).to.equal('')
    expect(deviceOf(`${' '.repeat(600)}Firefox/1`)).to.equal('')
    expect(deviceOf(undefined)).to.equal('')
  })
})
