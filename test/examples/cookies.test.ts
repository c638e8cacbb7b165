import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect } from 'chai'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { startChromium, watch } from '../helpers/chromium.js'
import { request } from '../helpers/http.js'
import { startZoo, type ZooProcess } from './zoo-process.js'

const password = 'correct horse battery'
const env = {
  JWT_SECRET: 'a secret of at least thirty-two bytes, for tests',
  ADMIN_EMAIL: 'keeper@example.com',
  ADMIN_PASSWORD: "the keeper's own password",
  DATABASE_URL: ':memory:',
  PASSWORD_COST: '10',
}

describe('The page of the zoo that signs in with cookies', function () {
  this.timeout(90_000)

  it('gives 404 when cookies are off', async () => {
    const zoo = await startZoo({ ...env, FRAMEWORK: 'node', COOKIES: 'off' })
    try {
      expect((await request(zoo.url, 'GET', '/cookies.html')).status).to.equal(404)
      expect(zoo.output()).not.to.contain('cookies.html')
    } finally {
      await zoo.stop()
    }
  })

  describe('in Chromium', () => {
    let browser: Browser
    let zoo: ZooProcess
    let elsewhere: Server
    let port: number
    before(async function () {
      browser = await startChromium(this)
      zoo = await startZoo({ ...env, FRAMEWORK: 'express' })
      await request(zoo.url, 'POST', '/auth/register', { json: { email: 'ada@example.com', password } })
      elsewhere = createServer(
        (_req, res) => void res.setHeader('content-type', 'text/html').end('<!doctype html><title>Elsewhere</title>'),
      )
      await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve))
      port = (elsewhere.address() as AddressInfo).port
    })
    after(async () => {
      await browser?.close()
      elsewhere?.closeAllConnections()
      elsewhere?.close()
      await zoo?.stop()
    })

    let context: BrowserContext
    let page: Page
    let seen: ReturnType<typeof watch>
    beforeEach(async () => {
      context = await browser.newContext()
      page = await context.newPage()
      seen = watch(page, zoo.url)
    })
    afterEach(() => context.close())

    async function signIn(word = password): Promise<void> {
      await page.goto(`${zoo.url}/cookies.html`)
      await page.getByLabel('E-mail').fill('ada@example.com')
      await page.getByLabel('Password').fill(word)
      await page.getByRole('button', { name: 'Sign in' }).click()
    }

    async function write(title: string): Promise<void> {
      await page.getByLabel('Title').fill(title)
      await page.getByLabel('Content').fill('Fed the otters.')
      await page.getByRole('button', { name: 'Write' }).click()
      await page.getByText(`${title}: Fed the otters.`).waitFor()
    }

    const isSignedIn = () => page.getByText('You are ada@example.com').waitFor()
    const isSignedOut = () => page.getByRole('button', { name: 'Sign in' }).waitFor()
    const documents = () =>
      page.evaluate("fetch('/api/documents/').then((answer) => answer.json()).then(({ pagination }) => pagination.total)")

    it('signs in, shows the user, writes, stays signed in, and signs out', async () => {
      await signIn()
      await isSignedIn()
      await write('Diary')
      await page.reload()
      await isSignedIn()
      await page.getByText('Diary: Fed the otters.').waitFor()
      await page.getByRole('button', { name: 'Sign out' }).click()
      await isSignedOut()
      expect(await context.cookies()).to.deep.equal([])
      await page.reload()
      await isSignedOut()
      expect(seen).to.deep.equal({ foreign: [], problems: [] })
    })

    it('never sees a token: tokens are only in cookies that scripts cannot read', async () => {
      // All that the page's own script is answered.
      await page.addInitScript(`
        const real = window.fetch
        window.seen = []
        window.fetch = async (...given) => {
          const answer = await real(...given)
          window.seen.push(await answer.clone().text(), JSON.stringify([...answer.headers]))
          return answer
        }`)
      await signIn()
      await isSignedIn()
      expect(await page.evaluate('document.cookie')).to.equal('')
      expect(await page.evaluate('localStorage.length + sessionStorage.length')).to.equal(0)
      const kept = await context.cookies()
      expect(
        kept.map(({ name, path, httpOnly, secure, sameSite, domain }) => ({ name, path, httpOnly, secure, sameSite, domain })),
      ).to.have.deep.members([
        { name: '__Host-access', path: '/', httpOnly: true, secure: true, sameSite: 'Lax', domain: '127.0.0.1' },
        { name: '__Host-refresh', path: '/', httpOnly: true, secure: true, sameSite: 'Strict', domain: '127.0.0.1' },
      ])
      const text = String(await page.evaluate("seen.join('\\n')"))
      expect(text).to.contain('"token_type":"Cookie"')
      for (const { value } of kept) expect(text).not.to.contain(value)
    })

    it('shows that the password is wrong', async () => {
      await signIn('wrong')
      await page.getByText('The e-mail address or the password is wrong.').waitFor()
      expect(await context.cookies()).to.deep.equal([])
    })

    it('renews an expired access token, and can sign out afterwards', async () => {
      await signIn()
      await isSignedIn()
      await context.clearCookies({ name: '__Host-access' })
      await write('Later')
      expect((await context.cookies()).map(({ name }) => name)).to.have.members(['__Host-access', '__Host-refresh'])
      await context.clearCookies({ name: '__Host-access' })
      await page.getByRole('button', { name: 'Sign out' }).click()
      await isSignedOut()
      expect(await context.cookies()).to.deep.equal([])
    })

    it('works by the name of localhost too', async () => {
      await page.goto(`http://localhost:${new URL(zoo.url).port}/cookies.html`)
      await page.getByLabel('E-mail').fill('ada@example.com')
      await page.getByLabel('Password').fill(password)
      await page.getByRole('button', { name: 'Sign in' }).click()
      await isSignedIn()
      await write('By name')
    })

    // Another port is another origin but the same site, so that the browser does send the cookies: Origin alone tells.
    for (const [title, name, status] of [
      ['on another port, with the cookies', '127.0.0.1', 403],
      ['on another site', 'localhost', 401],
    ] as const) {
      it(`is not affected by requests of a foreign page ${title}`, async () => {
        await signIn()
        await isSignedIn()
        const before = await documents()
        const evil = await context.newPage()
        const asForm = async (path: string, field: string, value: string) => {
          await evil.goto(`http://${name}:${port}/`)
          const answered = evil.waitForResponse((one) => one.url() === zoo.url + path)
          // A form may send text/plain that looks like JSON, without any preflight.
          await evil.evaluate(`(() => {
            const form = document.createElement('form')
            Object.assign(form, { method: 'post', enctype: 'text/plain', action: ${JSON.stringify(zoo.url + path)} })
            const input = document.createElement('input')
            Object.assign(input, { name: ${JSON.stringify(field)}, value: ${JSON.stringify(value)} })
            form.append(input)
            document.body.append(form)
            form.submit()
          })()`)
          const answer = await answered
          await evil.waitForURL(zoo.url + path)
          return answer.status()
        }
        expect(await asForm('/api/documents/', '{"title":"Forged","content":"', '"}')).to.equal(status)
        expect(await asForm('/api/users/refresh/', 'a', 'b')).to.be.oneOf([403, 415])
        if (status === 403) {
          expect(await asForm('/api/users/logout/', 'a', 'b')).to.equal(403)
          expect(await asForm('/auth/profile', 'a', 'b')).to.equal(403)
        }
        await evil.goto(`http://${name}:${port}/`)
        // With fetch, as far as a page gets without the server's leave: the second one's preflight is not answered.
        const outcomes = await evil.evaluate(`Promise.all([
          fetch(${JSON.stringify(`${zoo.url}/api/users/logout/`)}, { method: 'POST', mode: 'no-cors', credentials: 'include' }),
          fetch(${JSON.stringify(`${zoo.url}/api/users/me/`)}, { method: 'PATCH', credentials: 'include', body: '{}' }),
          fetch(${JSON.stringify(`${zoo.url}/api/users/me/`)}, { credentials: 'include' }),
        ].map((one) => one.then(({ type, status }) => type + status, () => 'refused')))`)
        expect(outcomes).to.deep.equal(['opaque0', 'refused', 'refused'])
        await page.reload()
        await isSignedIn()
        expect(await documents()).to.equal(before)
      })
    }
  })
})
