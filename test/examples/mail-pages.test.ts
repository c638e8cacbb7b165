import { expect } from 'chai'
import { TOTP } from 'otpauth'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { startChromium, watch } from '../helpers/chromium.js'
import { type Answer, type RequestOptions, request } from '../helpers/http.js'
import { startZoo, type ZooProcess } from './zoo-process.js'

const password = 'correct horse battery'
const better = 'a better one entirely'
const admin = { email: 'keeper@example.com', password: "the keeper's own password" }
const env = {
  JWT_SECRET: 'a secret of at least thirty-two bytes, for tests',
  ADMIN_EMAIL: admin.email,
  ADMIN_PASSWORD: admin.password,
  DATABASE_URL: ':memory:',
  PASSWORD_COST: '10',
}

/** The code that an app shows `later` seconds from now. Each works once. */
const codeOf = (secret: string, later = 0) => new TOTP({ secret }).generate({ timestamp: Date.now() + later * 1000 })

describe('The pages of the zoo that links in mails lead to, in Chromium', function () {
  this.timeout(90_000)
  let browser: Browser
  let zoo: ZooProcess
  before(async function () {
    browser = await startChromium(this)
    zoo = await startZoo({ ...env, FRAMEWORK: 'express' })
  })
  after(async () => {
    await browser?.close()
    await zoo?.stop()
  })

  let context: BrowserContext
  let page: Page
  let seen: ReturnType<typeof watch>
  let asked: string[]
  beforeEach(async () => {
    context = await browser.newContext()
    page = await context.newPage()
    seen = watch(page, zoo.url)
    asked = []
    page.on('request', (one) => void asked.push(`${one.url()} ${JSON.stringify(one.headers())}`))
  })
  afterEach(async () => {
    expect(seen).to.deep.equal({ foreign: [], problems: [] })
    await context.close()
  })

  const send = (method: string, path: string, options?: RequestOptions): Promise<Answer> => request(zoo.url, method, path, options)
  const signIn = async (email: string, word = password) =>
    (await send('POST', '/api/users/login/', { json: { email, password: word } })).body.access_token as string | undefined
  const press = (name: string) => page.getByRole('button', { name, exact: true }).click()
  const shows = (text: string) => page.getByText(text).waitFor()

  let count = 0
  async function register(): Promise<string> {
    count += 1
    const email = `visitor${count}@example.com`
    expect((await send('POST', '/auth/register', { json: { email, password } })).status).to.equal(201)
    return email
  }

  /** A user whose address is proved: the first proof of an address ends what was made before it. */
  async function registerVerified(): Promise<string> {
    const email = await register()
    const token = new URL(await zoo.link(email, 'Confirm your e-mail address')).hash.slice('#token='.length)
    expect((await send('POST', '/api/users/verify-email/', { json: { token } })).status).to.be.within(200, 204)
    return email
  }

  async function addFactor(email: string): Promise<string> {
    const token = await signIn(email)
    const { secret } = (await send('POST', '/api/users/me/second-factor/', { token, json: { password } })).body
    const confirmed = await send('POST', '/api/users/me/second-factor/confirm/', { token, json: { code: codeOf(secret) } })
    expect(confirmed.status).to.equal(200)
    return secret
  }

  async function ask(path: string, email: string): Promise<void> {
    expect((await send('POST', `/api/users/${path}/request/`, { json: { email } })).status).to.equal(202)
  }

  it('an address is verified by a button, and not by opening the link; no server sees the token but where it is sent', async () => {
    const email = await register()
    const link = await zoo.link(email, 'Confirm your e-mail address')
    const verifiedAt = async () => (await send('GET', '/api/users/me/', { token: await signIn(email) })).body.emailVerifiedAt
    for (let i = 0; i < 2; i++) {
      await page.goto('about:blank')
      await page.goto(link)
      await shows('Is this e-mail address yours?')
    }
    expect(page.url()).to.equal(`${zoo.url}/verify-email`)
    expect(await verifiedAt()).to.equal(null)
    await press('Confirm')
    await shows('Your address is confirmed.')
    expect(await verifiedAt()).to.be.a('string')
    const token = new URL(link).hash.slice('#token='.length)
    expect(token.length).to.be.above(20)
    expect(asked.join('\n')).not.to.contain(token)
    // Once.
    await page.goto('about:blank')
    await page.goto(link)
    await press('Confirm')
    await shows('The link is no longer valid')
  })

  it('a password is set that is good enough, and signs in', async () => {
    const email = await register()
    await ask('reset-password', email)
    await page.goto(await zoo.link(email, 'Choose a new password'))
    await page.getByLabel('Password').fill('password')
    await press('Set the password')
    await shows('The password is one of the most common ones')
    await page.getByLabel('Password').fill(better)
    await press('Set the password')
    await shows('You have a new password')
    expect([await signIn(email), typeof (await signIn(email, better))]).to.deep.equal([undefined, 'string'])
  })

  it('an address is changed', async () => {
    const email = await register()
    const changed = `new-${email}`
    const token = await signIn(email)
    const json = { email: changed, oldPassword: password }
    expect((await send('POST', '/api/users/me/email/', { token, json })).status).to.equal(202)
    await page.goto(await zoo.link(changed, 'Confirm your new e-mail address'))
    await press('Confirm')
    await shows('Your account has the new address')
    expect([await signIn(email), typeof (await signIn(changed))]).to.deep.equal([undefined, 'string'])
  })

  it('a magic link signs in with cookies', async () => {
    const email = await register()
    await ask('magic-link', email)
    await page.goto(await zoo.link(email, 'Sign in'))
    await press('Sign in')
    await page.waitForURL(`${zoo.url}/cookies.html`)
    await shows(`You are ${email}`)
  })

  it('a second factor is asked for, after a magic link and after a password', async () => {
    const email = await registerVerified()
    const secret = await addFactor(email)
    await ask('magic-link', email)
    await page.goto(await zoo.link(email, 'Sign in'))
    await press('Sign in')
    await page.getByLabel('Code of your authenticator app').fill('000000')
    await press('Go on')
    await page.locator('#message:not(:empty)').waitFor()
    expect(await context.cookies()).to.deep.equal([])
    await page.getByLabel('Code of your authenticator app').fill(codeOf(secret, 30))
    await press('Go on')
    await shows(`You are ${email}`)
    await press('Sign out')
    await page.getByLabel('E-mail').fill(email)
    await page.getByLabel('Password').fill(password)
    await press('Sign in')
    await page.getByLabel('Code of your authenticator app').waitFor()
    expect(await context.cookies()).to.deep.equal([])
  })

  it('an invitation makes an account, or is accepted with the one that is signed in', async () => {
    const token = await signIn(admin.email, admin.password)
    const { id, name } = (await send('POST', '/api/domains/', { token, json: { name: 'aquarium' } })).body
    const invite = async (email: string) => {
      const answer = await send('POST', '/api/users/invitations/', { token, json: { email, role: 'diver', domain: name } })
      expect(answer.status).to.equal(201)
      return await zoo.link(email, 'You are invited to aquarium')
    }
    const rolesOf = async (email: string) => (await send('GET', '/api/users/me/', { token: await signIn(email) })).body.roles
    await page.goto(await invite('bob@example.com'))
    await page.getByLabel('Password').fill(password)
    await press('Register')
    await shows('You have an account')
    expect(await rolesOf('bob@example.com')).to.deep.equal([{ role: 'diver', domain: id }])

    const ada = await registerVerified()
    const link = await invite(ada)
    await page.goto(`${zoo.url}/cookies.html`)
    await page.getByLabel('E-mail').fill(ada)
    await page.getByLabel('Password').fill(password)
    await press('Sign in')
    await shows(`You are ${ada}`)
    // The access token has expired in the meantime.
    await context.clearCookies({ name: '__Host-access' })
    await page.goto(link)
    await shows(`Accept as ${ada}?`)
    await press('Accept')
    await shows('You are in.')
    expect(await rolesOf(ada)).to.deep.include({ role: 'diver', domain: id })
  })

  it('say so where a link has lost its token', async () => {
    for (const path of ['verify-email', 'reset-password', 'change-email', 'magic-link', 'invitation']) {
      await page.goto(`${zoo.url}/${path}`)
      await shows('There is nothing here without the whole link from the mail.')
      expect(await page.getByRole('button').count()).to.equal(0)
    }
  })
})
