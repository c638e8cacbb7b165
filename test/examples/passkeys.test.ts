import { expect } from 'chai'
import type { Browser, BrowserContext, CDPSession, Page } from 'playwright-core'
import { startChromium, watch } from '../helpers/chromium.js'
import { request } from '../helpers/http.js'
import { startZoo, type ZooProcess } from './zoo-process.js'

const password = 'correct horse battery'
const email = 'ada@example.com'
const env = {
  JWT_SECRET: 'a secret of at least thirty-two bytes, for tests',
  ADMIN_EMAIL: 'keeper@example.com',
  ADMIN_PASSWORD: "the keeper's own password",
  DATABASE_URL: ':memory:',
  PASSWORD_COST: '10',
}

describe('The page of the zoo with passkeys, in Chromium', function () {
  this.timeout(90_000)
  let browser: Browser
  let zoo: ZooProcess
  let url: string
  let context: BrowserContext
  let page: Page
  let devtools: CDPSession
  let authenticatorId: string
  let seen: ReturnType<typeof watch>

  before(async function () {
    browser = await startChromium(this)
    zoo = await startZoo({ ...env, FRAMEWORK: 'express' })
    await request(zoo.url, 'POST', '/auth/register', { json: { email, password } })
    // The domain of passkeys cannot be an address.
    url = `http://localhost:${new URL(zoo.url).port}`
    context = await browser.newContext()
    page = await context.newPage()
    seen = watch(page, url)
    devtools = await context.newCDPSession(page)
    await devtools.send('WebAuthn.enable')
    const added = await devtools.send('WebAuthn.addVirtualAuthenticator', {
      options: {
        protocol: 'ctap2',
        transport: 'internal',
        hasResidentKey: true,
        hasUserVerification: true,
        isUserVerified: true,
        automaticPresenceSimulation: true,
      },
    })
    authenticatorId = added.authenticatorId
  })
  after(async () => {
    await browser?.close()
    await zoo?.stop()
  })

  const button = (name: string) => page.getByRole('button', { name, exact: true })
  const isSignedIn = () => page.getByText(`You are ${email}`).waitFor()
  /** Turns the answers of the authenticator on and off: the form field would sign in at once. */
  const simulatePresence = (enabled: boolean) => devtools.send('WebAuthn.setAutomaticPresenceSimulation', { authenticatorId, enabled })
  const signIn = async () => {
    await page.getByLabel('E-mail').fill(email)
    await page.getByLabel('Password').fill(password)
    await button('Sign in').click()
  }
  const signOut = async () => {
    await simulatePresence(false)
    await button('Sign out').click()
    await button('Sign in').waitFor()
  }
  const passkeys = async () => (await devtools.send('WebAuthn.getCredentials', { authenticatorId })).credentials

  it('adds a passkey in a session with a password, and shows recovery codes', async () => {
    await page.goto(`${url}/passkeys.html`)
    await signIn()
    await isSignedIn()
    await page.getByLabel('Name').fill('Laptop')
    await button('Add a passkey').click()
    await page.getByText('Laptop, not used yet').waitFor()
    await page.getByText('Keep these recovery codes').waitFor()
    expect((await passkeys()).map(({ rpId, isResidentCredential }) => [rpId, isResidentCredential])).to.deep.equal([['localhost', true]])
  })

  it('signs in with a passkey that the browser finds, without an address', async () => {
    await signOut()
    await simulatePresence(true)
    await button('Sign in with a passkey').click()
    await isSignedIn()
    await page.getByText('Laptop, used').waitFor()
  })

  it('asks for the passkey after the password', async () => {
    await signOut()
    await signIn()
    await button('Use your passkey as the second factor').waitFor()
    await simulatePresence(true)
    await button('Use your passkey as the second factor').click()
    await isSignedIn()
  })

  it('confirms the session, renames the passkey and removes it', async () => {
    await button('Confirm with a passkey').click()
    await page.getByText('Confirmed with hwk user mfa').waitFor()
    await page.getByLabel('Name').fill('Old laptop')
    await button('Rename Laptop').click()
    await page.getByText('Old laptop, used').waitFor()
    await button('Remove Old laptop').click()
    await page.getByText('Old laptop, used').waitFor({ state: 'detached' })
    await signOut()
    await simulatePresence(true)
    await signIn()
    await isSignedIn()
    expect(seen).to.deep.equal({ foreign: [], problems: [] })
  })
})
