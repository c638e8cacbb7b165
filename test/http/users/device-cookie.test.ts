import { expect } from 'chai'
import { Api, asSystem, User, UserResource } from '../../../src/index.js'
import { type FakeClock, fakeClock } from '../../../src/testing/index.js'
import { addFactor, codeOf } from '../../auth/flows/second-factor/factor.js'
import { openFullZoo } from '../../conformance/full-zoo.js'
import { password, type Zoo } from '../../conformance/zoo.js'
import { type Client, clientOf } from '../client.js'

const origin = 'https://zoo.example.com'
const host = 'zoo.example.com'
const lifetime = 86_400
const email = 'ada@example.com'

describe('The cookie of a trusted device', () => {
  let zoo: Zoo
  let ask: Client
  let clock: FakeClock
  let secret: string
  before(async () => {
    zoo = await openFullZoo('better-sqlite3', { cookies: true, secondFactor: { trustedDevices: { lifetime } } })
    ask = clientOf(new Api({ resources: [new UserResource({ features: { totp: true, trustedDevices: true } })] }), zoo.perms)
    clock = fakeClock()
    const ada = await asSystem(() => User.getByOr404({ email }))
    secret = (await addFactor(zoo.perms, ada, password)).secret
  })
  after(async () => {
    clock.restore()
    await zoo.close()
  })

  const pairOf = (line: string | undefined) => line?.split(';')[0] ?? ''
  const headers = (cookie = '') => ({ prefer: 'cookies', origin, host, ...(cookie && { cookie }) })
  const login = (cookie?: string) => ask('POST', '/users/login', null, { body: { email, password }, headers: headers(cookie) })
  /** Completes a sign-in with a code. Each code works once. */
  const trusted = async (trustDevice: boolean) => {
    const { challenge } = (await login()).body
    clock.advance(60)
    const body = { challenge, code: codeOf(secret), trustDevice }
    const reply = await ask('POST', '/users/second-factor', null, { body, headers: headers() })
    expect(reply.status, JSON.stringify(reply.body)).to.equal(200)
    return reply
  }
  const namesOf = (cookies: readonly string[]) => cookies.map((line) => line.split('=')[0])
  const ofSession = ['__Host-access', '__Host-refresh']

  it('is set by second-factor/ for a user who trusts the device, and the token is not in the body [promise 153]', async () => {
    const reply = await trusted(true)
    expect(namesOf(reply.cookies)).to.deep.equal([...ofSession, '__Host-device'])
    const line = reply.cookies[2] ?? ''
    expect(line).to.match(/^__Host-device=td_[\w-]{43}; /)
    for (const part of ['HttpOnly', 'Secure', 'SameSite=Strict', 'Path=/', `Max-Age=${lifetime}`]) expect(line.split('; ')).to.include(part)
    expect(line).to.not.contain('Domain')
    expect(JSON.stringify(reply.body)).to.not.contain('td_')
    expect(namesOf((await trusted(false)).cookies)).to.deep.equal(ofSession)
  })

  it('replaces the second factor at login/ only with the correct password, and is refused if repeated [promise 151]', async () => {
    const cookie = pairOf((await trusted(true)).cookies[2])
    const reply = await login(cookie)
    expect([reply.status, namesOf(reply.cookies)]).to.deep.equal([200, ofSession])
    expect((await login()).body).to.have.property('challenge')
    const wrong = await ask('POST', '/users/login', null, { body: { email, password: 'wrong password' }, headers: headers(cookie) })
    expect([wrong.status, wrong.cookies]).to.deep.equal([401, []])
    expect((await login(`${cookie}; ${cookie}`)).status).to.equal(400)
    expect((await login(`${cookie}0`)).body).to.have.property('challenge')
  })

  it('stays when the user signs out, and is worth nothing once the device is revoked [promises 154, 156]', async () => {
    const cookie = pairOf((await trusted(true)).cookies[2])
    const session = (await login(cookie)).cookies.map(pairOf).join('; ')
    const out = await ask('POST', '/users/logout', null, { headers: headers(`${session}; ${cookie}`) })
    expect([out.status < 300, namesOf(out.cookies)]).to.deep.equal([true, ofSession])
    const next = await login(cookie)
    expect(namesOf(next.cookies)).to.deep.equal(ofSession)
    const revoked = await ask('DELETE', '/users/me/devices', null, { headers: headers(next.cookies.map(pairOf).join('; ')) })
    expect(revoked.status).to.equal(204)
    expect((await login(cookie)).body).to.have.property('challenge')
  })
})
